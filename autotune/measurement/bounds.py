"""A figure held against a bound that was written down beforehand: what goals and limits have in common.

Intervals here are plain ones, each at 95 % by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autotune.experiment.events import Measurement, Sample
from autotune.experiment.study import Bound
from autotune.measurement.intervals import trimmed_interval

Rounds: TypeAlias = Mapping[int, Mapping[str, Sample]]
"""Good samples of one stage: by round (or pair), then by arm."""
Metric: TypeAlias = Callable[[Sample, str], float]
"""A sample's figure under the workload of this name; 0 or less (or nan) where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Where the figure lies. within, beyond: the whole interval is on that side; not shown: it isn't, or n < 2.

    `figure`, `low` and `high` are on the scale of the bound; None where there is none.
    """

    state: Literal["within", "beyond", "not shown"]
    figure: float | None
    low: float | None
    high: float | None
    n: int


def hold(logs: Sequence[float], bound: Bound, value: float, *, alpha: float = 0.05) -> Held:
    """The trimmed mean of these logarithms, held against `value` (which is no logarithm)."""
    return hold_chain((logs,), bound, value, alpha=alpha)


def hold_chain(several: Sequence[Sequence[float]], bound: Bound, value: float, *, alpha: float) -> Held:
    """The sum of the trimmed means of samples that know nothing of each other: a to b and b to c for a to c.

    Its interval is as wide as theirs together: half its width is the root of the sum of theirs squared.
    """
    n = min(len(logs) for logs in several)
    if n < 2:
        return Held(state="not shown", figure=None, low=None, high=None, n=n)
    each = [trimmed_interval(logs, alpha=alpha) for logs in several]
    center = math.fsum(one.center for one in each)
    half = math.hypot(*(one.high - one.center for one in each))
    low, high = center - half, center + half
    limit = math.log(value) if value > 0 else -math.inf
    above, below = low >= limit, high <= limit
    within, beyond = (above, high < limit) if bound == "at least" else (below, low > limit)
    return Held(
        state="within" if within else "beyond" if beyond else "not shown",
        figure=math.exp(center),
        low=_finite(low),
        high=_finite(high),
        n=n,
    )


def log_figures(metric: Metric, workload: str, rounds: Rounds, arm: str) -> list[float]:
    """The arm's own figures, one a round, where it has one."""
    return [
        math.log(figure)
        for round_ in rounds.values()
        if arm in round_ and (figure := metric(round_[arm], workload)) > 0
    ]


def log_ratios(metric: Metric, workload: str, rounds: Rounds, a: str, b: str) -> list[float]:
    """ln(a / b), round by round, where both have a figure."""
    return [
        math.log(first / second)
        for round_ in rounds.values()
        if a in round_ and b in round_
        if (first := metric(round_[a], workload)) > 0 and (second := metric(round_[b], workload)) > 0
    ]


def of_run(read: Callable[[Measurement], float]) -> Metric:
    """A figure of the closed-loop run."""

    def figure(sample: Sample, workload: str) -> float:
        run = sample.measurements.get(workload)
        return read(run) if run is not None else math.nan

    return figure


def requests_per_s(run: Measurement) -> float:
    return run.requests_per_s


def latency_p99_s(run: Measurement) -> float:
    return run.latency_p99_s


def server_cpu_s_per_request(run: Measurement) -> float:
    return run.server_cpu_s / run.requests if run.requests else 0.0


def _finite(value: float) -> float | None:
    return math.exp(value) if math.isfinite(value) else None
