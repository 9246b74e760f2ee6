"""The columns of a linear model: what it may bend, which pairs may act together, and in which unit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.dataset import Column

Floats: TypeAlias = NDArray[np.float64]

DEGREES = 3
"""Of a number along its range: a slope, a hump, and a bend the one way and the other."""
OF_A_PAIR = 3
"""So many of each parameter's first columns make the columns of a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Words as 0 or 1 and numbers as polynomials, each with mean 0 over the space; the variances of one parameter's add up to 1.

    `ids`: the parameter of each column. `pairs`: parameters whose products follow, as columns.
    """

    columns: tuple[Column, ...]
    ids: tuple[str, ...]
    center: Floats
    scale: Floats
    varies: NDArray[np.bool_]
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Floats) -> Basis:
        """`rows` of these columns, drawn evenly over the space."""
        raw = _raw(columns, rows)
        ids = [id_ for column in columns for id_ in [column.id] * _width(column)]
        deviation = raw.std(axis=0)
        varies = deviation > 1e-9
        names = np.array(ids, dtype=object)[varies]
        counts = np.array([(names == name).sum() for name in names], dtype=float)
        return cls(
            columns=tuple(columns),
            ids=tuple(names.tolist()),
            center=raw.mean(axis=0)[varies],
            scale=deviation[varies] * np.sqrt(counts),
            varies=varies,
        )

    def with_pairs(self, among: Sequence[str]) -> Basis:
        """The same with every pair of these parameters."""
        return replace(self, pairs=tuple(itertools.combinations(among, 2)))

    def design(self, rows: Floats) -> Floats:
        """One row for each of these, one column for each of `groups`."""
        alone = (_raw(self.columns, rows)[:, self.varies] - self.center) / self.scale
        blocks = [alone]
        for pair in self.pairs:
            left, right = (alone[:, self._first(id_)] for id_ in pair)
            blocks.append((left[:, :, None] * right[:, None, :]).reshape(len(rows), -1))
        return np.hstack(blocks)

    @property
    def groups(self) -> list[int]:
        """Of each column of the design, which parameter (0, 1, …, in the order of `names`) or, after them, which pair it is of."""
        names = self.names
        found = [names.index(id_) for id_ in self.ids]
        for place, (left, right) in enumerate(self.pairs, start=len(names)):
            found += [place] * (len(self._first(left)) * len(self._first(right)))
        return found

    @property
    def names(self) -> list[str]:
        """The parameters that have columns."""
        return list(dict.fromkeys(self.ids))

    def _first(self, id_: str) -> list[int]:
        return [place for place, one in enumerate(self.ids) if one == id_][:OF_A_PAIR]


def _width(column: Column) -> int:
    return 1 if column.label is not None else DEGREES


def _raw(columns: Sequence[Column], rows: Floats) -> Floats:
    """Legendre's polynomials of a number: of one evenly spread they are uncorrelated."""
    blocks = [np.zeros((len(rows), 0))]
    for place, column in enumerate(columns):
        along = rows[:, place]
        if column.label is not None:
            blocks.append(along[:, None])
            continue
        x = 2 * np.clip(along, 0, 1) - 1
        blocks.append(np.column_stack([x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2]))
    return np.hstack(blocks)
