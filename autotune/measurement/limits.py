"""What a configuration must keep to win at all, held against what was measured.

A limit is *violated* when the whole interval of its figure lies beyond what is allowed, *kept* when all of it lies within,
and else *not shown*. What isn't shown can win and is said: a study that allows 1.0 x stock would otherwise be lost to every
configuration that is just as good as stock there. Counts of errors have no interval: one too many violates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autotune.experiment.events import Doubt, FixedRate, Measurement, Sample, Stage
from autotune.experiment.study import Limit, Study
from autotune.measurement.bounds import (
    Held,
    Metric,
    Rounds,
    hold,
    hold_chain,
    log_figures,
    log_ratios,
    of_run,
    requests_per_s,
    server_cpu_s_per_request,
)
from autotune.measurement.logbook import STOCK, Logbook

CHOOSING = 0.4
"""Level of a finalist's interval, which has a few pairs and decides a choice, not a claim: one that is just as good as the
limit allows is dropped in 1 case of 5, one that lies 2 standard errors beyond it in most (see test_limits). For each limit and
workload by itself: just as good as four of them allow, it is dropped in 3 of 5."""
GATED = "the gates let no sample with an error count"

Verdict = Literal["kept", "violated", "not shown"]
_WORDS: Mapping[str, Verdict] = {"within": "kept", "beyond": "violated", "not shown": "not shown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResult:
    """One limit held against one arm under one workload.

    `value`, `low`, `high` and `allowed` are ratios to stock where the limit is one, else in the metric's own unit. `value`
    None: there is no figure. For errors it is the most that one sample had.
    """

    limit: Limit
    arm: str
    workload: str
    value: float | None
    low: float | None
    high: float | None
    allowed: float
    n: int
    verdict: Verdict
    note: str = ""


def limit_results(
    study: Study, rounds: Rounds, arm: str, *, alpha: float = 0.05, is_stock: bool = False
) -> tuple[LimitResult, ...]:
    """Every limit of the study for this arm, a result for each workload that the limit speaks of.

    `rounds` holds stock's samples beside the arm's. `is_stock`: the arm has stock's own configuration, so a ratio to stock is
    1 whatever was measured.
    """
    return tuple(
        _result(limit, workload, rounds, arm, alpha=alpha, is_stock=is_stock)
        for limit, workload in asked(study)
    )


def violators(study: Study, book: Logbook, night: int) -> dict[int, tuple[LimitResult, ...]]:
    """The finalists that violate a limit in their fresh pairs with stock, with the limits they violate, by trial."""
    if not study.limits:
        return {}
    pairs = _pairs_of(book, night, Stage.FINALISTS)
    found: dict[int, tuple[LimitResult, ...]] = {}
    for number in sorted({sample.arm.number for pair in pairs.values() for sample in pair.values()}):
        results = limit_results(study, pairs, f"trial {number}", alpha=CHOOSING)
        if violated := tuple(one for one in results if one.verdict == "violated"):
            found[number] = violated
    return found


def limit_doubts(
    study: Study, book: Logbook, night: int, results: Sequence[LimitResult]
) -> tuple[Doubt, ...]:
    """What limits leave to be said beside those that automatic violates: who could not win, and what isn't shown.

    `results`: of the finals' arms.
    """
    doubts = []
    lost = violators(study, book, night)
    if lost:
        which = dict.fromkeys(one.limit.metric for several in lost.values() for one in several)
        doubts.append(
            Doubt(
                code="limits decided",
                text=f"{len(lost)} of the night's finalists violated a limit ({', '.join(which)}) and could not win",
                next="The limits table says how automatic keeps them",
            )
        )
    open_ = dict.fromkeys(
        f"{one.limit.metric} ({one.workload})"
        for one in results
        if one.arm == "automatic" and one.verdict == "not shown"
    )
    if open_:
        doubts.append(
            Doubt(
                code="limit not shown",
                text="whether automatic keeps these limits is not shown: " + ", ".join(open_),
                next="More rounds of finals narrow it down",
            )
        )
    return tuple(doubts)


def subset_violators(study: Study, book: Logbook, night: int) -> frozenset[int]:
    """The subsets that violate a limit in their fresh pairs with the winner.

    Stock isn't measured there: a ratio to it is the subset's to the winner times the winner's to stock, which its few
    finalist's pairs don't know well.
    """
    subsets = book.subsets.get(night)
    if subsets is None or not study.limits:
        return frozenset()
    before = _pairs_of(book, night, Stage.FINALISTS)
    pairs = _pairs_of(book, night, Stage.DISTILLATION)
    winner = f"trial {subsets.trial}"
    found = set()
    for limit, workload in asked(study):
        for index in range(len(subsets.configurations)):
            arm = f"subset {index}"
            if limit.metric == "errors" or not limit.of_stock:
                verdict = _result(limit, workload, pairs, arm, alpha=CHOOSING, is_stock=False).verdict
            else:
                metric = METRICS[limit.metric]
                chain = (
                    log_ratios(metric, workload, pairs, arm, winner),
                    log_ratios(metric, workload, before, winner, STOCK.text),
                )
                verdict = _WORDS[hold_chain(chain, limit.bound, limit.value, alpha=CHOOSING).state]
            if verdict == "violated":
                found.add(index)
    return frozenset(found)


def asked(study: Study) -> list[tuple[Limit, str]]:
    """Every limit with each workload that it speaks of."""
    return [
        (limit, workload.name)
        for limit in study.limits
        for workload in study.workloads
        if limit.workload in ("", workload.name)
    ]


def _pairs_of(book: Logbook, night: int, stage: Stage) -> Rounds:
    """The stage's complete pairs: by block, then by arm."""
    blocks = sorted({slot.last.key.block for slot in book.of_stage(night, stage)})
    pairs = {block: book.pair(night, stage, block) for block in blocks}
    return {block: {one.arm.text: one for one in pair} for block, pair in pairs.items() if pair is not None}


