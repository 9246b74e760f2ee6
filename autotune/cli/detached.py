"""A night that goes on without its terminal: the same command in a session of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import AutotuneError, StorageError

# A busy machine takes seconds to start a program; one that has said something and lives on has begun.
_BEGINS_WITHIN_S = 15.0
_SETTLES_S = 2.0


class _EndedAtOnceError(AutotuneError):
    """The detached night ended at once; its own message is in the log, its exit code is passed on."""

    def __init__(self, message: str, *, exit_code: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code  # type: ignore[misc]


def start_detached(arguments: Sequence[str], log: Path, *, storage: str, summary_command: str = "") -> int:
    """Starts `autotune ARGUMENTS` in a session of its own, with its output in the log file; gives its process id.

    Watches it until it has begun, so that a mistake that shows at once is told here and not only in the log.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        began_at = log.stat().st_size if log.exists() else 0
        pid = os.posix_spawn(
            sys.executable,
            # -P: a directory called autotune where the user happens to stand is not our program.
            [sys.executable, "-P", "-m", "autotune", *arguments],
            # Either may hold a password, and everyone can read the arguments of a process.
            {**os.environ, "AUTOTUNE_STORAGE": storage, "AUTOTUNE_SUMMARY_COMMAND": summary_command},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as problem:
        raise StorageError(f"the night can't be started with its log in {log}: {problem.strerror}") from None
    until = time.monotonic() + _BEGINS_WITHIN_S
    has_said = False
    while time.monotonic() < until:
        if not has_said and log.stat().st_size > began_at:
            has_said, until = True, time.monotonic() + _SETTLES_S
        ended, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else 0
        if code:
            with log.open("rb") as output:
                output.seek(began_at)
                text = output.read(20_000).decode("utf-8", "replace").strip()
            raise _EndedAtOnceError(
                f"the detached night ended at once:\n{text}",
                exit_code=code if code > 0 else 128 - code,
                hint=f"everything it said is in {log}",
            )
        if ended:
            break
        time.sleep(0.05)
    return pid
