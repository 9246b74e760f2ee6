"""A bench made of numbers: known truth, noise, drift and failures under a clock of its own, and a night driven on it.

No board, no sampler: proves the schedule and the arithmetic. Noise depends on nothing but the seed and the sample's
key, so a night that was cut and resumed sees the same numbers as an undisturbed one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSampler,
    AskSubsets,
    Finished,
    Measure,
    NextStep,
    Outcome,
)
from autotune.experiment.events import (
    AppliedStep,
    Doubt,
    ErrorCounts,
    Event,
    Failure,
    FixedRate,
    Gap,
    Measurement,
    NightBegun,
    NightEnded,
    Proposal,
    Sample,
    Subsets,
)
from autotune.experiment.study import (
    Budget,
    HandTunedSequence,
    HandTunedStep,
    HandTunedValue,
    LatencyCheck,
    ManagedNginx,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.measurement.distillation import distil
from autotune.measurement.planning import plan_night
from autotune.measurement.ranking import rank
from autotune.measurement.schedule import next_step
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

SENDFILE = Setting(id="nginx:sendfile", kind=Kind.SWITCH, why="a switch for tests")
NOPUSH = Setting(id="nginx:tcp_nopush", kind=Kind.SWITCH, why="another switch for tests")
BACKLOG = Setting(
    id="sysctl:net.core.somaxconn", kind=Kind.INTEGER, low=1, high=65535, why="a number for tests"
)
STOCK: dict[str, Value] = {SENDFILE.id: False, NOPUSH.id: False, BACKLOG.id: 4096}

SENDFILE_ON = Configuration.of({SENDFILE.id: True})
BOTH_ON = Configuration.of({SENDFILE.id: True, NOPUSH.id: True})


def truth(configuration: Configuration) -> float:
    """A ratio to stock that knows no noise: sendfile is worth 20 %, tcp_nopush 5 %, a backlog of 8192 8 %."""
    values = configuration.over(STOCK)
    backlog = values[BACKLOG.id]
    assert isinstance(backlog, int)
    bonus = 0.08 * math.exp(-((math.log2(backlog) - 13) ** 2)) - 0.08 * math.exp(-1)
    return 1 + 0.20 * bool(values[SENDFILE.id]) + 0.05 * bool(values[NOPUSH.id]) + bonus


def nothing_matters(configuration: Configuration) -> float:
    del configuration
    return 1.0


def number_study(*, accept_noise: bool = False, seed: int = 1, **budget: float | None) -> Study:
    """A small study over three parameters, with a hand-tuned sequence of three steps (the second changes nothing)."""
    numbers: dict[str, float | None] = {
        "calibration_pairs": 6,
        "candidates": 8,
        "reference_every": 3,
        "repeats": 1,
        "finalists": 2,
        "finalist_pairs": 2,
        "distillation_pairs": 4,
        "finals_rounds": 12,
        "series_rounds": 2,
        **budget,
    }
    return Study(
        name="numbers",
        server=ManagedNginx(files=(ServedFile(path="/1k", size_bytes=1024),)),
        workloads=(
            Workload(
                name="1k",
                urls=(Url(target="/1k"),),
                connections=4,
                threads=2,
                warmup_s=0.5,
                duration_s=2.0,
            ),
        ),
        space=SearchSpace(
            title="numbers",
            parameters=(
                Parameter(setting=SENDFILE, why="test"),
                Parameter(setting=NOPUSH, why="test"),
                Parameter(setting=BACKLOG, span=Span(low=128, high=65535), why="test"),
            ),
        ),
        hand_tuned=HandTunedSequence(
            title="numbers",
            source="tests",
            steps=tuple(
                HandTunedStep(
                    number=number, name=name, values=(HandTunedValue(setting=which, value=True),), why="test"
                )
                for number, name, which in (
                    (1, "zero copy", SENDFILE),
                    (2, "again", SENDFILE),
                    (3, "nopush", NOPUSH),
                )
            ),
        ),
        budget=Budget.model_validate(numbers),
        latency=LatencyCheck(share=0),
        seed=seed,
        accept_noise=accept_noise,
    )


@dataclass
class FakeClock:
    """Time that passes when it is told to."""

    now_s: float = 0.0

    @property
    def at(self) -> str:
        return (datetime(2025, 1, 1, 22, tzinfo=UTC) + timedelta(seconds=self.now_s)).isoformat()


@dataclass
class NumberBench:
    """Measures `ratio(configuration)` times a level that drifts, with noise, slow outliers and chosen failures.

    `fails` returns the blame when the sample is to fail, "" when it isn't. Noise: sigma of ln(requests/s);
    `outliers`: share of runs that lose an exponential 10 sigma; `wave`: height of a slow swing with a period of 40 min.
    """

    clock: FakeClock
    ratio: Callable[[Configuration], float] = truth
    level: float = 50_000.0
    sigma: float = 0.01
    drift_per_hour: float = 0.0
    wave: float = 0.0
    outliers: float = 0.0
    seed: int = 0
    sample_s: float = 3.0
    fails: Callable[[Measure], Literal["", "configuration", "environment"]] = lambda _order: ""
    own_fault: Literal["nginx", "gate"] = "nginx"
    """Where a configuration fails that `fails` blames."""
    doubts: tuple[Doubt, ...] = ()
    orders: list[Measure] = field(default_factory=list)

    def measure(self, order: Measure) -> Outcome:
        self.orders.append(order)
        self.clock.now_s += self.sample_s + 2.0 * len(order.rates)
        blame = self.fails(order)
        if blame:
            failure = Failure(
                key=order.key,
                at=self.clock.at,
                arm=order.arm,
                configuration=order.configuration,
                stage=self.own_fault if blame == "configuration" else "gate",
                reason="as the test wants it",
                blame=blame,
            )
            return Outcome(event=failure)
        rate = self.level * self.ratio(order.configuration) * math.exp(self._disturbance(order))
        sample = Sample(
            key=order.key,
            at=self.clock.at,
            arm=order.arm,
            configuration=order.configuration,
            effective=order.configuration.against(STOCK),
            measurements={"1k": measurement(rate)},
            fixed_rate={name: fixed_rate(asked, 0.004) for name, asked in order.rates.items()},
            objective=math.log(rate),
            switch_s=0.05,
            overhead_s=0.5,
            doubts=self.doubts,
        )
        return Outcome(event=sample)

    def _disturbance(self, order: Measure) -> float:
        chance = random.Random(f"{self.seed}/{order.key.text}")
        hours = self.clock.now_s / 3600
        noise = chance.gauss(0, self.sigma)
        if self.outliers and chance.random() < self.outliers:
            noise -= chance.expovariate(1 / (10 * self.sigma))
        return noise + self.drift_per_hour * hours + self.wave * math.sin(2 * math.pi * hours * 1.5)


def measurement(requests_per_s: float) -> Measurement:
    """A run of 2 s at this rate, everything else plausible."""
    return Measurement(
        requests=int(requests_per_s * 2),
        requests_per_s=requests_per_s,
        bytes=int(requests_per_s * 2) * 1263,
        duration_s=2.0,
        latency_mean_s=0.002,
        latency_p50_s=0.002,
        latency_p90_s=0.003,
        latency_p95_s=0.004,
        latency_p99_s=0.006,
        latency_p999_s=0.01,
        latency_max_s=0.02,
        errors=ErrorCounts(),
        server_cpu_s=1.0,
        client_cpu_s=1.0,
    )


def fixed_rate(rate_per_s: float, latency_p99_s: float) -> FixedRate:
    """An open-loop run of 2 s that kept up, with this p99 and everything else in proportion."""
    return FixedRate(
        rate_per_s=rate_per_s,
        answered=int(rate_per_s * 2),
        answered_per_s=rate_per_s,
        duration_s=2.0,
        latency_mean_s=latency_p99_s / 3,
        latency_p50_s=latency_p99_s / 4,
        latency_p90_s=latency_p99_s / 2,
        latency_p95_s=latency_p99_s / 1.5,
        latency_p99_s=latency_p99_s,
        latency_p999_s=latency_p99_s * 2,
        latency_max_s=latency_p99_s * 3,
        errors=ErrorCounts(),
    )


def night_begun(
    night: int = 1, at: str = "2025-01-01T22:00:00+00:00", *, hand_tuned: bool = True
) -> NightBegun:
    steps = (
        AppliedStep(
            number=1,
            name="zero copy",
            state="full",
            applied=1,
            of=1,
            configuration=SENDFILE_ON,
            published=1.256,
        ),
        AppliedStep(number=2, name="again", state="already so", applied=1, of=1, configuration=SENDFILE_ON),
        AppliedStep(number=3, name="nopush", state="full", applied=1, of=1, configuration=BOTH_ON),
    )
    return NightBegun(
        night=night,
        at=at,
        stock=STOCK,
        facts={},
        space_ids=tuple(STOCK),
        steps=steps if hand_tuned else (),
        hand_tuned=BOTH_ON if hand_tuned else Configuration(),
    )


def stand_in_proposal(study: Study, log: list[Event], ask: AskSampler, at: str) -> Proposal:
    """What a sampler would answer, from the number alone: 0 stock, 1 hand-tuned, then a draw per number."""
    begun = next(event for event in reversed(log) if isinstance(event, NightBegun))
    if ask.number == 0:
        return Proposal(night=ask.night, number=0, at=at, origin="stock", configuration=Configuration())
    expressible = not study.space.reasons_outside(begun.hand_tuned, begun.stock, begun.facts)
    if ask.number == 1 and begun.steps and expressible:
        return Proposal(night=ask.night, number=1, at=at, origin="hand-tuned", configuration=begun.hand_tuned)
    chance = random.Random(f"{study.seed}/{ask.number}")
    drawn = Configuration.of(
        {
            SENDFILE.id: chance.random() < 0.5,
            NOPUSH.id: chance.random() < 0.5,
            BACKLOG.id: round(2 ** chance.uniform(7, 15.9)),
        }
    )
    return Proposal(night=ask.night, number=ask.number, at=at, origin="sampler", configuration=drawn)


def stand_in_subsets(log: list[Event], ask: AskSubsets, at: str) -> Subsets:
    """What an analysis would answer, knowing the settings' worth: sendfile first, then tcp_nopush, then the backlog."""
    proposal = next(event for event in log if isinstance(event, Proposal) and event.number == ask.trial)
    changes = sorted(proposal.configuration.against(STOCK).values, key=lambda one: list(STOCK).index(one[0]))
    nested = [Configuration.of(dict(changes[:size])) for size in range(1, len(changes))]
    return Subsets(night=ask.night, at=at, trial=ask.trial, configurations=tuple(nested), reason="by worth")


