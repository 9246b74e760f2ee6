"""A clock that only moves when it is told to, so that a night of nine hours passes in seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Whole milliseconds since the epoch, as events carry them: a clock set to an event's `at` goes on exactly there."""

    def __init__(self, now_s: float) -> None:
        self._now_ms = round(now_s * 1000)

    @classmethod
    def at_text(cls, at: str) -> VirtualClock:
        """A clock that stands at an event's time."""
        return cls(datetime.fromisoformat(at).timestamp())

    @property
    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._now_ms / 1000

    @property
    def at(self) -> str:
        """The time as events carry it: ISO-8601, UTC, with milliseconds."""
        return (_EPOCH + timedelta(milliseconds=self._now_ms)).isoformat(timespec="milliseconds")

    @property
    def slept_s(self) -> float:
        """A board made of numbers never sleeps."""
        return 0.0

    def advance(self, seconds: float) -> None:
        """Lets time pass; never backwards."""
        self._now_ms += max(0, round(seconds * 1000))
