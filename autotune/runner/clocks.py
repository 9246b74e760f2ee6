"""The clock that a night goes by: the world's, or that of a board made of numbers."""

from __future__ import annotations

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

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)


def clock_for(study: Study, log: Sequence[Event]) -> Clock:
    """The clock of the study's board."""
    return clock_for_synthetic(log) if study.is_synthetic else WallClock()


def clock_for_synthetic(log: Sequence[Event]) -> VirtualClock:
    """One that stands where the log ends, so that no time is lost between two sittings."""
    return VirtualClock.at_text(log[-1].at if log else SYNTHETIC_EVENING)


def now_text() -> str:
    """The world's time as events carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
