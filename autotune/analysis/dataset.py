"""What the log knows of every configuration, as rows of numbers: values in force, drift-corrected score, weight.

One row per trial that has a number, stock among them. A parameter that didn't count in a trial (its condition was not
met) has the value that was in force all the same, stock's; its parent has columns of its own, so a model can tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.experiment.events import Sample
from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook
from autotune.measurement.scores import scores_of
from autotune.space.parameter import Parameter, Scale
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value

Values = Mapping[str, Value]

HEAVIEST = 4.0
"""No row counts more than so many ordinary ones: repeats say little of the settings beside those they were made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """`values` in force, `scores` (natural log of the ratio to stock) and `weights` (mean 1), one entry per trial.

    `groups`: equal for trials of the same configuration, so that no fold is tested on what another has learned.
    """

    values: tuple[Values, ...]
    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]

    @property
    def configurations(self) -> int:
        return len(set(self.groups.tolist()))

    @property
    def varied(self) -> frozenset[str]:
        """The settings that didn't have the same value in every trial."""
        if not self.values:
            return frozenset()
        first = self.values[0]
        return frozenset(
            id_ for id_, value in first.items() if any(one.get(id_) != value for one in self.values)
        )

    def part(self, rows: NDArray[np.int64]) -> Dataset:
        """These trials alone."""
        _, groups = np.unique(self.groups[rows], return_inverse=True)
        return Dataset(
            values=tuple(self.values[row] for row in rows),
            scores=self.scores[rows],
            weights=self.weights[rows],
            groups=groups,
        )


def dataset_of(study: Study, book: Logbook) -> Dataset:
    """Every trial of the study, of whichever night, that has a score."""
    in_force = values_in_force(book)
    scored = [one for one in scores_of(book).values() if math.isfinite(one.score) and not one.failed]
    values, scores, errors = [], [], []
    for one in scored:
        proposal = book.proposals[one.number]
        stock = book.stock(proposal.night)
        values.append(in_force.get(one.number, proposal.configuration.over(stock)))
        scores.append(one.score)
        errors.append(one.error)
    known = [error for error in errors if error > 0]
    usual = float(np.median(known)) if known else 1.0
    weights = np.array([min((usual / error) ** 2, HEAVIEST) if error > 0 else HEAVIEST for error in errors])
    ids = study.space.ids
    places: dict[tuple[Value | None, ...], int] = {}
    groups = [places.setdefault(tuple(one.get(id_) for id_ in ids), len(places)) for one in values]
    return Dataset(
        values=tuple(values),
        scores=np.array(scores, dtype=float),
        weights=weights / weights.mean() if len(weights) else weights,
        groups=np.array(groups, dtype=np.int64),
    )


def values_in_force(book: Logbook) -> dict[int, dict[str, Value]]:
    """By trial, what its last sample had in force: a board may round what it was asked for."""
    found: dict[int, dict[str, Value]] = {}
    for place, slot in book.slots.items():
        if slot.last.arm.kind == "trial" and isinstance(slot.last, Sample):
            found[slot.last.arm.number] = slot.last.effective.over(book.stock(place[0]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number of a row: how near `id` is to `label`, or where it lies between `low` and `high`."""

    id: str
    label: Value | None = None
    element: int | None = None
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def of(self, value: Value | None) -> float:
        if self.label is not None:
            return float(_alike(value, self.label))
        number = _number(value, self.element)
        if number is None:
            return 0.0
        if self.log:
            number = math.log(max(number, self.low))
            return (number - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (number - self.low) / (self.high - self.low)


def columns_of(parameters: Iterable[Parameter], seen: Sequence[Values]) -> tuple[Column, ...]:
    """The columns that tell these sets of values apart; none for a parameter that never varied."""
    columns: list[Column] = []
    for parameter in parameters:
        values = [one[parameter.id] for one in seen if parameter.id in one]
        if parameter.setting.kind is Kind.VECTOR:
            for element in range(parameter.setting.length):
                columns += _numeric(parameter, values, element)
        elif parameter.setting.kind in NUMERIC:
            columns += _numeric(parameter, values, None)
        columns += _labels(parameter, values)
    return tuple(columns)


def rows_of(columns: Sequence[Column], several: Iterable[Values]) -> NDArray[np.float64]:
    """One row per set of values, one number per column."""
    rows = [[column.of(values.get(column.id)) for column in columns] for values in several]
    return np.array(rows, dtype=float).reshape(len(rows), len(columns))


def _numeric(parameter: Parameter, values: Sequence[Value], element: int | None) -> list[Column]:
    numbers = [number for value in values if (number := _number(value, element)) is not None]
    if not numbers or min(numbers) == max(numbers):
        return []
    spans = (parameter.span,) if element is None else parameter.spans[element : element + 1]
    log = min(numbers) > 0 and any(span is not None and span.scale is Scale.LOG for span in spans)
    return [Column(id=parameter.id, element=element, low=min(numbers), high=max(numbers), log=log)]


def _labels(parameter: Parameter, values: Sequence[Value]) -> list[Column]:
    """One column per word or choice; of two that are all there is, one says it."""
    numeric = parameter.setting.kind in NUMERIC | {Kind.VECTOR}
    labels: list[Value] = []
    for value in values:
        if (not numeric or isinstance(value, str)) and not any(_alike(value, one) for one in labels):
            labels.append(value)
    labels.sort(key=str)
    if numeric:
        plain = any(not isinstance(value, str) for value in values)
        wanted = labels if plain else labels[1:]
    else:
        wanted = labels[1:] if len(labels) <= 2 else labels
    return [Column(id=parameter.id, label=one) for one in wanted]


def _alike(left: Value | None, right: Value) -> bool:
    """Equal and of one type: True is not 1."""
    return left == right and type(left) is type(right)


def _number(value: Value | None, element: int | None) -> float | None:
    if element is not None:
        return float(value[element]) if isinstance(value, tuple) and len(value) > element else None
    return float(value) if isinstance(value, (int, float)) else None
