"""The plan of a virtual board's deaths, and the file from which its torture goes on. Boots nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import board_plan
from board_look import Look, differences, same_at_each_boot
from board_study import write_study
from board_torture import State, read_state

from autotune.definitions.study_file import read_study

LOOK = Look(
    boot="one",
    values={"/proc/sys/vm/swappiness": "60\n", "/proc/sys/vm/nr_pages": "7\n"},
    left=(),
    kept=(),
    services={"nginx": "active"},
)


def test_deaths_are_the_same_for_the_same_seed_and_of_all_kinds_in_all_moments() -> None:
    deaths = board_plan.deal(20, 20, seed=1)
    assert deaths == board_plan.deal(20, 20, seed=1) != board_plan.deal(20, 20, seed=2)
    assert Counter(one.kind for one in deaths) == {"power cut": 20, "reboot": 10, "reset": 10}
    assert Counter(one.moment for one in deaths) == dict.fromkeys(board_plan.MOMENTS, 10)
    assert [one.number for one in deaths] == list(range(1, 41))
    stages = [board_plan.STAGES.index(one.stage) for one in deaths]
    assert stages == sorted(stages)
    assert set(stages) == set(range(len(board_plan.STAGES)))


def test_its_study_can_be_read(tmp_path: Path) -> None:
    budget = board_plan.budget_for(board_plan.deal(20, 20, seed=1))
    study = read_study(write_study(tmp_path, "ssh://root@virtual-board", budget))
    assert study.budget.calibration_pairs == budget["calibration_pairs"]


def test_what_a_board_boots_with_is_what_two_boots_agree_in() -> None:
    again = Look(
        boot="two", values={**LOOK.values, "/proc/sys/vm/nr_pages": "8\n"}, left=(), kept=(), services={}
    )
    stock = same_at_each_boot(LOOK, again)
    assert stock == {"/proc/sys/vm/swappiness": "60\n"}
    assert differences(LOOK, stock) == []


def test_what_is_not_as_it_boots_is_told() -> None:
    seen = Look(
        boot="two",
        values={"/proc/sys/vm/swappiness": "10\n"},
        left=("process 7 (wrk)",),
        kept=(),
        services={"nginx": "inactive"},
    )
    assert differences(seen, LOOK.values) == [
        "/proc/sys/vm/swappiness boots with '60', is '10'",
        "/proc/sys/vm/nr_pages boots with '7', is '(absent)'",
        "process 7 (wrk) is left",
        "nginx.service is inactive",
    ]


def test_a_torture_goes_on_from_its_folder(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    state = State(2, 3, 5, dealt_with=2, stock={"a": "b"})
    state.found.kinds["reset"] += 1
    state.found.boots_s.append(23.5)
    state.write(tmp_path)
    assert read_state(tmp_path) == state
