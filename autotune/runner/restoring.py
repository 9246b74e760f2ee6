"""`autotune restore`: the board as it was, whatever happened to the tuner."""

from __future__ import annotations

from autotune.board.connection import connect
from autotune.board.records import Ended
from autotune.runner.session import proven


def restore(board: str) -> Ended:
    """Puts back what a dead tuner left; needs no database.

    Raises BoardBusy while a tuner holds the board, BoardLeftChanged (exit 6) for what can't be put back.
    """
    with connect(board) as connection:
        return proven(connection.end(earlier_boots=True))
