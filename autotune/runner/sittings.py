"""Which process runs a study now, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotune.storage.store import Sitting, Store


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process_start(pid: int) -> str:
    """The start time of a process in clock ticks since boot, or "" when there is no such process.

    Field 22 of /proc/PID/stat (proc(5)), counted behind the program's name, which may hold blanks.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def is_alive(sitting: Sitting) -> bool:
    """Whether the process that wrote this sitting still runs. One on another host counts as alive while it beats."""
    if sitting.host != socket.gethostname():
        return sitting.is_beating
    return sitting.boot_id == boot_id() and process_start(sitting.pid) == sitting.started_at


def sit_down(store: Store, name: str) -> None:
    """Note that this process runs the study. Raises BoardBusy when another living one does."""
    store.sit(
        name,
        pid=os.getpid(),
        host=socket.gethostname(),
        boot_id=boot_id(),
        started_at=process_start(os.getpid()),
        is_alive=is_alive,
    )
    store.clear_stop(name)
