"""Looks at the finals before their last round, for a study that asks for them: four, fixed beforehand.

O'Brien and Fleming 1979: at look k of K a hypothesis is rejected when |z| > c sqrt(K / k), so hardly any of the error is spent
early. One c for each number of hypotheses that share it: Holm's steps hold at every look (Maurer and Bretz 2013). With 24
rounds and one hypothesis z = 4.049, 2.863, 2.337 and 2.024 after 6, 12, 18 and 24.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from scipy.special import ndtr

LOOKS = 4
CONSTANTS: Mapping[int, float] = {1: 2.0243, 2: 2.2894, 3: 2.4347}
"""c by the number of hypotheses that share 5 %: of normal numbers, by numerical integration (and see test_looks)."""


def look_rounds(rounds: int) -> tuple[int, ...]:
    """After how many rounds one looks: quarters of them all, each up to whole Latin squares of 3."""
    return tuple(3 * math.ceil(rounds * look / LOOKS / 3) for look in range(1, LOOKS + 1))


def levels_at(done: int, rounds: int) -> Callable[[int], float]:
    """At which level one of so many hypotheses left is judged after `done` of `rounds` rounds.

    Between two looks that of the look before holds, and before the first one the first look's: what is looked at then is
    judged more strictly than it need be.
    """
    reached = max((look for look in look_rounds(rounds) if look <= done), default=look_rounds(rounds)[0])

    def level(left: int) -> float:
        z = CONSTANTS[left] * math.sqrt(rounds / min(reached, rounds))
        return 2 * float(ndtr(-z))

    return level
