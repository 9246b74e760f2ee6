"""The plan of deaths: enough of each kind, every combination, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from torture_plan import (
    COMBINATIONS,
    MOMENTS,
    STAGES,
    STRATA,
    budget_for,
    combination_text,
    deal,
    floor_for,
    planned_samples,
    study_text,
)

from autotune.definitions.study_file import read_study


@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_deaths_fall_everywhere_and_in_every_combination(seed: int) -> None:
    dealt = deal(200, seed)
    strata = Counter(one.stratum for one in dealt)
    assert min(strata[one] for one in STRATA) >= 20
    assert floor_for(200) == 15
    assert {one.victims for one in dealt} == set(COMBINATIONS)
    assert len(COMBINATIONS) == 15
    assert [one.number for one in dealt] == list(range(1, 201))


@pytest.mark.parametrize("deaths", [20, 60, 200])
def test_the_dangerous_moments_fall_into_every_stage_that_has_them(deaths: int) -> None:
    dealt = deal(deaths, 1)
    if deaths == 200:
        for moment in MOMENTS:
            stages = {one.stage for one in dealt if one.stratum == moment}
            assert stages == set(STAGES) - ({"calibration"} if moment == "switch" else set())
    assert all(one.stage == one.stratum for one in dealt if one.stratum in STAGES)
    # In the order of the night, and nobody kills an nginx that a restore has stopped already.
    assert [STAGES.index(one.stage) for one in dealt] == sorted(STAGES.index(one.stage) for one in dealt)
    assert not [one for one in dealt if one.stratum == "restore" and "nginx" in one.victims]


def test_the_same_seed_deals_the_same_and_another_one_otherwise() -> None:
    assert deal(60, 3) == deal(60, 3)
    assert deal(60, 3) != deal(60, 4)


def test_the_first_deaths_of_all_fall_before_anything_is_measured() -> None:
    assert deal(200, 1)[0].stratum == "begin"


@pytest.mark.parametrize("deaths", [1, 6, 20, 60, 200])
def test_the_study_has_room_for_its_deaths_and_is_one_that_autotune_takes(
    deaths: int, tmp_path: Path
) -> None:
    dealt = deal(deaths, 1)
    budget = budget_for(dealt)
    for stage in STAGES:
        # About half of the combinations leave the controller alive, and then a sample is waited for.
        assert planned_samples(budget, stage) >= 0.75 * sum(one.stage == stage for one in dealt)
    file = tmp_path / "torture.toml"
    file.write_text(study_text(budget, 1))
    assert read_study(file).budget.finals_rounds == budget["finals_rounds"]


def test_a_combination_is_told_in_one_order() -> None:
    assert combination_text(frozenset({"nginx", "controller"})) == "controller+nginx"
