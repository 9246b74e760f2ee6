"""A sparse linear model whose doubt is known: not one fit but several hundred that the trials leave possible.

Every group of columns (a parameter's, a pair's) has a scale of its own; most scales are near nothing and a few are not: the
grouped horseshoe. Scales, coefficients and noise are drawn in turn, each given the others: Gibbs sampling with the auxiliary
variables of Makalic and Schmidt, "A simple sampler for the horseshoe estimator" (2016). So what is unsure because the search
never varied it stays unsure, and a share's limits come out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

EVERY = 2
"""Of the draws after the warm-up one is kept: neighbours resemble each other."""
_CONSTANT_VARIANCE = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """`coefficients`: one row per draw, one column per column of the design; `constants`: one per draw."""

    coefficients: Floats
    constants: Floats

    def answers(self, design: Floats) -> Floats:
        """What each draw expects of each row: rows x draws."""
        return np.asarray(design @ self.coefficients.T + self.constants, dtype=float)


def posterior_of(
    design: Floats,
    scores: Floats,
    weights: Floats,
    groups: Sequence[int],
    scales: Sequence[float],
    seed: int,
    kept: int,
) -> Posterior:
    """So many draws for a design whose columns belong to these groups (0, 1, …), each of about unit variance over the space.

    `scales`: how large a group's effect is expected to be beside another's.
    """
    chance = np.random.default_rng(seed)
    member = np.asarray(groups, dtype=np.int64)
    expected = np.asarray(scales, dtype=float)
    sizes = np.bincount(member, minlength=len(expected))
    center = float(np.average(scores, weights=weights))
    unit = float(np.sqrt(np.average((scores - center) ** 2, weights=weights))) or 1.0
    root = np.sqrt(weights)
    rows = np.column_stack([np.ones(len(design)), design]) * root[:, None]
    told = (scores - center) / unit * root
    count, width = design.shape
    local, local_aux = np.full(len(sizes), 0.1), np.ones(len(sizes))
    overall, overall_aux, noise = 0.1, 1.0, 0.2
    coefficients, constants = [], []
    draw = _Draw(rows, told, chance)
    for turn in range(kept * (1 + EVERY)):
        drawn = draw(np.concatenate([[_CONSTANT_VARIANCE], overall * local[member]]), noise)
        squares = np.bincount(member, drawn[1:] ** 2, minlength=len(sizes))
        missed = float(((told - rows @ drawn) ** 2).sum())
        noise = (missed + float((squares / local).sum()) / overall) / 2 / chance.gamma((count + width) / 2)
        local = (1 / local_aux + squares / (2 * overall * noise)) / chance.gamma((sizes + 1) / 2)
        local = np.clip(local, 1e-12, 1e12)
        local_aux = (1 / expected**2 + 1 / local) / chance.gamma(1.0, size=len(sizes))
        overall = (1 / overall_aux + float((squares / local).sum()) / (2 * noise)) / chance.gamma(
            (width + 1) / 2
        )
        overall = min(max(overall, 1e-12), 1e6)
        overall_aux = (1 + 1 / overall) / chance.gamma(1.0)
        if turn >= kept and (turn - kept) % EVERY == 0:
            coefficients.append(drawn[1:] * unit)
            constants.append(drawn[0] * unit + center)
    return Posterior(coefficients=np.array(coefficients), constants=np.array(constants))


class _Draw:
    """One draw of all coefficients, given their variances (in units of the noise's): the normal equations, disturbed as much
    as the trials and the variances leave open. With more columns than trials by way of the trials (Bhattacharya,
    Chakraborty and Mallick, "Fast sampling with Gaussian scale mixture priors", 2016).
    """

    def __init__(self, rows: Floats, told: Floats, chance: np.random.Generator) -> None:
        self._rows, self._told, self._chance = rows, told, chance
        self._wide = rows.shape[1] > rows.shape[0]
        self._square = np.eye(rows.shape[0]) if self._wide else rows.T @ rows

    def __call__(self, variances: Floats, noise: float) -> Floats:
        rows = self._rows
        count, width = rows.shape
        own = self._chance.standard_normal(width) * np.sqrt(variances * noise)
        luck = self._chance.standard_normal(count) * np.sqrt(noise)
        if self._wide:
            spread = rows * variances
            missing = np.linalg.solve(spread @ rows.T + self._square, self._told - rows @ own - luck)
            return np.asarray(own + spread.T @ missing, dtype=float)
        known = rows.T @ (self._told + luck) + own / variances
        return np.asarray(np.linalg.solve(self._square + np.diag(1 / variances), known), dtype=float)
