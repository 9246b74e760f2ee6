"""What a model says beside the shares: what each value is worth, which parameters act together, which can't be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.analysis.dataset import Dataset, columns_of, rows_of
from autotune.analysis.ensemble import Ensemble
from autotune.analysis.questions import Floats, Questions
from autotune.analysis.shares import LEVEL, Shares
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value

POINTS = 7
"""Of a range, so many values are asked about."""
SEEN_FROM = 0.01
"""Share of the variance from which an interaction is told of."""
ALIKE_FROM = 0.95
"""Correlation from which two parameters always moved together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """What a parameter's values are worth, all others evenly over the space: ratios to its stock value, and their limits.

    `trials`: how many of the study's trials were nearer to this value than to any other of them.
    """

    id: str
    values: tuple[Value, ...]
    ratios: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Two parameters whose effects depend on each other. `strength`: share of the variance that only both together explain."""

    a: str
    b: str
    strength: float


def dependence_of(questions: Questions, model: Ensemble, data: Dataset, parameter: Parameter) -> Dependence:
    """Partial dependence over the reference."""
    stock = questions.reference.stock[parameter.id]
    values = values_along(parameter, stock)
    before = _mean(model, questions.with_value(parameter.id, stock))
    changes = np.array([_mean(model, questions.with_value(parameter.id, one)) - before for one in values])
    low, high = np.exp(np.quantile(changes, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1))
    return Dependence(
        id=parameter.id,
        values=values,
        ratios=tuple(np.exp(changes.mean(axis=1)).tolist()),
        lows=tuple(low.tolist()),
        highs=tuple(high.tolist()),
        trials=_near(parameter, values, data),
    )


def values_along(parameter: Parameter, stock: Value) -> tuple[Value, ...]:
    """All of a list, some of a range with its words, and stock; numbers first, ascending. Of a vector the diagonal."""
    kind = parameter.setting.kind
    found: list[Value] = list(parameter.choices or (parameter.setting.choices if kind is Kind.CHOICE else ()))
    if not found and parameter.span is not None:
        along = _grid(parameter.span)
        found = [*along] if kind is Kind.FLOAT else [round(one) for one in along]
    if not found and parameter.spans:
        grids = [[round(one) for one in _grid(span)] for span in parameter.spans]
        found = [tuple(itertools.accumulate(one, max)) for one in zip(*grids, strict=True)]
    found = [*found, *parameter.specials, stock]
    distinct = {(type(one), one): one for one in found}
    several = list(distinct.values())
    if kind not in NUMERIC | {Kind.VECTOR}:
        return tuple(several)
    numbers = [one for one in several if not isinstance(one, str)]
    return (*sorted(numbers, key=_size), *(one for one in several if isinstance(one, str)))


def interactions_of(shares: Shares, groups: Sequence[Sequence[str]]) -> tuple[Interaction, ...]:
    """The pairs of these groups that act together, strongest first. Each is told of by its first member.

    What two total indices have in common beyond that of both together is what only both explain.
    """
    alone = [shares.several(one) for one in groups]
    found = []
    for (one, first), (other, second) in itertools.combinations(enumerate(groups), 2):
        common = alone[one] + alone[other] - shares.several((*first, *second))
        found.append(Interaction(a=first[0], b=second[0], strength=float(np.median(common))))
    return tuple(sorted((one for one in found if one.strength >= SEEN_FROM), key=lambda one: -one.strength))


def told_apart(
    space: SearchSpace, families: Sequence[tuple[str, ...]], data: Dataset
) -> tuple[tuple[str, ...], ...]:
    """These families, those of them in one that had parameters which always moved together in the trials."""
    columns = columns_of(space.parameters, data.values)
    rows = rows_of(columns, data.values)
    heads = {id_: place for place, members in enumerate(families) for id_ in members}
    of = np.array([heads[column.id] for column in columns], dtype=np.int64)
    joined = list(range(len(families)))
    if rows.shape[1] > 1:
        alike = np.abs(np.corrcoef(rows, rowvar=False)) >= ALIKE_FROM
        for one, other in zip(*np.nonzero(alike), strict=True):
            first, last = sorted((joined[of[one]], joined[of[other]]))
            joined = [first if place == last else place for place in joined]
    return tuple(
        tuple(id_ for place, members in enumerate(families) if joined[place] == head for id_ in members)
        for head in sorted(set(joined))
    )


def _mean(model: Ensemble, rows: Floats) -> Floats:
    return np.asarray(model.answers(rows).mean(axis=0), dtype=float)


def _near(parameter: Parameter, values: Sequence[Value], data: Dataset) -> tuple[int, ...]:
    seen = [{parameter.id: one[parameter.id]} for one in data.values if parameter.id in one]
    points = [{parameter.id: one} for one in values]
    columns = columns_of([parameter], [*seen, *points])
    if not columns or not seen:
        return (0,) * len(values)
    apart = np.abs(rows_of(columns, seen)[:, None, :] - rows_of(columns, points)[None, :, :]).sum(axis=2)
    return tuple(np.bincount(apart.argmin(axis=1), minlength=len(values)).tolist())


def _grid(span: Span) -> list[float]:
    shares = [place / (POINTS - 1) for place in range(POINTS)]
    if span.scale is Scale.LOG and span.low > 0:
        return [span.low * (span.high / span.low) ** share for share in shares]
    return [span.low + (span.high - span.low) * share for share in shares]


def _size(value: Value) -> tuple[float, ...]:
    return tuple(float(one) for one in value) if isinstance(value, tuple) else (float(value),)
