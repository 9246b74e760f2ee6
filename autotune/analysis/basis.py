"""The columns of a linear model: what it may bend, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.dataset import Column, Values, rows_of

Floats = NDArray[np.float64]

DEGREES = 3
"""Of a number along its range: a slope, a hump, and a bend the one way and the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Words as 0 or 1 and numbers as polynomials, each with mean 0 over the space; the variances of one parameter's add up to 1.

    `ids`: the parameter of each column.
    """

    columns: tuple[Column, ...]
    ids: tuple[str, ...]
    center: Floats
    scale: Floats
    varies: NDArray[np.bool_]

    @classmethod
    def of(cls, columns: Sequence[Column], over: Sequence[Values]) -> Basis:
        """`over`: values drawn evenly over the space."""
        raw = _raw(columns, rows_of(columns, over))
        ids = [id_ for column in columns for id_ in [column.id] * _width(column)]
        deviation = raw.std(axis=0)
        varies = deviation > 1e-9
        names = np.array(ids)[varies]
        counts = np.array([(names == name).sum() for name in names], dtype=float)
        return cls(
            columns=tuple(columns),
            ids=tuple(names.tolist()),
            center=raw.mean(axis=0)[varies],
            scale=deviation[varies] * np.sqrt(counts),
            varies=varies,
        )

    def design(self, several: Sequence[Values]) -> Floats:
        """One row per set of values."""
        raw = _raw(self.columns, rows_of(self.columns, several))[:, self.varies]
        return np.asarray((raw - self.center) / self.scale, dtype=float)


def _width(column: Column) -> int:
    return 1 if column.label is not None else DEGREES


def _raw(columns: Sequence[Column], rows: Floats) -> Floats:
    """Legendre's polynomials of a number: of one evenly spread they are uncorrelated."""
    blocks = []
    for place, column in enumerate(columns):
        along = rows[:, place]
        if column.label is not None:
            blocks.append(along[:, None])
            continue
        x = 2 * np.clip(along, 0, 1) - 1
        blocks.append(np.column_stack([x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2][:DEGREES]))
    return np.hstack(blocks) if blocks else np.zeros((len(rows), 0))
