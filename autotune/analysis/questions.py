"""The reference's sets of values as rows of a model's columns: what the model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.dataset import Dataset, Values, columns_of, rows_of
from autotune.analysis.reference import Reference
from autotune.space.value import Value

Floats: TypeAlias = NDArray[np.float64]


class Questions:
    """`rows`: one per set of values of the reference. `columns` tell everything apart that was tried or is asked about."""

    def __init__(self, reference: Reference, data: Dataset) -> None:
        self.reference = reference
        self.columns = columns_of(reference.space.parameters, (*data.values, *reference.values))
        self.rows = rows_of(self.columns, reference.values)

    def anew(self, ids: Sequence[str]) -> Floats:
        """The rows with these parameters drawn anew."""
        return self._changed(ids, self.reference.anew(ids))

    def with_value(self, id_: str, value: Value) -> Floats:
        """The rows with this parameter at this value wherever it counts."""
        return self._changed((id_,), self.reference.with_value(id_, value))

    def _changed(self, ids: Sequence[str], values: Sequence[Values]) -> Floats:
        touched = self.reference.touched(ids)
        places = [place for place, column in enumerate(self.columns) if column.id in touched]
        rows = self.rows.copy()
        rows[:, places] = rows_of([self.columns[place] for place in places], values)
        return rows
