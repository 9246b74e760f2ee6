"""What a log says so far: its events folded once into slots, proposals and rankings.

A slot is one place in the study where a sample belongs (night, stage, block, position). Its attempts follow each
other in the log; the last one says where it stands. Everything in this room reads the log through a Logbook.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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

RETAKES = 3
"""How often a sample is taken again before its place in the study stays empty."""

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


@dataclass(slots=True)
class Slot:
    """One place of the study and its last attempt. `order` is where that attempt stands in the log."""

    last: Sample | Failure
    order: int
    of_stock: bool
    voided: bool = False
    blamed: int = 0
    """How many attempts failed by the configuration's own fault."""

    @property
    def sample(self) -> Sample | None:
        """The sample that counts, if there is one."""
        return self.last if isinstance(self.last, Sample) and not self.voided else None

    @property
    def failure(self) -> Failure | None:
        """The failure it ended in, if it did."""
        return self.last if isinstance(self.last, Failure) and not self.voided else None

    @property
    def state(self) -> SlotState:
        if self.sample is not None:
            return SlotState.DONE
        failure = self.failure
        if failure is not None and failure.blame == "configuration" and not self.of_stock:
            if _wants_second_look(failure) and self.blamed < 2 and failure.key.attempt < RETAKES:
                return SlotState.OPEN
            return SlotState.FAILED
        return SlotState.MISSING if self.last.key.attempt >= RETAKES else SlotState.OPEN

    @property
    def closed(self) -> bool:
        return self.state is not SlotState.OPEN

    @property
    def log_rate(self) -> float:
        """ln(requests/s) of the sample that counts, or nan."""
        return log_rate(self.sample) if self.sample is not None else math.nan


def _wants_second_look(failure: Failure) -> bool:
    """One broken run of many, of a configuration that has already run well: it must fail twice to lose its finals."""
    return failure.stage in ("load", "gate") and failure.key.stage in (
        Stage.FINALISTS,
        Stage.FINALS,
        Stage.SERIES,
    )


def log_rate(sample: Sample) -> float:
    """ln of the weighted geometric mean of the workloads' requests/s: what every decision is made from."""
    return sample.objective


@dataclass(slots=True)
class Logbook:
    """A folded log. `night` is the one that began last; everything by night is kept for all of them."""

    begun: dict[int, NightBegun] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    ended: dict[int, NightEnded] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    rankings: dict[tuple[int, str], Ranking] = field(default_factory=dict)
    subsets: dict[int, Subsets] = field(default_factory=dict)
    distilled: dict[int, Distilled] = field(default_factory=dict)
    slots: dict[Place, Slot] = field(default_factory=dict)
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    barred: frozenset[Effective] = frozenset()
    concluded: frozenset[int] = frozenset()
    night: int = 0

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
        mine = [slot for place, slot in self.slots.items() if place[0] == night and place[1] is stage]
        return sorted(mine, key=lambda slot: slot.order)

    def slot(self, night: int, stage: Stage, block: int, position: int) -> Slot | None:
        return self.slots.get((night, stage, block, position))

    def is_barred(self, configuration: Configuration, night: int | None = None) -> bool:
        """Whether this configuration has failed by its own fault, in any night of the study."""
        if not self.barred:
            return False
        return effective_key(configuration, self.stock(self.night if night is None else night)) in self.barred

    def winner(self, night: int) -> Proposal | None:
        """The trial that is called automatic in this night; None before the ranking, or when stock won."""
        ranking = self.rankings.get((night, "winner"))
        return self.proposals.get(ranking.trials[0]) if ranking is not None and ranking.trials else None

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


def read_log(log: Sequence[Event]) -> Logbook:
    """Folds a log of any length in one pass."""
    book = Logbook()
    for order, event in enumerate(log):
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
    book.barred = frozenset(_barred(book))
    book.concluded = frozenset(
        slot.last.arm.number
        for (_, stage, _, _), slot in book.slots.items()
        if stage is Stage.SEARCH and slot.last.arm.kind == "trial" and slot.closed
    )
    return book


def _enter(book: Logbook, event: Sample | Failure, order: int) -> None:
    key = event.key
    place = (key.night, key.stage, key.block, key.position)
    slot = book.slots.get(place)
    if isinstance(event, Failure):
        book.failures.append(event)
    if slot is None:
        stock_arm = event.arm.kind == "stock"
        book.slots[place] = Slot(
            last=event,
            order=order,
            of_stock=stock_arm or not effective_key(event.configuration, book.stock(key.night)),
            blamed=_is_blamed(event),
        )
    elif key.attempt > slot.last.key.attempt:
        slot.last, slot.order, slot.voided = event, order, False
        slot.blamed += _is_blamed(event)


def _is_blamed(event: Sample | Failure) -> int:
    return int(isinstance(event, Failure) and event.blame == "configuration")


def _void(book: Logbook, event: Void, order: int) -> None:
    key = event.key
    book.voids.append(event)
    slot = book.slots.get((key.night, key.stage, key.block, key.position))
    if slot is not None and slot.last.key.attempt == key.attempt:
        slot.voided, slot.order = True, order


def _barred(book: Logbook) -> Iterable[Effective]:
    for slot in book.slots.values():
        if slot.state is SlotState.FAILED:
            yield effective_key(slot.last.configuration, book.stock(slot.last.key.night))


STOCK = Arm(kind="stock")
