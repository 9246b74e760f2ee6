"""The finals workload by workload, and the goals: tables for people and the same as data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from autotune.experiment.study import Study
from autotune.measurement.by_workload import GoalResult, WorkloadComparison
from autotune.measurement.comparison import ArmSummary, Comparison
from autotune.report.cost_parts import cost_json
from autotune.report.page import Part, Table
from autotune.report.words import cpu_text, interval_text, objective_words, rate_text, ratio_text

PLAIN = "Plain 95 % intervals, each by itself: they describe. The answer above is the objective's."


AT_RATE = (
    "Counted from the moment a request was due, at the same rate for all. The p99 above is wrk's, under full load and from "
    "a closed loop."
)


def figure_name(study: Study) -> str:
    """What the one figure of an arm is."""
    figure = objective_words(study).figure
    if len(study.workloads) == 1:
        return figure
    return f"weighted geometric mean of {figure} over {len(study.workloads)} workloads"


def figure_of(study: Study, arm: ArmSummary) -> float:
    """That figure."""
    match study.objective.metric:
        case "requests_per_s":
            return arm.requests_per_s
        case "requests_per_server_cpu_s":
            return arm.requests_per_server_cpu_s


def workload_tables(study: Study, comparison: Comparison) -> tuple[Part, ...]:
    """A table of arms and one of ratios for all workloads; nothing where there is only one, the objective."""
    if len(study.workloads) < 2:
        return ()
    numbers = ("weight", "requests/s", "p99", "CPU per request", "n")
    return (
        Table(
            title="Workload by workload (medians)",
            columns=("workload", "arm", *numbers),
            rows=tuple(
                (
                    one.name,
                    arm.name,
                    f"{one.weight:g}",
                    rate_text(arm.requests_per_s),
                    f"{arm.latency_p99_s * 1000:.2f} ms",
                    cpu_text(arm.server_cpu_s_per_request),
                    str(arm.n),
                )
                for one in comparison.workloads
                for arm in one.arms
            ),
            right=frozenset(numbers),
        ),
        Table(
            title="Ratios of throughput, workload by workload",
            columns=("workload", "pair", "ratio [plain 95 % interval]", "n"),
            rows=tuple(
                (
                    one.name,
                    f"{pair.a} / {pair.b}",
                    interval_text(pair.ratio, pair.low, pair.high),
                    str(pair.n),
                )
                for one in comparison.workloads
                for pair in one.pairs
            ),
            right=frozenset({"n"}),
            note=PLAIN if any(one.pairs for one in comparison.workloads) else "",
        ),
    )


def latency_tables(comparison: Comparison) -> tuple[Part, ...]:
    """Latency of every arm at the same fixed rate; nothing where there were no open-loop runs."""
    rows = tuple(
        (
            one.name,
            arm.name,
            rate_text(arm.at_rate.rate_per_s),
            rate_text(arm.at_rate.answered_per_s),
            *(
                f"{seconds * 1000:.2f} ms"
                for seconds in (
                    arm.at_rate.latency_p50_s,
                    arm.at_rate.latency_p99_s,
                    arm.at_rate.latency_p999_s,
                    arm.at_rate.latency_max_s,
                )
            ),
            str(arm.at_rate.n),
        )
        for one in comparison.workloads
        for arm in one.arms
        if arm.at_rate
    )
    if not rows:
        return ()
    numbers = ("due/s", "answered/s", "p50", "p99", "p99.9", "worst", "n")
    return (
        Table(
            title="Latency at a fixed rate (medians)",
            columns=("workload", "arm", *numbers),
            rows=rows,
            right=frozenset(numbers),
            note=AT_RATE,
        ),
    )


def goals_table(comparison: Comparison) -> Table:
    """Each goal with what automatic and hand-tuned came to."""
    return Table(
        title="Goals of the study",
        columns=("workload", "goal", "arm", "here [plain 95 % interval]", "state", "published by"),
        rows=tuple(
            (
                one.goal.workload,
                goal_text(one),
                one.arm,
                _figure_text(one),
                one.state,
                one.goal.source or "-",
            )
            for one in comparison.goals
        ),
        note="Not shown: the interval holds figures on both sides of the goal." if comparison.goals else "",
    )


def goal_text(one: GoalResult) -> str:
    """The goal in a line: requests/s at least 65,000; p99 at most 0.700x of stock."""
    goal = one.goal
    name = {
        "requests_per_s": "requests/s",
        "latency_p99_s": "p99",
        "server_cpu_s_per_request": "CPU per request",
    }[goal.metric]
    if goal.of_stock:
        return f"{name} {goal.bound} {ratio_text(goal.value)} of stock"
    return f"{name} {goal.bound} {_in_unit(goal.metric, goal.value)}"


def workloads_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per workload, also where there is only one."""
    return [_workload_json(one) for one in comparison.workloads]


def goals_json(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            **one.goal.model_dump(),
            "arm": one.arm.replace("-", "_"),
            "state": one.state,
            "figure": one.figure,
            "low": one.low,
            "high": one.high,
            "n": one.n,
        }
        for one in comparison.goals
    ]


def _workload_json(one: WorkloadComparison) -> dict[str, Any]:
    return {
        "name": one.name,
        "weight": one.weight,
        "arms": [
            {
                "name": arm.name.replace("-", "_"),
                "requests_per_s": arm.requests_per_s,
                "worst": arm.worst,
                "latency_p99_s": arm.latency_p99_s,
                "server_cpu_s_per_request": _number(arm.server_cpu_s_per_request),
                "n": arm.n,
                **cost_json(arm),
                "fixed_rate": asdict(arm.at_rate) if arm.at_rate else None,
            }
            for arm in one.arms
        ],
        "pairs": [
            {
                "a": pair.a.replace("-", "_"),
                "b": pair.b.replace("-", "_"),
                "ratio": pair.ratio,
                "low": pair.low,
                "high": pair.high,
                "n": pair.n,
                "interval": "plain 95 %",
            }
            for pair in one.pairs
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _in_unit(metric: str, value: float) -> str:
    match metric:
        case "latency_p99_s":
            return f"{value * 1000:.2f} ms"
        case "server_cpu_s_per_request":
            return cpu_text(value)
        case _:
            return rate_text(value)


def _figure_text(one: GoalResult) -> str:
    if one.figure is None:
        return "-"
    show = ratio_text if one.goal.of_stock else lambda value: _in_unit(one.goal.metric, value)
    if one.low is None or one.high is None:
        return show(one.figure)
    return f"{show(one.figure)} [{show(one.low)}, {show(one.high)}]"
