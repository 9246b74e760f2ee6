"""Not one model of how fast a configuration is, but many that the trials leave possible: their spread is the doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.basis import Basis
from autotune.analysis.dataset import Dataset, Values, columns_of, rows_of
from autotune.analysis.posterior import posterior_of
from autotune.analysis.reference import Reference

Floats: TypeAlias = NDArray[np.float64]
Answers: TypeAlias = Callable[[Sequence[Values]], Floats]
"""Scores (natural logs of ratios to stock): one row per set of values, one column per model."""

FOLDS = 5
FORESTS = 40
TREES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """`r2`: share of the variance that its mean foretells of configurations that it was not fitted to."""

    name: str
    r2: float
    answers: Answers


def best_ensemble(data: Dataset, reference: Reference, seed: int) -> Ensemble:
    """The better one by held-out fit of a sparse linear model and a forest. The same for the same data and seed."""
    kinds: dict[str, Callable[[Dataset, Reference, int], Answers]] = {
        "sparse linear model": _linear,
        "forest": _forests,
    }
    fits = {name: _held_out(fit, data, reference, seed) for name, fit in kinds.items()}
    name = max(fits, key=lambda one: fits[one])
    return Ensemble(name=name, r2=fits[name], answers=kinds[name](data, reference, seed))


def _held_out(
    fit: Callable[[Dataset, Reference, int], Answers], data: Dataset, reference: Reference, seed: int
) -> float:
    from sklearn.model_selection import GroupKFold

    foretold = np.zeros_like(data.scores)
    for learn, test in GroupKFold(FOLDS).split(data.scores, groups=data.groups):
        answers = fit(data.part(learn), reference, seed)
        foretold[test] = answers([data.values[row] for row in test]).mean(axis=1)
    center = np.average(data.scores, weights=data.weights)
    around = float((data.weights * (data.scores - center) ** 2).sum())
    missed = float((data.weights * (data.scores - foretold) ** 2).sum())
    return 1 - missed / around if around > 0 else 0.0


def _linear(data: Dataset, reference: Reference, seed: int) -> Answers:
    """Draws from what a sparse linear model may be, see posterior."""
    columns = columns_of(reference.space.parameters, (*data.values, *reference.values))
    basis = Basis.of(columns, reference.values)
    names = list(dict.fromkeys(basis.ids))
    groups = [names.index(id_) for id_ in basis.ids]
    possible = posterior_of(basis.design(data.values), data.scores, data.weights, groups, seed)
    return lambda several: possible.answers(basis.design(several))


def _forests(data: Dataset, reference: Reference, seed: int) -> Answers:
    """Forests of randomised trees, each of as many configurations drawn with replacement."""
    from sklearn.ensemble import ExtraTreesRegressor

    columns = columns_of(reference.space.parameters, (*data.values, *reference.values))
    rows = rows_of(columns, data.values)
    chance = np.random.default_rng(seed)
    forests = []
    for number in range(FORESTS):
        drawn = chance.choice(data.configurations, data.configurations)
        times = np.bincount(drawn, minlength=data.configurations)[data.groups]
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=number)
        forests.append(forest.fit(rows, data.scores, sample_weight=data.weights * times))

    def answers(several: Sequence[Values]) -> Floats:
        asked = rows_of(columns, several)
        return np.column_stack([one.predict(asked) for one in forests])

    return answers
