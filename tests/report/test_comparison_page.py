"""The morning's answer in words and as data: which figure was maximised, and what a violated limit does to it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotune.experiment.events import ErrorCounts, Event, FixedRate, Sample
from autotune.experiment.study import Limit, Objective, Study
from autotune.measurement.comparison import Comparison, compare
from autotune.measurement.limits import LimitResult
from autotune.report.comparison_page import answer, comparison_json, comparison_page
from night_example import a_night, a_study

P99 = Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True)


def _told(study: Study, log: list[Event], comparison: Comparison | None = None) -> str:
    return comparison_page(study, log, comparison or compare(study, log)).text(200)


def _violating(comparison: Comparison) -> Comparison:
    result = LimitResult(
        limit=P99,
        arm="automatic",
        workload="small",
        value=1.5,
        low=1.4,
        high=1.6,
        allowed=1.0,
        n=12,
        verdict="violated",
    )
    return replace(comparison, limits=(result, replace(result, arm="hand-tuned", verdict="not shown")))


def test_a_violated_limit_is_said_before_any_ratio() -> None:
    study, log = a_study(), a_night(a_study())
    comparison = _violating(compare(study, log))
    first, second, *_ = answer(study, comparison)
    assert "no win" in first
    assert "p99 at the fixed rate at most 1.000x of stock; here 1.500x [1.400x, 1.600x], n = 12" in first
    assert "faster" in second
    assert "Limits of the study" in _told(study, log, comparison)


def test_limits_are_data_too() -> None:
    study, log = a_study(), a_night(a_study())
    document = comparison_json(study, log, _violating(compare(study, log)))
    assert [(one["arm"], one["verdict"], one["allowed"]) for one in document["limits"]] == [
        ("automatic", "violated", 1.0),
        ("hand_tuned", "not shown", 1.0),
    ]
    assert document["answer"].startswith("automatic is no win")


def test_a_study_without_limits_says_nothing_of_them() -> None:
    study, log = a_study(), a_night(a_study())
    assert "imit" not in _told(study, log).partition("Reasons for doubt")[0]


def test_latency_at_a_fixed_rate_has_a_table_of_its_own() -> None:
    study, log = a_study(), a_night(a_study())
    assert "Latency at a fixed rate" not in _told(study, _paced(log, {}))
    paced = FixedRate(
        rate_per_s=7500.0,
        answered=15_000,
        answered_per_s=7500.0,
        duration_s=2.0,
        latency_mean_s=0.001,
        latency_p50_s=0.001,
        latency_p90_s=0.002,
        latency_p95_s=0.003,
        latency_p99_s=0.00404,
        latency_p999_s=0.005,
        latency_max_s=0.006,
        errors=ErrorCounts(),
    )
    with_rates = _paced(log, {"small": paced})
    told = _told(study, with_rates).partition("Latency at a fixed rate (medians)")[2]
    assert told.splitlines()[3].split()[:8] == [
        "small",
        "stock",
        "7,500",
        "7,500",
        "1.00",
        "ms",
        "4.04",
        "ms",
    ]
    (one,) = comparison_json(study, with_rates, compare(study, with_rates))["workloads"]
    assert [arm["fixed_rate"]["latency_p99_s"] for arm in one["arms"]] == [0.00404] * len(one["arms"])


def _paced(log: list[Event], fixed_rate: dict[str, FixedRate]) -> list[Event]:
    return [
        one.model_copy(update={"fixed_rate": fixed_rate}) if isinstance(one, Sample) else one for one in log
    ]


def test_requests_per_cpu_second_are_not_called_faster() -> None:
    study = a_study().model_copy(update={"objective": Objective(metric="requests_per_server_cpu_s")})
    log: list[Event] = [
        one.model_copy(update={"objective": study.objective_of_runs(one.measurements)})
        if isinstance(one, Sample)
        else one
        for one in a_night(a_study())
    ]
    comparison = compare(study, log)
    assert "faster" not in _told(study, log)
    first, _ = answer(study, comparison)
    assert "more requests per CPU second than stock" in first
    assert "faster" not in first
    stock = comparison.arm("stock")
    assert stock is not None
    assert 9_000 < stock.requests_per_s < 11_000  # requests/s all the same
    assert comparison_json(study, log, comparison)["figure"] == "requests per server CPU second"


def test_the_objective_is_made_of_what_the_study_maximises() -> None:
    study = a_study().model_copy(update={"objective": Objective(metric="requests_per_server_cpu_s")})
    run = next(one for one in a_night(a_study()) if isinstance(one, Sample)).main
    assert math.exp(study.objective_of_runs({"small": run})) == pytest.approx(run.requests / run.server_cpu_s)
    assert math.exp(a_study().objective_of_runs({"small": run})) == pytest.approx(run.requests_per_s)
