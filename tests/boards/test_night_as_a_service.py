"""The night as a service, under a real systemd: begun by its timer, hung, killed, stopped; and the board as it was each time."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from small_study import small_study
from systemd_machine import SystemdMachine, a_systemd_machine, why_no_systemd

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.usefixtures("real_nginx", "real_wrk", "real_luajit"),
]

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
high = "50s"
why = "a test"
"""
BY_HAND = """
title = "one step"
source = "a test"
[[step]]
name = "a shorter wait"
why = "a test"
[step.set]
"sysctl:net.ipv4.tcp_fin_timeout" = "15s"
"""
STUDY = small_study("nightly", lease="30s", series_rounds=0)
UNIT, TIMER = "autotune-nightly.service", "autotune-nightly.timer"
HOME, DROP_INS = "/srv/night", "/run/systemd/system"
# What takes minutes in a real night, and no rest between two tries.
IMPATIENT = "[Service]\nWatchdogSec=5\nTimeoutAbortSec=2\nRestartSec=1\n"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    """One for all tests of this file, with the study's files."""
    if why := why_no_systemd():
        pytest.skip(why)
    with a_systemd_machine(tmp_path_factory.mktemp("machine")) as made:
        for name, text in (("space", SPACE), ("by-hand", BY_HAND)):
            made.write(f"{HOME}/{name}.toml", text)
        yield made


@pytest.fixture
def machine(booted: SystemdMachine) -> Iterator[SystemdMachine]:
    """The same with the night installed as a service, for this hour and the next; left without service and database."""
    booted.write(f"{HOME}/nightly.toml", STUDY)
    said = booted.done(*install(-1, 2))
    assert f"systemctl enable --now {TIMER}" in said
    drop_in(booted, UNIT, IMPATIENT)
    yield booted
    booted.run("systemctl", "stop", TIMER, UNIT)
    booted.done("sh", "-c", f"rm -rf {HOME}/nightly* {HOME}/night.db* {DROP_INS}/autotune-*")
    booted.run("systemctl", "reset-failed")


def autotune(*words: str) -> list[str]:
    return [
        *("env", f"PYTHONPATH={Path(__file__).parents[2]}", f"AUTOTUNE_STORAGE=sqlite:///{HOME}/night.db"),
        *(sys.executable, "-m", "autotune", *words),
    ]


def install(begins_h: int, ends_h: int) -> list[str]:
    """The command that has it held between so many hours from now and so many."""
    now = datetime.now().astimezone()
    begins, ends = (f"{now + timedelta(hours=away):%H:%M}" for away in (begins_h, ends_h))
    return autotune("service", "install", f"{HOME}/nightly.toml", "--at", begins, "--until", ends)


def drop_in(machine: SystemdMachine, unit: str, text: str) -> None:
    """Settings over those of the unit, the later ones over the earlier."""
    place = f"{DROP_INS}/{unit}.d"
    number = len(machine.run("ls", place).stdout.split())
    machine.write(f"{place}/{number}.conf", text)
    machine.done("systemctl", "daemon-reload")


def within(seconds: float, holds: Callable[[], object]) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= until:
            return False
        time.sleep(0.05)
    return True


def main_pid(machine: SystemdMachine) -> int:
    return int(machine.show(UNIT, "MainPID"))


def is_at_work(machine: SystemdMachine) -> bool:
    """Whether a death now would leave something behind."""
    return machine.run("pgrep", "-x", "wrk").returncode == 0


def as_it_began(machine: SystemdMachine) -> bool:
    nobody = machine.run("pgrep", "-x", "nginx|wrk|autotune-guard").returncode == 1
    return nobody and machine.done("ls", "/run/autotune").split() == ["lock"]


def samples(machine: SystemdMachine) -> int:
    """Of the first night; it must be that one still."""
    found = json.loads(machine.done(*autotune("status", "nightly", "--json")))
    assert found["night"] == 1
    return int(found["samples"])


