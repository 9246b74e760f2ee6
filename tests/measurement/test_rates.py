"""The rates of the open-loop runs: the same for every arm and all night, and only where they are wanted."""

from __future__ import annotations

import statistics

import pytest
from number_bench import FakeClock, NumberBench, drive, night_begun, number_study

from autotune.experiment.bench import Measure
from autotune.experiment.events import Event, Sample, Stage, Void
from autotune.experiment.study import LatencyCheck, Limit, Study
from autotune.measurement.logbook import read_log
from autotune.measurement.rates import rates_for

P99 = Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True)


def paced(*limits: Limit, share: float = 0.75) -> Study:
    return number_study(candidates=12).model_copy(
        update={"latency": LatencyCheck(share=share), "limits": limits}
    )


def asked_by_stage(study: Study) -> dict[Stage, set[tuple[tuple[str, float], ...]]]:
    """The rates of a whole night's orders, by stage."""
    log: list[Event] = [night_begun()]
    asked: dict[Stage, set[tuple[tuple[str, float], ...]]] = {}
    for step in drive(study, NumberBench(FakeClock(), drift_per_hour=0.5), log):
        if isinstance(step, Measure):
            asked.setdefault(step.key.stage, set()).add(tuple(step.rates.items()))
    return asked


def test_every_arm_of_the_finals_runs_at_one_rate_and_nothing_else_does() -> None:
    asked = asked_by_stage(paced())
    assert len(asked[Stage.FINALS]) == 1
    assert asked[Stage.FINALS] != {()}
    assert all(rates == {()} for stage, rates in asked.items() if stage is not Stage.FINALS)


def test_a_limit_on_busy_cpus_is_judged_at_that_rate_for_none_is_idle_under_full_load() -> None:
    busy = paced(Limit(metric="cpu_busy", bound="at most", value=0.9))
    assert asked_by_stage(busy)[Stage.FINALISTS] != {()}


def test_a_limit_of_latency_needs_them_of_finalists_and_subsets_too_at_the_same_rate() -> None:
    asked = asked_by_stage(paced(P99))
    assert asked[Stage.FINALISTS] == asked[Stage.DISTILLATION] == asked[Stage.FINALS]
    assert asked[Stage.SEARCH] == asked[Stage.SERIES] == asked[Stage.CALIBRATION] == {()}
    other = paced(Limit(metric="power_w", bound="at most", value=9))
    assert asked_by_stage(other)[Stage.FINALISTS] == {()}


def test_without_a_share_there_are_none() -> None:
    assert set.union(*asked_by_stage(paced(share=0)).values()) == {()}


def test_the_rate_is_the_share_of_what_stock_served_in_the_calibration() -> None:
    study, bench = paced(), NumberBench(FakeClock(), sigma=0.02)
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        if isinstance(log[-1], Sample) and log[-1].key.stage is Stage.SEARCH:
            break
    seen = [
        one.main.requests_per_s
        for one in log
        if isinstance(one, Sample) and one.key.stage is Stage.CALIBRATION
    ]
    rate = rates_for(study, read_log(log), Stage.FINALS)["1k"]
    assert rate == pytest.approx(0.75 * statistics.median(seen), rel=0.005)
    assert rate == float(f"{rate:.3g}")
    void = next(one for one in log if isinstance(one, Sample) and one.main.requests_per_s == max(seen))
    log.append(Void(key=void.key, at=bench.clock.at, reason="the test wants it"))
    assert rates_for(study, read_log(log), Stage.FINALS)["1k"] == rate
