"""The clock that a night goes by: the world's, or that of a board made of numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.synthetic.clock import VirtualClock

SYNTHETIC_EVENING: Final = "2026-01-01T21:00:00.000+00:00"
"""When the first night of every synthetic study begins: the same study gives the same night, whenever it is held."""


class Clock(Protocol):
    """When it is on the board. Deadlines, plans, pauses and the stamps of events go by it; processes and locks do not."""

    @property
    def now_s(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def at(self) -> str:
        """The same as events carry it: ISO-8601, UTC, with milliseconds."""
        ...

    @property
    def slept_s(self) -> float:
        """How long the machine that measures has been suspended in all; only what it grows by says anything."""
        ...

    def advance(self, seconds: float) -> None:
        """Comes back when so many seconds have passed."""
        ...


class WallClock:
    """The world's."""

    @property
    def now_s(self) -> float:
        return time.time()

    @property
    def at(self) -> str:
        return now_text()

    @property
    def slept_s(self) -> float:
        """CLOCK_BOOTTIME runs on in suspend and CLOCK_MONOTONIC does not (clock_gettime(2))."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)


class Pace:
    """Says when something is due that need not be done more often than every so many seconds of the world's time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last_s = -math.inf

    def is_due(self) -> bool:
        """Whether it is; the time begins anew then."""
        now_s = time.monotonic()
        due = now_s - self._last_s >= self._every_s
        if due:
            self._last_s = now_s
        return due


def clock_for(study: Study, log: Sequence[Event]) -> Clock:
    """The clock of the study's board."""
    return clock_for_synthetic(log) if study.is_synthetic else WallClock()


def clock_for_synthetic(log: Sequence[Event]) -> VirtualClock:
    """One that stands where the log ends, so that no time is lost between two sittings."""
    return VirtualClock.at_text(log[-1].at if log else SYNTHETIC_EVENING)


def now_text() -> str:
    """The world's time as events carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
