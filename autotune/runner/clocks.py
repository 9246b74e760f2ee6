"""The clock that a night goes by: the world's, or that of a board made of numbers."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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


def now_text() -> str:
    """The world's time as events carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
