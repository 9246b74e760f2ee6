"""A scope of systemd's for the guardian alone: stopping the service that began the night, or the end of its login, kills
all that is in theirs.

A scope is the one transient unit that takes in a process as it is, with the lock and the pipes that it holds.
"""

from __future__ import annotations

import os
import subprocess
import time

_BUSCTL = "/usr/bin/busctl"
_BOOTED = "/run/systemd/system"
_ASKED_WITHIN_S, _MOVED_WITHIN_S = 4.0, 2.0
_POLL_S = 0.005


def move_to_own_scope() -> None:
    """Comes back in a scope of its own, or where it was when no systemd is there or it does not answer in time.

    Only root's: another user's guardian ends with what it guards, its own session's nginx. Takes seven seconds at most.
    """
    if os.geteuid() != 0 or not os.path.isdir(_BOOTED) or not _is_systemd_here():
        return
    pid = os.getpid()
    name = f"autotune-guardian-{pid}.scope"
    argv = [
        _BUSCTL,
        "--system",
        f"--timeout={_ASKED_WITHIN_S:.0f}",
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        *(name, "fail"),
        "3",
        *("PIDs", "au", "1", str(pid)),
        *("Description", "s", "restores the board when its tuner dies"),
        *("CollectMode", "s", "inactive-or-failed"),
        "0",
    ]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            timeout=_ASKED_WITHIN_S + 1,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return
    if done.returncode == 0:
        _arrive_in(name)


def _is_systemd_here() -> bool:
    """Whether systemd is the first process of our own process namespace: elsewhere our number is another's."""
    try:
        with open("/proc/1/comm", encoding="ascii", errors="replace") as file:
            return file.read().strip() == "systemd"
    except OSError:
        return False


def _arrive_in(name: str) -> None:
    """Waits for it: the answer is only that a job was queued."""
    until = time.monotonic() + _MOVED_WITHIN_S
    while time.monotonic() < until:
        with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
            if f"/{name}\n" in file.read():
                return
        time.sleep(_POLL_S)
