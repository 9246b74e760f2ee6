"""--until and --hours as a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from autotune.cli.deadline import Hours, deadline, utc_text
from autotune.errors import UsageError

EVENING = datetime(2026, 5, 1, 22, 30).astimezone()  # local, as the command line sees it


def test_a_time_of_day_is_the_next_such_moment() -> None:
    morning = deadline("07:00", None, EVENING)
    tonight = deadline("23:00", None, EVENING)
    assert morning is not None
    assert tonight is not None
    assert (morning.day, morning.hour, morning.minute) == (2, 7, 0)
    assert tonight - EVENING == timedelta(minutes=30)


def test_the_very_minute_means_tomorrow() -> None:
    assert deadline("22:30", None, EVENING) == EVENING + timedelta(days=1)


def test_hours_count_from_now() -> None:
    assert deadline(None, 1.5, EVENING) == EVENING + timedelta(minutes=90)


def test_neither_is_no_deadline() -> None:
    assert deadline(None, None, EVENING) is None


def test_a_whole_moment_is_taken_as_it_is() -> None:
    zone = timezone(timedelta(hours=5))
    assert deadline("2026-05-03T07:00+05:00", None, EVENING) == datetime(2026, 5, 3, 7, tzinfo=zone)


@pytest.mark.parametrize(
    "until",
    [
        "7",
        "25:00",
        "07:60",
        "seven",
        "",
        "2026-99-01T00:00",
        "2020-01-01T00:00",
        "9999-12-31T23:59",
        "9999-12-31T23:59-12:00",
        "0001-01-01T00:00",
    ],
)
def test_what_is_no_time_ahead_is_refused(until: str) -> None:
    with pytest.raises(UsageError) as refused:
        deadline(until, None, EVENING)
    assert "07:00" in refused.value.hint


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_hours_that_are_no_night_are_refused(hours: float) -> None:
    with pytest.raises(UsageError):
        deadline(None, hours, EVENING)


def test_both_together_are_refused() -> None:
    with pytest.raises(UsageError):
        deadline("07:00", 8.0, EVENING)


def test_json_carries_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert utc_text(datetime(2026, 5, 1, 1, 0, tzinfo=zone)) == "2026-04-30T23:00:00+00:00"
    assert datetime.fromisoformat(utc_text(EVENING)).tzinfo == UTC


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-07:00", ("22:00", "23:59", "00:00", "06:59"), ("21:59", "07:00", "12:00")),
        ("01:00-05:30", ("01:00", "05:29"), ("00:59", "05:30", "23:00")),
    ],
)
def test_hours_of_the_day_may_lie_over_midnight(
    hours: str, inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    def at(clock: str) -> datetime:
        hour, minute = map(int, clock.split(":"))
        return EVENING.replace(hour=hour, minute=minute)

    read = Hours.read(hours)
    assert all(read.hold(at(clock)) for clock in inside)
    assert not any(read.hold(at(clock)) for clock in outside)


@pytest.mark.parametrize("hours", ["", "22:00", "22:00-22:00", "22-7", "22:00-24:00", "22:00-07:00-08:00"])
def test_what_is_no_part_of_a_day_is_refused(hours: str) -> None:
    with pytest.raises(UsageError):
        Hours.read(hours)
