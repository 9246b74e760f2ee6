"""What a log says so far: its events folded once into slots, proposals and rankings.

A slot is one place in the study where a sample belongs (night, stage, block, position). Its attempts follow each
other in the log; the last one says where it stands. Everything in this room reads the log through a Logbook.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from autotune.errors import AutotuneError
from autotune.experiment.events import (
    Arm,
    Distilled,
    Event,
    Failure,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Ranking,
    Sample,
    SampleKey,
    Stage,
    Subsets,
    Void,
)
from autotune.space.configuration import Configuration
from autotune.space.value import Value

Effective: TypeAlias = tuple[tuple[str, Value], ...]
Place: TypeAlias = tuple[int, Stage, int, int]


def effective_key(configuration: Configuration, stock: Mapping[str, Value]) -> Effective:
    """What differs from stock: equal for two configurations that are the same on that board."""
    return tuple((id_, value) for id_, value in configuration.values if stock.get(id_) != value)


def seconds_of(at: str) -> float:
    """An ISO-8601 stamp as seconds, for differences between two of them."""
    return datetime.fromisoformat(at).timestamp()


class SlotState(Enum):
    OPEN = "open"
    """To be taken (again)."""
    DONE = "done"
    FAILED = "failed"
    """Its configuration failed: never again."""
    MISSING = "missing"
    """Every re-take was used up: the place stays empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place of the study and its last attempt. `order` is where that attempt (or its Void) stands in the log."""

    last: Sample | Failure
    order: int
    at_s: float
    """The last attempt's stamp in seconds (see `seconds_of`)."""
    of_stock: bool
    voided: bool = False
    blamed: int = 0
    """How many attempts failed by the configuration's own fault."""
    proven: bool = False
    """Whether its trial had already given a sample elsewhere when this place was first tried."""
    state: SlotState = field(init=False)
    log_rate: float = field(init=False)
    """ln(requests/s) of the sample that counts, or nan."""
    trial: int = field(init=False)
    """The trial's number; 0 for stock, -1 for any other arm."""

    def __post_init__(self) -> None:
        arm = self.last.arm
        numbers = {"trial": arm.number, "stock": 0}
        object.__setattr__(self, "state", self._state())
        object.__setattr__(self, "log_rate", log_rate(self.sample) if self.sample is not None else math.nan)
        object.__setattr__(self, "trial", numbers.get(arm.kind, -1))

    @property
    def sample(self) -> Sample | None:
        """The sample that counts, if there is one."""
        return self.last if isinstance(self.last, Sample) and not self.voided else None

    @property
    def failure(self) -> Failure | None:
        """The failure it ended in, if it did."""
        return self.last if isinstance(self.last, Failure) and not self.voided else None

    @property
    def closed(self) -> bool:
        return self.state is not SlotState.OPEN

    def _state(self) -> SlotState:
        if self.sample is not None:
            return SlotState.DONE
        failure = self.failure
        if failure is not None and failure.blame == "configuration" and not self.of_stock:
            second_look = failure.stage in ("load", "gate") and (self.proven or _is_after_search(failure))
            if second_look and self.blamed < 2 and not failure.key.is_last:
                return SlotState.OPEN
            return SlotState.FAILED
        return SlotState.MISSING if self.last.key.is_last else SlotState.OPEN


def _is_after_search(failure: Failure) -> bool:
    """Where one broken run of many must not cost a configuration that has already run well its place: it must fail twice."""
    return failure.key.stage not in (Stage.CALIBRATION, Stage.SEARCH)


def log_rate(sample: Sample) -> float:
    """ln of the weighted geometric mean of what the study maximises: every decision is made from it."""
    return sample.objective


