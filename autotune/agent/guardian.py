"""The guardian: a detached child that restores the board when the agent dies or falls silent.

It holds the agent's lock (the same open file description) and the read end of a pipe: bytes renew the lease, the end of
the pipe means that the agent is dead. A second pipe, of which it holds the write end, tells the agent that it lives.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import NoReturn, Set

from autotune.agent import processes
from autotune.agent.faults import Fault
from autotune.agent.own_scope import move_to_own_scope
from autotune.agent.places import Places
from autotune.agent.restore import restore_from_journal

_RENEW, _DISMISS = b"k", b"q"
_READY = b"r"
_READY_WITHIN_S = 10.0
_GONE_WITHIN_S = 5.0
_TRIES = 3
NAME = "autotune-guard"


class Guardian:
    """The agent's end of the line to its guardian."""

    def __init__(self, pipe: int, alive: int) -> None:
        self._pipe = pipe
        self.alive = alive  # readable (end of file) when the guardian is gone

    @classmethod
    def start(cls, places: Places, lock: int, lease_s: float) -> Guardian:
        """A new guardian, ready before this returns. Raises Fault "guardian"."""
        mine = processes.read_stat(os.getpid())
        if mine is None:
            raise Fault("guardian", "/proc can't be read, so nothing is written", "mount -t proc proc /proc")
        read, write = os.pipe()
        alive_read, alive_write = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _detach(places, {read, alive_write, lock}, mine, read, alive_write, lease_s)
        os.close(read)
        os.close(alive_write)
        os.waitpid(pid, 0)
        os.set_blocking(write, False)
        guardian = cls(write, alive_read)
        ready, _, _ = select.select([alive_read], [], [], _READY_WITHIN_S)
        if not ready or os.read(alive_read, 1) != _READY:
            guardian.forget()
            raise Fault(
                "guardian", "no guardian could be started, so nothing is written", "see `free -m` and `dmesg`"
            )
        return guardian

    def renew(self) -> bool:
        """Renews the lease. Whether the guardian lives."""
        try:
            os.write(self._pipe, _RENEW)
        except BlockingIOError:
            pass  # it is stopped, and has enough to read when it goes on
        except BrokenPipeError:
            return False
        return not select.select([self.alive], [], [], 0)[0]

    def dismiss(self) -> None:
        """Sends the guardian away: the board is restored. Returns when it is gone."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, _DISMISS)
        select.select([self.alive], [], [], _GONE_WITHIN_S)
        self.forget()

    def forget(self) -> None:
        os.close(self._pipe)
        os.close(self.alive)


def _detach(
    places: Places, keep: Set[int], agent: processes.Stat, pipe: int, alive: int, lease_s: float
) -> NoReturn:
    """In the first child: a session of its own, then a second fork, so that nobody waits for the guardian."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if os.fork() == 0:
            _only(keep)
            _introduce()
            move_to_own_scope()  # where it can't be had, the next begin or a restore by hand puts right what is left
            os.write(alive, _READY)
            _guard(places, agent, pipe, lease_s)
        code = 0
    finally:
        os._exit(code)


def _only(keep: Set[int]) -> None:
    """Closes everything else; the standard streams lead nowhere, so that the controller sees its agent's end."""
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for name in os.listdir("/proc/self/fd"):
        handle = int(name)
        if handle > 2 and handle not in keep:
            try:
                os.close(handle)
            except OSError:
                continue  # the listing's own


def _introduce() -> None:
    """A name to be found by, and the last place in the row when memory is short (where that is permitted)."""
    for path, text in (("/proc/self/comm", NAME), ("/proc/self/oom_score_adj", "-1000")):
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            continue
    os.chdir("/")


def _guard(places: Places, agent: processes.Stat, pipe: int, lease_s: float) -> None:
    """Returns when there is nothing to guard any more."""
    until = time.monotonic() + lease_s
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            _end_agent(agent, pipe)
            break
        said = os.read(pipe, 4096)
        if _DISMISS in said:
            return
        if not said:
            break
        until = time.monotonic() + lease_s
    for _ in range(_TRIES):
        try:
            if not restore_from_journal(places).left:
                return
        except Exception:
            pass
        time.sleep(0.2)


def _end_agent(agent: processes.Stat, pipe: int) -> None:
    """The lease is over: the agent is killed, if it is still the same process, and gone before anything is restored."""
    seen = processes.read_stat(agent.pid)
    if seen is not None and seen.start == agent.start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent.pid, signal.SIGKILL)
    until = time.monotonic() + _GONE_WITHIN_S
    while time.monotonic() < until:
        if select.select([pipe], [], [], 0.1)[0] and not os.read(pipe, 4096):
            return
