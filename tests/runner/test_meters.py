"""Watts that the controller reads: a real file, a real command, and the commands that must not run."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_board import seen

from autotune.board.records import LoadOrder, LoadSeen
from autotune.experiment.study import PowerMeter
from autotune.runner import meters

ORDER = LoadOrder(
    urls=(), address="127.0.0.2", seed=0, threads=1, connections=4, warmup_s=0, duration_s=1, marker="m", cpus=()
)  # fmt: skip


def command(meter: Path, *words: str, scale: float = 1.0) -> PowerMeter:
    return PowerMeter(source="command", command=(str(meter), *words), scale=scale)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an unprivileged meter can look, whoever runs the tests."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    return tmp_path


def script(folder: Path, text: str) -> Path:
    path = folder / "meter"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def allow(monkeypatch: pytest.MonkeyPatch, meter: PowerMeter) -> PowerMeter:
    monkeypatch.setenv(meters.ALLOW, shlex.join(meter.command))
    return meter


def run_of(seconds: float, power_w: float | None = None) -> LoadSeen:
    time.sleep(seconds)
    sound = seen(ORDER)
    return replace(sound, measured=replace(sound.measured, wall_s=seconds), power_w=power_w)


def test_the_boards_own_figure_is_scaled_and_nothing_stays_nothing() -> None:
    half = PowerMeter(source="hwmon", name="ina226", scale=0.5)
    assert meters.with_watts(half, lambda: run_of(0, 12.0)).power_w == 6.0
    assert meters.with_watts(PowerMeter(), lambda: run_of(0)).power_w is None
    assert meters.agent_meter(half) == "hwmon:ina226"
    assert meters.agent_meter(PowerMeter()) == "auto"
    assert meters.agent_meter(PowerMeter(source="none")) == ""
    assert meters.agent_meter(PowerMeter(source="file", name="/etc/shadow")) == ""


def test_a_file_is_read_while_the_run_lasts(folder: Path) -> None:
    (folder / "mw").write_text("5250\n")
    meter = PowerMeter(source="file", name=str(folder / "mw"), scale=0.001)
    found = meters.with_watts(meter, lambda: run_of(0.3))
    assert (found.power_w, found.power_source) == (5.25, "file")


def test_a_commands_words_reach_it_unread_by_any_shell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = allow(monkeypatch, command(script(folder, 'echo "$# watts"'), "$(id)", "; echo 1", scale=10))
    assert meters.watts_now(meter) == 20.0
    found = meters.with_watts(meter, lambda: run_of(0.3))
    assert (found.power_w, found.power_source) == (20.0, "command")


def test_a_command_runs_only_where_the_user_has_named_the_same_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = folder / "done"
    meter = command(script(folder, f"touch {done}; echo 1"))
    monkeypatch.delenv(meters.ALLOW, raising=False)
    folder.chmod(0o777)
    for said in ("", "1", shlex.join([*meter.command, "--more"])):
        monkeypatch.setenv(meters.ALLOW, said)
        assert meters.watts_now(meter) is None
        assert shlex.join(meter.command) in meters.not_allowed(meter)
    assert not done.exists()
    assert meters.not_allowed(allow(monkeypatch, meter)) == ""
    assert meters.watts_now(meter) == 1.0
    assert done.exists()


def test_a_command_never_runs_as_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = allow(monkeypatch, command(script(folder, "id -u; id -G >&2")))
    monkeypatch.delenv("SUDO_UID", raising=False)
    if os.geteuid() != 0:
        assert meters.watts_now(meter) == os.geteuid()
        return
    assert meters.watts_now(meter) == 65534
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1234")
    assert meters.watts_now(meter) == 1234
    monkeypatch.setenv("SUDO_UID", "0")
    assert meters.watts_now(meter) == 65534


def test_a_file_that_only_root_may_read_tells_nothing(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: everybody else can't read it anyway")
    secret = folder / "secret"
    secret.write_text("42\n")
    secret.chmod(stat.S_IRUSR)
    assert meters.watts_now(PowerMeter(source="file", name=str(secret))) is None


@pytest.mark.parametrize("said", ["echo", "echo nothing", "echo nan", "echo -3", "echo inf", "exit 1"])
def test_what_is_no_number_of_watts_is_no_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    assert meters.watts_now(allow(monkeypatch, command(script(folder, said)))) is None


def test_a_command_that_hangs_or_never_stops_talking_is_ended_with_all_it_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters, "_WITHIN_S", 0.3)
    hanging = allow(monkeypatch, command(script(folder, "sleep 77.31 & sleep 77.31")))
    began = time.monotonic()
    assert meters.watts_now(hanging) is None
    talking = allow(monkeypatch, command(script(folder, "echo 5; exec yes")))
    assert meters.watts_now(talking) == 5.0
    assert time.monotonic() - began < 5
    assert subprocess.run(["pgrep", "-f", "sleep 77.31"], check=False).returncode == 1


def test_a_program_that_is_not_there_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meters.watts_now(allow(monkeypatch, command(Path("/nowhere/meter")))) is None
    assert meters.watts_now(PowerMeter(source="file", name="/nowhere/meter")) is None
