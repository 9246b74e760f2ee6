"""Standard streams that are closed when we start, or gone when we leave: neither may change what a command does."""

from __future__ import annotations

import errno
import os
import sys

_NOBODY_READS = (errno.EPIPE, errno.EIO)


def open_missing() -> None:
    """Leads a closed standard stream to /dev/null, so that no database or pipe is opened in its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            _to_null(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def let_go() -> str:
    """Empties the buffers, so that our exit code stands whatever becomes of them; what of our output is lost, and why.

    Nothing is lost where nobody reads any more: a pipe or a terminal that is gone.
    """
    lost = ""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError as problem:
            _to_null(stream.fileno())
            if stream is sys.stdout and problem.errno not in _NOBODY_READS:
                lost = problem.strerror or str(problem)
    return lost


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
