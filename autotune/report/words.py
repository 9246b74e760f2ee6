"""Numbers as a person reads them: ratios, percentages, durations, times."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from autotune.experiment.study import Study, Workload

_FIGURE = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveWords:
    """How a study's objective is spoken of. `more`, `less`: what stands between two arms, around the change; `verdicts`:
    the words faster and slower, where they are others here.
    """

    figure: str
    ratios: str
    more: str
    less: str
    verdicts: Mapping[str, str]


_OBJECTIVES: Mapping[str, ObjectiveWords] = {
    "requests_per_s": ObjectiveWords(
        figure="requests/s",
        ratios="throughput",
        more="is {} faster than",
        less="is {} slower than",
        verdicts={},
    ),
    "requests_per_server_cpu_s": ObjectiveWords(
        figure="requests per server CPU second",
        ratios="requests per server CPU second",
        more="serves {} more requests per CPU second than",
        less="serves {} fewer requests per CPU second than",
        verdicts={"faster": "more", "slower": "fewer"},
    ),
}


def objective_words(study: Study) -> ObjectiveWords:
    return _OBJECTIVES[study.objective.metric]


def verdict_text(study: Study, verdict: str) -> str:
    """faster, or what a study that maximises something else calls it."""
    return objective_words(study).verdicts.get(verdict, verdict)


def ratio_text(ratio: float) -> str:
    """1.041x"""
    return f"{ratio:.3f}x"


def interval_text(ratio: float, low: float, high: float) -> str:
    """1.041x [1.029, 1.054]"""
    return f"{ratio_text(ratio)} [{low:.3f}, {high:.3f}]"


def ratio_pm_text(ratio: float, pm: float | None) -> str:
    """1.041x ±0.012; without the second part while the uncertainty isn't known."""
    return ratio_text(ratio) if pm is None else f"{ratio_text(ratio)} ±{pm:.3f}"


def percent_text(ratio: float, digits: int = 1) -> str:
    """The ratio as a signed change: 1.041 is +4.1 %."""
    change = round((ratio - 1) * 100, digits) or 0.0
    return f"{change:+.{digits}f} %"


def share_text(share: float) -> str:
    """1.2 %"""
    return f"{share * 100:.1f} %"


def rate_text(requests_per_s: float) -> str:
    """12,345; small rates keep a decimal."""
    return f"{requests_per_s:,.0f}" if requests_per_s >= 100 else f"{requests_per_s:,.1f}"


def cpu_text(seconds: float) -> str:
    """CPU time of one request: 85.3 us; a dash where none was counted."""
    return f"{seconds * 1e6:,.1f} us" if math.isfinite(seconds) else "-"


def duration_text(seconds: float) -> str:
    """45 s, 12 min, 8 h 05 min"""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def without_figures(text: str) -> str:
    """Equal for texts that differ in their figures alone."""
    return _FIGURE.sub("#", text)


def local_time_text(at: str) -> str:
    """An event's UTC stamp as local time for people: 2026-05-01 23:04 CEST; anything else as it is."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return at
    return moment.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def count_text(count: int, noun: str) -> str:
    """1 sample, 2 samples"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def load_text(workload: Workload) -> str:
    """A workload in a line: what is fetched, by how many connections, for how long."""
    urls = ", ".join(url.target for url in workload.urls)
    return (
        f"{workload.name}: {workload.connections} connections to {urls}, {workload.duration_s:g} s a sample"
    )
