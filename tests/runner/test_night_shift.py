"""The loop of a night on a board made of an example's numbers: what ends it, and what must not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from example_board import EXAMPLE, STUDY, WHOLE, Board, Holding, Standing, words

from autotune.errors import BoardLeftChanged, BoardUnreachable, StorageError
from autotune.experiment.bench import Measure
from autotune.experiment.events import (
    Event,
    Failure,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Sample,
    Stage,
    Void,
)
from autotune.runner import absence, lost_board, night
from autotune.runner.clocks import Clock
from autotune.runner.nights import Purpose
from autotune.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/night.db") as opened:
        yield opened


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch, store: Store) -> Holding:
    return Holding(monkeypatch, store)


def test_an_undisturbed_night_is_the_examples(hold: Holding, store: Store) -> None:
    board = Board()
    result = hold(board)
    assert result.outcome == "complete"
    assert result.restored == ("/proc/sys/net/core/somaxconn",)
    assert (board.taken, board.given_back) == (1, 1)
    assert [words(one) for one in store.log(STUDY.name)] == WHOLE


def test_what_disturbs_for_a_while_does_not_use_up_every_re_take(
    hold: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "PAUSES_S", (0.0, 0.0, 0.02, 0.3))
    disturbed_until: list[float] = []

    def disturbed(order: Measure) -> Failure | None:
        if not disturbed_until:
            disturbed_until.append(time.monotonic() + 0.2)
        if time.monotonic() > disturbed_until[0]:
            return None
        return Failure(
            key=order.key,
            at=EXAMPLE[0].at,
            arm=order.arm,
            configuration=order.configuration,
            stage="nginx",
            reason="port 8088 is taken",
            blame="environment",
        )

    board = Board(before=disturbed)
    assert hold(board).outcome == "complete"
    assert board.kept_alive > 0


def test_a_warm_board_is_waited_for_and_kept_alive_meanwhile(hold: Holding, store: Store) -> None:
    board = Board(waits=[0.01, 0.01, 0.01])
    assert hold(board).outcome == "complete"
    assert board.waits == []
    assert board.kept_alive == 3
    assert [words(one) for one in store.log(STUDY.name)] == WHOLE


def test_a_night_can_be_stopped_while_the_board_cools_down(hold: Holding, store: Store) -> None:
    class Warm(Board):
        def wait_s(self, _order: Measure, _log: object) -> float:
            store.request_stop(STUDY.name)
            return 0.01

    board = Warm()
    assert hold(board).outcome == "stopped"
    assert board.given_back == 1


def test_a_lost_line_is_taken_up_again_though_the_first_try_fails(hold: Holding, store: Store) -> None:
    lost: list[str] = []

    def before(order: Measure) -> None:
        if order.key.text == "1/search/3/0/0" and not lost:
            lost.append(order.key.text)
            raise BoardUnreachable("the agent is gone (signal 9)")

    board = Board(before=before, unreachable=[2])
    assert hold(board).outcome == "complete"
    assert (board.taken, board.given_back) == (3, 2)
    assert [one.reason for one in store.log(STUDY.name) if isinstance(one, Gap)] == [
        "the agent is gone (signal 9)"
    ]


@pytest.mark.parametrize("is_far", [True, False])
def test_a_board_behind_a_cut_cable_is_waited_for_and_its_guardian_trusted(
    hold: Holding, store: Store, monkeypatch: pytest.MonkeyPatch, *, is_far: bool
) -> None:
    """Away for longer than an agent of this machine is waited for, and out of reach when it is to be given back."""
    monkeypatch.setattr(lost_board, "GUARDIAN_PATIENCE_S", 0.01)
    monkeypatch.setattr(lost_board, "_LONGEST_PAUSE_S", 0.05)
    cut: list[str] = []

    def before(order: Measure) -> None:
        if order.key.text == "1/search/3/0/0" and not cut:
            cut.append(order.key.text)
            raise BoardUnreachable("no line to ssh://board: connection timed out")

    board = Board(before=before, unreachable=list(range(2, 12)), is_far=is_far)
    if not is_far:
        with pytest.raises(BoardUnreachable):
            hold(board)
        return
    assert hold(board).outcome == "complete"
    assert board.taken == 12
    keys = [one.key for one in store.log(STUDY.name) if isinstance(one, Sample)]
    assert len(keys) == len(set(keys)), "nothing is doubled"


def test_a_round_torn_by_a_long_absence_of_the_board_is_measured_anew(
    hold: Holding, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absence, "GAP_S", 0.0)  # however short, it counts as long
    cut: list[str] = []

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0" and not cut:
            cut.append(order.key.text)
            raise BoardUnreachable("no line to ssh://board: connection timed out")

    assert hold(Board(before=before, unreachable=[2], is_far=True)).outcome == "complete"
    log = store.log(STUDY.name)
    assert [one.key.text for one in log if isinstance(one, Void)] == ["1/finals/2/0/0"]
    assert any(isinstance(one, Sample) and one.key.text == "1/finals/2/0/1" for one in log)


@pytest.mark.parametrize("controller_died", [False, True])
def test_a_round_torn_by_a_reboot_of_the_board_is_measured_anew_however_soon_it_is_back(
    hold: Holding, store: Store, *, controller_died: bool
) -> None:
    cut: list[str] = []

    def before(order: Measure) -> None:
        if order.key.text == "1/finals/2/1/0" and not cut:
            cut.append(order.key.text)
            raise KeyboardInterrupt if controller_died else BoardUnreachable("the line is gone")

    board = Board(before=before, boots=("first", "second"), is_far=True)
    if controller_died:
        with pytest.raises(KeyboardInterrupt):
            hold(board)
        board.clock = _later(store, 30)
    assert hold(board).outcome == "complete"
    log = store.log(STUDY.name)
    assert [(one.key.text, one.reason) for one in log if isinstance(one, Void)] == [
        ("1/finals/2/0/0", "the rest of its round was to be measured after a reboot of the board")
    ]
    assert [one.boot for one in log if isinstance(one, Gap) and one.boot] == ["second"]
    assert any(isinstance(one, Sample) and one.key.text == "1/finals/2/0/1" for one in log)


def _cut(hold: Holding, store: Store, minutes: float, at: str, trials: int | None = None) -> list[Event]:
    """The log after a night that lost its controller before the sample `at` and went on so many minutes later."""

    def before(order: Measure) -> None:
        if order.key.text == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold(Board(before=before))
    hold(Board(clock=_later(store, 60 * minutes)), trials)
    return store.log(STUDY.name)


def _later(store: Store, seconds: float) -> Clock:
    """A clock by which the study's last event was so long ago."""
    at = datetime.fromisoformat(store.log(STUDY.name)[-1].at).timestamp()
    return Standing(at + seconds - time.time())


