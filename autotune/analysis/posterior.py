"""A sparse linear model whose doubt is known: not one fit but several hundred that the trials leave possible.

Every parameter has a few columns (see `basis_of`) and a scale of its own, most scales are near nothing and a few are not: the
grouped horseshoe. Scales, coefficients and noise are drawn in turn, each given the others (Gibbs sampling with the auxiliary
variables of Makalic and Schmidt, "A simple sampler for the horseshoe estimator", 2016), so what is unsure because the search
never varied it stays unsure, and a share's limits come out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WARM_UP = 300
KEPT = 400
EVERY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """`coefficients`: one row per draw, one column per column of the design; `constants`: one per draw."""

    coefficients: Floats
    constants: Floats

    def answers(self, design: Floats) -> Floats:
        """What each draw expects of each row: rows x draws."""
        return np.asarray(design @ self.coefficients.T + self.constants, dtype=float)


def posterior_of(
    design: Floats, scores: Floats, weights: Floats, groups: Sequence[int], seed: int
) -> Posterior:
    """Draws for a design whose columns belong to these groups (0, 1, …), each of about unit variance over the space."""
    chance = np.random.default_rng(seed)
    member = np.asarray(groups, dtype=np.int64)
    sizes = np.bincount(member)
    count, width = design.shape
    unit = (
        float(np.sqrt(np.average((scores - np.average(scores, weights=weights)) ** 2, weights=weights)))
        or 1.0
    )
    # The constant is a column without a scale of its own.
    rows = np.column_stack([np.ones(count), design])
    root = np.sqrt(weights)[:, None]
    gram = (rows * root).T @ (rows * root)
    known = (rows * weights[:, None]).T @ (scores / unit)
    power = float((weights * (scores / unit) ** 2).sum())
    local, local_aux = np.full(len(sizes), 0.1), np.ones(len(sizes))
    overall, overall_aux, noise = 0.1, 1.0, 0.2
    kept, constants = [], []
    for turn in range(WARM_UP + KEPT * EVERY):
        precision = np.concatenate([[1e-4], 1 / (overall * local[member])])
        lower = np.linalg.cholesky(gram + np.diag(precision))
        mean = np.linalg.solve(lower, known)
        drawn = np.linalg.solve(lower.T, mean + np.sqrt(noise) * chance.standard_normal(width + 1))
        beta = drawn[1:]
        squares = np.bincount(member, beta**2, minlength=len(sizes))
        missed = power - 2 * float(drawn @ known) + float(drawn @ gram @ drawn)
        spread = float((squares / local).sum()) / overall
        noise = (max(missed, 1e-12) + spread) / 2 / chance.gamma((count + width) / 2)
        local = (1 / local_aux + squares / (2 * overall * noise)) / chance.gamma((sizes + 1) / 2)
        local = np.clip(local, 1e-10, 1e10)
        local_aux = (1 + 1 / local) / chance.gamma(1.0, size=len(sizes))
        overall = (1 / overall_aux + float((squares / local).sum()) / (2 * noise)) / chance.gamma(
            (width + 1) / 2
        )
        overall = float(np.clip(overall, 1e-12, 1e6))
        overall_aux = (1 + 1 / overall) / chance.gamma(1.0)
        if turn >= WARM_UP and (turn - WARM_UP) % EVERY == 0:
            kept.append(beta * unit)
            constants.append(drawn[0] * unit)
    return Posterior(coefficients=np.array(kept), constants=np.array(constants))
