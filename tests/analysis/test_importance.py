"""Which settings mattered, on searches whose truth is known."""

from __future__ import annotations

import functools
import math

import analysis_examples as example
import numpy as np
import pytest
from analysis_examples import CACHE, VALID, Truth, night, stock_of

from autotune.analysis.dataset import dataset_of
from autotune.analysis.findings import told_apart, values_along
from autotune.analysis.importance import Importance, importance_of
from autotune.analysis.reference import Reference, families, reference_of
from autotune.experiment.events import AppliedStep, Event, NightBegun
from autotune.experiment.study import Study
from autotune.measurement.logbook import read_log
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.setting import Kind, Setting

FIRST, SECOND, LEFT, RIGHT = (f"nginx:switch_{number}" for number in (0, 1, 4, 5))
GAINS = {FIRST: 0.20, SECOND: -0.12, CACHE: 0.10}
FEW_MATTER = Truth(GAINS, (LEFT, RIGHT, 0.30))
NOTHING_MATTERS = Truth({})


@functools.cache
def searched(truth: Truth, trials: int = 120) -> tuple[Study, list[Event]]:
    study = example.study()
    return study, night(study, truth, trials=trials, sigma=0.02, seed=0)[0]


@functools.cache
def found(truth: Truth = FEW_MATTER, trials: int = 120) -> Importance:
    study, log = searched(truth, trials)
    return importance_of(study, log)


@functools.cache
def reference() -> Reference:
    study, log = searched(FEW_MATTER)
    begun = next(event for event in log if isinstance(event, NightBegun))
    return reference_of(study, begun, study.space.ids, 1)


def test_what_matters_comes_first_and_its_limits_hold_its_share() -> None:
    first = [one.id for one in found().parameters[:5]]
    assert {FIRST, SECOND, LEFT, RIGHT, CACHE} == set(first)
    assert all(0 <= one.low <= one.share <= one.high <= 1 for one in found().parameters)
    assert found().reason == ""


def test_what_does_nothing_may_be_nothing() -> None:
    matter = {FIRST, SECOND, LEFT, RIGHT, CACHE}
    assert all(one.low == 0 for one in found().parameters if one.id not in matter)


def test_a_parent_stands_with_the_children_that_count_only_beside_it() -> None:
    group = next(one for one in found().parameters if one.id == CACHE)
    assert group.members == (CACHE, VALID)
    assert [part.id for part in group.parts] == [CACHE, VALID]
    assert group.parts[0].share > group.parts[1].share
    assert all(not one.parts for one in found().parameters if len(one.members) == 1)


def test_two_settings_that_only_count_together_are_told_of() -> None:
    pairs = [{one.a, one.b} for one in found().interactions]
    assert {LEFT, RIGHT} in pairs
    assert all(0 < one.strength <= 1 for one in found().interactions)


def test_a_step_has_the_share_of_all_that_it_sets_together_not_the_sum_of_theirs() -> None:
    study, log = searched(FEW_MATTER)
    step = AppliedStep(
        number=1,
        name="two that only count together",
        state="full",
        applied=2,
        of=2,
        configuration=Configuration.of({LEFT: True, RIGHT: True}),
    )
    with_step = [
        event.model_copy(update={"steps": (step,)}) if isinstance(event, NightBegun) else event
        for event in log
    ]
    said = importance_of(study, with_step)
    alone = [one.share for one in said.parameters if one.id in (LEFT, RIGHT)]
    share = said.steps[0].share
    assert share is not None
    assert max(alone) < share < sum(alone)


def test_a_value_is_worth_what_it_truly_is() -> None:
    one = next(one for one in found().dependences if one.id == FIRST)
    assert one.values == (False, True)
    assert one.ratios[0] == pytest.approx(1)
    assert one.lows[1] <= math.exp(GAINS[FIRST]) * 1.02
    assert one.highs[1] >= math.exp(GAINS[FIRST]) / 1.02
    assert sum(one.trials) == found().configurations


def test_the_model_says_how_far_it_is_to_be_believed() -> None:
    assert found().r2 is not None
    assert 0.5 < (found().r2 or 0) <= 1
    assert found().model
    assert found().doubts[0].code == "search bias"


def test_the_same_log_says_the_same() -> None:
    study, log = searched(FEW_MATTER)
    assert importance_of(study, list(log)) == found()


def test_where_nothing_matters_no_ranking_is_made_up() -> None:
    said = found(NOTHING_MATTERS)
    assert said.parameters == ()
    assert "too little" in said.reason
    assert said.r2 is not None
    assert (said.dependences, said.interactions) == ((), ())


def test_of_too_few_configurations_no_model_is_asked() -> None:
    said = found(FEW_MATTER, 12)
    assert (said.parameters, said.r2, said.model) == ((), None, "")
    assert "too few" in said.reason or "needs 30" in said.reason


def test_a_study_that_has_not_begun_says_so() -> None:
    said = importance_of(example.study(), [])
    assert (said.parameters, said.steps, said.night) == ((), (), None)
    assert "has begun" in said.reason


def test_the_reference_is_even_where_the_search_was_not() -> None:
    on = [one[FIRST] is True for one in reference().values]
    assert np.mean(on) == pytest.approx(0.5, abs=0.07)
    study, log = searched(FEW_MATTER)
    tried = [one[FIRST] is True for one in dataset_of(study, read_log(log)).values]
    assert abs(float(np.mean(tried)) - 0.5) > abs(float(np.mean(on)) - 0.5)


def test_what_does_not_count_is_at_stock_in_the_reference() -> None:
    stock = stock_of(example.study())
    off = [one for one in reference().values if one[CACHE] == "off"]
    assert off
    assert all(one[VALID] == stock[VALID] for one in off)


def test_drawing_a_parent_anew_carries_its_children_with_it_and_nothing_else() -> None:
    before, after = reference().values, reference().anew((CACHE,))
    changed = {id_ for one, two in zip(before, after, strict=True) for id_ in one if one[id_] != two[id_]}
    assert changed == {CACHE, VALID}
    stock = stock_of(example.study())
    assert all(two[VALID] == stock[VALID] for two in after if two[CACHE] == "off")


def test_drawing_a_child_anew_changes_nothing_where_it_does_not_count() -> None:
    pairs = list(zip(reference().values, reference().anew((VALID,)), strict=True))
    assert all(one == two for one, two in pairs if one[CACHE] == "off")
    assert any(one[VALID] != two[VALID] for one, two in pairs if one[CACHE] != "off")


def test_parameters_that_always_moved_together_are_one() -> None:
    study, log = searched(FEW_MATTER)
    data = dataset_of(study, read_log(log))
    alone = families(study.space)
    assert told_apart(study.space, alone, data) == alone
    twins = tuple({**one, SECOND: one[FIRST]} for one in data.values)
    data = type(data)(values=twins, scores=data.scores, weights=data.weights, groups=data.groups)
    together = told_apart(study.space, alone, data)
    assert (FIRST, SECOND) in together
    assert len(together) == len(alone) - 1


def test_of_a_range_some_values_are_asked_about_with_its_words_and_stock() -> None:
    setting = Setting(id="nginx:number", kind=Kind.INTEGER, low=1, high=4096, specials=("off",), why="t")
    parameter = Parameter(
        setting=setting, span=Span(low=1, high=4096, scale=Scale.LOG), specials=("off",), why="t"
    )
    assert values_along(parameter, 100) == (1, 4, 16, 64, 100, 256, 1024, 4096, "off")