def _nights(store: Store) -> list[tuple[int, str, str]]:
    """Each night with what it was for and how it ended."""
    log = store.log(STUDY.name)
    ends = {one.night: one.outcome for one in log if isinstance(one, NightEnded)}
    return [
        (one.night, one.purpose, ends.get(one.night, "open")) for one in log if isinstance(one, NightBegun)
    ]


def test_a_baseline_holds_the_steps_alone_and_a_run_after_it_tunes(hold: Holding, store: Store) -> None:
    assert hold(Board(), purpose="baseline", rounds=3).outcome == "complete"
    stages = {one.key.stage for one in store.log(STUDY.name) if isinstance(one, Sample)}
    assert stages == {Stage.CALIBRATION, Stage.SERIES, Stage.ATTRIBUTION}
    assert hold(Board(), purpose="baseline").outcome == "already complete"
    assert hold(Board(), purpose="tune").outcome == "complete"
    assert _nights(store) == [(1, "baseline", "complete"), (2, "tune", "complete")]
    assert hold(Board(), purpose="tune").outcome == "already complete"
    assert hold(Board(), purpose="baseline").outcome == "already complete"


def _cut_short(hold: Holding, at: str, purpose: Purpose) -> None:
    def before(order: Measure) -> None:
        if order.key.text == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold(Board(before=before), purpose=purpose, rounds=3)


def test_an_interrupted_baseline_is_gone_on_with(hold: Holding, store: Store) -> None:
    _cut_short(hold, "1/series/1/0/0", "baseline")
    assert hold(Board(clock=_later(store, 10)), purpose="baseline").outcome == "complete"
    assert _nights(store) == [(1, "baseline", "complete")]


def test_an_open_baseline_is_closed_when_a_night_that_tunes_is_asked_for(hold: Holding, store: Store) -> None:
    _cut_short(hold, "1/series/1/0/0", "baseline")
    assert hold(Board(), purpose="tune").outcome == "complete"
    assert _nights(store) == [(1, "baseline", "abandoned"), (2, "tune", "complete")]


def test_half_a_pair_does_not_wait_an_hour_for_its_other_half(hold: Holding, store: Store) -> None:
    log = _cut(hold, store, 60, "1/calibration/3/1/0")
    assert [one.key.text for one in log if isinstance(one, Void)] == ["1/calibration/3/0/0"]
    taken = [one.key.text for one in log if isinstance(one, Sample) and one.key.block == 3]
    assert taken[:3] == ["1/calibration/3/0/0", "1/calibration/3/0/1", "1/calibration/3/1/0"]


def test_half_a_pair_stands_when_the_controller_is_back_at_once(hold: Holding, store: Store) -> None:
    assert not any(isinstance(one, Void) for one in _cut(hold, store, 0.1, "1/calibration/3/1/0"))


def test_a_cap_on_the_trials_holds_for_a_night_that_goes_on(hold: Holding, store: Store) -> None:
    log = _cut(hold, store, 0.1, "1/search/2/0/0", trials=3)
    assert [one.candidates for one in log if isinstance(one, Plan)][-1] == 3
    assert max(one.number for one in log if isinstance(one, Proposal)) <= 3


def test_a_board_that_cannot_be_had_in_the_evening_is_said_at_once(hold: Holding) -> None:
    board = Board(unreachable=[1])
    with pytest.raises(BoardUnreachable):
        hold(board)
    assert board.taken == 1


def test_a_board_that_is_lost_while_it_is_taken_is_waited_for_from_the_first_time_on(hold: Holding) -> None:
    """It was there: a power cut just then is no mistyped address."""
    board = Board(lost=(1,), unreachable=[2], is_far=True)
    assert hold(board).outcome == "complete"
    assert board.taken == 3


def test_a_database_that_fails_last_does_not_hide_what_was_left_changed(
    hold: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: Store, _name: str) -> None:
        raise StorageError("no room left for the database")

    def changed(_board: Board) -> tuple[str, ...]:
        raise BoardLeftChanged("these could not be put back")

    monkeypatch.setattr(Store, "leave", full)
    monkeypatch.setattr(Board, "give_back", changed)
    with pytest.raises(BoardLeftChanged):
        hold(Board())
