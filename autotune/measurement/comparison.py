"""Stock, hand-tuned and automatic against each other: the headline, from the finals' samples alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from autotune.experiment.events import (
    AppliedStep,
    Doubt,
    Event,
    Failure,
    Measurement,
    Stage,
)
from autotune.experiment.study import Study
from autotune.measurement.attribution import Attribution, attribution_of
from autotune.measurement.bounds import latency_p99_s
from autotune.measurement.by_workload import (
    GoalResult,
    WorkloadComparison,
    geometric_mean,
    goal_results,
    mean_requests_per_s,
    tail_doubts,
    workload_comparisons,
)
from autotune.measurement.calibration import Calibration, calibration_of
from autotune.measurement.doubts import comparison_doubts
from autotune.measurement.finals import (
    PAIRS,
    FinalRounds,
    final_rounds,
    judged_pairs,
    rounds_asked,
    rounds_done,
)
from autotune.measurement.intervals import Interval, trimmed_interval
from autotune.measurement.limits import LimitResult, limit_doubts, limit_results
from autotune.measurement.logbook import Logbook, log_rate, read_log
from autotune.measurement.planning import smallest_visible_difference
from autotune.measurement.scores import UNSTABLE_FROM, UNSTABLE_TIMES
from autotune.measurement.stages import chain, final_arms
from autotune.measurement.verdicts import Verdict
from autotune.space.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm over the finals. Medians; `worst` run and 10th percentile of requests/s beside them, and (max - min) / mean of
    what the study maximises.

    With several workloads every figure is made of weighted geometric means over them, one per sample.
    Numbers are nan while `n` is 0. `configuration` is what was asked for, `effective` what was in force
    where that differs from stock. `trial` is the automatic one's number.
    """

    name: str
    requests_per_s: float
    n: int
    worst: float
    p10: float
    relative_range: float
    configuration: Configuration
    effective: Configuration
    latency_p99_s: float
    requests_per_server_cpu_s: float
    unstable: bool = False
    trial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    """a against b. `ratio` 1.05: a has 5 % more of what the study maximises (faster, in one word). `low`, `high`: trimmed-t interval at the pair's own Holm `level`.

    `sign_low`, `sign_high`: the median's exact 95 % interval, None with fewer than 6 rounds. Up to 6 rounds the
    smallest visible difference is that of 6.
    """

    a: str
    b: str
    ratio: float
    low: float
    high: float
    n: int
    verdict: Verdict
    level: float
    sign_low: float | None
    sign_high: float | None
    smallest_visible_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGain:
    """A hand-tuned step against the distinct configuration before it, with a plain 95 % interval.

    `ratio` None: the step changes nothing here ("already so", "not available"), or it was not measured.
    """

    number: int
    name: str
    state: Literal["full", "partial", "already so", "not available"]
    applied: int
    of: int
    ratio: float | None
    low: float | None
    high: float | None
    n: int
    published: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """One attempt that gave no number or doesn't count. `blame` void: declared so afterwards. `gate` "": none, it failed."""

    key: str
    arm: str
    reason: str
    blame: Literal["configuration", "environment", "void"]
    gate: str = ""

    def __str__(self) -> str:
        return f"{self.key} ({self.arm}), {self.blame}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HowFar:
    """How far a night came. `outcome` "": it is not over. `rounds`: of the finals, with a sample of every arm.

    `tried`, `failed`: candidates beside stock that there were until this night's end, and those of them that failed by their
    own fault.
    """

    outcome: str = ""
    rounds: int = 0
    planned_rounds: int = 0
    tried: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a night says. `night` 0: none has begun. `complete`: every stage of it was done."""

    study: str
    night: int
    complete: bool
    arms: tuple[ArmSummary, ...]
    pairs: tuple[PairVerdict, ...]
    steps: tuple[StepGain, ...]
    calibration: Calibration | None
    excluded: tuple[Excluded, ...]
    doubts: tuple[Doubt, ...]
    workloads: tuple[WorkloadComparison, ...] = ()
    goals: tuple[GoalResult, ...] = ()
    limits: tuple[LimitResult, ...] = ()
    """Of automatic, then of hand-tuned, in the finals."""
    purpose: Literal["tune", "baseline"] = "tune"
    all_steps: StepGain | None = None
    """The last of the steps against stock, in the series alone; `number` 0. None: no step changes anything here."""
    how_far: HowFar = HowFar()

    attribution: Attribution = field(default_factory=Attribution)

    def arm(self, name: str) -> ArmSummary | None:
        return next((one for one in self.arms if one.name == name), None)

    def pair(self, a: str, b: str) -> PairVerdict | None:
        return next((one for one in self.pairs if (one.a, one.b) == (a, b)), None)

    def violated(self, name: str) -> tuple[LimitResult, ...]:
        """The limits that this arm violates: whatever its ratios are, it is no win."""
        return tuple(one for one in self.limits if one.arm == name and one.verdict == "violated")


def compare(study: Study, log: Sequence[Event], night: int | None = None) -> Comparison:
    """The comparison of one night: the one asked for, else the last that has finals, else the last that began."""
    book = read_log(log)
    asked = night if night is not None else _night(book)
    if asked not in book.begun:
        return Comparison(
            study=study.name,
            night=0,
            complete=False,
            arms=(),
            pairs=(),
            steps=(),
            calibration=None,
            excluded=(),
            doubts=(
                Doubt(
                    code="no night",
                    text="nothing has been measured yet",
                    next=f"autotune resume {study.name}",
                ),
            ),
        )
    seen = calibration_of(book, asked)
    finals = final_rounds(book, asked)
    arms = tuple(
        _arm(study, book, asked, who, configuration, finals, seen)
        for who, configuration in _arms(book, asked)
    )
    pairs = _pairs(study, finals, rounds_done(study, book, asked) if finals else 0, seen)
    names = [arm.name for arm in arms]
    ended = book.ended.get(asked)
    workloads = workload_comparisons(study, finals, names, PAIRS)
    limits = _limits(study, finals, arms)
    return Comparison(
        study=study.name,
        night=asked,
        complete=ended is not None and ended.outcome == "complete",
        arms=arms,
        pairs=pairs,
        steps=_steps(book, asked),
        calibration=seen,
        excluded=_excluded(book, asked),
        doubts=(
            *limit_doubts(study, book, asked, limits),
            *tail_doubts(workloads),
            *comparison_doubts(study, book, asked, unstable=tuple(arm.name for arm in arms if arm.unstable)),
        ),
        workloads=workloads,
        goals=goal_results(study, finals, names) if finals else (),
        limits=limits,
        all_steps=_all_steps(book, asked),
        how_far=_how_far(study, book, asked, finals, len(arms)),
        attribution=attribution_of(study, book, asked),
        purpose=book.begun[asked].purpose,
    )


def _night(book: Logbook) -> int:
    with_finals = [place[0] for place in book.slots if place[1] is Stage.FINALS]
    return max(with_finals, default=book.night)


def _arms(book: Logbook, night: int) -> list[tuple[str, Configuration]]:
    if book.begun[night].purpose == "baseline":
        return []
    return [(one.arm.text, one.configuration) for one in final_arms(book, night)]


def _how_far(study: Study, book: Logbook, night: int, finals: FinalRounds, arms: int) -> HowFar:
    ended = book.ended.get(night)
    tried = [
        one
        for one in book.proposals.values()
        if one.night <= night and len(one.configuration.against(book.stock(night)))
    ]
    return HowFar(
        outcome=ended.outcome if ended is not None else "",
        rounds=sum(len(round_) == arms for round_ in finals.values()),
        planned_rounds=rounds_asked(study, book, night) if night in book.plans else 0,
        tried=len(tried),
        failed=sum(book.is_barred(one.configuration, night) for one in tried),
    )


def _arm(
    study: Study,
    book: Logbook,
    night: int,
    name: str,
    configuration: Configuration,
    finals: FinalRounds,
    seen: Calibration | None,
) -> ArmSummary:
    samples = [round_[name] for round_ in finals.values() if name in round_]
    trial = book.shipped_trial(night) if name == "automatic" else None
    if not samples:
        return ArmSummary(
            name=name,
            requests_per_s=math.nan,
            n=0,
            worst=math.nan,
            p10=math.nan,
            relative_range=math.nan,
            configuration=configuration,
            effective=configuration.against(book.stock(night)),
            latency_p99_s=math.nan,
            requests_per_server_cpu_s=math.nan,
            trial=trial,
        )
    rates = np.array([mean_requests_per_s(study, one) for one in samples])
    figures = np.array([one.rate for one in samples])
    spread = float((figures.max() - figures.min()) / figures.mean())
    limit = max(UNSTABLE_TIMES * seen.relative_range, UNSTABLE_FROM) if seen is not None else math.inf
    return ArmSummary(
        name=name,
        requests_per_s=float(np.median(rates)),
        n=len(samples),
        worst=float(rates.min()),
        p10=float(np.quantile(rates, 0.1)),
        relative_range=spread,
        configuration=configuration,
        effective=samples[-1].effective,
        latency_p99_s=float(np.median([geometric_mean(study, one, latency_p99_s) for one in samples])),
        requests_per_server_cpu_s=float(
            np.median([geometric_mean(study, one, _per_server_cpu_s) for one in samples])
        ),
        unstable=len(samples) > 1 and spread >= limit,
        trial=trial,
    )


def _per_server_cpu_s(run: Measurement) -> float:
    return run.requests_per_server_cpu_s


def _pairs(study: Study, finals: FinalRounds, done: int, seen: Calibration | None) -> tuple[PairVerdict, ...]:
    verdicts = []
    for one in judged_pairs(study, finals, done):
        if len(one.differences) < 2:
            continue
        sigma = seen.sigma_run if seen is not None else _run_sigma(one.differences)
        judged = one.judged
        verdicts.append(
            PairVerdict(
                a=one.a,
                b=one.b,
                ratio=math.exp(judged.trimmed.center),
                low=math.exp(judged.trimmed.low),
                high=math.exp(judged.trimmed.high),
                n=judged.trimmed.n,
                verdict=judged.verdict,
                level=judged.level,
                sign_low=_ratio(judged.sign.low),
                sign_high=_ratio(judged.sign.high),
                smallest_visible_difference=smallest_visible_difference(sigma, max(len(one.differences), 6)),
            )
        )
    return tuple(verdicts)


def _limits(study: Study, finals: FinalRounds, arms: tuple[ArmSummary, ...]) -> tuple[LimitResult, ...]:
    by_name = {arm.name: arm for arm in arms}
    return tuple(
        result
        for name in ("automatic", "hand-tuned")
        if name in by_name and by_name[name].n
        for result in limit_results(
            study, finals, name, is_stock=by_name[name].effective == by_name["stock"].effective
        )
    )


def _run_sigma(differences: Sequence[float]) -> float:
    return float(np.std(differences, ddof=1)) / math.sqrt(2)


def _ratio(log_ratio: float) -> float | None:
    return math.exp(log_ratio) if math.isfinite(log_ratio) else None


def _steps(book: Logbook, night: int) -> tuple[StepGain, ...]:
    begun = book.begun[night]
    links = [number for number, _, _ in chain(begun)]
    rates = _series_rates(book, night)
    gains = []
    for step in begun.steps:
        gain: Interval | None = None
        if step.number in links and step.number > 0:
            gain = _gain(rates, step.number, links[links.index(step.number) - 1])
        gains.append(_step_gain(step, gain))
    return tuple(gains)


def _all_steps(book: Logbook, night: int) -> StepGain | None:
    links = chain(book.begun[night])
    number, _, last = links[-1]
    if last is None:
        return None
    gain = _step_gain(last, _gain(_series_rates(book, night), number, 0))
    return replace(gain, number=0, name="all steps", published=None)


def _series_rates(book: Logbook, night: int) -> dict[int, dict[int, float]]:
    """ln(requests/s) by step, then by round."""
    rates: dict[int, dict[int, float]] = {}
    for place, slot in book.slots.items():
        if place[0] == night and place[1] is Stage.SERIES and slot.sample is not None:
            rates.setdefault(slot.sample.arm.number, {})[place[2]] = log_rate(slot.sample)
    return rates


def _gain(rates: dict[int, dict[int, float]], step: int, before: int) -> Interval:
    own, other = rates.get(step, {}), rates.get(before, {})
    return trimmed_interval([own[block] - other[block] for block in sorted(own) if block in other])


def _step_gain(step: AppliedStep, gain: Interval | None) -> StepGain:
    return StepGain(
        number=step.number,
        name=step.name,
        state=step.state,
        applied=step.applied,
        of=step.of,
        ratio=_ratio(gain.center) if gain is not None else None,
        low=_ratio(gain.low) if gain is not None else None,
        high=_ratio(gain.high) if gain is not None else None,
        n=gain.n if gain is not None else 0,
        published=step.published,
    )


def _excluded(book: Logbook, night: int) -> tuple[Excluded, ...]:
    failed = [_excluded_failure(one) for one in book.failures if one.key.night == night]
    arms = {slot.last.key.text: slot.last.arm.text for slot in book.slots.values()}
    void = [
        Excluded(key=one.key.text, arm=arms.get(one.key.text, ""), reason=one.reason, blame="void")
        for one in book.voids
        if one.key.night == night
    ]
    return (*failed, *void)


def _excluded_failure(one: Failure) -> Excluded:
    return Excluded(
        key=one.key.text,
        arm=one.arm.text,
        reason=f"{one.stage}: {one.reason}",
        blame=one.blame,
        gate=one.gate,
    )
