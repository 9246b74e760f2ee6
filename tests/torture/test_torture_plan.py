"""The plan of deaths: enough of each kind, every combination, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from torture_plan import (
    LAB,
    LINK_BRIEFLY,
    LINK_GONE,
    LINKS,
    LOCAL,
    MOMENTS,
    STAGES,
    STRATA,
    Form,
    budget_for,
    combination_text,
    deal,
    floor_for,
    planned_samples,
)
from torture_study import without_shared, write_study

from autotune.definitions.study_file import read_study

BOTH = pytest.mark.parametrize("form", [LOCAL, LAB], ids=["local", "lab"])


@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_deaths_fall_everywhere_and_in_every_combination(seed: int) -> None:
    dealt = deal(200, seed, LOCAL)
    strata = Counter(one.stratum for one in dealt)
    assert min(strata[one] for one in STRATA) >= 20
    assert floor_for(200) == 15
    assert {one.victims for one in dealt} == set(LOCAL.combinations)
    assert len(LOCAL.combinations) == 15
    assert [one.number for one in dealt] == list(range(1, 201))
    assert all(one.weather.is_fair for one in dealt)


@pytest.mark.parametrize("seed", range(20))
def test_three_hundred_deaths_in_a_lab_have_every_combination_and_twenty_cuts_for_good(seed: int) -> None:
    dealt = deal(300, seed, LAB)
    had = Counter(one.victims for one in dealt)
    assert min(had[one] for one in LAB.all_combinations) >= 2
    assert len(LAB.all_combinations) == 63 + 7 + 7
    assert sum(LINK_GONE in one.victims for one in dealt) == 20
    assert sum(LINK_BRIEFLY in one.victims for one in dealt) == 30
    assert min(Counter(one.stratum for one in dealt).values()) >= floor_for(300)
    assert {one.weather.kind for one in dealt} == {"fair", "late", "lossy", "late and lossy"}
    assert 40 < sum(not one.weather.is_fair for one in dealt) < 140


def test_the_short_form_in_a_lab_cuts_the_cable_both_ways() -> None:
    victims = [one.victims for one in deal(6, 1, LAB)]
    assert sum(LINK_GONE in one for one in victims) == 1
    assert sum(LINK_BRIEFLY in one for one in victims) == 1


@BOTH
@pytest.mark.parametrize("deaths", [20, 60, 200])
def test_the_dangerous_moments_fall_into_every_stage_that_has_them(deaths: int, form: Form) -> None:
    dealt = deal(deaths, 1, form)
    if deaths == 200:
        for moment in MOMENTS:
            stages = {one.stage for one in dealt if one.stratum == moment}
            assert stages == set(STAGES) - ({"calibration"} if moment == "switch" else set())
    assert all(one.stage == one.stratum for one in dealt if one.stratum in STAGES)
    # In the order of the night, and nobody kills an nginx that a restore has stopped already.
    assert [STAGES.index(one.stage) for one in dealt] == sorted(STAGES.index(one.stage) for one in dealt)
    assert not [one for one in dealt if one.stratum == "restore" and one.victims & {"nginx", *LINKS}]


def test_the_same_seed_deals_the_same_and_another_one_otherwise() -> None:
    assert deal(60, 3, LAB) == deal(60, 3, LAB)
    assert deal(60, 3, LAB) != deal(60, 4, LAB)


def test_the_first_deaths_of_all_fall_before_anything_is_measured() -> None:
    assert deal(200, 1, LOCAL)[0].stratum == "begin"


@BOTH
@pytest.mark.parametrize("deaths", [1, 6, 20, 60, 200, 300])
def test_the_study_has_room_for_its_deaths_and_is_one_that_autotune_takes(
    deaths: int, form: Form, tmp_path: Path
) -> None:
    dealt = deal(deaths, 1, form)
    budget = budget_for(dealt)
    for stage in STAGES:
        # About half of the combinations leave the controller alive, and then a sample is waited for.
        assert planned_samples(budget, stage) >= 0.75 * sum(one.stage == stage for one in dealt)
    study = read_study(write_study(tmp_path, budget, 1, form, own=False))
    assert study.budget.finals_rounds == budget["finals_rounds"]
    assert study.budget.lease_s == form.lease_s


def test_a_lab_s_study_leaves_alone_what_all_namespaces_share(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, budget_for(deal(6, 1, LAB)), 1, LAB, own=False))
    asked = {
        *study.space.ids,
        *(value.setting.id for step in study.hand_tuned.steps for value in step.values),
    }
    assert not [id_ for id_ in asked if id_.startswith(("thp:", "sysctl:vm."))]
    assert "sysctl:net.core.somaxconn" in asked
    assert len(study.hand_tuned.steps) == 7


def test_a_table_without_a_shared_setting_stays_as_it_is() -> None:
    text = '# a comment\n\n[parameter."sysctl:net.core.somaxconn"]\nwhy = "a"\n\n[parameter."thp:enabled"]\nwhy = "b"\n\n'
    rule = '[[rule]]\nkeep = "1 < 2"\nwhy = "c"\n'
    assert without_shared(text + rule) == text.partition('[parameter."thp')[0] + rule


def test_a_combination_is_told_in_one_order() -> None:
    assert combination_text(frozenset({"nginx", "controller"})) == "controller+nginx"
    assert combination_text(frozenset({LINK_GONE, "agent"})) == "agent+link for good"
