"""Watts that the controller reads while a load runs: from a file, or from a command that the user allows.

A study file is untrusted input, so a command in it runs only where the user has named the same command in the environment
(ALLOW), without a shell, within a deadline, and never as root: as the user behind sudo, or as nobody. A file is read the same
way, because opening a wrong one as root can do harm (/dev/watchdog). The board's own meters are its agent's.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import shlex
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from autotune.board.records import LoadSeen, Reading
from autotune.experiment.study import PowerMeter

ALLOW: Final = "AUTOTUNE_POWER_COMMAND"
_EVERY_S: Final = 1.0
_WITHIN_S: Final = 2.0
_OUTPUT_MOST: Final = 4096
_NOBODY: Final = 65534
# What the agent does between the end of a run and its answer.
_ANSWERED_WITHIN_S: Final = 0.2


def agent_meter(meter: PowerMeter) -> str:
    """What the board's agent is to read, in its words; "" when it is to read nothing."""
    if meter.source == "hwmon":
        return f"hwmon:{meter.name}"
    return meter.source if meter.source in ("auto", "rapl") else ""


def not_allowed(meter: PowerMeter) -> str:
    """The line that would allow the study's command, where it asks for one that isn't allowed; "" otherwise."""
    line = shlex.join(meter.command)
    if meter.source != "command" or os.environ.get(ALLOW, "") == line:
        return ""
    return f"{ALLOW}={shlex.quote(line)}"


def problem_of(meter: PowerMeter, read: Callable[[Sequence[str]], Mapping[str, Reading]]) -> str:
    """Why this meter will say nothing; "" when it does, or need not. `read`: files of the board."""
    if meter.source in ("rapl", "auto"):
        sensors = ["/sys/class/hwmon/*/power*_input", "/sys/class/hwmon/*/curr*_input"]
        found = read(["/sys/class/powercap/*/energy_uj", *(sensors if meter.source == "auto" else ())])
        what = "energy counters" if meter.source == "rapl" else "energy counters or power sensors"
        return "" if any(one.text for one in found.values()) else f"the board has no {what} that can be read"
    if meter.source == "hwmon":
        name = meter.name.partition(":")[0]
        names = {(one.text or "").strip() for one in read(["/sys/class/hwmon/*/name"]).values()}
        offered = ", ".join(sorted(one for one in names if one)) or "none"
        return "" if name in names else f"the board has no hwmon device {name} (it has: {offered})"
    if meter.source in ("file", "command") and watts_now(meter) is None:
        return f"{meter.name or shlex.join(meter.command)} says no number of watts within {_WITHIN_S:g} s"
    return ""


def watts_now(meter: PowerMeter) -> float | None:
    """What the controller's meter says, scaled; None when it says no number in time, or may not be asked."""
    argv = ("cat", "--", meter.name) if meter.source == "file" else meter.command
    if not argv or not_allowed(meter):
        return None
    words = _output(argv).split()
    if not words:
        return None
    try:
        value = float(words[0]) * meter.scale
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def with_watts(meter: PowerMeter, run: Callable[[], LoadSeen]) -> LoadSeen:
    """A run with its mean watts: the agent's own figure, scaled, or what the controller's meter said meanwhile."""
    if meter.source not in ("file", "command"):
        seen = run()
        return seen if seen.power_w is None else replace(seen, power_w=seen.power_w * meter.scale)
    readings: list[tuple[float, float]] = []
    over = threading.Event()
    reader = threading.Thread(target=_read_on, args=(meter, over, readings), daemon=True)
    reader.start()
    try:
        seen = run()
        ended_s = time.monotonic()
    finally:
        over.set()
        reader.join(_WITHIN_S + _EVERY_S)
    began_s = ended_s - seen.measured.wall_s - _ANSWERED_WITHIN_S
    watts = [watt for at_s, watt in readings if began_s <= at_s <= ended_s]
    if not watts:
        return seen
    return replace(seen, power_w=statistics.fmean(watts), power_source=meter.source)


def _read_on(meter: PowerMeter, over: threading.Event, readings: list[tuple[float, float]]) -> None:
    while not over.is_set():
        watts = watts_now(meter)
        if watts is not None:
            readings.append((time.monotonic(), watts))
        over.wait(_EVERY_S)


def _output(argv: Sequence[str]) -> str:
    """What a program prints first, "" when it can't be run or takes too long. Nothing of it is left."""
    user = _unprivileged()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": os.environ.get("HOME", "/"),
                "LC_ALL": "C",
            },
            user=None if user is None else user[0],
            group=None if user is None else user[1],
            extra_groups=None if user is None else (),
        )
    except OSError:
        return ""
    with process:
        try:
            return _first_bytes(process).decode("utf-8", "replace")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _first_bytes(process: subprocess.Popen[bytes]) -> bytes:
    """Up to its end, the deadline (then nothing), or as much as a number could need."""
    if process.stdout is None:  # can't be: it was asked for
        raise AssertionError
    data = b""
    until = time.monotonic() + _WITHIN_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(data) < _OUTPUT_MOST:
            if not selector.select(max(0.0, until - time.monotonic())):
                return b""
            chunk = os.read(process.stdout.fileno(), _OUTPUT_MOST)
            if not chunk:
                break
            data += chunk
    return data


def _unprivileged() -> tuple[int, int] | None:
    """Whom a program runs as: the user behind sudo, or nobody; None when we are no root ourselves."""
    if os.geteuid() != 0:
        return None
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if user.isdigit() and group.isdigit() and int(user) > 0 and int(group) > 0:
        return int(user), int(group)
    return _NOBODY, _NOBODY
