"""A board that was in hand goes back, and is proven to be as it was, also where the line or the board itself is in the way."""

from __future__ import annotations

from typing import Any, Self, cast

import pytest
from scripted_board import ScriptedLine, held_on
from test_self_test import STUDY

from autotune.board.records import Begun, BoardStatus, Ended, LeftOver
from autotune.errors import BoardBusy, BoardLeftChanged, BoardUnfit, BoardUnreachable
from autotune.runner import session
from autotune.runner.session import Held
from conftest import BoardNamespace

LEFT = LeftOver(
    path="service irqbalance", original="running", now="stopped", command="service irqbalance start"
)


class _CutLine(ScriptedLine):
    """Its agent lives on behind a cut cable."""

    def end(self, *, keep: bool = False) -> Ended:
        del keep
        raise BoardUnreachable("no line to ssh://board")


class _StubbornBoard(ScriptedLine):
    """It can't be put back, and nothing on it can be read."""

    facts = None

    def status(self) -> BoardStatus:
        return BoardStatus(held_by="", journal="none", begun={}, changed=())

    def begin(self, **_order: Any) -> Begun:
        return Begun(token="t", conf_path="/c", www_dir="/w", log_dir="/l", undone=())

    def end(self, *, keep: bool = False) -> Ended:
        super().end(keep=keep)
        return Ended(restored=(), left=(LEFT,))


@pytest.mark.real
def test_the_lease_of_a_line_that_was_cut_at_the_end_is_waited_for(
    board_namespace: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a night whose cable was out for a moment when it was over would say that a tuner holds the board: its own."""
    monkeypatch.setattr(session, "connect", lambda _board: board_namespace.connect())
    monkeypatch.setattr(session, "GUARDIAN_PATIENCE_S", 2.0)
    board_namespace.connect().begin(study="s", night=1, holder="the old line", lease_s=3.0)
    study = STUDY.model_copy(update={"budget": STUDY.budget.model_copy(update={"lease_s": 3.0})})
    cut = held_on(_CutLine(), study)
    assert cut.give_back().left == ()
    assert board_namespace.connect().status().journal == "none"


def test_a_board_that_is_held_by_another_to_the_end_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(ScriptedLine):
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_told: object) -> None:
            return

        def end(self, *, keep: bool = False) -> Ended:
            super().end(keep=keep)
            raise BoardBusy("this board is held by laptop pid 7")

    busy = Busy()
    lines = [busy]
    monkeypatch.setattr(session, "connect", lambda _board: lines.pop())
    with pytest.raises(BoardBusy, match="laptop pid 7"):
        session.restore("local", patience_s=0.2)
    assert len(busy.ended) > 1, "it was asked again, over the same line"


def test_a_board_that_cannot_be_used_nor_put_back_is_left_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    board = _StubbornBoard()

    def unreadable(*_asked: object) -> None:
        raise BoardUnfit("nginx's packaged configuration can't be read")

    monkeypatch.setattr(session, "connect", lambda _board: board)
    monkeypatch.setattr(session, "place_for", lambda *_asked: cast("Any", None))
    monkeypatch.setattr(session, "read_board", unreadable)
    with pytest.raises(BoardLeftChanged, match="irqbalance"):
        Held.take(STUDY, 1)
    assert board.ended == [False]
