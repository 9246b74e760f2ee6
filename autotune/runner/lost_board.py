"""Taking a board that may have been lost: waiting for its guardian, or until somebody plugs its cable in again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from autotune.errors import BoardMisunderstood, BoardUnreachable, NotPermitted
from autotune.runner.night_board import Hold, NightBoard
from autotune.runner.session import GUARDIAN_PATIENCE_S

RECONNECTS: Final = 5
"""How often in a row this machine's agent may die before that ends the night."""
FAR_PATIENCE_S: Final = 3600.0
"""A board at the other end of a cable is waited for until the deadline; without one, so long."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0


def is_worth_another_try(board: NightBoard, lost: int, problem: BoardUnreachable) -> bool:
    """Whether a board lost so often in a row may be had again. One that answers nonsense is not better tomorrow."""
    return lost <= RECONNECTS or (board.is_far and not isinstance(problem, BoardMisunderstood))


def take(
    board: NightBoard, night: int, *, lost: int, left_s: float | None, wait: Callable[[float], None]
) -> Hold:
    """The board, held. `lost` in a row so often; `left_s` until the deadline, None without one; `wait` passes the time, and
    may raise.

    Raises BoardUnreachable (BoardBusy while another tuner has it, NotPermitted at once) when patience is over.
    """
    until = time.monotonic() + _patience_s(board, lost, left_s)
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return board.take(night)
        except NotPermitted:
            raise
        except (
            BoardUnreachable
        ):  # its guardian is still at work, or whatever took the line takes this one too
            if time.monotonic() >= until:
                raise
        wait(pause_s)
        if board.is_far:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def given_back(board: NightBoard, hold: Hold, *, gone: bool) -> tuple[str, ...]:
    """What was put back. A board whose line is cut has its guardian, and the next `take` sees to what is left."""
    try:
        return hold.give_back()
    except BoardUnreachable:
        if not (gone and board.is_far):
            raise
        return ()


def _patience_s(board: NightBoard, lost: int, left_s: float | None) -> float:
    if not lost:
        return 0.0
    if not board.is_far:
        return GUARDIAN_PATIENCE_S
    return FAR_PATIENCE_S if left_s is None else max(0.0, left_s)
