"""What serving costs, beside the throughput: busy CPUs and power. A table for people, and as data."""

from __future__ import annotations

from typing import Any

from autotune.experiment.study import Study
from autotune.measurement.by_workload import WorkloadArm
from autotune.measurement.comparison import Comparison
from autotune.report.page import Table
from autotune.report.words import rate_text


def cost_table(study: Study, comparison: Comparison) -> Table:
    """Busy CPUs and power of each arm, as far as they could be had; empty where neither could."""
    arms = [(one.name, arm) for one in comparison.workloads for arm in one.arms]
    several = len(study.workloads) > 1
    has_busy = any(arm.cpu_busy is not None for _, arm in arms)
    has_paced = any(arm.at_rate is not None and arm.at_rate.cpu_busy is not None for _, arm in arms)
    has_power = any(arm.power_w is not None for _, arm in arms)
    numbers = (
        *(("busy CPUs",) if has_busy else ()),
        *(("at the fixed rate",) if has_paced else ()),
        *(("power", "requests per joule") if has_power else ()),
    )
    return Table(
        title="What serving at full load costs (medians)",
        columns=(*(("workload",) if several else ()), "arm", *numbers),
        rows=tuple(
            (
                *((workload,) if several else ()),
                arm.name,
                *((_busy_text(arm.cpu_busy),) if has_busy else ()),
                *((_busy_text(arm.at_rate.cpu_busy if arm.at_rate else None),) if has_paced else ()),
                *(_power_texts(arm) if has_power else ()),
            )
            for workload, arm in arms
            if numbers
        ),
        right=frozenset(numbers),
        note="Busy: share of the CPUs that the server may use." if has_busy or has_paced else "",
    )


def cost_json(arm: WorkloadArm) -> dict[str, Any]:
    """The same of one arm under one workload; None for what could not be had."""
    return {
        "cpu_busy": arm.cpu_busy,
        "power_w": arm.power_w,
        "requests_per_joule": arm.requests_per_joule,
    }


def _busy_text(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _power_texts(arm: WorkloadArm) -> tuple[str, str]:
    if arm.power_w is None or arm.requests_per_joule is None:
        return ("-", "-")
    return (f"{arm.power_w:.2f} W", rate_text(arm.requests_per_joule))
