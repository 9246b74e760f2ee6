"""Where the night stands, for whoever watches: counted and estimated from the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.experiment.events import Event, Failure, NightBegun, Proposal, Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.logbook import read_log
from autotune.measurement.scores import TrialScore, trial_scores
from autotune.measurement.shares import remaining_samples, seen_pace, total_s
from autotune.report.words import objective_words
from autotune.runner.notices import Progress

_HALF_WIDTH = 1.96


def progress_of(study: Study, log: Sequence[Event], left_s: float | None) -> Progress:
    """The night's progress after its last event. `left_s`: until the deadline, where there is one.

    `current` and `best` are drift-corrected ratios to stock from the search's single runs: rough, and the best of
    many over-states itself.
    """
    night = next((event.night for event in reversed(log) if isinstance(event, NightBegun)), 1)
    done = dict.fromkeys(Stage, 0)
    failures = 0
    for event in log:
        if isinstance(event, (Sample, Failure)) and event.key.night == night:
            done[event.key.stage] += isinstance(event, Sample)
            failures += isinstance(event, Failure)
    left = _left(study, log)
    last = log[-1]
    stage = last.key.stage if isinstance(last, (Sample, Failure)) else Stage.SEARCH
    scores = trial_scores(study, log)
    usable = [score for score in scores.values() if not score.failed and score.number > 0 and score.n > 0]
    current = scores.get(last.arm.number) if isinstance(last, Sample) and last.arm.kind == "trial" else None
    best = max(usable, key=lambda score: (score.shrunken, score.score), default=None)
    return Progress(
        study=study.name,
        stage=stage.value,
        sample=done[stage],
        samples=done[stage] + left.samples[stage],
        current=_ratio(current),
        current_pm=_pm(current),
        best=_ratio(best),
        best_pm=_pm(best),
        failures=failures,
        time_left_s=left.seconds if left_s is None or left.seconds is None else min(left.seconds, left_s),
        last=_last_words(study, last),
    )


@dataclass(frozen=True, slots=True)
class _Left:
    """What is still to be done tonight: samples by stage, and how long all of it takes (None: not planned yet)."""

    samples: Mapping[Stage, int]
    seconds: float | None


def _left(study: Study, log: Sequence[Event]) -> _Left:
    book = read_log(log)
    plan = book.plans.get(book.night)
    if plan is None:
        return _Left(dict.fromkeys(Stage, 0), None)
    samples = remaining_samples(study, book, plan)
    return _Left(samples, total_s(study, samples, seen_pace(study, book, plan)))


def _ratio(score: TrialScore | None) -> float | None:
    return None if score is None or score.n == 0 else math.exp(score.score)


def _pm(score: TrialScore | None) -> float | None:
    """Half a rough 95 % interval."""
    return None if score is None or score.n == 0 else math.exp(score.score) * _HALF_WIDTH * score.error


def _last_words(study: Study, event: Event) -> str:
    at = datetime.fromisoformat(event.at).astimezone().strftime("%H:%M:%S")
    match event:
        case Sample():
            if len(study.workloads) == 1:
                return f"{at} {event.arm.text}: {event.rate:,.0f} {objective_words(study).figure}"
            each = ", ".join(f"{name} {run.requests_per_s:,.0f}" for name, run in event.measurements.items())
            return f"{at} {event.arm.text}: mean {event.rate:,.0f} {objective_words(study).figure} ({each} requests/s)"
        case Failure():
            return f"{at} {event.arm.text}: failed in {event.stage}: {event.reason}"
        case Proposal():
            return f"{at} trial {event.number} proposed"
        case _:
            return f"{at} {event.kind}"
