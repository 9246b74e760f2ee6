"""A terminal that is closed in the middle of a night: what it ends, what goes on, and the same summary from all that does."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synthetic_study import TEXT

pytestmark = pytest.mark.slow

# As short as a night of numbers can be: what it measures is not the point here.
SHORT = {"candidates = 14": "candidates = 3", "distillation_pairs = 6": "distillation_pairs = 0"}
_SOME = 8
_OVER_WITHIN_S = 90.0


class Desk:
    """A terminal and what is started at it, with a state directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = TEXT
        for long, short in SHORT.items():
            assert long in text
            text = text.replace(long, short)
        (folder / "numbers.toml").write_text(text)
        self._keyboard, self._screen = pty.openpty()
        self.started: list[subprocess.Popen[bytes]] = []

    def type(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a program whose terminal this is."""
        process = subprocess.Popen(
            ["setsid", "--ctty", *words],
            stdin=self._screen,
            stdout=self._screen,
            stderr=self._screen,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(self.folder),
                "AUTOTUNE_STORAGE": f"sqlite:///{self.folder}/a.db",
                "TERM": "xterm",
            },
            cwd=self.folder,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """Closes the window: the kernel sends SIGHUP to whoever sits at it."""
        os.close(self._screen)
        os.close(self._keyboard)
        self._keyboard = -1

    def tidy(self) -> None:
        if self._keyboard >= 0:
            self.close()
        for process in self.started:
            process.kill()
            process.wait()

    @property
    def events(self) -> int:
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.folder}/a.db?mode=ro", uri=True)) as reader:
                return int(reader.execute("select count(*) from autotune_events").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0

    @property
    def summary(self) -> str:
        file = self.folder / "numbers.night-1.md"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    try:
        yield made
    finally:
        made.tidy()


def within(seconds: float, holds: Callable[[], object]) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


AUTOTUNE = (sys.executable, "-m", "autotune")
RUN = (*AUTOTUNE, "run", "numbers.toml")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The summary of the night whose terminal nobody closes: numbers, so that it is the same every time."""
    desk = Desk(tmp_path_factory.mktemp("undisturbed"))
    try:
        ran = desk.type("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", *RUN)
        assert ran.wait(_OVER_WITHIN_S) == 0
        assert "How it ended: complete" in desk.summary
        return desk.summary
    finally:
        desk.tidy()


def test_a_night_in_the_foreground_ends_with_its_terminal_and_has_its_summary(desk: Desk) -> None:
    night = desk.type(*RUN)
    assert within(_OVER_WITHIN_S, lambda: desk.events >= _SOME)
    desk.close()
    assert night.wait(_OVER_WITHIN_S) == 128 + signal.SIGHUP
    assert "How it ended: stopped: stopped by SIGHUP" in desk.summary
    assert "The board is as it was." in desk.summary


def test_nohup_outlives_it(desk: Desk, undisturbed: str) -> None:
    night = desk.type("nohup", *RUN)
    assert within(_OVER_WITHIN_S, lambda: desk.events >= _SOME)
    desk.close()
    assert night.wait(_OVER_WITHIN_S) == 0
    assert desk.summary == undisturbed


def test_detach_outlives_it(desk: Desk, undisturbed: str) -> None:
    began = desk.type(*RUN, "--detach")
    assert within(_OVER_WITHIN_S, lambda: desk.events >= _SOME)
    desk.close()
    assert began.wait(_OVER_WITHIN_S) in (0, -signal.SIGHUP)
    assert within(_OVER_WITHIN_S, lambda: desk.summary == undisturbed), desk.summary


def test_tmux_outlives_it(desk: Desk, undisturbed: str) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux (apt-get install tmux)")
    socket = str(desk.folder / "tmux")
    window = desk.type("tmux", "-S", socket, "-f", "/dev/null", "new-session", " ".join(RUN))
    try:
        assert within(_OVER_WITHIN_S, lambda: desk.events >= _SOME)
        desk.close()
        window.wait(_OVER_WITHIN_S)
        assert within(_OVER_WITHIN_S, lambda: desk.summary == undisturbed), desk.summary
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)
