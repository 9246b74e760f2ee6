"""The agent on a virtual Rock 5B+: a real arm64 kernel with cpufreq, thermal zones and systemd, under emulation.

Only with `scripts/test --boards` (or `pytest -m boards`): the image takes minutes to make, once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import virtual_board
from virtual_board import VirtualBoard

from autotune.board.connection import Connection, connect
from autotune.board.records import Write
from autotune.errors import BoardUnfit

pytestmark = pytest.mark.boards

POLICIES = ("policy0", "policy4", "policy6")
LEASE_S = 30.0


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualBoard]:
    """A board of this test's own, from the booted snapshot; its ssh configuration is autotune's for the test."""
    if why := virtual_board.why_no_board():
        pytest.skip(why)
    made = virtual_board.start(tmp_path / "board")
    monkeypatch.setenv("AUTOTUNE_SSH_CONFIG", made.ssh_config)
    try:
        yield made
    finally:
        (virtual_board.known(tmp_path / "board") or made).stop()


def cpufreq(policy: str, name: str) -> str:
    return f"/sys/devices/system/cpu/cpufreq/{policy}/{name}"


def values(board: VirtualBoard, *paths: str) -> list[str]:
    done = board.ssh("cat", *paths)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def begun(board: VirtualBoard) -> Connection:
    connection = connect(board.address)
    connection.begin(study="virtual", night=1, holder="test", lease_s=LEASE_S)
    return connection


def governors(word: str) -> tuple[Write, ...]:
    return tuple(Write(path=cpufreq(policy, "scaling_governor"), text=word) for policy in POLICIES)


def governors_of(board: VirtualBoard) -> list[str]:
    return values(board, *(cpufreq(policy, "scaling_governor") for policy in POLICIES))


def test_what_it_is(board: VirtualBoard) -> None:
    with connect(board.address) as connection:
        facts = connection.facts
    assert (facts.machine, facts.model, facts.uid) == ("aarch64", "Radxa ROCK 5B+", 0)
    assert facts.cpus == tuple(range(8))
    assert facts.big_cpus() == (4, 5, 6, 7)
    assert facts.run_is_tmpfs


def test_three_clusters_change_their_governor_and_get_it_back_with_its_own_tunables(
    board: VirtualBoard,
) -> None:
    """Choosing a governor resets its tunables: the original's come back after it."""
    assert board.ssh(f"echo ondemand > {cpufreq('policy4', 'scaling_governor')}").returncode == 0
    threshold = (
        "/sys/devices/system/cpu/cpufreq/ondemand/up_threshold"  # one for all policies, with this driver
    )
    assert board.ssh(f"echo 63 > {threshold}").returncode == 0
    before = governors_of(board)
    assert before == ["schedutil", "ondemand", "schedutil"]
    with begun(board) as connection:
        switched = connection.switch(governors("performance"), None)
        assert not switched.step, switched.reason
        assert [effect.effective for effect in switched.effects] == ["performance"] * 3
        assert governors_of(board) == ["performance"] * 3
        assert connection.end().left == ()
    assert governors_of(board) == before
    assert values(board, threshold) == ["63"]


def test_a_limit_lowered_by_heat_is_never_taken_for_the_boards_own(board: VirtualBoard) -> None:
    """Hot, the kernel lowers policy4's highest clock by itself; whoever looks then must not restore that later."""
    highest = cpufreq("policy4", "scaling_max_freq")
    assert values(board, highest) == ["2400000"]
    assert board.ssh(f"echo performance > {cpufreq('policy4', 'scaling_governor')}").returncode == 0
    board.heat("bigcore0", 94)
    until = time.monotonic() + 60
    while values(board, highest) == ["2400000"]:
        assert time.monotonic() < until, "94 degrees throttle nothing"
    with begun(board) as connection:
        levels = connection.counters().levels
        assert levels["temp_bigcore0_thermal_c"] == pytest.approx(94, abs=0.5)
        assert any(name.startswith("cooling_") and state > 0 for name, state in levels.items())
        with pytest.raises(BoardUnfit, match="while heat slows the board down"):
            connection.switch((Write(path=highest, text="1800000"),), None)
        board.heat("bigcore0", 40)
        until = time.monotonic() + 60
        while values(board, highest) != ["2400000"]:
            assert time.monotonic() < until, f"cool again, {values(board, highest)} is left"
        assert not connection.switch((Write(path=highest, text="1800000"),), None).step
        assert values(board, highest) == ["1800000"]
        assert connection.end().left == ()
    assert values(board, highest) == ["2400000"]


def test_a_power_cut_in_mid_night_leaves_a_board_as_it_boots(board: VirtualBoard) -> None:
    with begun(board) as connection:
        assert not connection.switch(governors("performance"), None).step
        board.sync()
        after = board.power_cut()
        connection.fall_silent()
    assert governors_of(after) == ["schedutil"] * 3
    with connect(after.address) as connection:
        assert connection.status().journal in ("none", "other boot")
        assert connection.end().left == ()
        assert connection.status().changed == ()


def test_a_cut_line_is_undone_by_its_guardian_under_systemd(board: VirtualBoard) -> None:
    before = governors_of(board)
    with begun(board) as connection:
        assert not connection.switch(governors("powersave"), None).step
        os.kill(connection.agent_pid, signal.SIGKILL)
        until = time.monotonic() + LEASE_S + 30
        while governors_of(board) != before:
            assert time.monotonic() < until, governors_of(board)
