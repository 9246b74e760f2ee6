"""Until when a night may last: `--until 07:00`, `--hours 8` and `--between 22:00-07:00` as a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Self

from autotune.errors import UsageError

_LONGEST = timedelta(days=14)
_HINT = "Write a time of day such as 07:00, or a moment such as 2026-05-02T07:00."


def deadline(until: str | None, hours: float | None, now: datetime) -> datetime | None:
    """The moment the board must be free again, or None when the night may take the time it needs.

    `until` HH:MM is the next such moment of the local day after `now` (which carries its zone); a whole ISO moment is
    taken as it is, local when it names no zone. Raises UsageError.
    """
    if until is not None and hours is not None:
        raise UsageError("--until and --hours can't be given together", hint="Give one of the two.")
    if hours is not None:
        if not 0 < hours <= _LONGEST / timedelta(hours=1):
            raise UsageError(f"--hours {hours:g} is not a length of night", hint="Try --hours 8.")
        return now + timedelta(hours=hours)
    return None if until is None else _next(until.strip(), now)


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day: from `begins` to `ends`, over midnight when that is the earlier one."""

    begins: time
    ends: time

    @classmethod
    def read(cls, text: str) -> Self:
        """HH:MM-HH:MM. Raises UsageError."""
        first, _, last = text.partition("-")
        begins, ends = _time_of_day(first), _time_of_day(last)
        if begins is None or ends is None or begins == ends:
            raise UsageError(
                f"{text!r} is no part of a day", hint="Write two times of day, such as 22:00-07:00."
            )
        return cls(begins, ends)

    @property
    def text(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"

    def hold(self, now: datetime) -> bool:
        """Whether they go on at this moment, by the local clock."""
        clock = now.astimezone().time()
        if self.begins < self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends


def _time_of_day(text: str) -> time | None:
    try:
        return datetime.strptime(text.strip(), "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        return None


def _next(until: str, now: datetime) -> datetime:
    try:
        if "T" in until or "-" in until:
            moment = datetime.fromisoformat(until)
            moment = moment if moment.tzinfo else moment.astimezone()
            if moment <= now:
                raise UsageError(f"--until {until} is already over", hint=_HINT)
            if moment - now > _LONGEST:
                raise UsageError(f"--until {until} is more than {_LONGEST.days} days ahead", hint=_HINT)
            return moment
    except (ValueError, OverflowError):
        raise UsageError(f"--until {until!r} is not a time", hint=_HINT) from None
    clock = _time_of_day(until)
    if clock is None:
        raise UsageError(f"--until {until!r} is not a time", hint=_HINT)
    # Naive local arithmetic, then the zone: "07:00" stays seven o'clock in a night when the clocks change.
    local = now.astimezone().replace(tzinfo=None)
    moment = local.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    if moment <= local:
        moment += timedelta(days=1)
    return moment.astimezone()


def utc_text(moment: datetime) -> str:
    """As events and JSON carry it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
