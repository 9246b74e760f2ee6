"""A configuration that takes the line along with it costs a night a few reconnects, not all of its hours."""

from __future__ import annotations

import pytest

from autotune.errors import BoardBusy, BoardUnreachable
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Arm, Failure, SampleKey, Stage
from autotune.runner.lost_lines import MOST_LOSSES, LostLines
from autotune.space.configuration import Configuration


def order(kind: str = "trial", *, position: int = 1, attempt: int = 0) -> Measure:
    key = SampleKey(night=1, stage=Stage.SEARCH, block=0, position=position, attempt=attempt)
    arm = Arm.model_validate({"kind": kind, "number": 7})
    return Measure(key=key, arm=arm, configuration=Configuration())


def gone() -> Outcome:
    raise BoardUnreachable("ssh says: timed out")


def lose(lines: LostLines, asked: Measure) -> None:
    for _ in range(MOST_LOSSES):
        with pytest.raises(BoardUnreachable):
            lines.measured(asked, gone)


def test_the_place_is_given_up_after_a_few_losses_in_every_attempt_that_is_left() -> None:
    lines = LostLines()
    lose(lines, order())
    for attempt in range(4):
        event = lines.measured(order(attempt=attempt), gone).event
        assert isinstance(event, Failure)
        assert (event.stage, event.blame, event.key.attempt) == ("agent", "environment", attempt)
        assert f"lost {MOST_LOSSES} times" in event.reason
        assert "timed out" in event.reason


def test_another_place_is_tried_as_if_nothing_had_been() -> None:
    lines = LostLines()
    lose(lines, order())
    with pytest.raises(BoardUnreachable):
        lines.measured(order(position=2), gone)


def test_stock_is_tried_until_the_night_is_over() -> None:
    lines = LostLines()
    for _ in range(3):
        lose(lines, order("stock"))


def test_another_tuner_on_the_board_is_no_lost_line() -> None:
    lines = LostLines()

    def busy() -> Outcome:
        raise BoardBusy("held by another")

    for _ in range(2 * MOST_LOSSES):
        with pytest.raises(BoardBusy):
            lines.measured(order(), busy)
