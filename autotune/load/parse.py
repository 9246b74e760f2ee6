"""Reading the one line that a generator's script prints. Nothing else that it prints is ever parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeVar

from autotune.experiment.events import ErrorCounts

_T = TypeVar("_T")

LARGEST = 2**63
"""No count and no time comes near; beyond it, arithmetic and databases give up."""
COUNTS = ("requests", "duration_us", "bytes")
ERRORS = ("connect", "read", "write", "status", "timeout")
LATENCIES = ("mean", "p50", "p90", "p95", "p99", "p999", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The generator's latencies of one run, in microseconds."""

    mean_us: float
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    p999_us: float
    max_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What wrk says of one run. `bytes` are all that came over the wire, headers and unfinished answers included."""

    requests: int
    duration_us: int
    bytes: int
    errors: ErrorCounts
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why there is no report: no line behind the marker, more than one, or one that doesn't say what it should."""

    problem: Literal["report missing", "report twice", "report malformed"]
    detail: str


class WrongShapeError(ValueError):
    """A field is absent, of another kind, or out of range."""


def read_report(stdout: str, marker: str) -> Report | Unreadable:
    """wrk's report behind `marker`, or why it can't be read."""
    return read_line(stdout, marker, _report)


def read_line(stdout: str, marker: str, make: Callable[[object], _T]) -> _T | Unreadable:
    """What `make` makes of the JSON behind `marker`, or why it can't be read."""
    prefix = f"{marker} "
    lines = [line.removeprefix(prefix) for line in stdout.split("\n") if line.startswith(prefix)]
    if not lines:
        tail = stdout.strip()[-120:] or "nothing"
        return Unreadable(
            problem="report missing",
            detail=f"no report line in the generator's output, which ends with {tail!r}",
        )
    if len(lines) > 1:
        return Unreadable(problem="report twice", detail=f"{len(lines)} report lines where one belongs")
    try:
        return make(json.loads(lines[0], parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        return Unreadable(problem="report malformed", detail=f"{error}; the line was {lines[0][:120]!r}")


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a number"
    raise WrongShapeError(message)


def _report(value: object) -> Report:
    fields = read_object(value, "the report", (*COUNTS, "errors", "latency_us"))
    errors = read_object(fields["errors"], "errors", ERRORS)
    latency = read_object(fields["latency_us"], "latency_us", LATENCIES)
    counts = {name: read_count(fields[name], name) for name in COUNTS}
    return Report(
        requests=counts["requests"],
        duration_us=counts["duration_us"],
        bytes=counts["bytes"],
        errors=ErrorCounts(**{name: read_count(errors[name], f"errors.{name}") for name in ERRORS}),
        latency=Latency(
            **{f"{name}_us": read_number(latency[name], f"latency_us.{name}") for name in LATENCIES}
        ),
    )


def read_object(value: object, name: str, keys: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"{name} is not an object"
        raise WrongShapeError(message)
    if set(value) != set(keys):
        wrong = ", ".join(sorted(set(value) ^ set(keys)))
        message = f"{name} has other fields than it should: {wrong}"
        raise WrongShapeError(message)
    return value


def read_count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LARGEST:
        message = f"{name} is not a count: {_shown(value)}"
        raise WrongShapeError(message)
    return value


def read_number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < LARGEST:
        message = f"{name} is not a number that can be: {_shown(value)}"
        raise WrongShapeError(message)
    return float(value)


def _shown(value: object) -> str:
    return repr(value)[:60]
