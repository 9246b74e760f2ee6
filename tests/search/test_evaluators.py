"""Optuna's own evaluators on the trials of a study."""

from __future__ import annotations

import functools
import math

import pytest
from search_examples import a_night, a_plan, a_study, go_on

from autotune.experiment.events import Event
from autotune.search.evaluators import EvaluatorShares, optuna_importances

KEYS = ["fanova", "ped_anova", "mdi", "shap"]


@functools.cache
def judged(trials: int) -> dict[str, EvaluatorShares]:
    study = a_study()
    log: list[Event] = go_on(study, [a_night(study), a_plan()], trials)
    return {one.key: one for one in optuna_importances(study, log)}


@pytest.mark.parametrize("key", ["fanova", "ped_anova", "mdi"])
def test_shares_are_by_parameter_and_add_up_to_one(key: str) -> None:
    shares = judged(40)[key].shares
    assert shares.keys() <= set(a_study().space.ids)
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert all(share >= 0 for share in shares.values())


def test_what_an_evaluator_leaves_out_is_said() -> None:
    found, every = judged(40)["fanova"], judged(40)["ped_anova"]
    assert len(found.shares) < len(every.shares)
    assert "leaves out" in found.reason
    assert every.reason == ""


def test_the_evaluator_that_can_not_be_asked_says_why() -> None:
    shap = judged(40)["shap"]
    assert shap.shares == {}
    assert "optuna-integration" in shap.reason


@pytest.mark.parametrize("trials", [0, 1])
def test_too_few_trials_are_a_reason_and_no_error(trials: int) -> None:
    found = judged(trials)
    assert list(found) == KEYS
    assert all(one.reason and not one.shares for one in found.values())


def test_a_study_that_has_not_begun_has_a_reason_for_each() -> None:
    assert [one.key for one in optuna_importances(a_study(), [])] == KEYS
    assert all(one.reason and not one.shares for one in optuna_importances(a_study(), []))
