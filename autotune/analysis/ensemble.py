"""Not one model of how fast a configuration is, but many that the trials leave possible: their spread is the doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.basis import Basis
from autotune.analysis.dataset import Dataset, rows_of
from autotune.analysis.posterior import Posterior, posterior_of
from autotune.analysis.questions import Questions

Floats: TypeAlias = NDArray[np.float64]
Answers: TypeAlias = Callable[[Floats], Floats]
"""Scores (natural logs of ratios to stock): one row per row of the questions' columns, one column per model."""

FOLDS = 5
LINES = 300
FORESTS = 24
TREES = 30
JUDGED_BY = 0.25
"""Of an ensemble's models: enough for the mean that its held-out fit is judged by."""
FOREMOST = 8
"""Pairs are looked for among so many parameters with the largest effects: what acts with others mostly also acts alone."""
PAIR_SCALE = 0.3
"""How large a pair's effect is expected to be beside one parameter's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """`r2`: share of the variance that its mean foretells of configurations that it was not fitted to."""

    name: str
    r2: float
    answers: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    """Trials as rows of the questions' columns."""

    rows: Floats
    scores: Floats
    weights: Floats
    groups: NDArray[np.int64]

    def part(self, which: NDArray[np.int64]) -> _Trials:
        return _Trials(
            rows=self.rows[which],
            scores=self.scores[which],
            weights=self.weights[which],
            groups=self.groups[which],
        )


_Fit: TypeAlias = Callable[[_Trials, Questions, int, float], Answers]
"""The last: which part of the ensemble's models is wanted."""


def best_ensemble(data: Dataset, questions: Questions, seed: int) -> Ensemble:
    """The best by held-out fit of a sparse linear model, one with pairs, and a forest. The same for the same data and seed."""
    kinds: dict[str, _Fit] = {
        "sparse linear model": _line,
        "sparse linear model with pairs": _line_with_pairs,
        "forest": _forests,
    }
    trials = _Trials(
        rows=rows_of(questions.columns, data.values),
        scores=data.scores,
        weights=data.weights,
        groups=data.groups,
    )
    fits = {name: _held_out(fit, trials, questions, seed) for name, fit in kinds.items()}
    name = max(fits, key=lambda one: fits[one])
    return Ensemble(name=name, r2=fits[name], answers=kinds[name](trials, questions, seed, 1.0))


def _held_out(fit: _Fit, trials: _Trials, questions: Questions, seed: int) -> float:
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold

    foretold = np.zeros_like(trials.scores)
    for learn, test in GroupKFold(FOLDS).split(trials.rows, groups=trials.groups):
        answers = fit(trials.part(learn), questions, seed, JUDGED_BY)
        foretold[test] = answers(trials.rows[test]).mean(axis=1)
    return float(r2_score(trials.scores, foretold, sample_weight=trials.weights))


def _line(trials: _Trials, questions: Questions, seed: int, part: float) -> Answers:
    """Draws from what a sparse linear model may be, see posterior."""
    basis = Basis.of(questions.columns, questions.rows)
    return _answers(basis, _fitted(basis, trials, seed, part))


def _line_with_pairs(trials: _Trials, questions: Questions, seed: int, part: float) -> Answers:
    alone = Basis.of(questions.columns, questions.rows)
    found = _fitted(alone, trials, seed, part)
    mean_squares = (found.coefficients**2).mean(axis=0)
    sizes = np.bincount(alone.groups, mean_squares, minlength=len(alone.names))
    foremost = [alone.names[place] for place in np.argsort(-sizes, kind="stable")[:FOREMOST]]
    basis = alone.with_pairs(foremost)
    return _answers(basis, _fitted(basis, trials, seed, part))


def _fitted(basis: Basis, trials: _Trials, seed: int, part: float) -> Posterior:
    scales = [1.0] * len(basis.names) + [PAIR_SCALE] * len(basis.pairs)
    design = basis.design(trials.rows)
    return posterior_of(
        design, trials.scores, trials.weights, basis.groups, scales, seed, round(part * LINES)
    )


def _answers(basis: Basis, possible: Posterior) -> Answers:
    return lambda rows: possible.answers(basis.design(rows))


def _forests(trials: _Trials, questions: Questions, seed: int, part: float) -> Answers:
    """Forests of randomised trees, each of as many configurations drawn with replacement."""
    from sklearn.ensemble import ExtraTreesRegressor

    del questions
    chance = np.random.default_rng(seed)
    _, configuration = np.unique(trials.groups, return_inverse=True)
    count = int(configuration.max()) + 1
    forests = []
    for number in range(round(part * FORESTS)):
        times = np.bincount(chance.choice(count, count), minlength=count)[configuration]
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=number)
        forests.append(forest.fit(trials.rows, trials.scores, sample_weight=trials.weights * times))
    return lambda rows: np.column_stack([one.predict(rows) for one in forests])
