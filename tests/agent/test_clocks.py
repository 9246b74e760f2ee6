"""Three clusters' clocks and a memory clock: changed, read back, and given back by whoever lives.

A STAND-IN: this machine has no cpufreq, so the tree is of plain files in a namespace, and cpufreq.c, preloaded into the
agent, gives writing into them the kernel's manners. It proves the order and the restoring, not the kernel.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from autotune.board.connection import Connection
from autotune.board.records import Write
from autotune.errors import AutotuneError, BoardBusy
from conftest import BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.slow]

CPUS = "/sys/devices/system/cpu/cpufreq"
DMC = "/sys/class/devfreq/dmc"
THERMAL = "/sys/class/thermal/cooling_device0"
GOVERNORS = "conservative ondemand userspace powersave performance schedutil"


def policy(number: int, governor: str, tunables: Mapping[str, str]) -> dict[str, str]:
    at = f"{CPUS}/policy{number}"
    return {
        f"{at}/scaling_available_governors": GOVERNORS,
        f"{at}/scaling_governor": governor,
        f"{at}/scaling_min_freq": "408000",
        f"{at}/scaling_max_freq": "2304000",
        **{f"{at}/{governor}/{name}": text for name, text in tunables.items()},
    }


TREE = {
    **policy(
        0,
        "ondemand",
        {"up_threshold": "80", "sampling_rate": "20000", "sampling_down_factor": "2", "io_is_busy": "1"},
    ),
    **policy(4, "schedutil", {"rate_limit_us": "5000"}),
    **policy(6, "performance", {}),
    f"{DMC}/available_governors": "dmc_ondemand userspace powersave performance",
    f"{DMC}/governor": "dmc_ondemand",
    f"{DMC}/upthreshold": "25",
    f"{DMC}/downdifferential": "15",
    f"{THERMAL}/type": "cpufreq-cpu0",
    f"{THERMAL}/cur_state": "0",
}
CHANGES = (
    Write(path=f"{CPUS}/policy0/scaling_governor", text="performance"),
    Write(path=f"{CPUS}/policy4/scaling_governor", text="ondemand"),
    Write(path=f"{CPUS}/policy4/ondemand/up_threshold", text="30"),
    Write(path=f"{CPUS}/policy6/scaling_governor", text="schedutil"),
    Write(path=f"{CPUS}/policy6/schedutil/rate_limit_us", text="0"),
    Write(path=f"{CPUS}/policy6/scaling_min_freq", text="1200000"),
    Write(path=f"{CPUS}/policy6/scaling_max_freq", text="1800000"),
    Write(path=f"{DMC}/governor", text="performance"),
)


class Board:
    """A board whose clocks are TREE."""

    def __init__(self, namespace: BoardNamespace, manners: Path) -> None:
        self.namespace = namespace
        self._manners = manners
        for directory in (CPUS, "/sys/class"):
            assert namespace.run("mount", "-t", "tmpfs", "tmpfs", directory).returncode == 0
        for path, text in TREE.items():
            namespace.run("mkdir", "-p", path.rpartition("/")[0])
            namespace.write(path, text + "\n")

    def connect(self) -> Connection:
        return self.namespace.connect(preload=self._manners)

    def begin(self) -> Connection:
        line = self.connect()
        line.begin(study="clocks", night=1, holder="test", lease_s=60)
        return line

    def now(self) -> dict[str, str]:
        done = self.namespace.run(
            "sh", "-c", f'for one in $(find {CPUS} {DMC} {THERMAL} -type f); do echo "$one $(cat $one)"; done'
        )
        return dict(line.split(" ", 1) for line in done.stdout.splitlines())

    def wait_until_restored(self) -> None:
        until = time.monotonic() + 10
        while self.now() != TREE and time.monotonic() < until:
            time.sleep(0.05)
        assert self.now() == TREE


@pytest.fixture
def board(board_namespace: BoardNamespace, cpufreq_manners: Path) -> Board:
    return Board(board_namespace, cpufreq_manners)


def in_force(board: Board) -> None:
    now = board.now()
    for change in CHANGES:
        assert now[change.path] == change.text, change.path
    assert f"{CPUS}/policy0/ondemand/up_threshold" not in now


def test_the_stand_in_behaves_like_the_kernel(board: Board) -> None:
    line = board.begin()
    refused = line.switch((Write(path=f"{CPUS}/policy0/scaling_governor", text="turbo"),), None)
    assert (refused.step, refused.effects[0].error) == ("write", "Invalid argument")
    line.switch((Write(path=f"{CPUS}/policy0/scaling_governor", text="schedutil"),), None)
    assert board.now()[f"{CPUS}/policy0/schedutil/rate_limit_us"] == "1000"
    line.end()
    assert board.now() == TREE


def test_governors_tunables_and_limits_are_read_back_and_given_back(board: Board) -> None:
    line = board.begin()
    for _ in range(2):
        switched = line.switch(CHANGES, None)
        assert (switched.step, switched.reason) == ("", "")
        assert {one.path: one.effective for one in switched.effects} == {
            one.path: one.text for one in CHANGES
        }
        in_force(board)
        back = line.switch((), None)
        assert (back.step, back.reason, back.foreign) == ("", "", ())
        assert board.now() == TREE
    line.switch(CHANGES, None)
    assert line.end().left == ()
    assert board.now() == TREE


def test_from_one_configuration_straight_to_another(board: Board) -> None:
    line = board.begin()
    line.switch(CHANGES, None)
    other = (
        Write(path=f"{CPUS}/policy4/scaling_governor", text="ondemand"),
        Write(path=f"{CPUS}/policy4/ondemand/sampling_rate", text="50000"),
        Write(path=f"{CPUS}/policy6/scaling_max_freq", text="816000"),
    )
    switched = line.switch(other, None)
    assert (switched.step, switched.reason) == ("", "")
    now = board.now()
    assert now[f"{CPUS}/policy4/ondemand/up_threshold"] == "95"  # its governor's own again
    assert now[f"{CPUS}/policy0/ondemand/up_threshold"] == "80"
    assert now[f"{CPUS}/policy6/scaling_governor"] == "performance"
    assert line.end().left == ()
    assert board.now() == TREE


def test_each_file_takes_its_own_value_and_nothing_changes(board: Board) -> None:
    line = board.begin()
    paths = [path for path in TREE if not path.startswith(THERMAL) and "available" not in path]
    effects = line.check(paths)
    assert [(one.path, one.error) for one in effects if one.error] == []
    assert [one.path for one in effects if one.effective != one.requested] == []
    assert board.now() == TREE


def test_the_guardian_gives_the_clocks_back(board: Board) -> None:
    line = board.begin()
    line.switch(CHANGES, None)
    in_force(board)
    os.kill(line.agent_pid, signal.SIGKILL)
    board.wait_until_restored()


def test_with_both_dead_the_next_agent_gives_them_back(board: Board) -> None:
    line = board.begin()
    line.switch(CHANGES, None)
    keepers = [pid for pid, name, words in board.namespace.processes() if "autotune" in name + words]
    assert len(keepers) >= 2
    for pid in keepers:
        os.kill(pid, signal.SIGSTOP)
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    in_force(board)
    until = time.monotonic() + 10
    while True:
        try:
            assert board.connect().end().left == ()
            break
        except BoardBusy:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert board.now() == TREE


def test_limits_of_a_throttled_cpu_are_not_touched(board: Board) -> None:
    board.namespace.write(f"{THERMAL}/cur_state", "2\n")
    line = board.begin()
    with pytest.raises(AutotuneError, match="heat slows the board down"):
        line.switch((Write(path=f"{CPUS}/policy6/scaling_max_freq", text="1800000"),), None)
    assert line.switch(CHANGES[:1], None).step == ""  # a governor may change all the same
    assert line.end().left == ()


def test_statistics_and_names_like_a_policys_are_no_tunables(board: Board) -> None:
    line = board.begin()
    for path in (
        f"{CPUS}/policy0/stats/reset",
        f"{CPUS}/policy9x/boost",
        f"{CPUS}/boost",
        f"{CPUS}/policy0/cpuinfo_max_freq",
    ):
        with pytest.raises(AutotuneError, match="not on the agent's list"):
            line.switch((Write(path=path, text="1"),), None)
    assert line.end().left == ()