def answer(study: Study, log: list[Event], step: NextStep, bench: NumberBench) -> Event:
    """The event that this step leads to."""
    at = bench.clock.at
    match step:
        case AskPlan():
            return plan_night(
                study, log, at=at, now_s=bench.clock.now_s, deadline_s=None, sample_s=bench.sample_s
            )
        case AskSampler():
            return stand_in_proposal(study, log, step, at)
        case AskSubsets():
            return stand_in_subsets(log, step, at)
        case AskDistilled():
            return distil(study, log, step, at)
        case AskRanking():
            return rank(study, log, step, at)
        case Finished():
            return NightEnded(night=step.night, at=at, outcome=step.outcome, reason=step.reason)
        case Measure():
            return bench.measure(step).event


def drive(study: Study, bench: NumberBench, log: list[Event], *, most: int = 5_000) -> Iterator[NextStep]:
    """Drives the night that the log has begun to its end; yields each step after its event is in the log."""
    for _ in range(most):
        step = next_step(study, log)
        log.append(answer(study, log, step, bench))
        yield step
        if isinstance(step, Finished):
            return
    raise AssertionError(f"the night did not end in {most} steps")


def whole_night(study: Study, bench: NumberBench, begun: NightBegun | None = None) -> list[Event]:
    """The log of one night from beginning to end."""
    log: list[Event] = [begun if begun is not None else night_begun(at=bench.clock.at)]
    for _ in drive(study, bench, log):
        pass
    return log


def pause(bench: NumberBench, night: int, seconds: float) -> Gap:
    """The clock goes on while nothing is measured."""
    bench.clock.now_s += seconds
    return Gap(night=night, at=bench.clock.at, seconds=seconds, reason="the test's controller was away")
