"""The finals workload by workload, and the study's goals: what the one objective can't tell.

Intervals here are plain ones, each at 95 % by itself: they describe. The headline with its correction for several
hypotheses stays on the objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autotune.experiment.events import Doubt, Measurement, Sample
from autotune.experiment.study import Goal, Study, Workload
from autotune.measurement.bounds import (
    Metric,
    Rounds,
    hold,
    latency_p99_s,
    log_figures,
    log_ratios,
    of_run,
    requests_per_s,
    server_cpu_s_per_request,
)
from autotune.measurement.intervals import trimmed_interval

SLOWER_TAIL, SLOWER_TAIL_AT_RATE = 3.0, 1.5
"""From this ratio of p99 to stock's on it is said: a closed loop under full load blurs smaller ones, a fixed rate does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRate:
    """One arm's open-loop runs under one workload, all at `rate_per_s`: medians over `n` samples, `latency_max_s` the worst.

    `answered_per_s` below the rate: what could not be served waits, and that is in the latencies.
    """

    rate_per_s: float
    answered_per_s: float
    latency_p50_s: float
    latency_p99_s: float
    latency_p999_s: float
    latency_max_s: float
    n: int
    cpu_busy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadArm:
    """One arm under one workload: medians over its samples.

    `server_cpu_s_per_request` nan: no CPU time was counted. `cpu_busy`, `power_w`, `requests_per_joule` None: not to be had.
    `worst`: requests/s of the slowest run. `latency_p99_s` is wrk's, under full load and from a closed loop; `at_rate` None: there were no open-loop runs.
    """

    name: str
    requests_per_s: float
    latency_p99_s: float
    server_cpu_s_per_request: float
    n: int
    cpu_busy: float | None = None
    power_w: float | None = None
    requests_per_joule: float | None = None
    at_rate: AtRate | None = None
    worst: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPair:
    """a against b under one workload: ratio of requests/s with its plain 95 % interval."""

    a: str
    b: str
    ratio: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadComparison:
    """One workload of the finals. `weight`: its share in the objective as the study has it."""

    name: str
    weight: float
    arms: tuple[WorkloadArm, ...]
    pairs: tuple[WorkloadPair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalResult:
    """One goal held against one arm.

    met, missed: the whole plain 95 % interval lies on that side; not shown: it doesn't, or there are too few samples.
    `figure` is a ratio to stock where the goal is one, else in the metric's own unit.
    """

    goal: Goal
    arm: Literal["automatic", "hand-tuned"]
    state: Literal["met", "missed", "not shown"]
    figure: float | None
    low: float | None
    high: float | None
    n: int


def tail_doubts(workloads: Sequence[WorkloadComparison]) -> tuple[Doubt, ...]:
    """Where more throughput was bought with answers that come much later: at the fixed rate, else by wrk's p99."""
    doubts = []
    for workload in workloads:
        arms = {arm.name: arm for arm in workload.arms}
        if not {"stock", "automatic"} <= set(arms):
            continue
        stock, now = arms["stock"], arms["automatic"]
        if stock.at_rate and now.at_rate:
            where = f" at {now.at_rate.rate_per_s:,.0f} requests/s"
            stock_s, now_s, limit = (
                stock.at_rate.latency_p99_s,
                now.at_rate.latency_p99_s,
                SLOWER_TAIL_AT_RATE,
            )
        else:
            where, stock_s, now_s, limit = "", stock.latency_p99_s, now.latency_p99_s, SLOWER_TAIL
        if now_s >= limit * stock_s:
            doubts.append(
                Doubt(
                    code="slower tail",
                    text=f"{workload.name}: one answer in a hundred takes automatic over {_ms(now_s)}{where}, stock"
                    f" {_ms(stock_s)}; only throughput was maximised",
                    next="Decide whether your users would take that, before installing it",
                )
            )
    return tuple(doubts)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"


def workload_comparisons(
    study: Study, finals: Rounds, arms: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> tuple[WorkloadComparison, ...]:
    """Every workload of the study with the arms that have samples; in the order of the study."""
    return tuple(
        WorkloadComparison(
            name=workload.name,
            weight=workload.weight,
            arms=tuple(arm for name in arms if (arm := _arm(workload, finals, name)) is not None),
            pairs=tuple(pair for a, b in pairs if (pair := _pair(workload, finals, a, b)) is not None),
        )
        for workload in study.workloads
    )


def goal_results(study: Study, finals: Rounds, arms: Sequence[str]) -> tuple[GoalResult, ...]:
    """Each goal for automatic and hand-tuned, where they were measured."""
    shown: tuple[Literal["automatic", "hand-tuned"], ...] = ("automatic", "hand-tuned")
    return tuple(_goal(goal, finals, arm) for goal in study.goals for arm in shown if arm in arms)


def geometric_mean(study: Study, sample: Sample, metric: Callable[[Measurement], float]) -> float:
    """The weighted geometric mean of a figure over the sample's workloads; 0 where one of them has none."""
    figures = {
        one.name: metric(sample.measurements[one.name])
        for one in study.workloads
        if one.name in sample.measurements
    }
    if len(figures) < len(study.workloads) or any(figure <= 0 for figure in figures.values()):
        return 0.0
    return math.exp(study.objective_of(figures))


_METRICS: Mapping[str, Metric] = {
    "requests_per_s": of_run(requests_per_s),
    "latency_p99_s": of_run(latency_p99_s),
    "server_cpu_s_per_request": of_run(server_cpu_s_per_request),
}
_STATES: Mapping[str, Literal["met", "missed", "not shown"]] = {
    "within": "met",
    "beyond": "missed",
    "not shown": "not shown",
}


def mean_requests_per_s(study: Study, sample: Sample) -> float:
    """A sample's requests/s, whatever the study maximises: their weighted geometric mean over its workloads."""
    return geometric_mean(study, sample, requests_per_s)


def _arm(workload: Workload, finals: Rounds, name: str) -> WorkloadArm | None:
    runs = [
        sample.measurements[workload.name]
        for round_ in finals.values()
        if (sample := round_.get(name)) is not None and workload.name in sample.measurements
    ]
    if not runs:
        return None
    cpu = [one for one in map(server_cpu_s_per_request, runs) if one > 0]
    return WorkloadArm(
        name=name,
        requests_per_s=float(np.median([one.requests_per_s for one in runs])),
        latency_p99_s=float(np.median([one.latency_p99_s for one in runs])),
        server_cpu_s_per_request=float(np.median(cpu)) if cpu else math.nan,
        n=len(runs),
        cpu_busy=_median([one.cpu_busy for one in runs if one.cpu_busy is not None]),
        power_w=_median([one.power_w for one in runs if one.power_w is not None]),
        requests_per_joule=_median([one.requests_per_s / one.power_w for one in runs if one.power_w]),
        at_rate=_at_rate(workload, finals, name),
        worst=min(one.requests_per_s for one in runs),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _at_rate(workload: Workload, finals: Rounds, name: str) -> AtRate | None:
    runs = [
        sample.fixed_rate[workload.name]
        for round_ in finals.values()
        if (sample := round_.get(name)) is not None and workload.name in sample.fixed_rate
    ]
    if not runs:
        return None
    return AtRate(
        rate_per_s=runs[0].rate_per_s,
        answered_per_s=float(np.median([one.answered_per_s for one in runs])),
        latency_p50_s=float(np.median([one.latency_p50_s for one in runs])),
        latency_p99_s=float(np.median([one.latency_p99_s for one in runs])),
        latency_p999_s=float(np.median([one.latency_p999_s for one in runs])),
        latency_max_s=max(one.latency_max_s for one in runs),
        n=len(runs),
        cpu_busy=_median([one.cpu_busy for one in runs if one.cpu_busy is not None]),
    )


def _pair(workload: Workload, finals: Rounds, a: str, b: str) -> WorkloadPair | None:
    values = log_ratios(of_run(requests_per_s), workload.name, finals, a, b)
    if len(values) < 2:
        return None
    found = trimmed_interval(values)
    return WorkloadPair(
        a=a,
        b=b,
        ratio=math.exp(found.center),
        low=math.exp(found.low),
        high=math.exp(found.high),
        n=found.n,
    )


def _goal(goal: Goal, finals: Rounds, arm: Literal["automatic", "hand-tuned"]) -> GoalResult:
    metric = _METRICS[goal.metric]
    if goal.of_stock:
        held = hold(log_ratios(metric, goal.workload, finals, arm, "stock"), goal.bound, goal.value)
    else:
        held = hold(log_figures(metric, goal.workload, finals, arm), goal.bound, goal.value)
    return GoalResult(
        goal=goal,
        arm=arm,
        state=_STATES[held.state],
        figure=held.figure,
        low=held.low,
        high=held.high,
        n=held.n,
    )