def test_a_night_from_its_timer_through_every_death_to_its_stop(machine: SystemdMachine) -> None:
    soon = datetime.now().astimezone() + timedelta(seconds=2)
    drop_in(machine, TIMER, f"[Timer]\nOnCalendar=\nOnCalendar=*-*-* {soon:%H:%M:%S}\n")
    machine.done("systemctl", "enable", "--now", TIMER)
    assert within(60, lambda: machine.show(UNIT, "ActiveState") == "active"), machine.journal(UNIT)
    assert within(20, lambda: "nightly: " in machine.show(UNIT, "StatusText"))
    guardian = machine.done("pgrep", "-x", "autotune-guard")
    assert f"0::/system.slice/autotune-guardian-{guardian}.scope" in machine.done(
        "cat", f"/proc/{guardian}/cgroup"
    )

    # The loop hangs: systemd notices, the board is put back, and the night goes on.
    assert within(20, lambda: is_at_work(machine))
    hung = main_pid(machine)
    machine.done("kill", "-STOP", str(hung))
    assert within(30, lambda: main_pid(machine) not in (0, hung)), machine.journal(UNIT)
    measured = samples(machine)
    assert within(40, lambda: samples(machine) > measured), machine.journal(UNIT)
    assert machine.show(UNIT, "NRestarts") == "1"
    assert "Fatal Python error: Aborted" in machine.journal(UNIT)

    # All of the service is killed, and the service is told to restore nothing: its guardian is not of it.
    drop_in(machine, UNIT, "[Service]\nRestart=no\nExecStopPost=\n")
    assert within(20, lambda: is_at_work(machine))
    machine.done("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=all", UNIT)
    assert within(10, lambda: as_it_began(machine)), machine.journal(UNIT)
    assert machine.show(UNIT, "Result") == "signal"

    # The guardian is killed, too: the service restores when it ends.
    drop_in(machine, UNIT, f"[Service]\nExecStopPost={shlex.join(autotune('restore')[3:])}\n")
    machine.done("systemctl", "start", UNIT)
    assert within(40, lambda: is_at_work(machine)), machine.journal(UNIT)
    guardian = machine.done("pgrep", "-x", "autotune-guard")
    machine.done("sh", "-c", f"kill -STOP {main_pid(machine)} && kill -KILL {guardian}")
    machine.done("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=all", UNIT)
    assert within(20, lambda: as_it_began(machine)), machine.journal(UNIT)

    # And it is stopped as one stops a service.
    machine.done("systemctl", "start", UNIT)
    assert within(40, lambda: is_at_work(machine)), machine.journal(UNIT)
    machine.done("systemctl", "stop", UNIT)
    assert as_it_began(machine)
    assert machine.show(UNIT, "Result") == "success", machine.journal(UNIT)
    summary = machine.done("cat", f"{HOME}/nightly.night-1.md")
    assert "How it ended: stopped: stopped by SIGTERM" in summary
    assert "The board is as it was." in summary
    assert machine.done(*autotune("service", "remove", "nightly")).startswith("Removed:\n")
    assert machine.show(TIMER, "UnitFileState") == ""


def test_outside_its_hours_it_ends_at_once_and_well_whatever_the_look_after_it_says(
    machine: SystemdMachine,
) -> None:
    machine.done(*install(2, 3))
    machine.write("/run/autotune/journal", '{"not": "understood"}\n' * 2)
    machine.done("systemctl", "start", UNIT)
    assert within(20, lambda: "journal is damaged" in machine.journal(UNIT)), machine.journal(UNIT)
    time.sleep(2)  # longer than its rest between two tries
    ended = [machine.show(UNIT, what) for what in ("ActiveState", "Result", "NRestarts")]
    machine.done("rm", "/run/autotune/journal")
    assert ended == ["inactive", "success", "0"], machine.journal(UNIT)
    assert "nothing was done" in machine.journal(UNIT)


def test_what_a_restart_can_not_cure_is_not_tried_again(machine: SystemdMachine) -> None:
    machine.done("sed", "-i", "s/connections = 8/connections = 16/", f"{HOME}/nightly.toml")
    assert machine.run("systemctl", "start", UNIT).returncode
    time.sleep(2)  # longer than its rest between two tries
    assert machine.show(UNIT, "ActiveState") == "failed"
    assert machine.show(UNIT, "NRestarts") == "0"
    assert "connections" in machine.journal(UNIT)


def test_a_board_that_somebody_else_holds_is_tried_again(machine: SystemdMachine) -> None:
    machine.done("mkdir", "-p", "/run/autotune")
    machine.done("systemd-run", "--unit=holder", "flock", "/run/autotune/lock", "sleep", "1000")
    machine.run("systemctl", "start", UNIT)
    assert within(30, lambda: int(machine.show(UNIT, "NRestarts")) >= 1), machine.journal(UNIT)
    machine.done("systemctl", "stop", "holder")
