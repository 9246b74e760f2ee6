"""The clock of another machine beside this one's. No decision goes by it: a night's stamps and deadlines are this machine's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autotune.board.address import BoardAddress, SshBoard
from autotune.experiment.events import Doubt

CLOCK_OFF_S: Final = 5.0
"""So far apart the lines of the board's own logs can't be told any more by the night's stamps."""
JUMP_S: Final = 2.0
_LOOKS: Final = 3
NEXT: Final = "on the board, as root: timedatectl set-ntp true"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSeen:
    """How far another machine's clock is ahead of ours, known to `within_s`: half of the round trip that it took to ask.

    `since_boot_s`: that clock beside our seconds since boot, which no step of our own clock moves.
    """

    ahead_s: float
    within_s: float
    since_boot_s: float

    @property
    def is_off(self) -> bool:
        return abs(self.ahead_s) > CLOCK_OFF_S + self.within_s

    @property
    def text(self) -> str:
        way = "ahead of" if self.ahead_s > 0 else "behind"
        shown = f"{abs(self.ahead_s):,.1f} s" if self.is_off else f"{1e3 * abs(self.ahead_s):.1f} ms"
        return f"{shown} {way} this machine's, to within {1e3 * self.within_s:.1f} ms (half a round trip)"


def compare(ask: Callable[[], float]) -> ClockSeen:
    """Of a few looks the one with the shortest round trip (as NTP does); `ask` gives the other clock, in seconds since the
    epoch.
    """
    return min((_look(ask) for _ in range(_LOOKS)), key=lambda one: one.within_s)


def _look(ask: Callable[[], float]) -> ClockSeen:
    ours_s, began_s = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    theirs_s = ask()
    half_s = (time.clock_gettime(time.CLOCK_BOOTTIME) - began_s) / 2
    return ClockSeen(
        ahead_s=theirs_s - (ours_s + half_s), within_s=half_s, since_boot_s=theirs_s - (began_s + half_s)
    )


class ClockWatch:
    """Tells a jump of another machine's clock once: later looks are compared with the one that told it."""

    def __init__(self, board: BoardAddress, look: Callable[[], ClockSeen]) -> None:
        self._look = look
        self._last = look() if isinstance(board, SshBoard) else None

    def doubts(self) -> tuple[Doubt, ...]:
        """A jump since the last look. This machine's own clock, and a slow drift, are none."""
        if self._last is None:
            return ()
        now, last = self._look(), self._last
        self._last = now
        jump_s = now.since_boot_s - last.since_boot_s
        if abs(jump_s) <= JUMP_S + now.within_s + last.within_s:
            return ()
        return (
            Doubt(
                code="clock jumped",
                text=f"the board's clock jumped by {jump_s:+,.1f} s; a run in which it jumped does not count, and no stamp of "
                "the night is by it",
                next=NEXT,
            ),
        )
