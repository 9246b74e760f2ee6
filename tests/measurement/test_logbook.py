"""The folded log: the same for the same events, however it was come by."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

from number_bench import FakeClock, NumberBench, number_study, whole_night

from autotune.experiment.events import EVENT, Event, Sample, Stage, Void
from autotune.measurement.logbook import Logbook, SlotState, read_log


def _night() -> list[Event]:
    """A night with failures, re-takes and voids in it."""
    bench = NumberBench(FakeClock(), sigma=0.02)
    bench.fails = lambda order: "environment" if order.key.attempt == 0 and order.key.block % 5 == 3 else ""
    log = whole_night(number_study(), bench)
    searched = [one.key for one in log if isinstance(one, Sample) and one.key.stage is Stage.SEARCH]
    log[-1:-1] = [Void(key=key, at=log[-1].at, reason="test") for key in searched[3:5]]
    return log


def _folded(log: list[Event]) -> dict[str, Any]:
    return _contents(read_log(log))


def _contents(book: Logbook) -> dict[str, Any]:
    return {one.name: getattr(book, one.name) for one in fields(book)}


def _anew(log: list[Event]) -> dict[str, Any]:
    """Folded from copies of its events, of which nothing can be known yet."""
    return _folded([EVENT.validate_json(event.model_dump_json()) for event in log])


def test_a_log_folded_event_by_event_is_the_log_folded_at_once() -> None:
    log = _night()
    for length in range(1, len(log) + 1):
        grown = _folded(log[:length])
        if length % 17 == 0 or length == len(log):
            assert grown == _anew(log[:length])


def test_shorter_longer_and_other_logs_in_any_order_are_never_mixed_up() -> None:
    log, other, chance = _night(), _night()[:40], random.Random(1)
    whole = {length: _anew(log[:length]) for length in (10, 30, len(log))}
    for _ in range(30):
        length = chance.choice(list(whole))
        assert _folded(log[:length]) == whole[length]
        read_log(other)


def test_an_event_exchanged_in_place_is_noticed() -> None:
    log = _night()
    before = _folded(log)
    place = next(index for index, one in enumerate(log) if isinstance(one, Sample))
    sample = log[place]
    assert isinstance(sample, Sample)
    log[place] = sample.model_copy(update={"objective": sample.objective + 1})
    assert _folded(log) != before
    assert _folded(log) == _anew(log)


def test_a_book_once_read_does_not_change_when_the_log_goes_on() -> None:
    log = _night()
    length = len(log) // 2
    book = read_log(log[:length])
    for more in range(length, len(log)):
        read_log(log[:more])
    assert _contents(book) == _anew(log[:length])


def test_a_void_opens_its_place_and_takes_back_what_followed_from_it() -> None:
    log = _night()
    key = next(one.key for one in log if isinstance(one, Sample) and one.arm.number == 5)
    first = next(index for index, one in enumerate(log) if isinstance(one, Sample) and one.key == key)
    assert 5 in read_log(log[: first + 1]).concluded
    book = read_log([*log[: first + 1], Void(key=key, at=log[first].at, reason="test")])
    slot = book.slot(1, Stage.SEARCH, key.block, 0)
    assert slot is not None
    assert slot.state is SlotState.OPEN
    assert 5 not in book.concluded
