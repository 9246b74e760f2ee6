"""The finals in two tables: the arms, and their pairs with intervals and verdicts."""

from __future__ import annotations

from autotune.experiment.study import Study
from autotune.measurement.comparison import ArmSummary, Comparison, PairVerdict, StepGain
from autotune.report.page import Table
from autotune.report.words import (
    cpu_text,
    interval_text,
    objective_words,
    percent_text,
    rate_text,
    share_text,
    verdict_text,
)

ARMS = ("stock", "hand-tuned", "automatic")
"""In the order in which they are told."""


def in_order(comparison: Comparison) -> tuple[ArmSummary, ...]:
    """The arms in the order in which they are told."""
    return tuple(sorted(comparison.arms, key=lambda one: ARMS.index(one.name)))


def arms_table(study: Study, comparison: Comparison) -> Table:
    several = len(study.workloads) > 1
    numbers = (
        "mean requests/s" if several else "requests/s",
        "n",
        "worst run",
        "p10",
        "range",
        "p99 at full load",
        "per server CPU second" if _is_cpu_maximised(study) else "CPU per request",
    )
    return Table(
        title="Finals: fresh, interleaved samples (medians)",
        columns=("", *numbers),
        rows=tuple(
            (
                arm.name + (", unstable" if arm.unstable else ""),
                rate_text(arm.requests_per_s),
                str(arm.n),
                rate_text(arm.worst),
                rate_text(arm.p10),
                share_text(arm.relative_range),
                f"{arm.latency_p99_s * 1000:.2f} ms",
                rate_text(arm.requests_per_server_cpu_s)
                if _is_cpu_maximised(study)
                else _cpu_per_request(arm),
            )
            for arm in in_order(comparison)
            if arm.n
        ),
        right=frozenset(numbers),
        note=f"Mean: weighted geometric mean over {len(study.workloads)} workloads; latency and CPU likewise."
        if several and any(arm.n for arm in comparison.arms)
        else "",
    )


def _is_cpu_maximised(study: Study) -> bool:
    return study.objective.metric == "requests_per_server_cpu_s"


def _cpu_per_request(arm: ArmSummary) -> str:
    return cpu_text(1 / arm.requests_per_server_cpu_s) if arm.requests_per_server_cpu_s else "-"


def pairs_table(study: Study, comparison: Comparison) -> Table:
    return Table(
        title=f"Ratios of {objective_words(study).ratios}",
        columns=("pair", "ratio [interval]", "change", "n", "verdict"),
        rows=tuple(
            (
                f"{pair.a} / {pair.b}",
                ratio_interval(pair),
                percent_text(pair.ratio),
                str(pair.n),
                verdict_text(study, pair.verdict),
            )
            for pair in comparison.pairs
            if pair.n
        ),
        right=frozenset({"n", "change"}),
        note=f"Intervals hold at 95 % for all pairs together ({_corrected(study)}); a claim needs 1 % and the sign test's"
        " agreement."
        if comparison.pairs
        else "",
    )


def _corrected(study: Study) -> str:
    return "Holm; O'Brien-Fleming over four looks" if study.budget.looks else "Holm"


def ratio_interval(one: PairVerdict | StepGain) -> str:
    """1.041x [1.029, 1.054], or a dash when there is no interval."""
    if one.ratio is None or one.low is None or one.high is None:
        return "-"
    return interval_text(one.ratio, one.low, one.high)
