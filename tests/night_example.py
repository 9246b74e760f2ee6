"""A whole night made of numbers. Every rate in it is this file's own invention; nothing was ever measured.

The real schedule, plan and ranking decide what comes next, so that the log is one that a night could have written.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from autotune.analysis.subsets import nominate
from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSampler,
    AskSubsets,
    Finished,
    Measure,
)
from autotune.experiment.events import (
    AppliedStep,
    Doubt,
    ErrorCounts,
    Event,
    Failure,
    FixedRate,
    GateResult,
    Measurement,
    NightBegun,
    NightEnded,
    Proposal,
    Sample,
)
from autotune.experiment.study import (
    Budget,
    HandTunedSequence,
    HandTunedStep,
    HandTunedValue,
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
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Parameter, Rule, Scale, Span
from autotune.space.search_space import Dropped, SearchSpace
from autotune.space.value import Value
from autotune.storage.store import Store

BEGAN = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
STOCK_RATE = 10_000.0
STOCK: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:listen.backlog": 511,
    "nginx:listen.reuseport": False,
    "nginx:output_buffers.number": 2,
    "nginx:output_buffers.size": 32768,
    "nginx:worker_rlimit_nofile": "unset",
    "nginx:access_log": True,
    "sysctl:net.core.somaxconn": 4096,
    "sysctl:net.ipv4.tcp_rmem": (4096, 131072, 6291456),
    "thp:enabled": "madvise",
}
HAND_TUNED = Configuration.of({"nginx:output_buffers.number": 4, "sysctl:net.core.somaxconn": 8192})
WINNER = Configuration.of(
    {
        "nginx:listen.backlog": 8192,
        "nginx:listen.reuseport": True,
        "nginx:output_buffers.size": 65536,
        "nginx:access_log": False,
        "sysctl:net.core.somaxconn": 16384,
        "sysctl:net.ipv4.tcp_rmem": (4096, 262144, 8388608),
        "thp:enabled": "always",
    }
)
REFUSED = 5  # the number of the trial that nginx refuses
BEST = 3  # the number of the trial that has WINNER


def a_study(name: str = "invented", *, winner: bool = True, **changes: object) -> Study:
    """A study over settings of several families. `winner` False: no candidate of its nights beats stock."""
    study = Study(
        name=name,
        title="numbers made by a test",
        server=ManagedNginx(files=(ServedFile(path="/1k", size_bytes=1024),)),
        workloads=(
            Workload(
                name="small",
                urls=(Url(target="/1k"),),
                connections=64,
                threads=1,
                duration_s=2.0,
                warmup_s=0.5,
            ),
        ),
        space=SearchSpace(
            title="a few settings",
            parameters=(
                Parameter(setting=CATALOGUE["nginx:sendfile"], why="copying"),
                Parameter(
                    setting=CATALOGUE["nginx:listen.backlog"],
                    span=Span(low=511, high=16384, scale=Scale.LOG),
                    why="queue",
                ),
                Parameter(setting=CATALOGUE["nginx:listen.reuseport"], why="queues"),
                Parameter(
                    setting=CATALOGUE["nginx:output_buffers.size"],
                    values=(32768, 65536),
                    when=Expression(text="nginx:sendfile == off"),
                    why="copies",
                ),
                Parameter(setting=CATALOGUE["nginx:access_log"], why="writing"),
                Parameter(
                    setting=CATALOGUE["sysctl:net.core.somaxconn"],
                    span=Span(low=512, high=16384, scale=Scale.LOG),
                    why="queue",
                ),
                Parameter(
                    setting=CATALOGUE["sysctl:net.ipv4.tcp_rmem"],
                    spans=(
                        Span(low=4096, high=4096),
                        Span(low=65536, high=262144),
                        Span(low=4 << 20, high=8 << 20),
                    ),
                    why="buffers",
                ),
                Parameter(
                    setting=CATALOGUE["thp:enabled"], values=("always", "madvise", "never"), why="pages"
                ),
            ),
            rules=(
                Rule(
                    expression=Expression(text="nginx:listen.backlog <= sysctl:net.core.somaxconn"), why="cap"
                ),
            ),
        ),
        hand_tuned=HandTunedSequence(
            title="three steps",
            source="this test",
            steps=(
                HandTunedStep(
                    number=1,
                    name="zero copy",
                    values=(HandTunedValue(setting=CATALOGUE["nginx:sendfile"], value=True),),
                    published=1.256,
                    why="copying",
                ),
                HandTunedStep(
                    number=2,
                    name="buffers",
                    values=(HandTunedValue(setting=CATALOGUE["nginx:output_buffers.number"], value=4),),
                    published=1.054,
                    why="buffers",
                ),
                HandTunedStep(
                    number=3,
                    name="kernel",
                    values=(HandTunedValue(setting=CATALOGUE["sysctl:net.core.somaxconn"], value=8192),),
                    why="queue",
                ),
            ),
        ),
        budget=Budget(
            calibration_pairs=6,
            candidates=8,
            finalists=2,
            finalist_pairs=3,
            distillation_pairs=6,
            finals_rounds=12,
            series_rounds=4,
            attribution_rounds=6,
        ),
        seed=7 if winner else 8,
    )
    return study.model_copy(update=changes)


def a_night(
    study: Study,
    *,
    until: int | None = None,
    deadline: str | None = None,
    needed: Configuration = WINNER,
    meters: bool = False,
    before: Sequence[Event] = (),
    purpose: Literal["tune", "baseline"] = "tune",
    came_to: Callable[[Measure, Sample | Failure], Sample | Failure] | None = None,
) -> list[Event]:
    """The events of one night, after those of the nights `before` it; `until` cuts it off after so many of its own.

    `needed`: those of WINNER's changes that its gain comes from. `meters`: CPUs and power are told, too, and the finals
    have their runs at a fixed rate. `came_to`: what becomes of what would have been measured.
    """
    night = 1 + sum(isinstance(event, NightBegun) for event in before)
    now = BEGAN + timedelta(days=night - 1)
    steps = _steps() if study.hand_tuned.steps else ()
    begun = NightBegun(
        night=night,
        at=_text(now),
        purpose=purpose,
        deadline=deadline,
        stock=STOCK,
        facts={"board.cpus": 2, "workload.connections": 64},
        space_ids=study.space.ids,
        dropped=(Dropped(id="nginx:aio", reason="this nginx was built without threads"),),
        steps=steps,
        hand_tuned=HAND_TUNED if steps else Configuration(),
        hand_tuned_outside=(
            Dropped(id="nginx:output_buffers.number", reason="not a parameter of this space"),
        )
        if steps
        else (),
        board={"kernel": "6.1.0-test", "nginx": "1.22.1"},
        doubts=(Doubt(code="invented", text="these numbers were made by a test", next="measure something"),),
    )
    log: list[Event] = [*before, begun]
    numbers = random.Random(study.seed + night - 1)
    while until is None or len(log) < len(before) + until:
        now += timedelta(seconds=3)
        step = next_step(study, log)
        match step:
            case AskPlan():
                plan = plan_night(
                    study, log, at=_text(now), now_s=now.timestamp(), deadline_s=None, sample_s=3.0
                )
                log.append(plan.model_copy(update={"distillation_pairs": study.budget.distillation_pairs}))
            case AskSampler():
                log.append(_proposal(step, study, _text(now)))
            case AskSubsets():
                log.append(nominate(study, log, step, _text(now)))
            case AskDistilled():
                log.append(distil(study, log, step, _text(now)))
            case AskRanking():
                log.append(rank(study, log, step, _text(now)))
            case Measure():
                seen = _seen(step, numbers, _text(now), winner=study.seed == 7, needed=needed)
                if meters and isinstance(seen, Sample):
                    seen = _metered(seen, step)
                log.append(seen if came_to is None else came_to(step, seen))
            case Finished():
                log.append(NightEnded(night=night, at=_text(now), outcome=step.outcome, reason=step.reason))
                break
    return log


def a_store(path: Path, study: Study, log: list[Event]) -> str:
    """A database with this study and these events; gives its URL."""
    url = f"sqlite:///{path}"
    with Store.open(url) as store:
        store.enter(study)
        for event in log:
            store.append(
                study.name, event, raw="Running 2s test @ nowhere\n" if isinstance(event, Sample) else ""
            )
    return url


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _steps() -> tuple[AppliedStep, ...]:
    second = Configuration.of({"nginx:output_buffers.number": 4})
    return (
        AppliedStep(
            number=1,
            name="zero copy",
            state="already so",
            applied=1,
            of=1,
            configuration=Configuration(),
            published=1.256,
        ),
        AppliedStep(
            number=2,
            name="buffers",
            state="partial",
            applied=1,
            of=2,
            missing=(Dropped(id="compiler", reason="there is no settings family for compilers yet"),),
            configuration=second,
            published=1.054,
        ),
        AppliedStep(number=3, name="kernel", state="full", applied=1, of=1, configuration=HAND_TUNED),
    )


def _proposal(ask: AskSampler, study: Study, at: str) -> Proposal:
    if ask.number == BEST:
        configuration = WINNER
    elif ask.number == 0:
        configuration = Configuration()
    else:
        configuration = Configuration.of(
            {"sysctl:net.core.somaxconn": 5000 + ask.number, "nginx:listen.backlog": 600 + ask.number}
        )
    return Proposal(
        night=ask.night,
        number=ask.number,
        at=at,
        origin="stock" if ask.number == 0 else "sampler",
        configuration=configuration,
    )


def _seen(
    order: Measure, numbers: random.Random, at: str, *, winner: bool, needed: Configuration
) -> Sample | Failure:
    if order.arm.kind == "trial" and order.arm.number == REFUSED:
        return Failure(
            key=order.key,
            at=at,
            arm=order.arm,
            configuration=order.configuration,
            stage="nginx",
            reason="nginx says no: invented for a test",
            blame="configuration",
        )
    gain = 0.0
    if set(needed.values) <= set(order.configuration.values) <= set(WINNER.values):
        gain = 0.10 if winner else -0.10
    elif order.configuration == HAND_TUNED:
        gain = 0.04
    elif len(order.configuration):
        gain = -0.02
    rate = STOCK_RATE * math.exp(gain + numbers.gauss(0, 0.005))
    return Sample(
        key=order.key,
        at=at,
        arm=order.arm,
        configuration=order.configuration,
        effective=order.configuration.against(STOCK),
        measurements={
            "small": Measurement(
                requests=round(rate * 2),
                requests_per_s=rate,
                bytes=round(rate * 2 * 1263),
                duration_s=2.0,
                latency_mean_s=0.004,
                latency_p50_s=0.004,
                latency_p90_s=0.006,
                latency_p95_s=0.007,
                latency_p99_s=0.009,
                latency_p999_s=0.012,
                latency_max_s=0.02,
                errors=ErrorCounts(),
                server_cpu_s=1.8,
                client_cpu_s=1.5,
            )
        },
        objective=math.log(rate),
        switch_s=0.03,
        overhead_s=0.2,
    )


def _metered(sample: Sample, order: Measure) -> Sample:
    """The sample as a board with a meter tells it, and with the open-loop runs that were ordered: waiting falls as rate grows."""
    runs = {
        name: run.model_copy(update={"cpu_busy": 0.9, "power_w": 4.0 + run.requests_per_s / STOCK_RATE})
        for name, run in sample.measurements.items()
    }
    paced = {
        name: FixedRate(
            rate_per_s=rate,
            answered=round(rate * 2),
            answered_per_s=rate,
            duration_s=2.0,
            latency_mean_s=0.001,
            latency_p50_s=0.001,
            latency_p90_s=0.002,
            latency_p95_s=0.003,
            latency_p99_s=0.004 * STOCK_RATE / sample.rate,
            latency_p999_s=0.008,
            latency_max_s=0.012,
            errors=ErrorCounts(),
            client_busy=0.4,
            cpu_busy=0.6 * STOCK_RATE / sample.rate,
        )
        for name, rate in order.rates.items()
    }
    gates = (
        GateResult(name="temperature", passed=True, value=51.0, limit=70.0),
        GateResult(name="kernel log", passed=None, detail="can't be read without root"),
    )
    return sample.model_copy(update={"measurements": runs, "fixed_rate": paced, "gates": gates})
