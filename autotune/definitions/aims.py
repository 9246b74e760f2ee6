"""Reads what the night is for: [objective], [[limit]] with [latency], and [[goal]]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autotune.definitions.table import MISSING, Table
from autotune.experiment.study import (
    Bound,
    Goal,
    GoalMetric,
    LatencyCheck,
    Limit,
    LimitMetric,
    Objective,
    ObjectiveMetric,
    PowerMeter,
    Workload,
)

_OBJECTIVES: Final[Mapping[str, ObjectiveMetric]] = {
    "requests_per_s": "requests_per_s",
    "requests_per_server_cpu_s": "requests_per_server_cpu_s",
}
_GOALS: Final[Mapping[str, GoalMetric]] = {
    "requests_per_s": "requests_per_s",
    "latency_p99_s": "latency_p99_s",
    "server_cpu_s_per_request": "server_cpu_s_per_request",
}
_RATIOS: Final = (0.01, 100.0)
_LEAST_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Limited:
    """What a limit on one figure may say: its side, and what its number lies between where it is no ratio to stock.

    `of_stock`: whether stock has such a figure to be held against.
    """

    metric: LimitMetric
    bound: Bound
    low: float
    high: float
    of_stock: bool = True


_LIMITS: Final[Mapping[str, _Limited]] = {
    one.metric: one
    for one in (
        _Limited("latency_p50_s", "at most", 1e-6, 3600),
        _Limited("latency_p95_s", "at most", 1e-6, 3600),
        _Limited("latency_p99_s", "at most", 1e-6, 3600),
        _Limited("latency_p999_s", "at most", 1e-6, 3600),
        _Limited("latency_max_s", "at most", 1e-6, 3600),
        _Limited("errors", "at most", 0, 1e9, of_stock=False),
        _Limited("requests_per_s", "at least", 1e-3, 1e9),
        _Limited("server_cpu_s_per_request", "at most", 1e-9, 3600),
        _Limited("cpu_busy", "at most", 0.01, 1),
        _Limited("power_w", "at most", 0.001, 1e6),
    )
}


def read_objective(table: Table) -> Objective:
    table.only("metric")
    word = table.word("metric", tuple(_OBJECTIVES), default="requests_per_s")
    return Objective(metric=_OBJECTIVES[word])


def read_latency(table: Table) -> LatencyCheck:
    """The open-loop runs of the finals; share = 0 leaves them out."""
    table.only("share", "duration")
    usual = LatencyCheck()
    share = table.number("share", 0, 0.95, default=usual.share)
    if 0 < share < _LEAST_SHARE:
        table.refuse("share", "too little to say anything", f"0, or a number from {_LEAST_SHARE:g} to 0.95")
    if not table.has("duration"):
        return LatencyCheck(share=share)
    duration_s = table.seconds("duration", 1, 3600, default_s=15)
    if duration_s != int(duration_s):
        table.refuse("duration", "not whole seconds", "whole seconds such as 2s or 15s")
    return LatencyCheck(share=share, duration_s=duration_s)


def read_limits(
    top: Table, workloads: tuple[Workload, ...], latency: LatencyCheck, power: PowerMeter
) -> tuple[Limit, ...]:
    """What a configuration must keep to win; what is wrong is noted."""
    names = _names(workloads)
    tables = top.tables("limit")
    limits = tuple(_limit(one, names, latency) for one in tables)
    seen: set[tuple[str, str]] = set()
    for table, limit in zip(tables, limits, strict=True):
        if limit.metric == "power_w" and power.source == "none":
            table.refuse("metric", 'judged by watts, and [power] has source = "none"', "a meter there")
        if (limit.workload, limit.metric) in seen:
            table.refuse(
                "metric", "an earlier limit is on the same figure", "one limit for each figure of a workload"
            )
        seen.add((limit.workload, limit.metric))
    return limits


def _limit(table: Table, names: tuple[str, ...], latency: LatencyCheck) -> Limit:
    table.only("workload", "metric", "at_least", "at_most", "of")
    limited = _LIMITS[table.word("metric", tuple(_LIMITS))]
    of_stock = _is_of_stock(table)
    if of_stock and not limited.of_stock:
        table.refuse("of", f"{limited.metric} are counted, not compared with stock's", "no `of` here")
        of_stock = False
    key, other = _keys(limited.bound)
    if table.has(other):
        table.refuse(other, f"a limit on {limited.metric} is the {_SIDES[limited.bound]} it may be", key)
    elif not table.has(key):
        table.refuse(key, MISSING, f"{key}, with a number")
    low, high = _RATIOS if of_stock else (limited.low, limited.high)
    limit = Limit(
        workload=_workload(table, names, default=""),
        metric=limited.metric,
        bound=limited.bound,
        value=table.number(key, low, high, default=max(low, 1e-3)),
        of_stock=of_stock,
    )
    if limit.at_fixed_rate and latency.share == 0:
        table.refuse(
            "metric", "judged at the fixed rate, and [latency] has share = 0", "a share such as 0.75 there"
        )
    return limit


def read_goals(top: Table, workloads: tuple[Workload, ...]) -> tuple[Goal, ...]:
    """The figures the study is held against; what is wrong is noted."""
    names = _names(workloads)
    return tuple(_goal(one, names) for one in top.tables("goal"))


def _goal(table: Table, names: tuple[str, ...]) -> Goal:
    table.only("workload", "metric", "at_least", "at_most", "of", "source")
    metric = _GOALS[table.word("metric", tuple(_GOALS))]
    of_stock = _is_of_stock(table)
    bound: Bound = "at most" if table.has("at_most") else "at least"
    key, other = _keys(bound)
    if table.has(key) and table.has(other):
        table.refuse(other, f"stands beside {key}", "one of the two")
    elif not table.has(key):
        table.refuse(key, MISSING, "at_least or at_most, with a number")
    low, high = _RATIOS if of_stock else (1e-9, 1e9)
    return Goal(
        workload=_workload(table, names, default=names[0] if len(names) == 1 else None),
        metric=metric,
        bound=bound,
        value=table.number(key, low, high, default=1.0),
        of_stock=of_stock,
        source=table.text("source", default=""),
    )


_SIDES: Final[Mapping[Bound, str]] = {"at least": "least", "at most": "most"}


def _keys(bound: Bound) -> tuple[str, str]:
    """The key that holds this bound's number, and the other one."""
    return ("at_least", "at_most") if bound == "at least" else ("at_most", "at_least")


def _is_of_stock(table: Table) -> bool:
    return table.has("of") and table.word("of", ("stock",)) == "stock"


def _names(workloads: tuple[Workload, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.name for one in workloads if one.name))


def _workload(table: Table, names: tuple[str, ...], *, default: str | None) -> str:
    accepted = "one of " + ", ".join(f'"{name}"' for name in names) if names else "the name of a workload"
    workload = table.text("workload", accepted=accepted, default=default)
    if workload and names and workload not in names:
        table.refuse("workload", f"no workload has this name{table.suggestion(workload, names)}", accepted)
    return workload
