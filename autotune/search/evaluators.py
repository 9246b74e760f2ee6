"""Optuna's own importance evaluators on the trials of a study: what they say beside our own model, and why some can't."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import optuna

from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.measurement.scores import trial_scores
from autotune.search.encoding import Encoding, encoding_of, nights
from autotune.search.memory import Told, constraints, finished, quiet, told
from autotune.space.parameter import Parameter

_Evaluator: TypeAlias = optuna.importance.BaseImportanceEvaluator
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorShares:
    """What one of Optuna's evaluators says. `key` is its short name; `shares` by parameter id, adding up to 1.

    `reason`: what it leaves out, or why it says nothing at all; "": it judged every parameter.
    """

    key: str
    name: str
    shares: Mapping[str, float]
    reason: str = ""


_EVALUATORS: Mapping[str, tuple[str, Callable[[], _Evaluator]]] = MappingProxyType(
    {
        "fanova": ("fANOVA", lambda: optuna.importance.FanovaImportanceEvaluator(seed=_SEED)),
        "ped_anova": ("PED-ANOVA", optuna.importance.PedAnovaImportanceEvaluator),
        "mdi": (
            "mean decrease impurity",
            lambda: optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=_SEED),
        ),
    }
)


def optuna_importances(study: Study, log: Sequence[Event]) -> tuple[EvaluatorShares, ...]:
    """Each of Optuna's evaluators on every trial with a score. Of a study that hasn't begun, each with a reason alone."""
    if next(nights(log), None) is None:
        return _silent("no night of this study has begun yet")
    return importances_of(encoding_of(study, log), told(log, trial_scores(study, log)))


def importances_of(encoding: Encoding, several: Sequence[Told]) -> tuple[EvaluatorShares, ...]:
    """The same of these trials alone. What fails has no score, and is none of theirs."""
    good = [one for one in several if one.state == "good"]
    if len(good) < 2:
        return _silent(f"{len(good)} trials with a score are too few")
    axes = {
        axis.name: one.parameter
        for one in encoding.parameters
        for axis in ((one.words, *one.axes) if one.words is not None else one.axes)
    }
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study = optuna.create_study(direction="maximize")
        for one in good:
            point = encoding.encode(one.proposal.configuration)
            study.add_trial(finished(point, one.score, constraints()))
        judged = [_judged(key, name, made(), study, axes) for key, (name, made) in _EVALUATORS.items()]
    return (*judged, _SHAP)


def _judged(
    key: str, name: str, evaluator: _Evaluator, study: optuna.Study, axes: Mapping[str, Parameter]
) -> EvaluatorShares:
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError) as problem:
        return EvaluatorShares(key=key, name=name, shares={}, reason=str(problem).splitlines()[0])
    shares: dict[str, float] = {}
    for axis, share in found.items():
        id_ = axes[axis].id
        shares[id_] = shares.get(id_, 0.0) + share
    dropped = {one.id for one in axes.values()} - shares.keys()
    reason = f"leaves out {len(dropped)} that don't count, or don't vary, in every trial" if dropped else ""
    return EvaluatorShares(key=key, name=name, shares=shares, reason=reason)


_SHAP = EvaluatorShares(
    key="shap",
    name="SHAP",
    shares={},
    reason="can't be asked: Optuna's evaluator needs optuna-integration and shap, which autotune does not bring",
)


def _silent(reason: str) -> tuple[EvaluatorShares, ...]:
    return (
        *(
            EvaluatorShares(key=key, name=name, shares={}, reason=reason)
            for key, (name, _) in _EVALUATORS.items()
        ),
        _SHAP,
    )
