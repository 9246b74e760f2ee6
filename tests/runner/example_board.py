"""A board that answers with an example night's numbers, and the night held on it: for tests of what ends one and what must not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from autotune.errors import BoardLost, BoardUnreachable
from autotune.experiment.bench import AskSampler, Measure, Outcome
from autotune.experiment.events import Doubt, Event, Failure, NightBegun, Plan, Proposal, Sample
from autotune.runner import memory, night
from autotune.runner.clocks import Clock, WallClock
from autotune.runner.night_board import Beginning
from autotune.runner.nights import NightResult, Purpose
from autotune.runner.notices import Notice, Said
from autotune.storage.store import Store
from night_example import a_night, a_study

STUDY = a_study()
EXAMPLE = a_night(STUDY)


def never(_order: Measure) -> None:
    return


@dataclass
class Standing:
    """The world's clock, so many seconds off."""

    ahead_s: float
    slept_s: float = 0.0

    @property
    def now_s(self) -> float:
        return time.time() + self.ahead_s

    @property
    def at(self) -> str:
        return datetime.fromtimestamp(self.now_s, UTC).isoformat()

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Board:
    """A board, its hold and its bench in one. `before` is called before every sample and may raise or give a failure."""

    before: Callable[[Measure], Failure | None] = never
    clock: Clock = field(default_factory=WallClock)
    kept_alive: int = 0
    taken: int = 0
    given_back: int = 0
    unreachable: list[int] = field(default_factory=list)
    """Which takings of the board fail, counted from 1."""
    lost: tuple[int, ...] = ()
    """And in the middle of which it is lost."""
    undone: tuple[str, ...] = ()
    waits: list[float] = field(default_factory=list)
    """Seconds that the board is still too warm for, by question."""
    is_far: bool = False
    boots: tuple[str, ...] = ("",)
    """The board's boot by taking; the last one for all that follow."""

    # The board

    def prepare(self, _say: object) -> tuple[Doubt, ...]:
        return ()

    def take(self, _night: int) -> Board:
        self.taken += 1
        if self.taken in self.lost:
            raise BoardLost("the agent has not answered 'read' in time")
        if self.taken in self.unreachable:
            raise BoardUnreachable("the agent is gone (signal 9)")
        return self

    # The hold

    @property
    def boot(self) -> str:
        return self.boots[min(self.taken, len(self.boots)) - 1]

    def begin(self, beginning: Beginning) -> NightBegun:
        began = next(one for one in EXAMPLE if isinstance(one, NightBegun))
        known = {"night": beginning.night, "purpose": beginning.purpose, "board": {"boot": self.boot}}
        return began.model_copy(update=known | {"at": self.clock.at})

    def go_on(self, _begun: NightBegun) -> None:
        return

    def wait_s(self, _order: Measure, _log: object) -> float:
        return self.waits.pop() if self.waits else 0.0

    def keepalive(self) -> None:
        self.kept_alive += 1

    def give_back(self) -> tuple[str, ...]:
        self.given_back += 1
        return ("/proc/sys/net/core/somaxconn",)

    # The bench

    def measure(self, order: Measure) -> Outcome:
        failure = self.before(order)
        return Outcome(event=failure or _sample(order, self.clock.at))


def _sample(order: Measure, at: str) -> Sample | Failure:
    place = order.key.model_copy(update={"attempt": 0, "night": 1})
    event = next(one for one in EXAMPLE if isinstance(one, (Sample, Failure)) and one.key == place)
    return event.model_copy(update={"key": order.key, "at": at})


def _proposal(_study: object, _log: object, ask: AskSampler, *, at: str) -> Proposal:
    found = next(one for one in EXAMPLE if isinstance(one, Proposal) and one.number == ask.number)
    return found.model_copy(update={"at": at})


@dataclass
class Holding:
    """Holds the example's night on such a board."""

    monkeypatch: pytest.MonkeyPatch
    store: Store
    said: list[Notice] = field(default_factory=list)

    def __call__(
        self,
        board: Board,
        trials: int | None = None,
        *,
        purpose: Purpose | None = None,
        rounds: int | None = None,
        deadline_s: float | None = None,
    ) -> NightResult:
        plan = next(one for one in EXAMPLE if isinstance(one, Plan))
        self.monkeypatch.setattr(night, "board_for", lambda _study, _log: board)
        self.monkeypatch.setattr(night, "require_candidates", lambda *_args: None)
        self.monkeypatch.setattr(night, "shortened", lambda *_args, **_kwargs: None)
        if purpose is None:
            self.monkeypatch.setattr(night, "plan_night", lambda *_args, **_kwargs: plan)
        self.monkeypatch.setattr(night, "propose", _proposal)
        self.monkeypatch.setattr(memory, "write_mirror", lambda *_args: None)
        return night.run_night(
            STUDY,
            self.store,
            watcher=self.said.append,
            trials=trials,
            purpose=purpose,
            rounds=rounds,
            deadline_s=deadline_s,
        )

    @property
    def text(self) -> str:
        """Everything it said."""
        return "\n".join(one.text for one in self.said if isinstance(one, Said))


def words(event: Event) -> str:
    """An event without its figures."""
    return event.key.text if isinstance(event, (Sample, Failure)) else event.kind


WHOLE = [words(one) for one in EXAMPLE]
