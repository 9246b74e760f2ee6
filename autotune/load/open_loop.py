"""Latency at a fixed rate: what the open-loop generator is asked to do, what it answers, and whether that may be believed.

A server that can't serve the rate is no failure: its latency is as bad as it is. Where the generator itself can't hold the
rate there is no figure, only a doubt: it would speak of the generator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from autotune.board.records import LoadOrder, LoadSeen
from autotune.experiment.events import Doubt, ErrorCounts, FixedRate, GateResult
from autotune.load import gates
from autotune.load.client_bound import GENERATOR_BUSY, generator_busy
from autotune.load.gates import Answer, Fault
from autotune.load.parse import (
    LATENCIES,
    Latency,
    Unreadable,
    WrongShapeError,
    read_count,
    read_line,
    read_number,
    read_object,
)

# The server comes warm from the closed-loop run. What is new are the connections, and the generator compiles itself.
RUN_IN_S: Final = 0.5
RATE_OFF: Final = 0.01
# From this share of the p99 on, the generator's own lateness is told; below this time it is never of interest.
LATE_SHARE: Final = 0.25
LATE_S: Final = 0.0005

_COUNTS: Final = ("due", "unanswered", "answered", "bytes", "retried", "duration_us")
_ERRORS: Final = ("connect", "read", "write", "status")
_LATE: Final = ("p50", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateReport:
    """What the generator says of one run. `due` requests have a latency each; `answered` came within the run.

    `unanswered`: still without an answer when waiting for them ended, their latency the time waited so far. `late_p99_us`: how
    long a due request and a free connection waited for the generator. `busy`: the busiest process's share of a CPU.
    """

    due: int
    unanswered: int
    answered: int
    bytes: int
    duration_us: int
    errors: ErrorCounts
    latency: Latency
    late_p99_us: float
    busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRate:
    """A run that counts, or the first gate it failed. Neither: the generator could not hold the rate, see `doubts`.

    `gates`: those that were asked, up to the one that decided. A rate that was not held is told there, and excludes nothing.
    """

    fixed_rate: FixedRate | None = None
    fault: Fault | None = None
    gates: tuple[GateResult, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def rate_order(closed: LoadOrder, rate_per_s: float, duration_s: float, marker: str) -> LoadOrder:
    """The same requests to the same place from the same CPUs as the closed-loop run's, at a fixed rate."""
    return replace(closed, rate_per_s=rate_per_s, warmup_s=RUN_IN_S, duration_s=duration_s, marker=marker)


def read_rate_report(stdout: str, marker: str) -> RateReport | Unreadable:
    """The report behind `marker`, or why it can't be read."""
    return read_line(stdout, marker, _report)


def judge_rate(seen: LoadSeen, order: LoadOrder, *, answers: Sequence[Answer]) -> JudgedRate:
    """The figures of a run that passed every gate, or the first gate it failed. `answers`: one for each URL of the order."""
    gates.require_known(answers, order)
    for process_gate in gates.PROCESS_GATES:
        if fault := process_gate(seen, order):
            return JudgedRate(fault=fault, gates=(_failed(fault),))
    report = read_rate_report(seen.measured.stdout, order.marker)
    if isinstance(report, Unreadable):
        fault = Fault(gate=report.problem, stage="load", blame="environment", detail=report.detail)
        return JudgedRate(fault=fault, gates=(_failed(fault),))
    asked = _asked(report, order, answers)
    if fault := _fault(report, order, answers):
        passed = itertools.takewhile(lambda one: one.name != fault.gate, asked)
        return JudgedRate(fault=fault, gates=(*passed, _failed(fault)))
    figures = _figures(report, seen, order)
    asked = (*asked, _rate_held(figures))
    if doubt := _generators_own_limit(figures):
        return JudgedRate(doubts=(doubt,), gates=asked)
    return JudgedRate(fixed_rate=figures, gates=asked, doubts=_doubts(report, figures))


def _fault(report: RateReport, order: LoadOrder, answers: Sequence[Answer]) -> Fault | None:
    duration_s = report.duration_us / 1e6
    if abs(duration_s - order.duration_s) > gates.DURATION_OFF_S:
        detail = (
            f"the run took {duration_s:.3f} s, ordered were {order.duration_s:g} s "
            f"(limit {gates.DURATION_OFF_S:g} s apart)"
        )
        return Fault(gate="duration off", stage="gate", blame="environment", detail=detail)
    if fault := gates.errors_under_load(report.errors, report.due, unexpected="another status than 200"):
        return fault
    if report.answered == 0:
        detail = f"not one answer in {order.duration_s:g} s, {report.due} requests were due"
        return Fault(gate="zero requests", stage="gate", blame="configuration", detail=detail)
    return gates.wire_size(report.answered, report.bytes, order, answers)


