"""Boards on which every setting's effect is known: what `scripts/bench-importance` measures importance against.

Thirty to forty of the shipped settings, parents with their children. Each has an effect of its own on ln(requests/s), a
level per word or a ramp or a hump over its range; sizes fall from one to the next about as a text's published steps do,
from a standard deviation of 6 % over the space, and which setting gets which is chance. Three pairs also act together. A
child does something only where its parent lets it.

The *true effect* of a setting is its total Sobol index over the space (Jansen's estimator): how much of the variance of
the true function, over values drawn uniformly as the searcher's own random draws are, goes with this setting alone or
in company. A child's draw changes nothing where it doesn't count; a parent's carries its children with it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from protocol_night import begun_on, shipped_study, study_of

from autotune.experiment.events import NightBegun
from autotune.experiment.study import Budget, Study
from autotune.search.distributions import ParameterAxes
from autotune.search.encoding import Encoding
from autotune.search.space_filling import any_draw
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Span
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value
from autotune.synthetic.boards import Character, SyntheticBoard, plain_board
from autotune.synthetic.effects import Page, Values, peak, ramp

FILE: Final = "rock5b-static-1k.toml"
FEWEST: Final = 30
MOST: Final = 40
LARGEST: Final = 0.06
SMALLER: Final = 0.86
"""The next smaller effect's size as a share of the one before."""
TOGETHER: Final = 3
TRIALS: Final = 150
BUDGET: Final = Budget(
    calibration_pairs=10,
    candidates=TRIALS,
    reference_every=4,
    finalists=6,
    finalist_pairs=4,
    distillation_pairs=0,
    finals_rounds=12,
    series_rounds=0,
)
_DRAWS: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worth:
    """One setting's effect: 0 on average over the space, with a standard deviation of `size`."""

    parameter: Parameter
    shape: Callable[[Value], float]
    center: float
    size: float

    def of(self, value: Value) -> float:
        return self.size * (self.shape(value) - self.center)


class KnownBoard:
    """One seed's board, study and truth. The same for the same seed, in every process."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"importance {seed}")
        self.seed = seed
        self.study = _study(self._chance, seed)
        stock = plain_board().stock_of(self.study)
        begun = begun_on(plain_board(), self.study, Configuration())
        self._encoding = Encoding.of(self.study, begun)
        self._worths = self._effects()
        self._pairs = self._coupled()
        self._stock = stock

    @property
    def ids(self) -> tuple[str, ...]:
        return self.study.space.ids

    @cached_property
    def board(self) -> SyntheticBoard:
        plain = plain_board(name=f"importance {self.seed}")
        return SyntheticBoard(
            name=plain.name,
            title="synthetic board whose every effect is known",
            stock=plain.stock,
            offered=plain.offered,
            character=Character(
                gain=self._gain,
                failing=plain.character.failing,
                spread=plain.character.spread,
                latency_sigma=plain.character.latency_sigma,
                power_w=plain.character.power_w,
            ),
            disturbance=plain.disturbance,
        )

    @property
    def begun(self) -> NightBegun:
        return begun_on(self.board, self.study, Configuration())

    def true_effects(self) -> dict[str, float]:
        """Total Sobol index of every parameter of the space: what goes with it of the true function's variance."""
        chance = random.Random(f"effects {self.seed}")
        draws = [self._any_values(chance) for _ in range(_DRAWS)]
        before = [self._truth(one) for one in draws]
        variance = statistics.pvariance(before)
        effects = {}
        for one in self._encoding.parameters:
            squares = [
                (known - self._truth({**drawn, one.parameter.id: _any_value(one, chance)})) ** 2
                for drawn, known in zip(draws, before, strict=True)
            ]
            effects[one.parameter.id] = statistics.fmean(squares) / 2 / variance
        return effects

    def _any_values(self, chance: random.Random) -> dict[str, Value]:
        """A value of every parameter, whether it counts or not."""
        return {one.parameter.id: _any_value(one, chance) for one in self._encoding.parameters}

    def _truth(self, drawn: Mapping[str, Value]) -> float:
        configuration = self.study.space.complete(drawn, self._stock, {})
        return self._sum(configuration.over(self._stock))

    def _gain(self, values: Values, page: Page) -> float:
        del page
        return self._sum(values)

    def _sum(self, values: Values) -> float:
        counting = {
            one.parameter.id: one.of(values[one.parameter.id])
            for one in self._worths
            if self.study.space.is_active(one.parameter, values)
        }
        total = math.fsum(counting.values())
        for first, second, size in self._pairs:
            total += size * counting.get(first.parameter.id, 0.0) * counting.get(second.parameter.id, 0.0)
        return total

    def _effects(self) -> list[_Worth]:
        parameters = list(self._encoding.parameters)
        self._chance.shuffle(parameters)
        worths = []
        for place, one in enumerate(parameters):
            shape = _shape(one.parameter, self._chance)
            seen = [shape(_any_value(one, self._chance)) for _ in range(400)]
            deviation = statistics.pstdev(seen)
            size = LARGEST * SMALLER**place * self._chance.uniform(0.8, 1.25)
            worths.append(
                _Worth(
                    parameter=one.parameter,
                    shape=shape,
                    center=statistics.fmean(seen),
                    size=size / deviation if deviation else 0.0,
                )
            )
        return worths

    def _coupled(self) -> list[tuple[_Worth, _Worth, float]]:
        """Pairs of the ten largest that act together: as much again as the geometric mean of half of what each does alone."""
        ten = [(place, one) for place, one in enumerate(self._worths[:10])]
        self._chance.shuffle(ten)
        pairs = []
        for (place, first), (other, second) in zip(ten[:TOGETHER], ten[TOGETHER : 2 * TOGETHER], strict=True):
            typical = LARGEST * SMALLER ** ((place + other) / 2)
            pairs.append((first, second, 0.5 / typical))
        return pairs


