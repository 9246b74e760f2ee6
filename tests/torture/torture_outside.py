"""The machine around the torture's own: its lock, which its own nights take too, and who else is at work there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from torture_journal import RUN_DIR
from torture_machine import NoMachine

PATIENCE_S: Final = 300.0
QUIET_S: Final = 1.0


def hold_the_board(say: Callable[[str], None], patience_s: float) -> int:
    """The lock of the machine itself, as its own nights take it: they share vm.* and transparent huge pages with us.

    Waits for a night that runs there. A handle to be closed at the end. Raises NoMachine.
    """
    if os.geteuid() != 0:
        raise NoMachine("namespaces of processes, mounts and network need root")
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)
    handle = os.open(RUN_DIR / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience_s
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(handle, 400, 0).decode(errors="replace")
            if time.monotonic() >= until:
                raise NoMachine(f"a night runs on this machine itself: {holder}") from None
            if not told:
                say(f"waiting for a night that runs on this machine itself: {holder}")
                told = True
            time.sleep(0.5)
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"holder": f"scripts/torture, pid {os.getpid()}"}).encode(), 0)
    return handle


def let_the_board_go(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.close(handle)


class Surroundings(Protocol):
    """Who else may have their hands on what all namespaces share."""

    def wait(self, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None: ...

    def agents(self) -> list[str]: ...


class Nobody:
    """For a study that touches nothing of what all namespaces share."""

    def wait(self, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        del say, patience_s

    def agents(self) -> list[str]:
        return []


class Outside:
    """The processes of the machine around ours, seen through a /proc that was opened before we left it."""

    def __init__(self) -> None:
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def wait(self, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        """Until nobody else has had an agent here for a moment, or the patience is over."""
        until = time.monotonic() + patience_s
        quiet_since = 0.0
        told = False
        while time.monotonic() < until:
            others = self.agents()
            if not others and not told:
                return
            if others:
                quiet_since = time.monotonic()
                if not told:
                    say(f"waiting for other agents on this machine: {', '.join(others)}")
                    told = True
            elif time.monotonic() - quiet_since > QUIET_S:
                return
            time.sleep(0.1)

    def agents(self) -> list[str]:
        """Agents that are not ours, in words: they may have their hands on what all namespaces share."""
        ours = Path("/proc/self/ns/pid").readlink()
        proc = Path(f"/proc/self/fd/{self._proc}")
        found = []
        for place in proc.iterdir():
            with contextlib.suppress(OSError):
                if (
                    place.name.isdigit()
                    and b"\0autotune-agent\0" in (place / "cmdline").read_bytes()
                    and (place / "ns/pid").readlink() != ours
                ):
                    found.append(f"process {place.name}")
        return found
