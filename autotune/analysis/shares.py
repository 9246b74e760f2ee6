"""How much of what a model explains goes with one parameter, or with several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.analysis.ensemble import Ensemble
from autotune.analysis.reference import Reference

LEVEL = 0.9
"""A share lies between its limits in so many cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of the variance, 0 to 1, with its limits."""

    middle: float
    low: float
    high: float


class Shares:
    """Total Sobol indices of a model over the reference, by Jansen's estimator, one for each model of the ensemble."""

    def __init__(self, reference: Reference, model: Ensemble) -> None:
        self._reference = reference
        self._model = model
        self._before = model.answers(reference.values)
        self._variance = np.maximum(self._before.var(axis=0), 1e-300)

    def of(self, members: Sequence[str]) -> Share:
        after = self._model.answers(self._reference.anew(members))
        shares = np.minimum(((after - self._before) ** 2).mean(axis=0) / 2 / self._variance, 1.0)
        low, high = np.quantile(shares, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Share(middle=float(shares.mean()), low=float(low), high=float(high))
