"""A board, or a load host, whose answers can't be understood: tried a few times, nothing of it stored as a sample, the end clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from example_board import STUDY, Board, Holding

from autotune.board import replies
from autotune.errors import BoardMisunderstood
from autotune.experiment.bench import Measure
from autotune.experiment.events import Sample
from autotune.runner import lost_board
from autotune.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/night.db") as opened:
        yield opened


@pytest.mark.parametrize("is_far", [True, False])
def test_a_board_that_answers_nonsense_ends_the_night_without_a_sample_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, is_far: bool
) -> None:
    monkeypatch.setattr(lost_board, "_FIRST_PAUSE_S", 0.0)

    def before(order: Measure) -> None:
        if order.key.stage == "search":
            replies.load_seen({"measured": {"stdout": "\x1b[2J", "exit_code": float("nan")}})

    board = Board(before=before, is_far=is_far)
    hold = Holding(monkeypatch, store)
    with pytest.raises(BoardMisunderstood, match="the agent's reply can't be understood"):
        hold(board)
    assert board.given_back == board.taken
    assert board.taken <= 3 * lost_board.RECONNECTS
    samples = [one for one in store.log(STUDY.name) if isinstance(one, Sample)]
    assert samples
    assert all(one.key.stage != "search" for one in samples)