@dataclass(slots=True, eq=False)
class Logbook:
    """A folded log. `night` is the one that began last; everything by night is kept for all of them.

    It equals itself alone, so what follows from it can be remembered.

    `slots` are in the order of the log, as are `stages`, the same by night and stage.
    """

    begun: dict[int, NightBegun] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    ended: dict[int, NightEnded] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    rankings: dict[tuple[int, str], Ranking] = field(default_factory=dict)
    subsets: dict[int, Subsets] = field(default_factory=dict)
    distilled: dict[int, Distilled] = field(default_factory=dict)
    slots: dict[Place, Slot] = field(default_factory=dict)
    stages: dict[tuple[int, Stage], dict[Place, Slot]] = field(default_factory=dict)
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    barred: set[Effective] = field(default_factory=set)
    concluded: set[int] = field(default_factory=set)
    """Trials that have had their first sample, or can't have it."""
    sampled: set[int] = field(default_factory=set)
    """Trials that have ever given a sample."""
    night: int = 0

    def copy(self) -> Logbook:
        """Another book that can be folded on without touching this one: what it holds is itself immutable."""
        return Logbook(
            begun=dict(self.begun),
            plans=dict(self.plans),
            ended=dict(self.ended),
            proposals=dict(self.proposals),
            rankings=dict(self.rankings),
            subsets=dict(self.subsets),
            distilled=dict(self.distilled),
            slots=dict(self.slots),
            stages={key: dict(slots) for key, slots in self.stages.items()},
            gaps=list(self.gaps),
            voids=list(self.voids),
            failures=list(self.failures),
            barred=set(self.barred),
            concluded=set(self.concluded),
            sampled=set(self.sampled),
            night=self.night,
        )

    @property
    def tonight(self) -> NightBegun:
        """The beginning of the last night. Raises AutotuneError when no night has begun."""
        if not self.begun:
            raise AutotuneError(
                "the log has no night yet",
                hint="A night begins with a NightBegun event; then ask what comes next.",
            )
        return self.begun[self.night]

    def stock(self, night: int) -> dict[str, Value]:
        return self.begun[night].stock if night in self.begun else {}

    def of_stage(self, night: int, stage: Stage) -> list[Slot]:
        """The slots of one stage in the order in which the log closed (or last tried) them."""
        return list(self.stages.get((night, stage), {}).values())

    def slot(self, night: int, stage: Stage, block: int, position: int) -> Slot | None:
        return self.slots.get((night, stage, block, position))

    def is_barred(self, configuration: Configuration, night: int | None = None) -> bool:
        """Whether this configuration has failed by its own fault, in any night of the study."""
        if not self.barred:
            return False
        return effective_key(configuration, self.stock(self.night if night is None else night)) in self.barred

    def winner(self, night: int) -> Proposal | None:
        """The trial that won this night; None before the ranking, or when stock won."""
        ranking = self.rankings.get((night, "winner"))
        return self.proposals.get(ranking.trials[0]) if ranking is not None and ranking.trials else None

    def automatic(self, night: int) -> Configuration:
        """What this night ships: the winner, pared down where that has been done; stock when nothing beat it."""
        distilled = self.distilled.get(night)
        if distilled is not None:
            return distilled.configuration
        winner = self.winner(night)
        return winner.configuration if winner is not None else Configuration()

    def shipped_trial(self, night: int) -> int | None:
        """The trial that what this night ships comes from; None for stock. Where the winner failed later, it is another."""
        distilled, winner = self.distilled.get(night), self.winner(night)
        if distilled is not None:
            return distilled.trial or None
        return winner.number if winner is not None else None

    def next_attempt(self, night: int, stage: Stage, block: int, position: int) -> SampleKey:
        slot = self.slots.get((night, stage, block, position))
        attempt = slot.last.key.attempt + 1 if slot is not None else 0
        return SampleKey(night=night, stage=stage, block=block, position=position, attempt=attempt)

    def pair(self, night: int, stage: Stage, block: int) -> tuple[Sample, Sample] | None:
        """Both samples of a pair by position, when both are there."""
        first, second = (self.slots.get((night, stage, block, position)) for position in (0, 1))
        if first is None or second is None or first.sample is None or second.sample is None:
            return None
        return first.sample, second.sample


