"""Every gate that a run was asked at, with what it saw, for the record: decided elsewhere, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args

from autotune.board.records import LoadOrder, LoadSeen, Run
from autotune.experiment.events import GateResult
from autotune.load.gates import (
    CLOCK_STEP_S,
    DURATION_OFF_S,
    TUPLES_PER_CONNECTION,
    Answer,
    GateName,
    Judged,
    clock_step_s,
    wire_limits,
)
from autotune.load.parse import Report, read_report

_NAMES: Final[tuple[GateName, ...]] = get_args(GateName)
_OF_WARM_UP: Final = frozenset({"warm-up timed out", "warm-up killed", "warm-up failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    seen: LoadSeen
    order: LoadOrder
    report: Report | None
    answers: Sequence[Answer]


_Reading: TypeAlias = Callable[[_Run], tuple[float | None, float | None]]


def gates_asked(
    seen: LoadSeen, order: LoadOrder, judged: Judged, *, answers: Sequence[Answer]
) -> tuple[GateResult, ...]:
    """The gates up to the one that decided, in order; all of them for a run that counts."""
    found = read_report(seen.measured.stdout, order.marker)
    run = _Run(seen=seen, order=order, report=found if isinstance(found, Report) else None, answers=answers)
    last = _NAMES.index(judged.gate) if judged.gate else len(_NAMES) - 1
    names = [one for one in _NAMES[: last + 1] if order.warmup_s > 0 or one not in _OF_WARM_UP]
    return tuple(_result(name, run, judged) for name in names)


def _result(name: GateName, run: _Run, judged: Judged) -> GateResult:
    value, limit = _READINGS[name](run) if name in _READINGS else (None, None)
    failed = name == judged.gate
    if name == "few free ports" and value is None:
        return GateResult(name=name, passed=None, limit=limit, detail="this board can't say")
    return GateResult(
        name=name,
        passed=not failed,
        value=None if value is None else round(value, 4),
        limit=limit,
        detail=judged.fault.detail if judged.fault and failed else "",
    )


def _ports(run: _Run) -> tuple[float | None, float | None]:
    return run.seen.before.get("free_ports"), float(TUPLES_PER_CONNECTION * run.order.connections)


def _workers_gone(run: _Run) -> tuple[float | None, float | None]:
    return float(len(set(run.seen.workers_before) - set(run.seen.workers_after))), 0.0


def _workers_new(run: _Run) -> tuple[float | None, float | None]:
    return float(len(set(run.seen.workers_after) - set(run.seen.workers_before))), 0.0


def _clock_step(run: _Run) -> tuple[float | None, float | None]:
    duration_s = _duration_s(run)
    return None if duration_s is None else clock_step_s(duration_s, run.seen, run.order), CLOCK_STEP_S


def _duration_off(run: _Run) -> tuple[float | None, float | None]:
    duration_s = _duration_s(run)
    return None if duration_s is None else abs(duration_s - run.order.duration_s), DURATION_OFF_S


def _duration_s(run: _Run) -> float | None:
    return None if run.report is None else run.report.duration_us / 1e6


def _bytes_off(run: _Run) -> tuple[float | None, float | None]:
    if run.report is None or run.report.requests == 0:
        return None, None
    mean, off = wire_limits(run.order, run.answers)
    return run.report.bytes / run.report.requests / mean - 1, round(off / mean, 4)


def _signal(of: Run) -> float:
    return float(max(0, -of.exit_code))


_READINGS: Final[dict[GateName, _Reading]] = {
    "warm-up timed out": lambda run: (run.seen.warmup.wall_s, None),
    "warm-up killed": lambda run: (_signal(run.seen.warmup), 0.0),
    "load timed out": lambda run: (run.seen.measured.wall_s, None),
    "load killed": lambda run: (_signal(run.seen.measured), 0.0),
    "workers died": _workers_gone,
    "workers changed": _workers_new,
    "few free ports": _ports,
    "warm-up failed": lambda run: (float(run.seen.warmup.exit_code), 0.0),
    "load failed": lambda run: (float(run.seen.measured.exit_code), 0.0),
    "clock step": _clock_step,
    "duration off": _duration_off,
    "zero requests": lambda run: (float(run.report.requests) if run.report else None, 1.0),
    "ports ran out": lambda run: (run.seen.after.get("free_ports"), float(run.order.connections)),
    "errors under load": lambda run: (
        float(run.report.errors.total - run.report.errors.status) if run.report else None,
        0.0,
    ),
    "unexpected status": lambda run: (float(run.report.errors.status) if run.report else None, 0.0),
    "bytes per request off": _bytes_off,
    "load died": lambda run: (float(run.seen.connections_held), float(run.order.connections)),
}
