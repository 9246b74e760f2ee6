"""Draws that fill the space: the first candidates of a study, and the last resort of a search."""

from __future__ import annotations

import math
import random

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autotune.search.distributions import Draw, Drawn
from autotune.search.memory import seed_of

# So many draws of one arrangement meet every tenth of every parameter once (McKay, Beckman, Conover 1979).
STRATA = 10


def stratified_draw(arrangement: int, place: int) -> Draw:
    """The draw at this place (0 to STRATA - 1) of a Latin hypercube that `arrangement` seeds.

    Needs no memory of the other places: each parameter's order of strata comes from its name.
    """

    def draw(name: str, what: BaseDistribution) -> Drawn:
        chance = random.Random(seed_of(arrangement, name))  # noqa: S311 - no secret
        strata = list(range(STRATA))
        chance.shuffle(strata)
        inside = [chance.random() for _ in strata]
        return _at(what, (strata[place % STRATA] + inside[place % STRATA]) / STRATA)

    return draw


def any_draw(chance: random.Random) -> Draw:
    """Draws from the whole of every distribution."""
    return lambda _, what: _at(what, chance.random())


def _at(what: BaseDistribution, share: float) -> Drawn:
    """The value below which this share (0 to 1) of the distribution lies."""
    match what:
        case FloatDistribution(log=True):
            number = math.exp(math.log(what.low) + share * (math.log(what.high) - math.log(what.low)))
            return min(max(number, what.low), what.high)
        case FloatDistribution():
            return min(max(what.low + share * (what.high - what.low), what.low), what.high)
        case IntDistribution(log=True):
            low, high = math.log(what.low - 0.5), math.log(what.high + 0.5)
            return min(max(round(math.exp(low + share * (high - low))), what.low), what.high)
        case IntDistribution():
            return min(what.low + int(share * (what.high - what.low + 1)), what.high)
        case CategoricalDistribution():
            chosen: Drawn = what.choices[min(int(share * len(what.choices)), len(what.choices) - 1)]  # type: ignore[assignment]
            return chosen
        case _:
            message = f"{what} is no distribution of ours"
            raise TypeError(message)
