"""Mounts that one program of ours sees and nobody else: files shown to it in place of the machine's own."""

from __future__ import annotations

import ctypes
import os
from typing import Callable, Sequence, Tuple

# linux/sched.h, linux/mount.h
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18


def private(shown: Sequence[Tuple[str, str]]) -> Callable[[], None]:
    """What a child of ours does before it becomes a program: from then on it sees each source (a file or a directory)
    at its target. The machine and every other program see what they saw; the mounts end with the program.

    The caller makes this before the fork. In the child it raises OSError; it needs root (CAP_SYS_ADMIN).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pairs = [(os.fsencode(source), os.fsencode(target)) for source, target in shown]

    def see() -> None:
        _done(libc.unshare(_CLONE_NEWNS), "unshare")
        # Without this a mount of ours would show on the machine, too.
        _done(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/")
        for source, target in pairs:
            _done(libc.mount(source, target, None, _MS_BIND | _MS_REC, None), os.fsdecode(target))

    return see


def _done(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
