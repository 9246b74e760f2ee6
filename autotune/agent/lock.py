"""One tuner per board: a flock on a file that is never deleted. Agent and guardian share one open file description,
so the lock is free only when both are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Optional

from autotune.agent.faults import Fault
from autotune.agent.places import ROOT_PLACES, Places, open_own

# A `status` of someone else holds the lock for microseconds while it looks.
_TRIES, _BETWEEN_S = 10, 0.02
_HINT = "wait until it ends, or stop it where it was started: `autotune stop NAME`"


class Lock:
    """The held lock. Its file handle is closed on exec, so no program the agent starts inherits it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    @classmethod
    def take(cls, places: Places, holder: str) -> Lock:
        """Takes the board. Raises Fault "busy" naming the holder."""
        handle = open_own(places.lock, places.uid, os.O_RDWR | os.O_CREAT)
        try:
            check_root_is_away(places.uid)
            _flock(handle, places.lock)
            os.ftruncate(handle, 0)
            with contextlib.suppress(
                OSError
            ):  # only for messages; a full disk must not keep anyone from restoring
                os.pwrite(handle, json.dumps({"holder": holder}).encode("ascii"), 0)
        except BaseException:
            os.close(handle)
            raise
        return cls(handle)

    def release(self) -> None:
        os.ftruncate(self.handle, 0)
        os.close(self.handle)


def _flock(handle: int, path: str) -> None:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == _TRIES - 1:
                raise Fault("busy", f"this board is held by {_named(path)}", _HINT) from None
            time.sleep(_BETWEEN_S)
        else:
            return


def check_root_is_away(uid: int) -> None:
    """An unprivileged tuner has its own lock and journal, but must not disturb root's measurements, nor take for stock what
    root's tuner has left. Raises Fault.
    """
    if uid == 0:
        return
    if who := held_by(ROOT_PLACES.lock):
        raise Fault("busy", f"this board is held by {who}", _HINT)
    if os.path.lexists(ROOT_PLACES.journal):
        raise Fault(
            "not permitted",
            f"root's tuner has left this board changed ({ROOT_PLACES.journal}), and only root can put it back",
            "as root, or after `autotune board install`: autotune restore",
        )


def held_by(path: str) -> str:
    """Who holds the lock at `path`; "" when nobody does. Changes nothing."""
    handle = _look(path)
    if handle is None:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(path)
    finally:
        os.close(handle)
    return ""


def _named(path: str) -> str:
    handle = _look(path)
    if handle is None:
        return "another tuner"
    try:
        return str(json.loads(os.pread(handle, 4096, 0))["holder"])[:400]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another tuner"
    finally:
        os.close(handle)


def _look(path: str) -> Optional[int]:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
