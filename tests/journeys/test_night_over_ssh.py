"""A whole night on a board at the other end of a cable: real sshd, nginx, wrk; the line cut in the middle, and gone on with.

It goes on beside the night of test_night.py (see `far_night`): two boards that know nothing of each other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from lab import ADDRESS, Lab
from small_study import small_study

from autotune.experiment.events import Gap, Sample
from autotune.storage.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

SPACE = """
title = "two settings of nginx and one of the kernel"
[parameter."nginx:sendfile"]
why = "a test"
[parameter."nginx:listen.backlog"]
low = 511
high = 4096
why = "a test"
[parameter."sysctl:net.ipv4.tcp_fin_timeout"]
low = "20s"
high = "60s"
why = "a test"
"""
BY_HAND = """
title = "one step"
source = "a test"
[[step]]
name = "zero copy"
why = "a test"
[step.set]
"nginx:sendfile" = "on"
"nginx:tcp_nopush" = "on"
"""
STUDY = small_study("far", lease="8s", machines=f'board = "{ADDRESS}"')
KEYS = ("net/ipv4/tcp_fin_timeout", "net/core/somaxconn", "net/ipv4/tcp_congestion_control")


def originals(lab: Lab) -> list[str]:
    return [lab.run(lab.on_board, "cat", f"/proc/sys/{key}").stdout for key in KEYS]


def autotune(lab: Lab, folder: Path, *arguments: str) -> list[str]:
    return [
        *lab.on_client, "env", f"AUTOTUNE_STORAGE=sqlite:///{folder}/far.db", sys.executable, "-m", "autotune", *arguments,
    ]  # fmt: skip


def told(lab: Lab, folder: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        autotune(lab, folder, *arguments), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def samples(lab: Lab, folder: Path) -> int:
    try:
        found = told(lab, folder, "status", "far", "--json")["samples"]
    except AssertionError:
        return 0
    assert isinstance(found, int)
    return found


def ssh_of(lab: Lab, night: int) -> int:
    """The ssh client below this process."""
    for pid in lab.processes():
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if name == "ssh" and parent == night:
            return pid
    raise AssertionError("the night has no ssh")


def test_a_night_over_ssh_outlives_its_line(far_night: Future[None]) -> None:
    far_night.result()


def hold_a_far_night(lab: Lab, tmp_path: Path) -> None:
    """ssh is shot, the cable pulled and the laptop stopped, both for longer than the lease; the night goes on by itself."""
    for name, text in (("space.toml", SPACE), ("by-hand.toml", BY_HAND), ("far.toml", STUDY)):
        (tmp_path / name).write_text(text)
    before = originals(lab)
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            autotune(lab, tmp_path, "run", str(tmp_path / "far.toml")),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        ) as night,
    ):
        try:
            wait_for(lambda: samples(lab, tmp_path) >= 3, night, tmp_path)
            os.kill(ssh_of(lab, night.pid), signal.SIGKILL)
            seen = samples(lab, tmp_path)
            wait_for(lambda: samples(lab, tmp_path) >= seen + 3, night, tmp_path)
            lab.cable("down")
            time.sleep(12)
            assert originals(lab) == before, "the lease is over"
            lab.cable("up")
            seen = samples(lab, tmp_path)
            wait_for(lambda: samples(lab, tmp_path) >= seen + 2, night, tmp_path)
            night.send_signal(signal.SIGSTOP)  # as a lid that is shut, but for the clocks
            time.sleep(12)
            assert originals(lab) == before, "the lease is over"
            night.send_signal(signal.SIGCONT)
            assert night.wait(400) == 0, (tmp_path / "said").read_text()[-2000:]
        finally:
            lab.cable("up")
            night.kill()
    assert originals(lab) == before
    assert told(lab, tmp_path, "compare", "far", "--json")["pairs"]
    text = (tmp_path / "said").read_text()
    assert text.count("the line to the board is gone") == 3, text[-2000:]
    with Store.open(f"sqlite:///{tmp_path}/far.db") as store:
        log = store.log("far")
    assert sum(isinstance(one, Gap) and one.seconds >= 12 for one in log) == 2
    keys = [one.key for one in log if isinstance(one, Sample)]
    assert len(keys) == len(set(keys)), "nothing is doubled"
    assert [pid for pid in lab.processes() if _is_ours(pid)] == []


def _is_ours(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in ("nginx", "autotune-guard")
    except OSError:
        return False


def wait_for(what: Callable[[], bool], night: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 180
    while not what():
        assert night.poll() is None, (folder / "said").read_text()[-2000:]
        assert time.monotonic() < until, (folder / "said").read_text()[-2000:]
        time.sleep(0.5)