def _asked(report: RateReport, order: LoadOrder, answers: Sequence[Answer]) -> tuple[GateResult, ...]:
    """What each gate of the report saw, in their order."""
    mean, off = gates.wire_limits(order, answers)
    per_request = report.bytes / report.answered if report.answered else 0.0
    socket_errors = report.errors.total - report.errors.status
    readings = (
        ("duration off", abs(report.duration_us / 1e6 - order.duration_s), gates.DURATION_OFF_S),
        ("errors under load", socket_errors, 0),
        ("unexpected status", report.errors.status, 0),
        ("zero requests", report.answered, 1),
        ("bytes per request off", per_request / mean - 1, off / mean),
    )
    return tuple(
        GateResult(name=name, passed=True, value=round(value, 4), limit=round(limit, 4))
        for name, value, limit in readings
    )


def _failed(fault: Fault) -> GateResult:
    return GateResult(name=fault.gate, passed=False, detail=fault.detail)


def _rate_held(figures: FixedRate) -> GateResult:
    value, short = figures.answered_per_s / figures.rate_per_s, _is_short(figures)
    return GateResult(
        name="rate held",
        passed=not short,
        value=round(value, 4),
        limit=1 - RATE_OFF,
        detail="the sample counts all the same, with the latency it has" if short else "",
    )


def _figures(report: RateReport, seen: LoadSeen, order: LoadOrder) -> FixedRate:
    duration_s = report.duration_us / 1e6
    latency = report.latency
    return FixedRate(
        rate_per_s=order.rate_per_s,
        answered=report.answered,
        answered_per_s=report.answered / duration_s,
        duration_s=duration_s,
        latency_mean_s=latency.mean_us / 1e6,
        latency_p50_s=latency.p50_us / 1e6,
        latency_p90_s=latency.p90_us / 1e6,
        latency_p95_s=latency.p95_us / 1e6,
        latency_p99_s=latency.p99_us / 1e6,
        latency_p999_s=latency.p999_us / 1e6,
        latency_max_s=latency.max_us / 1e6,
        errors=report.errors,
        client_busy=min(1.0, max(report.busy, generator_busy(seen, order))),
    )


def _is_short(figures: FixedRate) -> bool:
    return figures.answered_per_s < (1 - RATE_OFF) * figures.rate_per_s


def _generators_own_limit(figures: FixedRate) -> Doubt | None:
    if not _is_short(figures) or figures.client_busy <= GENERATOR_BUSY:
        return None
    return Doubt(
        code="client-bound rate",
        text=f"the generator could not hold {figures.rate_per_s:.0f} requests/s with its CPUs "
        f"{100 * figures.client_busy:.0f} % busy: there is no latency at a fixed rate",
        next="Give the generator more CPUs (more threads in the workload), or push from a second machine.",
    )


def _doubts(report: RateReport, figures: FixedRate) -> tuple[Doubt, ...]:
    doubts = []
    if _is_short(figures):
        doubts.append(
            Doubt(
                code="rate not held",
                text=f"the server answered {figures.answered_per_s:.0f} of {figures.rate_per_s:.0f} requests/s: its latency "
                "at that rate is a growing queue, as long as the run lasts",
            )
        )
    late_s = report.late_p99_us / 1e6
    if late_s > max(LATE_S, LATE_SHARE * figures.latency_p99_s):
        doubts.append(
            Doubt(
                code="late generator",
                text=f"one request in a hundred left the generator {1000 * late_s:.1f} ms late, and that is in the "
                f"{1000 * figures.latency_p99_s:.1f} ms of its p99",
                next="Quieten the machine, or pin server and generator to CPUs of their own.",
            )
        )
    return tuple(doubts)


def _report(value: object) -> RateReport:
    fields = read_object(value, "the report", (*_COUNTS, "errors", "latency_us", "late_us", "busy"))
    errors = read_object(fields["errors"], "errors", _ERRORS)
    latency = read_object(fields["latency_us"], "latency_us", LATENCIES)
    late = read_object(fields["late_us"], "late_us", _LATE)
    counts = {name: read_count(fields[name], name) for name in _COUNTS}
    if counts["unanswered"] > counts["due"]:
        message = f"{counts['unanswered']} of {counts['due']} requests can't be unanswered"
        raise WrongShapeError(message)
    return RateReport(
        due=counts["due"],
        unanswered=counts["unanswered"],
        answered=counts["answered"],
        bytes=counts["bytes"],
        duration_us=counts["duration_us"],
        errors=ErrorCounts(**{name: read_count(errors[name], f"errors.{name}") for name in _ERRORS}),
        latency=Latency(
            **{f"{name}_us": read_number(latency[name], f"latency_us.{name}") for name in LATENCIES}
        ),
        late_p99_us=read_number(late["p99"], "late_us.p99"),
        busy=read_number(fields["busy"], "busy"),
    )
