"""Nights of numbers up to some moment, for the tests of what comes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from number_bench import (
    FakeClock,
    NumberBench,
    drive,
    night_begun,
)

from autotune.experiment.bench import Measure
from autotune.experiment.events import (
    Event,
    NightEnded,
    Sample,
    Stage,
)
from autotune.experiment.study import Study

Blame = Literal["", "configuration", "environment"]


def a_bench(fails: Callable[[Measure], Blame] = lambda _: "", **more: float) -> NumberBench:
    bench = NumberBench(FakeClock(), fails=fails)
    for name, value in more.items():
        setattr(bench, name, value)
    return bench


def samples_of(log: list[Event], stage: Stage, night: int = 1) -> list[Sample]:
    return [
        one for one in log if isinstance(one, Sample) and one.key.stage is stage and one.key.night == night
    ]


def log_until(study: Study, bench: NumberBench, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    """The log of a night up to the first moment at which `wanted` holds."""
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        if wanted(log):
            return log
    raise AssertionError("never")


def how_it_ended(log: list[Event]) -> NightEnded:
    last = log[-1]
    assert isinstance(last, NightEnded)
    return last