def _study(chance: random.Random, seed: int) -> Study:
    """A shipped study with some of its parameters, whole families of them."""
    shipped = shipped_study(FILE)
    board = plain_board()
    usable = [one for one in shipped.space.parameters if not board.lacking(one.id, shipped)]
    children: dict[str, list[str]] = {one.id: [] for one in usable}
    for one in usable:
        for parent in one.when.ids if one.when is not None else ():
            if parent in children:
                children[parent].append(one.id)
    heads = [one.id for one in usable if one.when is None]
    chance.shuffle(heads)
    wanted = chance.randint(FEWEST, MOST)
    ids: set[str] = set()
    for head in heads:
        family = {head, *children[head]}
        if len(ids | family) <= wanted:
            ids |= family
    return study_of(FILE, sorted(ids), seed=seed, budget=BUDGET)


def _any_value(axes: ParameterAxes, chance: random.Random) -> Value:
    return axes.value_of(any_draw(chance), exact=False)


def _shape(parameter: Parameter, chance: random.Random) -> Callable[[Value], float]:
    """A level for each word; over a range a ramp or a hump, by the logarithm where the range is logarithmic."""
    kind = parameter.setting.kind
    if parameter.choices or kind not in NUMERIC | {Kind.VECTOR}:
        words: dict[str, float] = {}
        for value in (*(parameter.choices or parameter.setting.choices), *parameter.specials):
            words[str(value)] = chance.gauss(0, 1)
        return lambda value: words.get(str(value), 0.0)
    if kind is Kind.VECTOR:
        varying = [place for place, span in enumerate(parameter.spans) if span.low != span.high]
        place = chance.choice(varying)
        along = _along(parameter.spans[place], chance)
        return lambda value: along(value[place]) if isinstance(value, tuple) else 0.0
    assert parameter.span is not None
    numbers = _along(parameter.span, chance)
    level = chance.uniform(0, 1)
    return lambda value: level if isinstance(value, str) else numbers(value)


def _along(span: Span, chance: random.Random) -> Callable[[Value], float]:
    low, high = max(span.low, 1.0), max(span.high, 2.0)
    octaves = math.log2(high / low)
    if chance.random() < 0.5:
        first, last = sorted(chance.uniform(0, octaves) for _ in range(2))
        last = min(octaves, max(last, first + octaves / 3))
        first = min(first, last - octaves / 3)
        sign = chance.choice((1, -1))
        rising = ramp(low * 2**first, low * 2**last)
        return lambda value: sign * rising(value)
    best = low * 2 ** chance.uniform(0.1 * octaves, 0.9 * octaves)
    return peak(best, octaves=octaves * chance.uniform(0.4, 0.8))
