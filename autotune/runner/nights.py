"""The nights of a study as its log tells them, what was asked of a sitting, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from autotune.experiment.bench import Measure
from autotune.experiment.events import (
    Event,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Sample,
    SampleKey,
    Stage,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step

Purpose: TypeAlias = Literal["tune", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked of this sitting beside the study; see `run_night`."""

    deadline_s: float | None = None
    trials: int | None = None
    rounds: int | None = None
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightResult:
    """How a sitting ended. `restored` lists what was put back at the end; `is_proven`: that the board is as it was, which a
    board out of reach has left to its guardian.
    """

    study: str
    outcome: Literal["complete", "already complete", "stopped", "refused", "systemic failure"]
    reason: str
    restored: tuple[str, ...] = ()
    is_proven: bool = True


_E = TypeVar("_E", NightBegun, NightEnded, Plan)


def last(log: Sequence[Event], kind: type[_E]) -> _E | None:
    """The latest event of this kind."""
    return next((event for event in reversed(log) if isinstance(event, kind)), None)


def night_count(log: Sequence[Event]) -> int:
    """The number of the night that began last; 0 when none has."""
    begun = last(log, NightBegun)
    return 0 if begun is None else begun.night


def open_night(log: Sequence[Event]) -> NightBegun | None:
    """The night that began last, unless it is over."""
    begun, ended = last(log, NightBegun), last(log, NightEnded)
    return None if begun is None or (ended is not None and ended.night == begun.night) else begun


def is_complete(log: Sequence[Event], purpose: Purpose) -> bool:
    """Whether the last night of this purpose was done to its end."""
    mine = [event.night for event in log if isinstance(event, NightBegun) and event.purpose == purpose]
    return bool(mine) and any(
        isinstance(event, NightEnded) and event.night == mine[-1] and event.outcome == "complete"
        for event in log
    )


def torn_block(study: Study, log: Sequence[Event]) -> tuple[SampleKey, ...]:
    """The samples that count of a pair or round that is not yet whole; nothing in the search, which has none."""
    step = next_step(study, log)
    if not isinstance(step, Measure) or step.key.stage is Stage.SEARCH:
        return ()
    voided = {event.key for event in log if isinstance(event, Void)}
    block = (step.key.night, step.key.stage, step.key.block)
    return tuple(
        event.key
        for event in log
        if isinstance(event, Sample)
        and event.key not in voided
        and (event.key.night, event.key.stage, event.key.block) == block
    )


def has_rebooted(log: Sequence[Event], boot: str) -> bool:
    """Whether the board's boot is another one than that which the night was last measured on, as far as both are known."""
    boots = (
        event.boot if isinstance(event, Gap) else event.board.get("boot", "")
        for event in reversed(log)
        if isinstance(event, NightBegun) or (isinstance(event, Gap) and event.boot)
    )
    known = next(boots, "")
    return bool(boot and known) and boot != known


def seconds_of(at: str) -> float:
    """An event's time as seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()