def need_rates(study: Study) -> bool:
    """Whether a limit needs open-loop runs."""
    return any(limit.at_fixed_rate for limit in study.limits)


def _result(
    limit: Limit, workload: str, rounds: Rounds, arm: str, *, alpha: float, is_stock: bool
) -> LimitResult:
    if limit.metric == "errors":
        return _errors(limit, workload, [one[arm] for one in rounds.values() if arm in one], arm)
    metric = METRICS[limit.metric]
    if limit.of_stock:
        held = hold(
            log_ratios(metric, workload, rounds, arm, STOCK.text), limit.bound, limit.value, alpha=alpha
        )
    else:
        held = hold(log_figures(metric, workload, rounds, arm), limit.bound, limit.value, alpha=alpha)
    if limit.of_stock and is_stock:
        return _told(limit, workload, arm, held, _WORDS[hold((0.0, 0.0), limit.bound, limit.value).state])
    return _told(limit, workload, arm, held, _WORDS[held.state])


def _told(limit: Limit, workload: str, arm: str, held: Held, verdict: Verdict) -> LimitResult:
    return LimitResult(
        limit=limit,
        arm=arm,
        workload=workload,
        value=held.figure,
        low=held.low,
        high=held.high,
        allowed=limit.value,
        n=held.n,
        verdict=verdict,
    )


def _errors(limit: Limit, workload: str, samples: Sequence[Sample], arm: str) -> LimitResult:
    counts = [error_count(one, workload) for one in samples]
    most = max(counts, default=None)
    beyond = most is not None and (most > limit.value if limit.bound == "at most" else most < limit.value)
    return LimitResult(
        limit=limit,
        arm=arm,
        workload=workload,
        value=most,
        low=None,
        high=None,
        allowed=limit.value,
        n=len(counts),
        verdict="not shown" if most is None else "violated" if beyond else "kept",
        note=GATED,
    )


def error_count(sample: Sample, workload: str) -> int:
    """Of the closed-loop run and of the open-loop one."""
    run, paced = sample.measurements.get(workload), sample.fixed_rate.get(workload)
    return (run.errors.total if run is not None else 0) + (paced.errors.total if paced is not None else 0)


def _paced(read: Callable[[FixedRate], float]) -> Metric:
    """A figure of the open-loop run."""

    def figure(sample: Sample, workload: str) -> float:
        run = sample.fixed_rate.get(workload)
        return read(run) if run is not None else math.nan

    return figure


def _cpu_busy(run: FixedRate) -> float:
    return run.cpu_busy if run.cpu_busy is not None else math.nan


def _power_w(run: Measurement) -> float:
    return run.power_w if run.power_w is not None else math.nan


METRICS: Mapping[str, Metric] = {
    "latency_p50_s": _paced(lambda run: run.latency_p50_s),
    "latency_p95_s": _paced(lambda run: run.latency_p95_s),
    "latency_p99_s": _paced(lambda run: run.latency_p99_s),
    "latency_p999_s": _paced(lambda run: run.latency_p999_s),
    "latency_max_s": _paced(lambda run: run.latency_max_s),
    "requests_per_s": of_run(requests_per_s),
    "server_cpu_s_per_request": of_run(server_cpu_s_per_request),
    "cpu_busy": _paced(_cpu_busy),
    "power_w": of_run(_power_w),
}
