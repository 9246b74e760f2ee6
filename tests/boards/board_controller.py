"""`autotune run` against a virtual board, started and ended as a user would, with the board's journal and the log in view."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from board_journal import BoardJournal
from board_study import NAME
from torture_journal import Phase
from torture_log import NightLog
from virtual_board import VirtualBoard

ROOT: Final = Path(__file__).resolve().parents[2]
STUCK_S: Final = 420.0


class Controller:
    """One study's `autotune` in `folder`: the night that runs, if one does, and the other commands."""

    def __init__(self, folder: Path, study_file: Path, board: VirtualBoard) -> None:
        self._folder = folder
        self._study_file = study_file
        self._environment = {
            **board.environment,
            "AUTOTUNE_STORAGE": f"sqlite:///{folder}/{NAME}.db",
            "PYTHONPATH": str(ROOT),
        }
        self.journal = BoardJournal(board)
        self.log = NightLog(folder / f"{NAME}.db")
        self.process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """The same command every time: it begins the night or goes on with it."""
        self.forget()
        self.journal.forget_loads()
        self._output = (self._folder / "said.txt").open("ab")
        self.process = subprocess.Popen(
            (sys.executable, "-m", "autotune", "run", str(self._study_file)),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self._environment,
            cwd=ROOT,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, waited for."""
        return subprocess.run(
            (sys.executable, "-m", "autotune", *arguments),
            capture_output=True,
            text=True,
            timeout=300,
            env=self._environment,
            cwd=ROOT,
            check=False,
        )

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def forget(self) -> None:
        """Whatever still runs of it is shot."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def end(self) -> None:
        """Whatever it does just now."""
        self.journal.close()
        self.forget()

    @property
    def said(self) -> str:
        file = self._folder / "said.txt"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def last_words(self) -> str:
        return " / ".join(self.said.strip().splitlines()[-4:])[-600:]

    @property
    def samples(self) -> int:
        """As many as are stored by now."""
        self.log.refresh()
        return self.log.samples

    def wait(self, within_s: float = STUCK_S) -> int | None:
        """The exit code; None when it still runs after so long, or never did."""
        until = time.monotonic() + within_s
        while self.runs and time.monotonic() < until:
            self.journal.pump(0.1)
        return None if self.process is None else self.process.poll()

    def pump_while(self, what: Callable[[], bool], within_s: float = STUCK_S) -> bool:
        """Whether it came to its end, with the night still running."""
        until = time.monotonic() + within_s
        while what():
            if not self.runs or time.monotonic() >= until:
                return False
            self.journal.pump(0.05)
        return self.runs

    def is_in(self, phase: Phase) -> bool:
        return self.journal.story.phase is phase

    def meets(self, phase: Phase) -> bool:
        """Whether the next such phase has come, from its beginning, with the night still running."""
        return self.pump_while(lambda: self.is_in(phase)) and self.pump_while(lambda: not self.is_in(phase))

    def pump_for(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        until = time.monotonic() + seconds
        while not unless() and (left_s := until - time.monotonic()) > 0:
            self.journal.pump(min(0.05, left_s))

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        self.log.refresh()
        self.forget()
        return code
