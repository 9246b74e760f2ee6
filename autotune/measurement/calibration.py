"""The A/A stage: how noisy this board is tonight, and whether it invents differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from autotune.experiment.events import Event, Plan, Stage
from autotune.measurement.intervals import Interval, trimmed_interval
from autotune.measurement.logbook import Logbook, log_rate, read_log, seconds_of
from autotune.measurement.planning import smallest_visible_difference

NOISE_LIMIT = 0.05
"""Paired coefficient of variation above which a night is refused (unless the study accepts noise)."""
STRICT = 0.001
"""1 - the level of the A/A interval: so strict because it is looked at in every night of every study."""
DRIFT_FROM_S = 360.0
"""A stage shorter than a tenth of an hour is not told as an hour's drift."""
WANDERS_FROM = 2.0
"""How many standard errors (1 / sqrt n) of a white series its autocorrelation must exceed: 1 quiet night in 60 does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Stock against itself. Ratios are of the same thing, so the truth is 1.

    `sigma_run`: standard deviation of ln(requests/s) of one run; `paired_cv`: of the log ratio of a pair.
    `drift_per_hour`: slope of ln(requests/s), 0 where it can't be told from noise or the stage was too short to speak of hours. `autocorrelation`: how much one
    run's residual (drift taken out) resembles the next one's, -1 to 1; `wanders`: more than chance explains, so runs
    far apart differ by more than `sigma_run`, which is that of neighbours.
    `low`, `high`: the 99.9 % interval of the (repeated, if it was) stage, None with too few pairs.
    `verdict` biased: that interval excludes 1. `false_alarm`: the plain 95 % one of the planned pairs, without any
    repeat, does; for the public record.
    """

    pairs: int
    repeated: bool
    sigma_run: float
    paired_cv: float
    relative_range: float
    drift_per_hour: float
    autocorrelation: float
    wanders: bool
    smallest_visible_difference: float
    ratio: float
    low: float | None
    high: float | None
    verdict: Literal["quiet", "noisy", "biased"]
    false_alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AARecord:
    """How often stock against itself looked different at the plain 95 %: nominally 1 stage in 20."""

    stages: int
    false_alarms: int


def aa_record(calibrations: Iterable[Calibration]) -> AARecord:
    """The record of several nights, of one study or of many. A repeated stage counts once, with its planned pairs."""
    alarms = [one.false_alarm for one in calibrations]
    return AARecord(stages=len(alarms), false_alarms=sum(alarms))


def calibration(log: Sequence[Event], night: int) -> Calibration | None:
    """What the A/A stage of this night showed; None before its second complete pair."""
    return calibration_of(read_log(log), night)


@lru_cache(maxsize=8)  # by the book itself, which nobody changes
def calibration_of(book: Logbook, night: int) -> Calibration | None:
    """`calibration` of a log that is folded already."""
    plan = book.plans.get(night)
    differences = pair_differences(book, night)
    if plan is None or len(differences) < 2:
        return None
    planned = plan.calibration_pairs
    first = [value for block, value in differences.items() if block < planned]
    repeat = [value for block, value in differences.items() if block >= planned]
    judged = repeat if len(repeat) >= 2 else first
    strict = trimmed_interval(judged, alpha=STRICT)
    everything = list(differences.values())
    paired_cv = _deviation(everything)
    sigma = paired_cv / math.sqrt(2)
    ratios = [math.exp(value) for value in everything]
    noisy: Literal["quiet", "noisy"] = "noisy" if paired_cv > NOISE_LIMIT else "quiet"
    series = _series(book, night)
    return Calibration(
        pairs=len(everything),
        repeated=bool(repeat),
        sigma_run=sigma,
        paired_cv=paired_cv,
        relative_range=max(ratios) - min(ratios),
        drift_per_hour=series.drift_per_hour,
        autocorrelation=series.autocorrelation,
        wanders=series.autocorrelation > WANDERS_FROM / math.sqrt(series.n),
        smallest_visible_difference=smallest_visible_difference(sigma, _rounds_that_answer(plan)),
        ratio=math.exp(strict.center) if judged else 1.0,
        low=math.exp(strict.low) if math.isfinite(strict.low) else None,
        high=math.exp(strict.high) if math.isfinite(strict.high) else None,
        verdict="biased" if strict.excludes_zero else noisy,
        false_alarm=trimmed_interval(first).excludes_zero,
    )


def _rounds_that_answer(plan: Plan) -> int:
    """Those of the finals; of a baseline night, which has none, those of the steps (figured for 6 where they are fewer)."""
    return plan.finals_rounds or max(plan.series_rounds, 6)


def pair_differences(book: Logbook, night: int) -> dict[int, float]:
    """ln(A/B) of each complete pair, by block. A and B take turns at going first."""
    found = {}
    blocks = {place[2] for place in book.stages.get((night, Stage.CALIBRATION), {})}
    for block in sorted(blocks):
        pair = book.pair(night, Stage.CALIBRATION, block)
        if pair is not None:
            difference = log_rate(pair[0]) - log_rate(pair[1])
            found[block] = difference if block % 2 == 0 else -difference
    return found


def first_stage_interval(book: Logbook, night: int, planned: int) -> Interval:
    """The strict interval of the planned pairs alone: when it excludes 0, the stage is done once more."""
    differences = pair_differences(book, night)
    return trimmed_interval([value for block, value in differences.items() if block < planned], alpha=STRICT)


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1))


@dataclass(frozen=True, slots=True)
class _Series:
    """The stage's runs in the order of time, as one series."""

    n: int
    drift_per_hour: float
    autocorrelation: float


def _series(book: Logbook, night: int) -> _Series:
    """Least-squares slope of ln(requests/s) over time, per hour (0.01 is one percent an hour), and what is left of it.

    The slope is 0 where it is within twice its standard error, or the samples span less than DRIFT_FROM_S: minutes of them
    make wild hourly figures out of noise, and out of a start that is still settling. The autocorrelation is that of the residuals at lag 1, plus 2/n, by which a fitted line lowers it.
    """
    samples = [slot.sample for slot in book.of_stage(night, Stage.CALIBRATION) if slot.sample is not None]
    hours = [seconds_of(sample.at) / 3600 for sample in samples]
    rates = [log_rate(sample) for sample in samples]
    n = len(samples)
    center, level = math.fsum(hours) / n, math.fsum(rates) / n
    spread = math.fsum((hour - center) ** 2 for hour in hours)
    if spread == 0 or n < 3:
        return _Series(n=n, drift_per_hour=0.0, autocorrelation=0.0)
    slope = math.fsum((h - center) * (r - level) for h, r in zip(hours, rates, strict=True)) / spread
    left = [r - level - slope * (h - center) for h, r in zip(hours, rates, strict=True)]
    squares = math.fsum(one**2 for one in left)
    is_long = 3600 * (max(hours) - min(hours)) >= DRIFT_FROM_S
    products = math.fsum(one * following for one, following in itertools.pairwise(left))
    return _Series(
        n=n,
        drift_per_hour=slope if is_long and abs(slope) > 2 * math.sqrt(squares / (n - 2) / spread) else 0.0,
        autocorrelation=min(1.0, products / squares + 2 / n) if squares > 0 else 0.0,
    )
