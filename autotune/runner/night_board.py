"""What a night needs of a board, whether it is a machine or made of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autotune.experiment.bench import Bench, Measure
from autotune.experiment.events import Doubt, Event, NightBegun
from autotune.runner.clocks import Clock
from autotune.runner.nights import Purpose


class StockChanged(Exception):
    """The board's stock is no longer what this night began with; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The night that is about to begin. `first` is the study's first one, whose space is frozen; `doubts` the evening's."""

    night: int
    purpose: Purpose
    first: NightBegun | None
    deadline: str | None
    doubts: tuple[Doubt, ...] = ()


class Hold(Bench, Protocol):
    """A board that is ours until it is given back, and the bench on it."""

    @property
    def undone(self) -> tuple[str, ...]:
        """What a dead tuner had left changed, and what was put back when the board was taken."""
        ...

    @property
    def boot(self) -> str:
        """What tells the board's boots apart; "" for a board that has none. A night keeps it as `board["boot"]`."""
        ...

    def begin(self, beginning: Beginning) -> NightBegun:
        """All of the board that the night's decisions need; the bench is ready then.

        Raises BoardUnfit or LoadGeneratorFailed when this board can't carry the night.
        """
        ...

    def go_on(self, begun: NightBegun) -> None:
        """The bench is ready for a night that began earlier. Raises StockChanged."""
        ...

    def wait_s(self, order: Measure, log: Sequence[Event]) -> float:
        """Seconds until the board is asked again whether it is fit for this sample; 0: it may be taken now."""
        ...

    def keepalive(self) -> None:
        """The board, and its load host, learn that we still live. Raises BoardUnreachable, LoadHostUnreachable."""
        ...

    def give_back(self) -> tuple[str, ...]:
        """The board as it was, proven: what was put back. Raises BoardLeftChanged."""
        ...


class NightBoard(Protocol):
    """The board of a study."""

    @property
    def clock(self) -> Clock: ...

    @property
    def is_far(self) -> bool:
        """Whether a cable lies in between: a lost board or load host may come back, and the board's guardian needs nobody to
        restore it.
        """
        ...

    def prepare(self, say: Callable[[str], None]) -> tuple[Doubt, ...]:
        """What can be tried and made in the evening, before a night begins. Raises BoardUnfit."""
        ...

    def take(self, night: int) -> Hold:
        """The board, ours. Raises BoardUnreachable, BoardBusy, NotPermitted, BoardUnfit, LoadHostUnreachable."""
        ...
