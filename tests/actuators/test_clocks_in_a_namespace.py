"""Three clusters' clocks planned, written and put back by a real agent.

A STAND-IN: this machine has no cpufreq, so the tree is of plain files, with the kernel's manners from cpufreq.c.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from paper_board import STUDY
from paper_rock import FILES

from autotune.actuators.discovery import Discovery, discover, paths_to_read
from autotune.actuators.switching import effects_of, plan_switch
from autotune.board.connection import Connection
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from conftest import BoardNamespace

pytestmark = pytest.mark.real

ROOT = "/sys/devices/system/cpu/cpufreq"
TREE = {path: text for path, text in FILES.items() if path.startswith(ROOT)}
IDS = (
    "cpufreq:policy0.governor",
    "cpufreq:policy4.governor",
    "cpufreq:policy4.ondemand.up_threshold",
    "cpufreq:policy6.governor",
    "cpufreq:policy6.max_freq",
)
WANTED = Configuration.of(
    {
        "cpufreq:policy0.governor": "schedutil",
        "cpufreq:policy4.ondemand.up_threshold": 25,
        "cpufreq:policy6.governor": "performance",
        "cpufreq:policy6.max_freq": "1800000",
    }
)


@pytest.fixture
def clocks(board_namespace: BoardNamespace) -> BoardNamespace:
    assert board_namespace.run("mount", "-t", "tmpfs", "tmpfs", ROOT).returncode == 0
    for path, text in TREE.items():
        board_namespace.run("mkdir", "-p", path.rpartition("/")[0])
        board_namespace.write(path, text)
    return board_namespace


def seen(line: Connection) -> Discovery:
    settings = tuple(CATALOGUE[id_] for id_ in IDS)
    return discover(settings, line.read(paths_to_read(settings, STUDY)), line.facts, STUDY)


def test_three_clusters_are_found_set_and_put_back(clocks: BoardNamespace, cpufreq_manners: Path) -> None:
    line = clocks.connect(preload=cpufreq_manners)
    begun: Begun = line.begin(study="clocks", night=1, holder="test", lease_s=60)
    found = seen(line)
    assert found.missing == {}
    assert [found.stock[id_] for id_ in IDS] == ["ondemand", "ondemand", 80, "ondemand", "2304000"]
    plan = plan_switch(WANTED, found, study=STUDY, address="127.0.0.2", begun=begun, placement=CpuPlacement())
    switched = line.switch(plan.writes, None)
    effective = effects_of(WANTED, found, switched.effects)
    assert (effective.refused, effective.doubts, effective.configuration) == ("", (), WANTED)
    assert seen(line).stock["cpufreq:policy6.governor"] == "performance"
    assert line.end().left == ()
    assert {path: clocks.read(path).strip() for path in TREE} == {
        path: text.strip() for path, text in TREE.items()
    }
