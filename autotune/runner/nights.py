"""The nights of a study as its log tells them, what was asked of a sitting, and how it ended."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from autotune.experiment.events import (
    Event,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Sample,
    Void,
)
from autotune.experiment.study import Study

_FIRST_OVERHEAD_S = 0.5

Purpose: TypeAlias = Literal["tune", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked of this sitting beside the study; see `run_night`."""

    deadline_s: float | None = None
    trials: int | None = None
    rounds: int | None = None
    attribution: int | None = None
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightResult:
    """How a sitting ended, with the board as it was. `restored` lists what was put back at the end."""

    study: str
    outcome: Literal["complete", "already complete", "stopped", "refused", "systemic failure"]
    reason: str
    restored: tuple[str, ...] = ()


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


def came_of(log: Sequence[Event]) -> int:
    """How often something came of the nights: gaps and voids are the lack of it."""
    return sum(not isinstance(event, (Gap, Void)) for event in log)


def capped_plan(log: Sequence[Event], trials: int | None, at: str) -> Plan | None:
    """The plan of the night that goes on under `--trials`; None where it asks for no more than that."""
    plan = last(log, Plan)
    if trials is None or plan is None or plan.night != night_count(log) or plan.candidates <= trials:
        return None
    return plan.model_copy(update={"candidates": trials, "at": at, "reason": f"--trials {trials}"})


def sample_s(study: Study, log: Sequence[Event]) -> float:
    """Seconds one sample takes here: warm-up, run, and the median overhead of the last twenty."""
    recent = [event.overhead_s for event in log[-60:] if isinstance(event, Sample)][-20:]
    return study.busy_s + (statistics.median(recent) if recent else _FIRST_OVERHEAD_S)


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
