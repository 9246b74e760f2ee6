"""The best configuration there is on a synthetic board, as far as it can be found without any noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from autotune.experiment.events import NightBegun
from autotune.experiment.study import Study
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind
from autotune.space.value import Value
from autotune.synthetic.boards import SyntheticBoard

_GRID: Final = 9
_PASSES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BestKnown:
    """`ratio`: its true requests/s over stock's, each workload against itself (`Study.objective_of`)."""

    configuration: Configuration
    ratio: float


def best_known(board: SyntheticBoard, study: Study, begun: NightBegun) -> BestKnown:
    """Coordinate ascent on the noiseless truth, from stock, over what this night may tune; coupled settings together.

    A lower bound of the true optimum: between the points of its grid a little more may be had.
    """
    return _Ascent(board, study, begun).best()


def candidates_of(parameter: Parameter) -> tuple[Value, ...]:
    """The values that are tried of a parameter: all of a list, and a grid of a range with its special words."""
    if parameter.choices:
        return parameter.choices
    if parameter.setting.kind is Kind.VECTOR:
        grids = [sorted({int(one) for one in _grid(span)}) for span in parameter.spans]
        return tuple(itertools.product(*grids))
    if parameter.span is None:
        return parameter.specials
    numbers = _grid(parameter.span)
    if parameter.setting.kind is Kind.FLOAT:
        return (*numbers, *parameter.specials)
    return (*sorted({round(one) for one in numbers}), *parameter.specials)


class _Ascent:
    def __init__(self, board: SyntheticBoard, study: Study, begun: NightBegun) -> None:
        self._board = board
        self._study = study
        self._stock = begun.stock
        self._facts = begun.facts
        self._space: SearchSpace = study.space.offering(begun.offered).without(
            {one.id: one.reason for one in begun.dropped}
        )
        self._values = {
            one.id: candidates_of(one) for one in self._space.parameters if one.id in begun.space_ids
        }
        self._zero = self._objective(Configuration())

    def best(self) -> BestKnown:
        chosen: dict[str, Value] = {}
        worth = 0.0
        for _ in range(_PASSES):
            before = worth
            for ids in self._moves():
                for move in itertools.product(*(self._values[id_] for id_ in ids)):
                    tried = {**chosen, **dict(zip(ids, move, strict=True))}
                    gain = self._gain(tried)
                    if gain > worth + 1e-12:
                        chosen, worth = tried, gain
            if worth == before:
                break
        found = self._complete(chosen) if chosen else Configuration()
        return BestKnown(configuration=found, ratio=math.exp(worth))

    def _moves(self) -> Iterator[tuple[str, ...]]:
        yield from ((id_,) for id_ in self._values)
        for several in self._board.coupled:
            if mine := tuple(id_ for id_ in several if id_ in self._values):
                yield mine

    def _complete(self, chosen: Mapping[str, Value]) -> Configuration:
        return self._space.complete(chosen, self._stock, self._facts).against(self._stock)

    def _gain(self, chosen: Mapping[str, Value]) -> float:
        """ln of its ratio to stock; minus infinity where it breaks a rule or fails."""
        configuration = self._complete(chosen)
        if self._space.broken_rules(configuration, self._stock, self._facts):
            return -math.inf
        values = configuration.over(self._stock)
        if self._board.failing(values, self._study) is not None:
            return -math.inf
        return self._objective(configuration) - self._zero

    def _objective(self, configuration: Configuration) -> float:
        values = configuration.over(self._stock)
        return self._study.objective_of(
            {
                one.name: self._board.truth(values, self._study, one).requests_per_s
                for one in self._study.workloads
            }
        )


def _grid(span: Span) -> Iterable[float]:
    """Evenly spaced values of the range, both ends included."""
    if span.low == span.high:
        return (span.low,)
    shares = [place / (_GRID - 1) for place in range(_GRID)]
    if span.scale is Scale.LOG and span.low > 0:
        return [span.low * (span.high / span.low) ** share for share in shares]
    return [span.low + (span.high - span.low) * share for share in shares]
