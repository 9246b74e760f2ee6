"""Several workloads: the objective is their geometric mean, each is told by itself, and goals are held against it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from number_bench import (
    FakeClock,
    NumberBench,
    fixed_rate,
    measurement,
    night_begun,
    number_study,
    whole_night,
)

from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Sample, Stage
from autotune.experiment.study import Goal, Study, Url, Workload
from autotune.measurement.by_workload import AtRate, WorkloadArm, WorkloadComparison, tail_doubts
from autotune.measurement.comparison import Comparison, compare
from autotune.measurement.verdicts import Verdict

WEIGHTS = {"small": 3.0, "large": 1.0}
GAINS = {"small": 0.10, "large": -0.02}
"""ln of what hand-tuned and automatic are worth under each workload."""


class TwoLoads(NumberBench):
    """Each sample has a run of both workloads; anything but stock gains under one and loses under the other."""

    def measure(self, order: Measure) -> Outcome:
        event = super().measure(order).event
        if not isinstance(event, Sample):
            return Outcome(event=event)
        chance = random.Random(f"two/{self.seed}/{order.key.text}")
        rates = {}
        for name in WEIGHTS:
            gain = GAINS[name] if len(order.configuration) else 0.0
            rates[name] = 10_000 * math.exp(gain + chance.gauss(0, 0.003))
        study = two_loads()
        runs = {name: measurement(rate) for name, rate in rates.items()}
        return Outcome(
            event=event.model_copy(update={"measurements": runs, "objective": study.objective_of(rates)})
        )


def two_loads(goals: tuple[Goal, ...] = ()) -> Study:
    loads = tuple(
        Workload(
            name=name,
            urls=(Url(target="/1k"),),
            connections=4,
            threads=2,
            warmup_s=0.5,
            duration_s=2.0,
            weight=weight,
        )
        for name, weight in WEIGHTS.items()
    )
    return number_study().model_copy(update={"workloads": loads, "goals": goals})


def compared(*goals: Goal) -> Comparison:
    study = two_loads(goals)
    return compare(study, whole_night(study, TwoLoads(FakeClock()), night_begun()))


def a_goal(
    workload: str, bound: str, value: float, *, of_stock: bool = True, metric: str = "requests_per_s"
) -> Goal:
    return Goal.model_validate(
        {"workload": workload, "metric": metric, "bound": bound, "value": value, "of_stock": of_stock}
    )


def test_the_headline_is_the_weighted_geometric_mean_of_ratios() -> None:
    comparison = compared()
    pair = comparison.pair("hand-tuned", "stock")
    assert pair is not None
    truth = math.exp((3 * GAINS["small"] + GAINS["large"]) / 4)
    assert pair.ratio == pytest.approx(truth, abs=0.005)
    assert pair.verdict is Verdict.FASTER


def test_every_workload_has_its_own_arms_and_pairs() -> None:
    small, large = compared().workloads
    assert [(one.name, one.weight) for one in (small, large)] == [("small", 3.0), ("large", 1.0)]
    for one in (small, large):
        assert {arm.name for arm in one.arms} == {"stock", "hand-tuned", "automatic"}
        assert all(arm.n == 12 for arm in one.arms)
        (pair,) = (pair for pair in one.pairs if (pair.a, pair.b) == ("hand-tuned", "stock"))
        assert pair.low < math.exp(GAINS[one.name]) < pair.high
        assert pair.ratio == pytest.approx(math.exp(GAINS[one.name]), abs=0.01)


def test_one_workload_is_told_the_same_way() -> None:
    study = number_study()
    comparison = compare(study, whole_night(study, NumberBench(FakeClock())))
    (only,) = comparison.workloads
    assert only.name == "1k"
    stock = comparison.arm("stock")
    assert stock is not None
    told = next(arm for arm in only.arms if arm.name == "stock")
    assert told.requests_per_s == pytest.approx(stock.requests_per_s)
    assert told.server_cpu_s_per_request > 0


@pytest.mark.parametrize(
    ("goal", "state"),
    [
        (a_goal("small", "at least", 1.05), "met"),
        (a_goal("small", "at least", 1.30), "missed"),
        (a_goal("large", "at most", 1.0), "met"),
        (a_goal("large", "at least", math.exp(-0.02)), "not shown"),
        (a_goal("small", "at least", 5_000, of_stock=False), "met"),
        (a_goal("small", "at least", 50_000, of_stock=False), "missed"),
        (a_goal("small", "at most", 0.7, metric="latency_p99_s"), "missed"),
        (a_goal("small", "at most", 0.007, of_stock=False, metric="latency_p99_s"), "met"),
    ],
)
def test_a_goal_is_met_missed_or_not_shown(goal: Goal, state: str) -> None:
    told = {one.arm: one for one in compared(goal).goals}
    assert set(told) == {"automatic", "hand-tuned"}
    assert told["hand-tuned"].state == state
    assert told["hand-tuned"].figure is not None


def test_without_finals_there_is_nothing_to_tell_of_workloads() -> None:
    study = two_loads((a_goal("small", "at least", 1.05),))
    comparison = compare(study, [night_begun()])
    assert [(one.name, one.arms, one.pairs) for one in comparison.workloads] == [
        ("small", (), ()),
        ("large", (), ()),
    ]
    assert comparison.goals == ()


def arm(name: str, p99_s: float) -> WorkloadArm:
    return WorkloadArm(
        name=name, requests_per_s=1000.0, latency_p99_s=p99_s, server_cpu_s_per_request=0.001, n=24
    )


def test_throughput_bought_with_a_much_slower_tail_is_said() -> None:
    seen = WorkloadComparison(
        name="dynamic", weight=1.0, arms=(arm("stock", 0.014), arm("automatic", 1.525)), pairs=()
    )
    (doubt,) = tail_doubts((seen,))
    assert "over 1525 ms, stock 14 ms" in doubt.text
    calm = replace(seen, arms=(arm("stock", 0.014), arm("automatic", 0.020)))
    assert tail_doubts((calm,)) == ()


def at_rate(name: str, closed_s: float, p99_s: float) -> WorkloadArm:
    found = AtRate(
        rate_per_s=750.0,
        answered_per_s=750.0,
        latency_p50_s=0.001,
        latency_p99_s=p99_s,
        latency_p999_s=2 * p99_s,
        latency_max_s=3 * p99_s,
        n=24,
    )
    return replace(arm(name, closed_s), at_rate=found)


def test_the_tail_at_a_fixed_rate_speaks_before_that_of_a_closed_loop() -> None:
    fine = WorkloadComparison(
        name="dynamic",
        weight=1.0,
        arms=(at_rate("stock", 0.014, 0.004), at_rate("automatic", 1.525, 0.005)),
        pairs=(),
    )
    assert tail_doubts((fine,)) == (), "a closed loop's p99 at full load follows from its throughput"
    worse = replace(fine, arms=(at_rate("stock", 0.014, 0.004), at_rate("automatic", 0.014, 0.0061)))
    (doubt,) = tail_doubts((worse,))
    assert "over 6.10 ms at 750 requests/s, stock 4.00 ms" in doubt.text


def test_runs_at_a_fixed_rate_are_told_by_arm() -> None:
    study = number_study()
    log = whole_night(study, NumberBench(FakeClock()))
    paced = [
        event.model_copy(
            update={
                "fixed_rate": {"1k": fixed_rate(7500.0, 0.004 if event.arm.kind == "stock" else 0.003)},
            }
        )
        if isinstance(event, Sample) and event.key.stage is Stage.FINALS
        else event
        for event in log
    ]
    (only,) = compare(study, paced).workloads
    told = {one.name: one.at_rate for one in only.arms}
    stock, automatic = told["stock"], told["automatic"]
    assert stock is not None
    assert automatic is not None
    assert (stock.rate_per_s, stock.latency_p99_s, automatic.latency_p99_s) == (7500.0, 0.004, 0.003)
    assert stock.n == next(one.n for one in only.arms if one.name == "stock")


def test_a_night_without_such_runs_has_none_to_tell() -> None:
    study = number_study()
    log = [
        event.model_copy(update={"fixed_rate": {}}) if isinstance(event, Sample) else event
        for event in whole_night(study, NumberBench(FakeClock()))
    ]
    (only,) = compare(study, log).workloads
    assert [one.at_rate for one in only.arms] == [None, None, None]