@dataclass(frozen=True, slots=True)
class _Folded:
    """A book and the events that it was folded from."""

    events: tuple[Event, ...] = ()
    book: Logbook = field(default_factory=Logbook)


_LATEST = [_Folded()]
"""The log that was folded last. A night asks about the same log again and again, one event longer each time."""


def read_log(log: Sequence[Event]) -> Logbook:
    """Folds a log of any length in one pass; nobody may change what it returns.

    A log that goes on with the very same (immutable) events as the one folded last only has its new ones folded in:
    that saves time and can't change the answer.
    """
    latest = _LATEST[0]
    known = len(latest.events)
    if known > len(log) or not all(map(operator.is_, latest.events, log)):
        latest, known = _Folded(), 0
    if known == len(log) and known:
        return latest.book
    book = latest.book.copy()
    for order in range(known, len(log)):
        _fold(book, log[order], order)
    _LATEST[0] = _Folded(events=tuple(log), book=book)
    return book


def _fold(book: Logbook, event: Event, order: int) -> None:
    match event:
        case Sample() | Failure():
            _enter(book, event, order)
        case Proposal():
            book.proposals.setdefault(event.number, event)
        case Plan():
            book.plans[event.night] = event
        case Void():
            _void(book, event, order)
        case Ranking():
            book.rankings[event.night, event.purpose] = event
        case Subsets():
            book.subsets[event.night] = event
        case Distilled():
            book.distilled[event.night] = event
        case Gap():
            book.gaps.append((order, event))
        case NightBegun():
            book.begun[event.night] = event
            book.night = event.night
        case NightEnded():
            book.ended[event.night] = event


def _enter(book: Logbook, event: Sample | Failure, order: int) -> None:
    key = event.key
    slot = book.slots.get(_place(key))
    if isinstance(event, Failure):
        book.failures.append(event)
    if slot is not None and key.attempt <= slot.last.key.attempt:
        return
    blamed = int(isinstance(event, Failure) and event.blame == "configuration")
    if slot is None:
        stock_arm = event.arm.kind == "stock"
        of_stock = stock_arm or not effective_key(event.configuration, book.stock(key.night))
        proven = event.arm.kind == "trial" and event.arm.number in book.sampled
    else:
        of_stock, blamed, proven = slot.of_stock, slot.blamed + blamed, slot.proven
    _keep(
        book,
        Slot(
            last=event,
            order=order,
            at_s=seconds_of(event.at),
            of_stock=of_stock,
            blamed=blamed,
            proven=proven,
        ),
    )


def _void(book: Logbook, event: Void, order: int) -> None:
    book.voids.append(event)
    slot = book.slots.get(_place(event.key))
    if slot is not None and slot.last.key.attempt == event.key.attempt:
        _keep(book, replace(slot, voided=True, order=order))
        book.barred, book.concluded, book.sampled = set(), set(), set()
        for one in book.slots.values():
            _conclude(book, one)


def _keep(book: Logbook, slot: Slot) -> None:
    """Enters it at the end: a dict goes by first insertion, the slots by their last attempt."""
    key = slot.last.key
    place = _place(key)
    for slots in (book.slots, book.stages.setdefault((key.night, key.stage), {})):
        slots.pop(place, None)
        slots[place] = slot
    _conclude(book, slot)


def _conclude(book: Logbook, slot: Slot) -> None:
    """What follows from a slot for its trial and its configuration."""
    key, arm = slot.last.key, slot.last.arm
    if slot.state is SlotState.FAILED:
        book.barred.add(effective_key(slot.last.configuration, book.stock(key.night)))
    if arm.kind == "trial":
        if key.stage is Stage.SEARCH and slot.closed:
            book.concluded.add(arm.number)
        if slot.state is SlotState.DONE:
            book.sampled.add(arm.number)


def _place(key: SampleKey) -> Place:
    return key.night, key.stage, key.block, key.position


STOCK = Arm(kind="stock")
