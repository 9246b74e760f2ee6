"""What goes away in the night, and what becomes of the sample, the board and the night: see the table in README's Safety."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from example_board import EXAMPLE, STUDY, WHOLE, Board, Holding, Standing, words

from autotune.errors import BoardUnreachable, Interrupted, StorageAway, StorageLost
from autotune.experiment.bench import Measure
from autotune.experiment.events import Event, Failure, Gap, NightEnded, Sample, Void
from autotune.runner import lost_board, memory
from autotune.storage.spool import Kept, Spool
from autotune.storage.store import Store

LAST = next(one for one in reversed(EXAMPLE) if isinstance(one, Sample)).key.text
NO_LINE = "no line to ssh://board: connection timed out"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Patience for tests, and a spool of this test's own."""
    monkeypatch.setattr(memory, "DATABASE_PATIENCE_S", 0.0)
    monkeypatch.setattr(memory, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(memory, "_ASKED_AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr(lost_board, "_LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(lost_board, "GUARDIAN_PATIENCE_S", 0.2)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/night.db") as opened:
        yield opened


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch, store: Store) -> Holding:
    return Holding(monkeypatch, store)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()
    append, beat = Store.append, Store.beat

    def appending(store: Store, name: str, event: Event, raw: str = "") -> None:
        made.ask(event)
        append(store, name, event, raw)

    def beating(store: Store, name: str) -> None:
        made.ask()
        beat(store, name)

    monkeypatch.setattr(Store, "append", appending)
    monkeypatch.setattr(Store, "beat", beating)
    return made


@dataclass
class Database:
    """Takes nothing from the event named `at` on, until so many tries were in vain."""

    at: str = ""
    tries: float = math.inf
    is_away: bool = False
    third_time: Callable[[], None] | None = None
    asked: int = 0

    def ask(self, event: Event | None = None) -> None:
        self.is_away = self.is_away or (event is not None and words(event) == self.at)
        if self.is_away:
            self.asked += 1
            if self.third_time is not None and self.asked == 3:
                self.third_time()
            if self.tries <= 0:
                self.is_away, self.at = False, ""
                return
            self.tries -= 1
            raise StorageAway("the database is locked by another program", hint="wait")


def later(clock: Standing, seconds: float) -> None:
    """It is so much later now."""
    clock.ahead_s += seconds


@dataclass
class Cut:
    """Takes the board away before a sample, once."""

    at: str
    again: list[str] = field(default_factory=list)

    def __call__(self, order: Measure) -> None:
        if order.key.text == self.at and not self.again:
            self.again.append(self.at)
            raise BoardUnreachable(NO_LINE)


def kept_in_spool(store: Store) -> list[Kept]:
    with Spool(store, STUDY.name) as spool:
        return list(spool.kept())


# -- the database


@pytest.mark.parametrize(
    "at",
    [
        "night begun",
        "plan",
        "proposal",
        "1/calibration/0/0/0",
        "1/search/3/0/0",
        "ranking",
        "1/finals/2/0/0",
        LAST,
    ],
)
def test_while_the_database_is_away_the_board_is_not_held_and_then_the_night_goes_on(
    hold: Holding, store: Store, database: Database, at: str
) -> None:
    database.at, database.tries = at, 3
    board = Board(clock=Standing(0.0))
    assert hold(board).outcome == "complete"
    assert (board.taken, board.given_back) == (2, 2)
    log = store.log(STUDY.name)
    told = [words(one) for one in log if not isinstance(one, Gap)]
    upto = len(WHOLE) if "search" not in at and at != "proposal" else WHOLE.index(at) + 1
    assert told[:upto] == WHOLE[:upto], "in the search, stock is measured again after a gap"
    assert [one.reason for one in log if isinstance(one, Gap)] == [
        "the database is locked by another program"
    ]
    assert kept_in_spool(store) == []


def test_a_night_whose_end_the_database_did_not_take_is_not_begun_again(
    hold: Holding, store: Store, database: Database
) -> None:
    database.at, database.tries = "night ended", 3
    board = Board()
    assert hold(board).outcome == "complete"
    assert (board.taken, board.given_back) == (1, 1)
    assert [words(one) for one in store.log(STUDY.name)] == WHOLE


def test_a_database_that_does_not_come_back_by_the_deadline_ends_the_night_and_the_sample_is_kept(
    hold: Holding, store: Store, database: Database
) -> None:
    database.at = "1/finals/2/0/0"
    clock = Standing(0.0)
    database.third_time = lambda: later(clock, 1000.0)
    board = Board(clock=clock)
    deadline_s = clock.now_s + 1000
    with pytest.raises(
        StorageAway, match="locked by another program, until the deadline; the board is restored"
    ) as told:
        hold(board, deadline_s=deadline_s)
    assert board.given_back == 1
    assert f"autotune resume {STUDY.name} --storage sqlite:///{store.path}" in told.value.hint
    assert str(Spool(store, STUDY.name).path) in hold.text
    seen = store.log(STUDY.name)
    assert [words(kept.event) for kept in kept_in_spool(store)] == ["1/finals/2/0/0"]

    database.is_away, database.at = False, ""
    assert hold(Board(clock=Standing(0.0))).outcome == "complete"
    assert "stored an event that" in hold.text
    log = store.log(STUDY.name)
    assert words(log[len(seen)]) == "1/finals/2/0/0"
    assert [words(one) for one in log if not isinstance(one, Gap)] == WHOLE


def test_a_night_stopped_while_its_database_is_away_says_where_the_sample_is(
    hold: Holding, store: Store, database: Database
) -> None:
    database.at = "1/search/3/0/0"
    database.third_time = lambda: os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(Interrupted) as stopped:
        hold(Board(clock=Standing(0.0)))
    assert stopped.value.exit_code == 128 + signal.SIGHUP
    assert not stopped.value.away, "it is restored"
    assert "what the database did not take is kept in" in hold.text
    assert len(kept_in_spool(store)) == 1


def test_a_spool_that_cannot_be_kept_is_said_and_the_night_still_waits(
    hold: Holding, store: Store, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    database.at, database.tries = "1/finals/2/0/0", 3
    assert hold(Board(clock=Standing(0.0))).outcome == "complete"
    assert "if the database fails tonight, a sample may be lost" in hold.text
    assert "is in this program's memory only" in hold.text
    assert [words(one) for one in store.log(STUDY.name) if not isinstance(one, (Gap, Void))] == WHOLE


def test_board_and_database_at_the_end_of_one_cable_are_both_waited_for(
    hold: Holding, store: Store, database: Database
) -> None:
    """The sample is measured, then everything is gone: the database does not take it, the board can't be given back."""
    database.at, database.tries = "1/finals/2/0/0", 6

    class Behind(Board):
        def give_back(self) -> tuple[str, ...]:
            if database.is_away and self.given_back == 0:
                self.given_back += 1
                raise BoardUnreachable(NO_LINE)
            return super().give_back()

    board = Behind(clock=Standing(0.0), is_far=True, unreachable=[2, 3])
    assert hold(board).outcome == "complete"
    assert [words(one) for one in store.log(STUDY.name) if not isinstance(one, (Gap, Void))] == WHOLE
    assert kept_in_spool(store) == []


def test_a_database_deleted_with_its_directory_is_made_again_from_the_spool(
    hold: Holding, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "deleted"
    url = f"sqlite:///{folder}/night.db"

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0":
            shutil.rmtree(folder, ignore_errors=True)

    with Store.open(url) as lost, pytest.raises(StorageLost) as told:
        replace(hold, store=lost)(Board(before=before))
    assert told.value.exit_code == 8
    assert "what the database did not take is kept in" in hold.text
    with Store.open(url) as anew:
        assert replace(hold, store=anew)(Board()).outcome == "complete"
        log = anew.log(STUDY.name)
    assert [words(one) for one in log if not isinstance(one, Gap)] == WHOLE


# -- the board


@dataclass
class Gone(Board):
    """Lost in the finals and never seen again; `then` happens at the third try to take it."""

    before: Callable[[Measure], Failure | None] = field(default_factory=lambda: Cut("1/finals/2/1/0"))
    unreachable: list[int] = field(default_factory=lambda: list(range(2, 10_000)))
    is_far: bool = True
    then: Callable[[], None] = lambda: None

    def take(self, number: int) -> Board:
        if self.taken == 3:
            self.then()
        return super().take(number)


@pytest.mark.parametrize("deadline", [True, False])
def test_a_board_gone_for_good_ends_the_night_and_everything_measured_is_kept(
    hold: Holding, store: Store, monkeypatch: pytest.MonkeyPatch, *, deadline: bool
) -> None:
    monkeypatch.setattr(lost_board, "FAR_PATIENCE_S", 0.5)
    clock = Standing(0.0)
    board = Gone(clock=clock, then=lambda: later(clock, 1000.0))
    until = clock.now_s + 1000 if deadline else None
    with pytest.raises(BoardUnreachable) as told:
        hold(board, deadline_s=until)
    assert told.value.exit_code == 4
    assert ("until the deadline" if deadline else "for 0 h") in told.value.message
    assert f"restores itself {STUDY.budget.lease_s:.0f} s after it last heard of us" in told.value.message
    assert "autotune restore" in told.value.hint
    assert f"autotune resume {STUDY.name}" in told.value.hint
    log = store.log(STUDY.name)
    assert [words(one) for one in log] == WHOLE[: WHOLE.index("1/finals/2/1/0")]


def test_a_board_that_is_lost_at_stock_again_and_again_is_not_tried_for_ever(
    hold: Holding, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There each time, and gone each time: without a deadline nothing else would end such a night."""
    monkeypatch.setattr(lost_board, "FAR_PATIENCE_S", 0.3)

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0":
            time.sleep(0.02)
            raise BoardUnreachable(NO_LINE)

    board = Board(before=before, clock=Standing(0.0), is_far=True)
    with pytest.raises(BoardUnreachable, match="connection timed out"):
        hold(board)
    assert board.taken > lost_board.RECONNECTS
    assert board.given_back == board.taken
    log = [one for one in store.log(STUDY.name) if not isinstance(one, Gap)]
    assert [words(one) for one in log] == WHOLE[: WHOLE.index("1/finals/2/1/0")]


def test_a_signal_while_the_board_is_away_does_not_claim_that_it_is_restored(hold: Holding) -> None:
    with pytest.raises(Interrupted) as stopped:
        hold(Gone(then=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert "out of reach and restores itself" in stopped.value.away
    assert "autotune restore" in stopped.value.hint


def test_autotune_stop_while_the_board_is_away_is_exit_code_4(hold: Holding, store: Store) -> None:
    with pytest.raises(BoardUnreachable, match="until asked by `autotune stop`"):
        hold(Gone(then=lambda: store.request_stop(STUDY.name)))


def test_a_board_that_is_back_at_once_tears_no_round(hold: Holding, store: Store) -> None:
    assert hold(Board(before=Cut("1/finals/2/1/0"), clock=Standing(0.0), is_far=True)).outcome == "complete"
    log = store.log(STUDY.name)
    assert [one.reason for one in log if isinstance(one, Gap)] == [NO_LINE]
    assert [words(one) for one in log if not isinstance(one, Gap)] == WHOLE


# -- the laptop


def test_a_laptop_asleep_costs_the_sample_in_hand_and_what_it_tore(hold: Holding, store: Store) -> None:
    """Its line holds, or its board is itself: nothing but the clocks tell."""
    clock = Standing(0.0)
    slept: list[str] = []

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0" and not slept:
            slept.append(order.key.text)
            clock.slept_s += 1000.0
            clock.ahead_s += 1000.0

    assert hold(Board(before=before, clock=clock)).outcome == "complete"
    log = store.log(STUDY.name)
    assert [(one.key.text, one.reason.split(" (")[0]) for one in log if isinstance(one, Void)] == [
        ("1/finals/2/1/0", "this machine was asleep meanwhile"),
        ("1/finals/2/0/0", "the rest of its round was to be measured 17 minutes later"),
    ]
    (gap,) = [one for one in log if isinstance(one, Gap)]
    assert (gap.seconds, gap.reason) == (1000.0, "this machine was asleep")
    taken = [
        one.key.text
        for one in log
        if isinstance(one, Sample) and one.key.stage == "finals" and one.key.block == 2
    ]
    assert taken[-3:] == ["1/finals/2/0/1", "1/finals/2/1/1", "1/finals/2/2/0"]


def test_a_line_that_did_not_outlive_the_sleep_says_how_long_it_was(hold: Holding, store: Store) -> None:
    """Longer than the lease: the board has restored itself, and the sample in hand never came."""
    clock = Standing(0.0)
    cut = Cut("1/finals/2/1/0")

    def before(order: Measure) -> None:
        try:
            cut(order)
        except BoardUnreachable:
            clock.slept_s += 1000.0
            clock.ahead_s += 1000.0
            raise

    assert hold(Board(before=before, clock=clock, is_far=True)).outcome == "complete"
    log = store.log(STUDY.name)
    (gap,) = [one for one in log if isinstance(one, Gap)]
    assert gap.seconds >= 1000
    assert [one.key.text for one in log if isinstance(one, Void)] == ["1/finals/2/0/0"]


def test_a_deadline_slept_through_ends_the_night_at_once(hold: Holding, store: Store) -> None:
    clock = Standing(0.0)

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0":
            clock.slept_s += 1000.0
            clock.ahead_s += 1000.0

    board = Board(before=before, clock=clock)
    result = hold(board, deadline_s=clock.now_s + 500)
    assert (result.outcome, result.reason) == ("stopped", "the deadline")
    assert board.given_back == 1
    assert not any(isinstance(one, NightEnded) for one in store.log(STUDY.name))


def test_a_deadline_that_passes_while_the_board_cools_down_ends_the_wait(hold: Holding) -> None:
    clock = Standing(0.0)

    class Warm(Board):
        def keepalive(self) -> None:
            later(clock, 1000.0)

    board = Warm(clock=clock, waits=[600.0])
    began = time.monotonic()
    result = hold(board, deadline_s=clock.now_s + 1000)
    assert (result.outcome, result.reason) == ("stopped", "the deadline")
    assert board.given_back == 1
    assert time.monotonic() - began < 60
