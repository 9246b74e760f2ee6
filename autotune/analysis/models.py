"""Two models of how fast a configuration is, and which of them foretells better what it hasn't seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.dataset import Column, Dataset, Values, rows_of

FOLDS = 5
TREES = 100

Estimate = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Fit = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int], Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """`r2`: share of the variance foretold of configurations that it was not fitted to (below 0: worse than the mean)."""

    name: str
    r2: float
    columns: tuple[Column, ...]
    estimate: Estimate

    def scores(self, several: list[Values]) -> NDArray[np.float64]:
        """The score (natural log of the ratio to stock) that it expects of each."""
        return self.estimate(rows_of(self.columns, several))


def best_model(data: Dataset, columns: tuple[Column, ...], seed: int) -> Model:
    """The best by held-out fit of a sparse linear model with squares, a forest of randomised trees, and their mean.

    With two hundred runs in some forty dimensions neither is always the better one, and where both are worth something
    their errors are not the same ones. The same for the same data and seed.
    """
    from sklearn.exceptions import ConvergenceWarning

    rows = rows_of(columns, data.values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        line = _fitted("sparse linear model", _sparse, data, rows, seed)
        trees = _fitted("forest", _forest, data, rows, seed)
    both = _Fitted(
        name="mean of a sparse linear model and a forest",
        foretold=(line.foretold + trees.foretold) / 2,
        estimate=lambda wanted: (line.estimate(wanted) + trees.estimate(wanted)) / 2,
    )
    best = max((both, line, trees), key=lambda one: _r2(data, one.foretold))
    return Model(name=best.name, r2=_r2(data, best.foretold), columns=columns, estimate=best.estimate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """`foretold`: of each row, by a model that hasn't seen its configuration; `estimate`: by one that has seen all."""

    name: str
    foretold: NDArray[np.float64]
    estimate: Estimate


def _fitted(name: str, fit: Fit, data: Dataset, rows: NDArray[np.float64], seed: int) -> _Fitted:
    from sklearn.model_selection import GroupKFold

    foretold = np.zeros_like(data.scores)
    for learn, test in GroupKFold(FOLDS).split(rows, groups=data.groups):
        estimate = fit(rows[learn], data.scores[learn], data.weights[learn], seed)
        foretold[test] = estimate(rows[test])
    return _Fitted(name=name, foretold=foretold, estimate=fit(rows, data.scores, data.weights, seed))


def _r2(data: Dataset, foretold: NDArray[np.float64]) -> float:
    center = np.average(data.scores, weights=data.weights)
    around = float((data.weights * (data.scores - center) ** 2).sum())
    missed = float((data.weights * (data.scores - foretold) ** 2).sum())
    return 1 - missed / around if around > 0 else 0.0


def _forest(
    rows: NDArray[np.float64], scores: NDArray[np.float64], weights: NDArray[np.float64], seed: int
) -> Estimate:
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    trees.fit(rows, scores, sample_weight=weights)
    return lambda wanted: np.asarray(trees.predict(wanted), dtype=float)


def _sparse(
    rows: NDArray[np.float64], scores: NDArray[np.float64], weights: NDArray[np.float64], seed: int
) -> Estimate:
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(_with_squares(rows))
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    line = LassoCV(cv=folds, max_iter=2_000, tol=1e-3)
    line.fit(scale.transform(_with_squares(rows)), scores, sample_weight=weights)
    return lambda wanted: np.asarray(line.predict(scale.transform(_with_squares(wanted))), dtype=float)


def _with_squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A hump in the middle of a range is two columns to a linear model. (Of a 0/1 column the square is the column.)"""
    return np.hstack([rows, (rows - 0.5) ** 2])
