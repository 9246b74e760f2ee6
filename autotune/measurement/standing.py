"""Where a running night stands: for whoever watches, never for a decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, Stage
from autotune.experiment.study import Study
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.logbook import Logbook, log_rate, read_log
from autotune.measurement.planning import expected_samples, remaining_samples
from autotune.measurement.scores import scores_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`stage` is that of the last attempt; `sample` of `samples` counts in it. `left` samples are still to come.

    `current` (the last trial measured) and `best` are ratios to stock with half the width of a rough 95 % interval;
    None while unknown. In the finals and after, `best` is automatic against stock in the finals alone.
    """

    stage: Stage | None
    sample: int
    samples: int
    left: int
    failures: int
    current: float | None
    current_pm: float | None
    best: float | None
    best_pm: float | None
    best_trial: int | None


def standing(study: Study, log: Sequence[Event]) -> Standing:
    """Where the last night of this log stands."""
    book = read_log(log)
    night = book.night
    tonight = sorted(
        (slot for place, slot in book.slots.items() if place[0] == night), key=lambda slot: slot.order
    )
    stage = tonight[-1].last.key.stage if tonight else None
    scores = scores_of(book)
    trials = [
        slot.last.arm.number for slot in tonight if slot.last.arm.kind == "trial" and slot.sample is not None
    ]
    current = scores.get(trials[-1]) if trials else None
    ranked = sorted(
        (one for one in scores.values() if one.n > 0 and not one.failed and not one.unstable),
        key=lambda one: (-one.shrunken, -one.score),
    )
    best = (ranked[0].shrunken, ranked[0].error, ranked[0].number) if ranked else None
    winner = book.winner(night)
    finals = _finals(book, night)
    if len(finals) > 1:
        interval = trimmed_interval(finals)
        best = (interval.center, (interval.high - interval.low) / 2 / 1.96, winner.number if winner else 0)
    return Standing(
        stage=stage,
        sample=sum(slot.last.key.stage is stage and slot.closed for slot in tonight),
        samples=expected_samples(study, log)[stage] if stage is not None and night in book.plans else 0,
        left=remaining_samples(study, log),
        failures=sum(one.key.night == night for one in book.failures),
        current=math.exp(current.score) if current is not None and current.n else None,
        current_pm=1.96 * current.error * math.exp(current.score)
        if current is not None and current.n
        else None,
        best=math.exp(best[0]) if best is not None else None,
        best_pm=1.96 * best[1] * math.exp(best[0]) if best is not None and math.isfinite(best[1]) else None,
        best_trial=best[2] if best is not None else None,
    )


def _finals(book: Logbook, night: int) -> list[float]:
    """ln(automatic / stock) of each round of the finals that has both."""
    rounds: dict[int, dict[str, float]] = {}
    for place, slot in book.slots.items():
        if place[0] == night and place[1] is Stage.FINALS and slot.sample is not None:
            rounds.setdefault(place[2], {})[slot.sample.arm.kind] = log_rate(slot.sample)
    return [
        one["automatic"] - one["stock"] for one in rounds.values() if {"automatic", "stock"} <= one.keys()
    ]
