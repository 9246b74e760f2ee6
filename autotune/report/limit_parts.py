"""The limits of a study as they were kept: a sentence that goes before the answer, a table, and the same as data."""

from __future__ import annotations

from typing import Any

from autotune.experiment.study import Limit
from autotune.measurement.comparison import Comparison
from autotune.measurement.limits import LimitResult
from autotune.report.page import Table
from autotune.report.words import rate_text, ratio_text

_NAMES = {
    "latency_p50_s": "p50 at the fixed rate",
    "latency_p95_s": "p95 at the fixed rate",
    "latency_p99_s": "p99 at the fixed rate",
    "latency_p999_s": "p99.9 at the fixed rate",
    "latency_max_s": "longest answer at the fixed rate",
    "errors": "errors",
    "requests_per_s": "requests/s",
    "server_cpu_s_per_request": "CPU per request",
    "cpu_busy": "busy CPUs at the fixed rate",
    "power_w": "power",
}


def violated_lines(comparison: Comparison) -> tuple[str, ...]:
    """What has to be said before any ratio of automatic; nothing where it violates no limit."""
    return tuple(
        f"automatic is no win, whatever its throughput: it violates a limit of the study ({one.workload}:"
        f" {limit_text(one.limit)}; here {_figure_text(one)}, n = {one.n})."
        for one in comparison.violated("automatic")
    )


def limits_table(comparison: Comparison) -> Table:
    """Each limit with what automatic and hand-tuned came to in the finals."""
    notes = dict.fromkeys(one.note for one in comparison.limits if one.note)
    return Table(
        title="Limits of the study",
        columns=("workload", "limit", "arm", "here [plain 95 % interval]", "n", "verdict"),
        rows=tuple(
            (one.workload, limit_text(one.limit), one.arm, _figure_text(one), str(one.n), one.verdict)
            for one in comparison.limits
        ),
        right=frozenset({"n"}),
        note="; ".join(
            (
                "A violated limit can't win. Not shown: the interval holds figures on both sides of the limit, or there is none",
                *(f"errors: {note}" for note in notes),
            )
        )
        + "."
        if comparison.limits
        else "",
    )


def limit_lines(comparison: Comparison) -> tuple[str, ...]:
    """Each limit in a line of its own."""
    return tuple(
        f"of {one.workload}: {limit_text(one.limit)}: {one.verdict} by {one.arm} ({_figure_text(one)})"
        for one in comparison.limits
    )


def limits_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry for each limit, arm and workload."""
    return [
        {
            **one.limit.model_dump(),
            "arm": one.arm.replace("-", "_"),
            "workload": one.workload,
            "figure": one.value,
            "low": one.low,
            "high": one.high,
            "allowed": one.allowed,
            "n": one.n,
            "verdict": one.verdict,
            "note": one.note,
        }
        for one in comparison.limits
    ]


def limit_text(limit: Limit) -> str:
    """The limit in a line: p99 at the fixed rate at most 1.000x of stock."""
    allowed = f"{ratio_text(limit.value)} of stock" if limit.of_stock else _in_unit(limit, limit.value)
    return f"{_NAMES[limit.metric]} {limit.bound} {allowed}"


def _in_unit(limit: Limit, value: float) -> str:
    match limit.metric:
        case "errors":
            return f"{value:,.0f}"
        case "requests_per_s":
            return rate_text(value)
        case "server_cpu_s_per_request":
            return f"{value * 1e6:,.1f} us"
        case "cpu_busy":
            return f"{100 * value:.0f} %"
        case "power_w":
            return f"{value:.2f} W"
        case _:
            return f"{value * 1000:.2f} ms" if value >= 1e-4 else f"{value * 1e6:.0f} us"


def _figure_text(one: LimitResult) -> str:
    if one.value is None:
        return "-"
    texts = [
        ratio_text(value) if one.limit.of_stock else _in_unit(one.limit, value)
        for value in (one.value, one.low, one.high)
        if value is not None
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if len(texts) == 3 else texts[0]
