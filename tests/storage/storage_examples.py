"""A small study, and events of every kind for it."""

from __future__ import annotations

import math

from autotune.experiment.events import (
    Arm,
    ErrorCounts,
    Failure,
    Measurement,
    NightBegun,
    Proposal,
    Sample,
    SampleKey,
    Stage,
)
from autotune.experiment.study import HandTunedSequence, ManagedNginx, ServedFile, Study, Url, Workload
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting

AT = "2026-01-31T23:00:00+00:00"


def a_study(name: str = "kitchen", connections: int = 64, backlog_high: int = 65536) -> Study:
    return Study(
        name=name,
        server=ManagedNginx(files=(ServedFile(path="/1k", size_bytes=1024),)),
        workloads=(Workload(name="small", urls=(Url(target="/1k"),), connections=connections, threads=1),),
        space=SearchSpace(
            title="two settings",
            parameters=(
                Parameter(
                    setting=Setting(id="nginx:sendfile", kind=Kind.SWITCH, why="copying"), why="copying"
                ),
                Parameter(
                    setting=Setting(
                        id="nginx:listen.backlog", kind=Kind.INTEGER, low=1, high=70000, why="queue"
                    ),
                    span=Span(low=511, high=backlog_high, scale=Scale.LOG),
                    why="queue",
                ),
            ),
        ),
        hand_tuned=HandTunedSequence(title="none", source="nowhere", steps=()),
    )


def a_night(night: int = 1, deadline: str | None = None) -> NightBegun:
    return NightBegun(
        night=night,
        at=AT,
        deadline=deadline,
        stock={"nginx:sendfile": True, "nginx:listen.backlog": 511},
        facts={"board.cpus": 2},
        space_ids=("nginx:sendfile", "nginx:listen.backlog"),
    )


def a_proposal(number: int, night: int = 1) -> Proposal:
    return Proposal(
        night=night,
        number=number,
        at=AT,
        origin="sampler" if number else "stock",
        configuration=Configuration.of({"nginx:listen.backlog": 511 + number}),
    )


def a_measurement(requests_per_s: float = 10_000.0) -> Measurement:
    return Measurement(
        requests=int(requests_per_s * 2),
        requests_per_s=requests_per_s,
        bytes=123456789,
        duration_s=2.0,
        latency_mean_s=0.0012345678,
        latency_p50_s=0.001,
        latency_p90_s=0.002,
        latency_p95_s=0.0025,
        latency_p99_s=0.004,
        latency_p999_s=0.006,
        latency_max_s=0.01,
        errors=ErrorCounts(),
        server_cpu_s=1.9,
        client_cpu_s=1.8,
        counters={f"counter {number}": number * 1.1 for number in range(10)},
    )


def a_sample(
    block: int,
    *,
    arm: str = "stock",
    requests_per_s: float = 10_000.0,
    stage: Stage = Stage.SEARCH,
    night: int = 1,
    position: int = 0,
    attempt: int = 0,
) -> Sample:
    kind, _, number = arm.partition(" ")
    return Sample(
        key=SampleKey(night=night, stage=stage, block=block, position=position, attempt=attempt),
        at=AT,
        arm=Arm.model_validate({"kind": kind, "number": int(number or 0)}),
        configuration=Configuration(),
        effective=Configuration(),
        measurements={"small": a_measurement(requests_per_s)},
        objective=math.log(requests_per_s) if requests_per_s > 0 else -20.7,
        switch_s=0.05,
        overhead_s=0.4,
    )


def a_failure(block: int, arm: str, blame: str = "configuration") -> Failure:
    sample = a_sample(block, arm=arm)
    return Failure.model_validate(
        {
            "key": sample.key,
            "at": AT,
            "arm": sample.arm,
            "configuration": Configuration(),
            "stage": "nginx",
            "reason": "nginx said no",
            "blame": blame,
        }
    )
