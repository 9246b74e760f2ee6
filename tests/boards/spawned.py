"""Processes that outlive whoever starts them: a lab's machines, an emulator."""

from __future__ import annotations

import contextlib
import os
import signal


def started(argv: list[str], stdout: int, stderr: int = 2) -> int:
    """A process in a session of its own, with nothing on its standard input; its pid."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ]
        return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    finally:
        os.close(null)


def shot(pid: int) -> None:
    """Kills it, and waits for it where it is ours."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
