"""A terminal that is closed over a night: with nohup it goes on, without it ends after the sample in hand, restored."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthetic_study import synthetic_study_file


class Terminal:
    """A terminal of a session's own, with one command in it."""

    def __init__(self, argv: list[str], environment: dict[str, str], folder: Path) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)  # where nohup puts its output
            os.execvpe(argv[0], argv, environment)

    def close(self) -> None:
        """As a window manager does it: the kernel hangs up on the session."""
        os.close(self._terminal)

    def ended(self, within_s: float) -> int:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        raise AssertionError("it goes on")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AUTOTUNE_STORAGE": f"sqlite:///{tmp_path}/night.db",
        "TERM": "xterm",
    }


def status(environment: dict[str, str]) -> dict[str, object]:
    argv = [sys.executable, "-m", "autotune", "status", "numbers", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    found: dict[str, object] = json.loads(done.stdout) if done.returncode == 0 else {"samples": 0}
    return found


def a_night_in_its_terminal(words: tuple[str, ...], environment: dict[str, str], folder: Path) -> Terminal:
    file = synthetic_study_file(folder)
    long = file.read_text().replace("hours = 3", "hours = 14").replace("candidates = 14", "candidates = 400")
    file.write_text(long)
    terminal = Terminal([*words, sys.executable, "-m", "autotune", "run", str(file)], environment, folder)
    until = time.monotonic() + 60
    while status(environment)["samples"] == 0:
        assert time.monotonic() < until
    return terminal


def test_without_nohup_it_ends_restored_and_can_go_on(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = a_night_in_its_terminal((), environment, tmp_path)
    terminal.close()
    assert terminal.ended(30) == 129
    seen = status(environment)
    assert (seen["running"], seen["outcome"]) == (False, None)
    assert "stopped by SIGHUP" in (tmp_path / "numbers.log").read_text()


def test_with_nohup_it_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = a_night_in_its_terminal(("nohup",), environment, tmp_path)
    terminal.close()
    seen = status(environment)
    until = time.monotonic() + 60
    while status(environment)["samples"] == seen["samples"]:
        assert time.monotonic() < until
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.ended(30) == 143
