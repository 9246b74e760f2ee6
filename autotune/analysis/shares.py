"""How much of what a model explains goes with one parameter, or with several together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.ensemble import Ensemble
from autotune.analysis.questions import Questions

Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.9
"""A share is to lie between its limits in so many cases."""
WIDER = 1.5
MISFIT = 0.07
"""Models of one kind agree more than they are right: what none of them can bend to, all of them miss. So limits are taken
wider than the models' own, on the scale of effects (the roots of shares), and never narrower than the misfit. Both figures
are from boards of known truth, of other seeds than those that `scripts/bench-importance` counts on.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of the variance, 0 to 1: the models' mean, with its limits."""

    mean: float
    low: float
    high: float


class Shares:
    """Total Sobol indices of a model over the reference, by Jansen's estimator, one for each model of the ensemble."""

    def __init__(self, questions: Questions, model: Ensemble) -> None:
        self._questions = questions
        self._model = model
        self._before = model.answers(questions.rows)
        self._variance = np.maximum(self._before.var(axis=0), 1e-300)

    def of(self, members: Sequence[str]) -> Share:
        return _share(self.several(members))

    def several(self, members: Sequence[str]) -> Floats:
        """One share for each model: of these parameters together."""
        after = self._model.answers(self._questions.anew(members))
        shares: Floats = ((after - self._before) ** 2).mean(axis=0) / 2 / self._variance
        return np.minimum(shares, 1.0, out=shares)


def _share(several: Floats) -> Share:
    low, middle, high = np.quantile(np.sqrt(several), ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    mean = float(several.mean())
    below = max(0.0, middle - math.hypot(WIDER * (middle - low), MISFIT)) ** 2
    above = min(1.0, middle + math.hypot(WIDER * (high - middle), MISFIT)) ** 2
    return Share(mean=mean, low=min(below, mean), high=max(above, mean))
