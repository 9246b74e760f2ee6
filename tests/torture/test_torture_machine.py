"""The checks of the board notice every leftover that is planted on one; the journal is followed to its last line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from torture_checks import in_one_line, wrong_originals
from torture_controller import kill
from torture_journal import Phase, Story
from torture_machine import changed_values, leftover_files, listeners, lock_is_free, processes, values_below
from torture_plan import LAB, deal

from conftest import why_no_namespaces

HERE = Path(__file__).resolve().parent
BEGIN = {"entry": "BEGIN"}
NGINX = {"entry": "PROCESS", "program": "/usr/sbin/nginx", "pgid": 0}
WRK = {"entry": "PROCESS", "program": "/usr/bin/wrk", "pgid": 0}
WILL = {"entry": "WILL", "path": "/proc/sys/net/core/somaxconn", "original": "4096"}


def lines(*entries: Mapping[str, object]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in entries)


def test_a_journal_tells_what_the_agent_does() -> None:
    story = Story()
    assert [story.phase] == [Phase.NOTHING]
    story.read(lines(BEGIN))
    assert (story.phase, story.begun) == (Phase.BEGUN, True)
    story.read(lines(WILL, WILL, NGINX))
    assert (story.phase, story.wills, story.fresh, story.loads) == (Phase.SWITCH, 2, 2, 0)
    story.read(lines({"entry": "PROCESS", "pgid": 77}))
    assert story.nginx == 77
    story.read(lines(WRK, {"entry": "PROCESS", "pgid": 78}))
    assert (story.phase, story.loads, story.nginx) == (Phase.LOAD, 1, 77)
    story.read(lines(NGINX))
    assert (story.phase, story.wills, story.fresh, story.nginx) == (Phase.SWITCH, 2, 0, 0)
    story.read(lines({"entry": "CLEAN"}))
    assert [story.phase] == [Phase.RESTORE]


def test_a_line_that_comes_in_pieces_is_read_once_it_is_whole() -> None:
    story = Story()
    data = lines(BEGIN, WILL)
    assert story.read(data[:-5]) == [BEGIN]
    assert story.read(data[-5:]) == [WILL]


def test_a_value_that_did_not_come_back_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "two").write_text("2\n")
    before = values_below(tmp_path)
    paths = set(before)
    assert changed_values(before, paths) == {}
    (tmp_path / "two").write_text("3\n")
    assert changed_values(before, paths) == {str(tmp_path / "two"): (b"2\n", b"3\n")}
    (tmp_path / "two").unlink()
    assert changed_values(before, paths) == {str(tmp_path / "two"): (b"2\n", b"(absent)")}
    assert changed_values({}, {str(tmp_path / "one")}) == {str(tmp_path / "one"): (b"(absent)", b"1\n")}


def test_an_original_that_was_never_the_boards_is_noticed() -> None:
    before = {"/a": b"4096\t131072\t6291456\n", "/b": b"always [madvise] never\n"}
    assert wrong_originals({"/a": "4096 131072 6291456", "/b": "madvise", "/c": None}, before) == []
    assert len(wrong_originals({"/a": "4096 131072 1", "/b": "always", "/c": "1"}, before)) == 3
    assert in_one_line(b"5\n") == "5"


def test_any_file_but_the_lock_is_a_leftover(tmp_path: Path) -> None:
    run, state = tmp_path / "run", tmp_path / "state"
    run.mkdir()
    (run / "lock").touch()
    assert leftover_files(run, state) == []
    for name in ("journal", "ballast", "0123456789abcdef"):
        (run / name).touch()
        assert leftover_files(run, state) == [str(run / name)]
        (run / name).unlink()
    state.mkdir()
    assert leftover_files(run, state) == [str(state)]


def test_a_lock_that_is_held_is_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert lock_is_free(lock)
    holder = subprocess.Popen(["flock", str(lock), "cat"], stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + 5
        while lock_is_free(lock) and time.monotonic() < until:
            time.sleep(0.01)
        assert not lock_is_free(lock)
    finally:
        holder.communicate()
    assert lock_is_free(lock)


def test_a_listener_is_noticed_on_whatever_address() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            port = listener.getsockname()[1]
            assert listeners(port) == []
            listener.listen()
            assert len(listeners(port)) == 1


def test_a_process_is_found_by_what_it_is() -> None:
    sleeper = subprocess.Popen(["bash", "-c", "exec -a 'python -c x autotune-agent 1 2' sleep 100"])
    try:
        while not (Path(f"/proc/{sleeper.pid}/cmdline").read_bytes()).startswith(b"python"):
            os.sched_yield()
        [found] = [one for one in processes() if one.pid == sleeper.pid]
        assert (found.role, found.parent) == ("agent", os.getpid())
    finally:
        sleeper.kill()
        sleeper.wait()
    assert not [one for one in processes() if one.pid == sleeper.pid]


def test_an_ssh_is_no_agent_though_it_names_one(tmp_path: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "ssh")
    client = subprocess.Popen(["bash", "-c", f"exec -a 'ssh board autotune-agent 1 2' {program} 100"])
    try:
        while (Path(f"/proc/{client.pid}/comm").read_text()) != "ssh\n":
            os.sched_yield()
        [found] = [one for one in processes() if one.pid == client.pid]
        assert (found.role, found.is_here) == ("ssh", True)
    finally:
        client.kill()
        client.wait()


def test_only_who_was_there_counts_as_killed() -> None:
    import random

    sleeper = subprocess.Popen(["sleep", "100"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    victims = {"agent": sleeper.pid, "guardian": gone.pid}
    assert kill(victims, (0.0, 0.0, 0.0), random.Random(1)) == {"agent"}
    assert sleeper.wait() == -9


def test_every_one_of_six_is_killed() -> None:
    import random

    [one] = [one for one in deal(300, 1, LAB) if len(one.victims) == 6][:1]
    sleepers = {name: subprocess.Popen(["sleep", "100"]) for name in one.victims}
    victims = {name: sleeper.pid for name, sleeper in sleepers.items()}
    assert kill(victims, one.gaps_s, random.Random(1)) == one.victims
    assert {sleeper.wait() for sleeper in sleepers.values()} == {-9}


@pytest.mark.real
def test_a_machine_of_its_own_ends_with_all_that_ran_in_it() -> None:
    if reason := why_no_namespaces():
        pytest.skip(reason)
    code = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(HERE)!r})
import torture_machine as machine
before = machine.shared_values()
def work():
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    until = time.monotonic() + 5
    while (seen := [one.line for one in machine.processes()]) != ["sleep 1000"] and time.monotonic() < until:
        time.sleep(0.01)  # an exec under way has no command line yet
    alone = os.getpid() < 20 and not os.listdir("/var/lib/nginx") and machine.leftovers(8123) != []
    return 7 if seen == ["sleep 1000"] and alone else 1
code = machine.run_inside(work)
assert machine.changed_values(before, set(before)) == {{}}
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 7, done.stderr
    left = subprocess.run(["pgrep", "-xf", "sleep 1000"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_an_agent_outside_is_seen_and_waited_for() -> None:
    from torture_outside import Outside

    outside, said = Outside(), list[str]()
    sleep = (sys.executable, "-c", "import time; time.sleep(10)", "autotune-agent", "0")
    agent = ("unshare", "--pid", "--fork", "--kill-child", *sleep)
    if reason := why_no_namespaces():
        pytest.skip(reason)
    before = outside.agents()
    other = subprocess.Popen(agent)
    try:
        until = time.monotonic() + 5
        while (seen := set(outside.agents()) - set(before)) == set() and time.monotonic() < until:
            time.sleep(0.01)
        assert len(seen) == 1
        outside.wait(said.append, 0.2)
        assert len(said) == 1
    finally:
        other.kill()
        other.wait()
