"""The night's controller, `autotune run`, started and ended as a user would, and its victims found."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from torture_journal import JournalWatch
from torture_machine import processes

ROOT: Final = Path(__file__).resolve().parents[2]
WORKER_SHARE: Final = 0.4
PHP_SHARE: Final = 0.3


@dataclass
class Tuner:
    """One study's `autotune`: the running controller, if there is one, and the other commands."""

    study_file: Path
    database: Path
    said: Path
    watch: JournalWatch
    board: str = "local"
    prefix: tuple[str, ...] = ()  # before its argv, where it lives at the cable's other end
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0
    starts: int = 0
    _output: IO[bytes] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """The same command every time: it begins the night or goes on with it."""
        self._output = self.said.open("ab")
        self.watch.story = type(self.watch.story)()
        self.began_s = time.monotonic()
        self.starts += 1
        self.process = subprocess.Popen(
            self._argv("run", str(self.study_file)),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self._environment(),
            cwd=ROOT,
            start_new_session=True,
        )

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None when it still runs after so long."""
        if self.process is None:
            return 0
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            self.watch.pump(0.01)
        return self.process.poll()

    def forget(self) -> None:
        self.process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def call(self, *arguments: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Another command, waited for."""
        return subprocess.run(
            self._argv(*arguments),
            capture_output=True,
            text=True,
            timeout=within_s,
            env=self._environment(),
            cwd=ROOT,
            check=False,
        )

    def restore(self) -> subprocess.CompletedProcess[str]:
        return self.call("restore", self.board)

    def _argv(self, *arguments: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "autotune", *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "AUTOTUNE_STORAGE": f"sqlite:///{self.database}", "PYTHONPATH": str(ROOT)}

    # -- victims ----------------------------------------------------------------------------------------------------------

    def living(self) -> dict[str, int]:
        """Controller, agent, guardian, and the line's two ends, as far as there are any now.

        (A millisecond; so not in the last moment.)
        """
        found = {"controller": self.pid} if self.running else {}
        there = processes()
        sessions = {one.pid for one in there if one.role == "sshd"}
        for one in there:
            if one.role == "guardian":
                found["guardian"] = one.pid
            elif one.role == "agent" and one.parent in {self.pid, *sessions}:
                found["agent"] = one.pid
                if one.parent in sessions:
                    found["sshd"] = one.parent
            elif one.role == "ssh" and one.parent == self.pid and " autotune-agent " in one.line:
                found["ssh"] = one.pid
        return found

    def nginx(self, chance: random.Random) -> int:
        """The master of the nginx or php-fpm that the journal told of last, or a process of its; 0 when there is none."""
        story = self.watch.story
        master = story.php if story.php and chance.random() < PHP_SHARE else story.nginx
        try:
            workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        except OSError:
            return 0
        return int(chance.choice(workers)) if workers and chance.random() < WORKER_SHARE else master


def kill(victims: Mapping[str, int], gaps_s: tuple[float, ...], chance: random.Random) -> frozenset[str]:
    """SIGKILL, in random order, each with its pause after it; who was there to be killed."""
    names = list(victims)
    chance.shuffle(names)
    killed = set()
    for name, gap_s in zip(names, gaps_s[: len(names)], strict=True):
        try:
            os.kill(victims[name], signal.SIGKILL)
            killed.add(name)
        except ProcessLookupError:
            continue
        if gap_s:
            time.sleep(gap_s)
    return frozenset(killed)
