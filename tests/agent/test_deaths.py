"""Whoever dies, and whenever: the board ends as it began."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving import (
    DIRTY_BYTES,
    DIRTY_RATIO,
    FIN_TIMEOUT,
    SOMAXCONN,
    NightHere,
    begin,
    leftovers,
    load_order,
    within,
)

from autotune.board.records import Write
from autotune.errors import BoardBusy, BoardLeftChanged, BoardUnreachable
from conftest import BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx")]

# Everything a death has to undo: values of both kinds, a server, files.
_VALUES = (Write(path=SOMAXCONN, text="2222"), Write(path=FIN_TIMEOUT, text="31"))


@pytest.fixture
def originals(board_namespace: BoardNamespace) -> dict[str, str]:
    return {path: board_namespace.read(path) for path in (SOMAXCONN, FIN_TIMEOUT)}


def changed_night(board: BoardNamespace, *, lease_s: float = 60.0) -> NightHere:
    night = begin(board, lease_s=lease_s)
    night.serve(*_VALUES, workers=2)
    assert night.value(SOMAXCONN) == "2222"
    return night


def guardian_pid(board: BoardNamespace) -> int:
    [pid] = [pid for pid, name, _ in board.processes() if name == "autotune-guard"]
    return pid


def as_it_began(board: BoardNamespace, originals: dict[str, str]) -> bool:
    return {path: board.read(path) for path in originals} == originals and leftovers(board) == []


def test_a_killed_agent_is_undone_by_its_guardian_within_a_second(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    os.kill(night.line.agent_pid, signal.SIGKILL)
    assert within(1.0, lambda: as_it_began(board_namespace, originals))
    assert board_namespace.run("ls", "/run/autotune").stdout.split() == ["lock"]
    with pytest.raises(BoardUnreachable, match="signal 9"):
        night.line.keepalive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_makes_the_agent_restore_and_leave(
    board_namespace: BoardNamespace, originals: dict[str, str], number: signal.Signals
) -> None:
    night = changed_night(board_namespace)
    os.kill(night.line.agent_pid, number)
    assert within(5.0, lambda: as_it_began(board_namespace, originals))
    night.line.close()
    assert board_namespace.processes() == []


def test_a_closed_line_makes_the_agent_restore_and_leave(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    night.line.close()
    assert as_it_began(board_namespace, originals)
    assert board_namespace.processes() == []


def test_a_killed_guardian_is_replaced_before_anything_more_is_written(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    first = guardian_pid(board_namespace)
    os.kill(first, signal.SIGKILL)
    switched = night.line.switch((Write(path=SOMAXCONN, text="3333"),), None)
    assert switched.guardian_restarted
    second = guardian_pid(board_namespace)
    assert second != first
    assert not night.line.switch((), None).guardian_restarted
    night.line.switch(_VALUES, None)
    os.kill(night.line.agent_pid, signal.SIGKILL)
    assert within(1.0, lambda: as_it_began(board_namespace, originals))


def test_the_guardian_outlives_the_signals_that_end_the_agent(board_namespace: BoardNamespace) -> None:
    night = changed_night(board_namespace)
    guard = guardian_pid(board_namespace)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guard, number)
    time.sleep(0.1)
    assert guardian_pid(board_namespace) == guard
    night.line.end()


def test_a_silent_controller_loses_the_board_when_its_lease_is_over(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace, lease_s=0.6)
    began = time.monotonic()
    assert within(3.0, lambda: as_it_began(board_namespace, originals))
    assert time.monotonic() - began > 0.3
    with pytest.raises(BoardUnreachable):
        night.line.keepalive()


def test_a_stopped_agent_is_killed_and_undone_when_the_lease_is_over(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace, lease_s=0.6)
    os.kill(night.line.agent_pid, signal.SIGSTOP)
    assert within(3.0, lambda: as_it_began(board_namespace, originals))


def test_keepalives_hold_the_lease(board_namespace: BoardNamespace) -> None:
    night = changed_night(board_namespace, lease_s=0.6)
    for _ in range(8):
        time.sleep(0.2)
        night.line.keepalive()
    assert night.value(SOMAXCONN) == "2222"


def test_with_agent_and_guardian_both_killed_the_next_begin_undoes_it(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    assert night.value(SOMAXCONN) == "2222"
    line = board_namespace.connect()
    status = line.status()
    assert (status.journal, status.held_by) == ("open", "")
    assert {one.path: (one.original, one.now) for one in status.changed} == {
        SOMAXCONN: (originals[SOMAXCONN], "2222"),
        FIN_TIMEOUT: (originals[FIN_TIMEOUT], "31"),
    }
    assert night.value(SOMAXCONN) == "2222"  # looking changed nothing
    again = begin(board_namespace)
    assert {SOMAXCONN, FIN_TIMEOUT} <= set(again.begun.undone)
    assert sum("(nginx)" in one for one in again.begun.undone) == 3
    assert {path: board_namespace.read(path) for path in originals} == originals
    again.line.end()
    assert as_it_began(board_namespace, originals)


def test_with_both_killed_an_end_without_a_begin_undoes_it(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    ended = board_namespace.connect().end()
    assert set(ended.restored) == set(originals)
    assert as_it_began(board_namespace, originals)


def test_workers_whose_master_was_killed_are_found_by_their_open_files(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    [master] = [
        pid for pid, name, line in board_namespace.processes() if name == "nginx" and "master" in line
    ]
    os.kill(master, signal.SIGKILL)
    _kill_both(night)
    assert sum(name == "nginx" for _, name, _ in board_namespace.processes()) == 2
    # Without the recorded group there are only the open files to go by.
    journal = board_namespace.read("/run/autotune/journal").splitlines()
    kept = [line for line in journal if '"PROCESS"' not in line]
    board_namespace.write("/run/autotune/journal", "\n".join(kept) + "\n")
    ended = board_namespace.connect().end()
    assert ended.left == ()
    assert as_it_began(board_namespace, originals)


def test_a_strangers_nginx_is_left_alone_by_a_restore(board_namespace: BoardNamespace) -> None:
    night = changed_night(board_namespace)
    conf = "daemon off; error_log stderr; pid /run/other.pid; events { } http { access_log off; server { listen 127.0.0.9:80; } }"
    board_namespace.write("/run/other.conf", conf)
    other = subprocess.Popen(
        board_namespace.command(["nginx", "-e", "stderr", "-p", "/run", "-c", "/run/other.conf"]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert within(5, lambda: "7F:0050" in board_namespace.read("/proc/net/tcp"))
        _kill_both(night)
        board_namespace.connect().end()
        assert other.poll() is None
    finally:
        other.terminate()
        other.wait()


def test_a_death_under_load_leaves_no_generator(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    agent = night.line.agent_pid
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -9 {agent}"])
    with pytest.raises(BoardUnreachable):
        night.line.load(load_order(warmup_s=0.2, duration_s=20))
    killer.wait()
    assert within(1.0, lambda: as_it_began(board_namespace, originals))


def test_a_signal_under_load_ends_the_load_and_restores(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -TERM {night.line.agent_pid}"])
    with pytest.raises(BoardUnreachable, match="exit code 143"):
        night.line.load(load_order(warmup_s=0, duration_s=20))
    killer.wait()
    assert as_it_began(board_namespace, originals)


_CONTROLLER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from conftest import BoardNamespace
from serving import begin, SOMAXCONN, Write
night = begin(BoardNamespace(int(sys.argv[2])))
night.serve(Write(path=SOMAXCONN, text="2222"), workers=2)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_controller_is_undone_at_once(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    controller = subprocess.Popen(
        [sys.executable, "-c", _CONTROLLER, json.dumps(folders), str(board_namespace.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == b"ready\n"
        assert board_namespace.read(SOMAXCONN) == "2222"
        controller.kill()
    assert within(2.0, lambda: as_it_began(board_namespace, originals))
    assert within(2.0, lambda: board_namespace.processes() == [])


def test_a_new_tuner_waits_until_the_guardian_is_done(board_namespace: BoardNamespace) -> None:
    night = changed_night(board_namespace)
    guard = guardian_pid(board_namespace)
    os.kill(guard, signal.SIGSTOP)
    os.kill(night.line.agent_pid, signal.SIGKILL)
    with pytest.raises(BoardBusy, match="a test, study test"):
        begin(board_namespace)
    os.kill(guard, signal.SIGCONT)
    assert within(2.0, lambda: leftovers(board_namespace) == [])
    begin(board_namespace).line.end()


def test_a_night_of_another_boot_has_only_its_files_removed(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    for pid, name, _ in board_namespace.processes():
        if name == "nginx":
            os.kill(pid, signal.SIGKILL)
    _edit_begin(board_namespace, "boot_id", "another")
    assert board_namespace.connect().status().journal == "other boot"
    board_namespace.write(SOMAXCONN, "1111")
    again = begin(board_namespace)
    assert any("earlier boot" in one for one in again.begun.undone)
    assert night.value(SOMAXCONN) == "1111"
    assert not board_namespace.exists(f"/run/autotune/{night.begun.token}")
    assert not board_namespace.exists(night.begun.www_dir)
    again.line.end()


def test_files_that_a_power_cut_left_without_a_journal_are_removed(board_namespace: BoardNamespace) -> None:
    old, fresh, foreign = (f"/var/lib/autotune/{name}" for name in ("0" * 16, "1" * 16, "notes"))
    board_namespace.run("mkdir", "-p", old + "/log", fresh, foreign)
    board_namespace.write(old + "/log/access.log", "GET /\n")
    board_namespace.run("touch", "-d", "2001-01-01", old, foreign)
    night = begin(board_namespace)
    assert night.begun.undone == (old,)
    night.line.end()
    assert [board_namespace.exists(path) for path in (old, fresh, foreign)] == [False, True, True]


def test_a_boot_is_told_by_its_name_whatever_the_clock_says_and_a_restore_sees_to_it_too(
    board_namespace: BoardNamespace,
) -> None:
    """A board without a battery wakes up in another year, and its /run is gone."""
    earlier, ours = (f"/var/lib/autotune/{name}" for name in ("0" * 16, "1" * 16))
    board_namespace.run("mkdir", "-p", earlier, ours)
    board_namespace.write(earlier + "/boot", "another")
    board_namespace.write(ours + "/boot", board_namespace.read("/proc/sys/kernel/random/boot_id"))
    board_namespace.run("touch", "-d", "2101-01-01", earlier)
    board_namespace.run("touch", "-d", "2001-01-01", ours)
    assert not board_namespace.exists("/run/autotune")
    assert board_namespace.connect().end().restored == ()
    assert board_namespace.connect().end(earlier_boots=True).restored == (earlier,)
    assert [board_namespace.exists(path) for path in (earlier, ours)] == [False, True]


def test_a_night_of_another_network_namespace_is_not_undone_here(
    board_namespace: BoardNamespace, originals: dict[str, str]
) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    before = _edit_begin(board_namespace, "netns", "1")
    with pytest.raises(Exception, match="network namespace 1"):
        board_namespace.connect().end()
    with pytest.raises(Exception, match="network namespace 1"):
        begin(board_namespace)
    assert night.value(SOMAXCONN) == "2222"
    _edit_begin(board_namespace, "netns", before)
    board_namespace.connect().end()
    assert as_it_began(board_namespace, originals)


def test_a_torn_last_line_is_no_hindrance(board_namespace: BoardNamespace, originals: dict[str, str]) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    board_namespace.write(
        "/run/autotune/journal",
        board_namespace.read("/run/autotune/journal") + '\n{"entry":"WILL","path":"/pr',
    )
    assert board_namespace.connect().end().left == ()
    assert as_it_began(board_namespace, originals)


def test_a_torn_middle_stops_with_the_line_and_changes_nothing(board_namespace: BoardNamespace) -> None:
    night = changed_night(board_namespace)
    _kill_both(night)
    whole = board_namespace.read("/run/autotune/journal")
    board_namespace.write("/run/autotune/journal", whole.replace('"WILL"', '"WI', 1) + "\n")
    line = board_namespace.connect()
    assert line.status().journal == "torn"
    with pytest.raises(BoardLeftChanged, match=r"is damaged: line \d+"):
        line.end()
    with pytest.raises(BoardLeftChanged, match="is damaged"):
        begin(board_namespace)
    assert night.value(SOMAXCONN) == "2222"
    board_namespace.write("/run/autotune/journal", whole + "\n")
    line.end()


def test_what_cannot_be_put_back_is_told_with_the_command(board_namespace: BoardNamespace) -> None:
    night = begin(board_namespace)
    before = night.value(SOMAXCONN)
    night.line.switch((Write(path=SOMAXCONN, text="2222"),), None)
    journal = board_namespace.read("/run/autotune/journal")
    board_namespace.write(
        "/run/autotune/journal", journal.replace(f'"original":"{before}"', '"original":"-5"') + "\n"
    )
    ended = night.line.end()
    [left] = ended.left
    assert (left.path, left.original, left.now) == (SOMAXCONN, "-5", "2222")
    assert left.command == f"echo -5 > {SOMAXCONN}"
    # The journal stays open: a begin refuses, until it is put right.
    assert board_namespace.connect().status().journal == "open"
    with pytest.raises(Exception, match="left this changed"):
        begin(board_namespace)
    board_namespace.write("/run/autotune/journal", journal + "\n")
    assert board_namespace.connect().end().left == ()
    assert board_namespace.read(SOMAXCONN) == before


def test_the_dirty_pair_survives_the_death_of_both(board_namespace: BoardNamespace) -> None:
    before = board_namespace.read(DIRTY_RATIO), board_namespace.read(DIRTY_BYTES)
    night = begin(board_namespace)
    try:
        night.line.switch((Write(path=DIRTY_BYTES, text="104857600"),), None)
        _kill_both(night)
        assert board_namespace.read(DIRTY_RATIO) == "0"
    finally:
        board_namespace.connect().end()
    assert (board_namespace.read(DIRTY_RATIO), board_namespace.read(DIRTY_BYTES)) == before


def _kill_both(night: NightHere) -> None:
    """Guardian first, and the agent before it can replace it: both stopped, then both killed."""
    guard, agent = guardian_pid(night.board), night.line.agent_pid
    for number in (signal.SIGSTOP, signal.SIGKILL):
        os.kill(agent, number)
        os.kill(guard, number)
    night.line.close()
    assert within(2.0, lambda: not [one for one in night.board.processes() if one[0] in (guard, agent)])


def _edit_begin(board: BoardNamespace, key: str, value: str) -> str:
    """Changes one field of BEGIN; what it was."""
    first, *rest = board.read("/run/autotune/journal").splitlines()
    entry = json.loads(first)
    before = str(entry[key])
    entry[key] = value
    board.write("/run/autotune/journal", "\n".join((json.dumps(entry), *rest)) + "\n")
    return before
