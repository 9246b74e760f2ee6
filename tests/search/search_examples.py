"""A study with every kind of parameter, and nights of it in which nothing but this file says how fast a choice is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from autotune.experiment.bench import AskSampler
from autotune.experiment.events import (
    Arm,
    ErrorCounts,
    Event,
    Failure,
    Measurement,
    NightBegun,
    Plan,
    Proposal,
    Sample,
    SampleKey,
    Stage,
)
from autotune.experiment.study import HandTunedSequence, ManagedNginx, ServedFile, Study, Url, Workload
from autotune.search.searcher import propose
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Derived, Parameter, Rule, Scale, Span
from autotune.space.search_space import Dropped, SearchSpace
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

BEGAN = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
MEMORY = 8 << 30

SENDFILE = Parameter(setting=Setting(id="nginx:sendfile", kind=Kind.SWITCH, why="t"), why="t")
CHUNK = Parameter(
    setting=Setting(id="nginx:sendfile_max_chunk", kind=Kind.SIZE, low=0, high=1 << 30, why="t"),
    span=Span(low=1 << 16, high=1 << 22, scale=Scale.LOG),
    specials=("unset",),
    when=Expression(text="nginx:sendfile == on"),
    why="t",
)
BACKLOG = Parameter(
    setting=Setting(id="nginx:listen.backlog", kind=Kind.INTEGER, low=1, high=65536, why="t"),
    span=Span(low=511, high=16384, scale=Scale.LOG),
    why="t",
)
SOMAXCONN = Parameter(
    setting=Setting(id="sysctl:net.core.somaxconn", kind=Kind.INTEGER, low=1, high=65536, why="t"),
    span=Span(low=1024, high=65535, scale=Scale.LOG),
    why="t",
)
BUFFERS = Parameter(
    setting=Setting(id="nginx:output_buffers.number", kind=Kind.INTEGER, low=1, high=64, why="t"),
    span=Span(low=1, high=8),
    why="t",
)
BUDGET = Parameter(
    setting=Setting(id="sysctl:net.core.netdev_budget", kind=Kind.INTEGER, low=1, high=10_000, why="t"),
    span=Span(low=100, high=1200, step=50),
    why="t",
)
VALID = Parameter(
    setting=Setting(id="nginx:open_file_cache_valid", kind=Kind.TIME, unit="s", low=1, high=3600, why="t"),
    values=(10, 60, 300),
    why="t",
)
CONGESTION = Parameter(
    setting=Setting(id="sysctl:net.ipv4.tcp_congestion_control", kind=Kind.CHOICE, why="t"),
    values=("cubic", "bbr", "reno"),
    why="t",
)
RMEM = Parameter(
    setting=Setting(id="sysctl:net.ipv4.tcp_rmem", kind=Kind.VECTOR, length=3, low=1, high=1 << 30, why="t"),
    spans=(
        Span(low=4096, high=4096),
        Span(low=1 << 15, high=1 << 20, scale=Scale.LOG),
        Span(low=1 << 17, high=1 << 24, scale=Scale.LOG),
    ),
    why="t",
)
MASK = Parameter(
    setting=Setting(id="irq:eth0.affinity", kind=Kind.CPU_MASK, why="t"), values=(0xF0, 0x0F), why="t"
)
SHARE = Parameter(
    setting=Setting(id="cpu:share", kind=Kind.FLOAT, low=0.0, high=1.0, why="t"),
    span=Span(low=0.1, high=0.9),
    why="t",
)
PARAMETERS = (SENDFILE, CHUNK, BACKLOG, SOMAXCONN, BUFFERS, BUDGET, VALID, CONGESTION, RMEM, MASK, SHARE)
STOCK: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:sendfile_max_chunk": 2 << 20,
    "nginx:listen.backlog": 511,
    "sysctl:net.core.somaxconn": 4096,
    "nginx:output_buffers.number": 2,
    "sysctl:net.core.netdev_budget": 300,
    "nginx:open_file_cache_valid": 60,
    "sysctl:net.ipv4.tcp_congestion_control": "cubic",
    "sysctl:net.ipv4.tcp_rmem": (4096, 131072, 6291456),
    "irq:eth0.affinity": 0x01,
    "cpu:share": 0.5,
    "nginx:worker_rlimit_nofile": "unset",
}
FACTS: dict[str, Value] = {"board.memory_bytes": MEMORY, "workload.connections": 64}
RULE = Rule(expression=Expression(text="nginx:listen.backlog <= sysctl:net.core.somaxconn"), why="t")
LIMIT = Derived(
    setting=Setting(id="nginx:worker_rlimit_nofile", kind=Kind.INTEGER, low=1, high=1 << 20, why="t"),
    expression=Expression(text="2 * nginx:listen.backlog"),
    why="t",
)
NOTHING = Configuration()
HAND_TUNED = Configuration.of(
    {
        "nginx:sendfile": True,
        "nginx:listen.backlog": 4096,
        "sysctl:net.core.somaxconn": 4096,
        "sysctl:net.ipv4.tcp_congestion_control": "bbr",
    }
)


def a_space(
    parameters: tuple[Parameter, ...] = PARAMETERS,
    rules: tuple[Rule, ...] = (RULE,),
    derived: tuple[Derived, ...] = (LIMIT,),
) -> SearchSpace:
    return SearchSpace(title="every kind", parameters=parameters, rules=rules, derived=derived)


def a_study(space: SearchSpace | None = None, seed: int = 3, name: str = "kinds") -> Study:
    return Study(
        name=name,
        server=ManagedNginx(files=(ServedFile(path="/1k", size_bytes=1024),)),
        workloads=(Workload(name="small", urls=(Url(target="/1k"),), connections=64, threads=1),),
        space=space or a_space(),
        hand_tuned=HandTunedSequence(title="none", source="nowhere", steps=()),
        seed=seed,
    )


def a_night(
    study: Study,
    night: int = 1,
    stock: dict[str, Value] | None = None,
    missing: tuple[str, ...] = (),
    hand_tuned: Configuration = NOTHING,
    outside: tuple[Dropped, ...] = (),
) -> NightBegun:
    stock = STOCK if stock is None else stock
    return NightBegun(
        night=night,
        at=_at(0),
        stock={id_: value for id_, value in stock.items() if id_ not in missing},
        facts=FACTS,
        space_ids=tuple(id_ for id_ in study.space.ids if id_ not in missing),
        dropped=tuple(Dropped(id=id_, reason="not on this board") for id_ in missing),
        hand_tuned=hand_tuned,
        hand_tuned_outside=outside,
    )


def a_plan(candidates: int = 40, night: int = 1) -> Plan:
    return Plan(
        night=night,
        at=_at(0),
        calibration_pairs=10,
        candidates=candidates,
        reference_every=4,
        finalists=6,
        finalist_pairs=4,
        finals_rounds=24,
        series_rounds=6,
        sample_s=3.0,
    )


Truth = Callable[[dict[str, Value]], float]


def some_truth(values: dict[str, Value]) -> float:
    """ln of the ratio to stock: sendfile off is bad, bbr good, a backlog near 4096 good."""
    backlog = values["nginx:listen.backlog"]
    assert isinstance(backlog, int)
    return (
        (0.0 if values["nginx:sendfile"] else -0.3)
        + (0.1 if values["sysctl:net.ipv4.tcp_congestion_control"] == "bbr" else 0.0)
        - 0.05 * abs(math.log2(backlog / 4096))
        + 0.05 * 3
    )


def nothing_fails(_: dict[str, Value]) -> bool:
    return False


def go_on(
    study: Study,
    log: list[Event],
    upto: int,
    *,
    truth: Truth = some_truth,
    fails: Callable[[dict[str, Value]], bool] = nothing_fails,
    noise: float = 0.0,
    night: int = 1,
) -> list[Event]:
    """The log after the trials below `upto` have been proposed and measured, each between two samples of stock."""
    log = list(log)
    number = sum(isinstance(event, Proposal) for event in log)
    while number < upto:
        proposal = propose(study, log, AskSampler(night=night, number=number), at=_at(len(log)))
        log.append(proposal)
        values = proposal.configuration.over(STOCK)
        chance = random.Random(f"{study.seed}/{number}")
        log.append(_stock_sample(len(log), 2 * number, night))
        if number and fails(values):
            log.append(a_failure(proposal, len(log)))
        elif number:
            rate = 10_000.0 * math.exp(truth(values) + chance.gauss(0.0, noise))
            log.append(a_sample(proposal, len(log), rate))
        log.append(_stock_sample(len(log), 2 * number + 1, night))
        number += 1
    return log


def a_sample(proposal: Proposal, order: int, rate: float) -> Sample:
    key = SampleKey(night=proposal.night, stage=Stage.SEARCH, block=order, position=0)
    return _sample(key, Arm(kind="trial", number=proposal.number), proposal.configuration, order, rate)


def a_failure(proposal: Proposal, order: int, blame: str = "configuration") -> Failure:
    return Failure.model_validate(
        {
            "key": SampleKey(night=proposal.night, stage=Stage.SEARCH, block=order, position=0),
            "at": _at(order),
            "arm": Arm(kind="trial", number=proposal.number),
            "configuration": proposal.configuration,
            "stage": "nginx",
            "reason": "nginx said no",
            "blame": blame,
        }
    )


def _stock_sample(order: int, block: int, night: int) -> Sample:
    key = SampleKey(night=night, stage=Stage.SEARCH, block=100_000 + block, position=0)
    return _sample(key, Arm(kind="stock"), Configuration(), order, 10_000.0)


def _sample(key: SampleKey, arm: Arm, configuration: Configuration, order: int, rate: float) -> Sample:
    return Sample(
        key=key,
        at=_at(order),
        arm=arm,
        configuration=configuration,
        effective=configuration,
        measurements={
            "small": Measurement(
                requests=int(rate * 2),
                requests_per_s=rate,
                bytes=int(rate * 2500),
                duration_s=2.0,
                latency_mean_s=0.001,
                latency_p50_s=0.001,
                latency_p90_s=0.002,
                latency_p95_s=0.0025,
                latency_p99_s=0.004,
                latency_p999_s=0.006,
                latency_max_s=0.01,
                errors=ErrorCounts(),
                server_cpu_s=1.9,
                client_cpu_s=1.8,
            )
        },
        objective=math.log(rate),
        switch_s=0.05,
        overhead_s=0.4,
    )


def _at(order: int) -> str:
    return (BEGAN + timedelta(seconds=3 * order)).isoformat()


def proposals(log: list[Event]) -> list[Proposal]:
    return [event for event in log if isinstance(event, Proposal)]
