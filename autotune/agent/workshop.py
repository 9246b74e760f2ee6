"""A temporary directory in which programs run as an unprivileged user, and of which nothing stays."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import tempfile
import time
from typing import List, Sequence

from autotune.agent import processes
from autotune.agent.faults import Fault
from autotune.agent.line import Line
from autotune.agent.places import remove_tree

_PREFIX = ".work-"
_PR_SET_PDEATHSIG = 1
_LAST_LINES, _OUTPUT_CAP = 15, 1 << 14
_GONE_WITHIN_S = 5.0


class StepFailed(Exception):
    """A step of a build failed; the message has its name and its last lines."""


class Workshop:
    """`path` belongs to the unprivileged user; `close` ends what still runs there and removes all of it."""

    def __init__(self, parent: str, uid: int, line: Line) -> None:
        sweep(parent)
        self._line = line
        self._uid, self._gid = uid, os.getegid()
        self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        if uid == 0:
            nobody = pwd.getpwnam("nobody")
            self._uid, self._gid = nobody.pw_uid, nobody.pw_gid
            os.chown(self.path, self._uid, self._gid)
        self._drop = uid == 0

    def close(self) -> None:
        clear(self.path)

    def make_dir(self, name: str) -> str:
        """A directory in it, below it and of the same user."""
        path = f"{self.path}/{name}"
        os.makedirs(path, exist_ok=True)
        if self._drop:
            part = self.path
            for word in name.split("/"):
                part += "/" + word
                os.chown(part, self._uid, self._gid, follow_symlinks=False)
        return path

    def run(self, step: str, argv: Sequence[str], *, cwd: str = "", within_s: float) -> str:
        """What a program said (both streams). Raises StepFailed when it fails or takes too long, Leave when we must go."""
        where = cwd or self.path
        # Without a name, and not in its directory: what runs there can't have put anything in its place.
        with tempfile.TemporaryFile(dir=os.path.dirname(self.path)) as log:
            handle = log.fileno()
            child = processes.spawn(
                argv,
                cpus=(),
                stdout=handle,
                stderr=handle,
                record=lambda _pid, _start: None,
                prepare=lambda: self._become(where),
            )
            try:
                until = time.monotonic() + within_s
                while child.poll() is None:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise StepFailed(f"{step} was not done within {within_s:.0f} s: {_tail(handle)}")
                    self._line.pause(min(left, 1.0))
            finally:
                _end(child)
            if child.exit_code:
                raise StepFailed(f"{step} failed (exit code {child.exit_code}): {_tail(handle)}")
            return _said(handle)

    def _become(self, where: str) -> None:
        if self._drop:
            os.setgroups([])
            os.setgid(self._gid)
            os.setuid(self._uid)
        os.umask(0o022)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.nice(5)
        os.chdir(where)


def sweep(parent: str) -> None:
    """Removes what a killed builder left in `parent`, and ends what of it still runs."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(parent):
            if name.startswith(_PREFIX):
                clear(f"{parent}/{name}")


def clear(path: str) -> None:
    """Ends every process that works in a directory, and removes it."""
    until = time.monotonic() + _GONE_WITHIN_S
    while True:
        workers = _working_in(path)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            remove_tree(path)
        except OSError as problem:  # a dying compiler still writes
            if time.monotonic() >= until:
                raise Fault(
                    "failed", f"{path} can't be removed: {problem.strerror}", f"rm -r {path}"
                ) from None
            time.sleep(0.05)
        else:
            return


def _working_in(path: str) -> List[int]:
    found = []
    for pid in processes.all_pids():
        with contextlib.suppress(OSError):
            if (os.readlink(f"/proc/{pid}/cwd") + "/").startswith(path + "/"):
                found.append(pid)
    return found


def _end(child: processes.Child) -> None:
    until = time.monotonic() + _GONE_WITHIN_S
    while child.group_alive() and time.monotonic() < until:
        child.signal_group(signal.SIGKILL)
        time.sleep(0.01)


def _said(handle: int) -> str:
    size = os.fstat(handle).st_size
    return os.pread(handle, _OUTPUT_CAP, max(0, size - _OUTPUT_CAP)).decode("utf-8", "replace").strip()


def _tail(handle: int) -> str:
    return "\n".join(_said(handle).splitlines()[-_LAST_LINES:]) or "it said nothing"
