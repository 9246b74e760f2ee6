"""Several workloads: the objective is their geometric mean, each is told by itself, and goals are held against it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from number_bench import (
    FakeClock,
    NumberBench,
    measurement,
    night_begun,
    number_study,
    whole_night,
)

from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Sample
from autotune.experiment.study import Goal, Study, Url, Workload
from autotune.measurement.by_workload import WorkloadArm, WorkloadComparison, tail_doubts
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
