"""Taking a board that may have been lost, or whose load host was: waiting for the board's guardian, or until somebody plugs
a cable in again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from autotune.board.address import restore_command
from autotune.errors import (
    BoardBusy,
    BoardLost,
    BoardMisunderstood,
    BoardUnreachable,
    Interrupted,
    LoadHostMisunderstood,
    LoadHostUnreachable,
    NotPermitted,
)
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.runner.night_board import Hold, NightBoard
from autotune.runner.nights import came_of
from autotune.runner.session import GUARDIAN_PATIENCE_S
from autotune.runner.stopping import Stopped

Lost: TypeAlias = BoardUnreachable | LoadHostUnreachable
LOST: Final = (BoardUnreachable, LoadHostUnreachable)
RECONNECTS: Final = 5
"""How often in a row this machine's agent may die before that ends the night."""
FAR_PATIENCE_S: Final = 3600.0
"""Without a deadline."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0


def patience_s(left_s: float | None) -> float:
    """How long what is away from a night is waited for; `left_s` until the deadline, None without one."""
    return FAR_PATIENCE_S if left_s is None else left_s


def machine_of(problem: Exception) -> str:
    """Which of the night's machines is lost, in words."""
    return "load host" if isinstance(problem, LoadHostUnreachable) else "board"


class Losses:
    """How often in a row the night's machines were lost before anything came of it, and how long ago something did."""

    def __init__(self, log: Sequence[Event]) -> None:
        self._log = log
        self.forget()

    def forget(self) -> None:
        self.in_a_row = 0
        self._came = came_of(self._log)
        self._came_s = time.monotonic()

    def count(self) -> None:
        """One more. The log tells whether anything came since the last."""
        if came_of(self._log) > self._came:
            self.forget()
        self.in_a_row += 1

    def is_worth_another_try(self, board: NightBoard, problem: Exception, left_s: float | None) -> bool:
        """Whether a machine lost so often may be had again. One that answers nonsense is not better tomorrow, and one that
        is there again and again only to be lost is not tried for ever, either. `left_s` as for `take`.
        """
        if self.in_a_row <= RECONNECTS:
            return True
        nonsense = isinstance(problem, (BoardMisunderstood, LoadHostMisunderstood))
        in_time = left_s is not None or time.monotonic() - self._came_s < FAR_PATIENCE_S
        return board.is_far and not nonsense and in_time


def take(
    board: NightBoard,
    study: Study,
    night: int,
    *,
    lost: int,
    left_s: float | None,
    wait: Callable[[float], None],
) -> Hold:
    """The board, held. `lost` in a row so often; `left_s` until the deadline, None without one; `wait` passes the time, and
    may raise Stopped or Interrupted.

    Raises BoardUnreachable (BoardBusy while another tuner has it, NotPermitted at once) or LoadHostUnreachable when patience
    is over.
    """
    until = time.monotonic() + _patience_s(board, lost, left_s)
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return board.take(night)
        except NotPermitted:
            raise
        except LOST as away:
            if not lost and isinstance(away, BoardLost):  # as if it had been lost in its first sample
                lost = 1
                until = time.monotonic() + _patience_s(board, lost, left_s)
            # Its guardian is still at work, or whatever took the line takes this one too.
            if time.monotonic() >= until:
                if not lost or isinstance(away, BoardBusy) or not board.is_far:
                    raise
                how_long = (
                    "until the deadline" if left_s is not None else f"for {FAR_PATIENCE_S / 3600:.0f} h"
                )
                raise _given_up(study, how_long, away) from away
            problem = away
        try:
            wait(pause_s)
        except Stopped as stopped:
            raise _given_up(study, f"until {stopped}", problem) from problem
        except Interrupted as stopped:
            if isinstance(problem, LoadHostUnreachable):  # the board has been given back
                raise
            raise Interrupted(
                stopped.message,
                signal_number=stopped.signal_number,
                away=f"the board is out of reach and {_by_itself(study)}",
                hint=_next(study),
            ) from None
        if board.is_far:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def given_back(board: NightBoard, hold: Hold, *, lost: bool) -> tuple[str, ...] | BoardUnreachable:
    """What was put back. A lost board whose line is cut has its guardian, and the next `take` sees to what is left: then
    how it can't be reached.
    """
    try:
        return hold.give_back()
    except BoardUnreachable as away:
        if not (lost and board.is_far):
            raise
        return away


def _given_up(study: Study, how_long: str, problem: Lost) -> Lost:
    if isinstance(problem, LoadHostUnreachable):
        return LoadHostUnreachable(
            f"the load host was out of reach {how_long} ({problem.message}). The board was given back before;"
            " everything measured is kept",
            hint=f"{problem.hint}; go on: autotune resume {study.name}",
        )
    return BoardUnreachable(
        f"the board was out of reach {how_long} ({problem.message}). It {_by_itself(study)};"
        " everything measured is kept",
        hint=_next(study),
    )


def _by_itself(study: Study) -> str:
    return f"restores itself {study.budget.lease_s:.0f} s after it last heard of us, or by a reboot"


def _next(study: Study) -> str:
    return f"see that it did: {restore_command(study.board)}; go on: autotune resume {study.name}"


def _patience_s(board: NightBoard, lost: int, left_s: float | None) -> float:
    if not lost:
        return 0.0
    if not board.is_far:
        return GUARDIAN_PATIENCE_S
    return patience_s(left_s)
