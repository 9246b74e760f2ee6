"""A night whose board and load host are two other machines: real sshd on both, nginx here, wrk there; the load host's line is
shot in mid-run, and the night goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import ADDRESS, BOARD_IP, LOAD_IP, Lab
from small_study import small_study

from autotune.errors import StorageError
from autotune.experiment.events import Event, Gap, NightBegun, Sample
from autotune.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

SPACE = """
title = "nginx, kernel, network card"
[parameter."nginx:sendfile"]
why = "a test"
[parameter."sysctl:net.ipv4.tcp_fin_timeout"]
low = "20s"
high = "60s"
why = "a test"
[parameter."net:nic.qdisc"]
values = ["pfifo_fast", "fq"]
why = "a test"
"""
BY_HAND = """
title = "one step"
source = "a test"
[[step]]
name = "zero copy"
why = "a test"
[step.set]
"nginx:tcp_nopush" = "on"
"sysctl:net.ipv4.tcp_fin_timeout" = "15s"
"""
STUDY = small_study("third", lease="10s", machines=f'board = "{ADDRESS}"\nload = "ssh://plain@load"')
KEY = "/proc/sys/net/ipv4/tcp_fin_timeout"


def test_a_night_with_a_load_host_outlives_the_line_to_it(
    lab: Lab, tmp_path: Path, real_nginx: str, real_wrk: str
) -> None:
    for name, text in (("space.toml", SPACE), ("by-hand.toml", BY_HAND), ("third.toml", STUDY)):
        (tmp_path / name).write_text(text)
    before = lab.run(lab.on_board, "cat", KEY).stdout
    argv = (
        *lab.on_client,
        "env",
        f"AUTOTUNE_STORAGE=sqlite:///{tmp_path}/third.db",
        *(sys.executable, "-m", "autotune", "run", str(tmp_path / "third.toml")),
    )
    said = tmp_path / "said"
    with (
        said.open("w") as out,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as night,
    ):
        try:
            wait_for(lambda: bool(samples(tmp_path)) and bool(here(lab.load_pid, lab, "wrk")), night, said)
            assert here(lab.board_pid, lab, "wrk") == []
            os.kill(line_to_the_load_host(lab), signal.SIGKILL)
            measured = len(samples(tmp_path))
            wait_for(lambda: len(samples(tmp_path)) >= measured + 2, night, said)
            night.send_signal(signal.SIGTERM)
            assert night.wait(60) == 128 + signal.SIGTERM, said.read_text()[-2000:]
        finally:
            night.kill()
    assert lab.run(lab.on_board, "cat", KEY).stdout == before
    text = said.read_text()
    assert text.count("the line to the load host is gone") == 1, text[-2000:]
    assert "the line to the board is gone" not in text
    log = stored(tmp_path)
    begun = next(event for event in log if isinstance(event, NightBegun))
    assert begun.board["load's way"] == f"{LOAD_IP} to {BOARD_IP}, eth0 on the board"
    assert begun.line_mbit_per_s == 10_000
    assert "net:nic.qdisc" in begun.space_ids
    assert all("load host" in event.reason for event in log if isinstance(event, Gap))
    counted = samples(tmp_path)
    assert len({one.key for one in counted}) == len(counted)
    for sample in counted:
        assert {"workers died", "few free ports", "load died", "foreign load"} <= {
            gate.name for gate in sample.gates if gate.passed
        }
        assert sample.main.server_cpu_s > 0
        assert sample.main.client_cpu_s > 0
        assert 0 < sample.main.counters["load_host.cpu_busy"] <= 1
    ours = ("nginx", "autotune-guard", "wrk")
    assert [here(machine, lab, name) for machine in (lab.board_pid, lab.load_pid) for name in ours] == [
        []
    ] * 6


def stored(folder: Path) -> list[Event]:
    """The night's log as far as it is stored by now."""
    try:
        with Store.open(f"sqlite:///{folder}/third.db", create=False, read_only=True) as store:
            return store.log("third")
    except StorageError:
        return []


def samples(folder: Path) -> list[Sample]:
    return [event for event in stored(folder) if isinstance(event, Sample)]


def here(keeper: int, lab: Lab, name: str) -> list[int]:
    """Processes of this name on the machine of this keeper."""
    mounts = Path(f"/proc/{keeper}/ns/net").readlink()
    found = []
    for pid in lab.processes():
        try:
            if (
                Path(f"/proc/{pid}/ns/net").readlink() == mounts
                and Path(f"/proc/{pid}/comm").read_text().strip() == name
            ):
                found.append(pid)
        except OSError:
            continue
    return found


def line_to_the_load_host(lab: Lab) -> int:
    """The ssh client that leads there."""
    for pid in here(lab.client_pid, lab, "ssh"):
        if b"\0load\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no ssh leads to the load host")


def wait_for(what: Callable[[], bool], night: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + 120
    while not what():
        assert night.poll() is None, said.read_text()[-2000:]
        assert time.monotonic() < until, said.read_text()[-2000:]
        time.sleep(0.2)
