"""Invalid is not slow: every gate a run must pass before its figure counts, each with its own name.

Errors make wrk's figure higher, a frozen server gives zero requests with every error counter at zero and exit code 0, and a
redirect counts as success. So nothing is taken for granted, and the limits are fixed here, before any night.

Who is blamed decides what follows: a configuration that fails is never tried again in its study, the environment's failures
are taken again. What can't have come from the configuration (a process killed under us, a clock step) is asked first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from autotune.board.records import LoadOrder, LoadSeen, Run
from autotune.errors import AutotuneError
from autotune.experiment.events import Doubt, ErrorCounts, Measurement
from autotune.load.client_bound import client_bound
from autotune.load.parse import Report, Unreadable, read_report

DURATION_OFF_S: Final = 0.3
BYTES_OFF: Final = 0.02
# The canary takes a loose body whose length is within a fifth; under load it may differ as much.
LOOSE_BYTES_OFF: Final = 0.2
TUPLES_PER_CONNECTION: Final = 3
CLOCK_STEP_S: Final = 0.5

# In the order in which they are asked.
GateName: TypeAlias = Literal[
    "warm-up timed out",
    "warm-up killed",
    "load timed out",
    "load killed",
    "workers died",
    "workers changed",
    "few free ports",
    "warm-up failed",
    "load failed",
    "report missing",
    "report twice",
    "report malformed",
    "clock step",
    "duration off",
    "zero requests",
    "ports ran out",
    "errors under load",
    "unexpected status",
    "bytes per request off",
    "load died",
]
Stage: TypeAlias = Literal["warm-up", "load", "gate"]
Blame: TypeAlias = Literal["configuration", "environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first gate that a run failed."""

    gate: GateName
    stage: Stage
    blame: Blame
    detail: str

    @property
    def reason(self) -> str:
        return f"{self.gate}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A run that counts (`measurement`, with its doubts), or the first gate it failed and who is to blame.

    `gate`, `stage`, `reason` and `blame` are "" exactly when there is a measurement.
    """

    measurement: Measurement | None = None
    fault: Fault | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def gate(self) -> GateName | Literal[""]:
        return self.fault.gate if self.fault else ""

    @property
    def stage(self) -> Stage | Literal[""]:
        return self.fault.stage if self.fault else ""

    @property
    def reason(self) -> str:
        return self.fault.reason if self.fault else ""

    @property
    def blame(self) -> Blame | Literal[""]:
        return self.fault.blame if self.fault else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The canary's answer for a URL: status line, headers and body in bytes. `loose`: it differs each time."""

    wire_bytes: float
    loose: bool = False


def judge(seen: LoadSeen, order: LoadOrder, *, answers: Sequence[Answer]) -> Judged:
    """The measurement of a run that passed every gate, or the first gate it failed.

    `answers`: one for each URL of the order.
    """
    require_known(answers, order)
    for process_gate in PROCESS_GATES:
        if fault := process_gate(seen, order):
            return Judged(fault=fault)
    report = read_report(seen.measured.stdout, order.marker)
    if isinstance(report, Unreadable):
        return Judged(
            fault=Fault(gate=report.problem, stage="load", blame="environment", detail=report.detail)
        )
    for report_gate in REPORT_GATES:
        if fault := report_gate(report, seen, order):
            return Judged(fault=fault)
    if fault := wire_size(report.requests, report.bytes, order, answers):
        return Judged(fault=fault)
    if fault := _connections_held(seen, order):
        return Judged(fault=fault)
    return Judged(measurement=_measurement(report, seen), doubts=_doubts(seen, order))


def require_known(answers: Sequence[Answer], order: LoadOrder) -> None:
    """Raises AutotuneError unless there is one answer for each URL of the order."""
    if len(answers) != len(order.urls):
        message = f"{len(order.urls)} URLs were loaded, {len(answers)} answers are known"
        raise AutotuneError(message)
    if any(answer.wire_bytes <= 0 for answer in answers):
        message = "a canary's answer has at least one byte"
        raise AutotuneError(message)


# -- gates that look at processes ---------------------------------------------------------------------------------------------


def _generator_stopped(seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """A generator that was killed or hung says nothing of the server."""
    if order.warmup_s > 0:
        if seen.warmup.timed_out:
            detail = f"{order.generator} was still running after {seen.warmup.wall_s:.1f} s of a {order.warmup_s:g} s warm-up"
            return Fault(gate="warm-up timed out", stage="warm-up", blame="environment", detail=detail)
        if seen.warmup.exit_code < 0:
            return _killed("warm-up killed", "warm-up", seen.warmup, order)
    if seen.measured.timed_out:
        detail = f"{order.generator} was still running after {seen.measured.wall_s:.1f} s of a {order.duration_s:g} s run"
        return Fault(gate="load timed out", stage="load", blame="environment", detail=detail)
    if seen.measured.exit_code < 0:
        return _killed("load killed", "load", seen.measured, order)
    return None


def _killed(gate: GateName, stage: Stage, run: Run, order: LoadOrder) -> Fault:
    detail = f"{order.generator} died of signal {-run.exit_code} after {run.wall_s:.1f} s"
    return Fault(gate=gate, stage=stage, blame="environment", detail=detail)


_SHOT: Final = re.compile(r"exited on signal 9\b")
"""In the words of nginx's master and of php-fpm's."""


def _workers(seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """A worker that died under load is replaced by its master, so both the number and the process ids must stay.

    php-fpm's children come and go as it is told; of one that somebody shot its log tells.
    """
    del order
    if shot := next((line for line in seen.error_log.splitlines() if _SHOT.search(line)), ""):
        return Fault(gate="workers died", stage="gate", blame="environment", detail=shot[:200])
    before, after = set(seen.workers_before), set(seen.workers_after)
    if before and before == after:
        return None
    if not before or len(after) < len(before):
        detail = f"{len(before)} workers before the run, {len(after)} after it"
        return Fault(gate="workers died", stage="gate", blame="environment", detail=detail)
    fresh = len(after - before)
    detail = f"{fresh} of {len(after)} workers were not there before the run"
    return Fault(gate="workers changed", stage="gate", blame="environment", detail=detail)


def _free_ports(seen: LoadSeen, order: LoadOrder) -> Fault | None:
    free = seen.before.get("free_ports")
    needed = TUPLES_PER_CONNECTION * order.connections
    if free is None or free >= needed:
        return None
    detail = (
        f"{free:.0f} local ports were free towards the server before the run, at least {needed} are needed "
        f"({TUPLES_PER_CONNECTION} per connection)"
    )
    return Fault(gate="few free ports", stage="gate", blame="environment", detail=detail)


def _exit_codes(seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """Exit code 1 is wrk's when its first connection is refused: the workers live, so nobody listens as configured."""
    if order.warmup_s > 0 and seen.warmup.exit_code != 0:
        return _failed("warm-up failed", "warm-up", seen.warmup, order)
    if seen.measured.exit_code != 0:
        return _failed("load failed", "load", seen.measured, order)
    return None


def _failed(gate: GateName, stage: Stage, run: Run, order: LoadOrder) -> Fault:
    said = (run.stderr.strip() or run.stdout.strip() or "nothing")[-200:]
    blame: Blame = "configuration" if "unable to connect" in said else "environment"
    detail = f"{order.generator} left with exit code {run.exit_code} and said {said!r}"
    return Fault(gate=gate, stage=stage, blame=blame, detail=detail)


ProcessGate: TypeAlias = Callable[[LoadSeen, LoadOrder], Fault | None]
PROCESS_GATES: Final[tuple[ProcessGate, ...]] = (_generator_stopped, _workers, _free_ports, _exit_codes)


# -- gates that look at wrk's report ------------------------------------------------------------------------------------------


def clock_step_s(duration_s: float, seen: LoadSeen, order: LoadOrder) -> float:
    """How far the clock that wrk says its duration by must have been set during the run.

    As far as it is from what was ordered, and from how long the process lived: on a slow board that starts and ends late.
    """
    return min(abs(duration_s - order.duration_s), abs(duration_s - seen.measured.wall_s))


def _duration(report: Report, seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """Durations of wrk are by the wall clock, ours by the monotonic one: a step of the clock is where they disagree."""
    duration_s = report.duration_us / 1e6
    if clock_step_s(duration_s, seen, order) > CLOCK_STEP_S:
        detail = (
            f"wrk's clock says the run took {duration_s:.3f} s, the monotonic clock {seen.measured.wall_s:.3f} s "
            f"(limit {CLOCK_STEP_S:g} s apart)"
        )
        return Fault(gate="clock step", stage="gate", blame="environment", detail=detail)
    if abs(duration_s - order.duration_s) > DURATION_OFF_S:
        detail = f"the run took {duration_s:.3f} s, ordered were {order.duration_s:g} s (limit {DURATION_OFF_S:g} s apart)"
        return Fault(gate="duration off", stage="gate", blame="environment", detail=detail)
    return None


def _requests(report: Report, seen: LoadSeen, order: LoadOrder) -> Fault | None:
    del seen
    if report.requests > 0:
        return None
    detail = f"not one answer in {order.duration_s:g} s over {order.connections} connections, and wrk calls that success"
    return Fault(gate="zero requests", stage="gate", blame="configuration", detail=detail)


def _ports_ran_out(report: Report, seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """Connections so short that closing ones hold every local port: wrk can't connect again, whatever the server does."""
    free = seen.after.get("free_ports")
    lost = report.errors.connect > 0 or seen.connections_held < order.connections
    if not lost or free is None or free >= order.connections:
        return None
    detail = (
        f"{free:.0f} local ports were free towards the server after the run, {order.connections} connections want one each: "
        f"{report.errors.connect} could not be made again, {seen.connections_held} were held half-way"
    )
    return Fault(gate="ports ran out", stage="gate", blame="configuration", detail=detail)


def _errors(report: Report, seen: LoadSeen, order: LoadOrder) -> Fault | None:
    del seen, order
    return errors_under_load(report.errors, report.requests, unexpected="status 400 or above")


def errors_under_load(errors: ErrorCounts, requests: int, *, unexpected: str) -> Fault | None:
    """None is allowed, of any kind. `unexpected`: which status the generator counts as an error."""
    socket_errors = errors.total - errors.status
    if socket_errors:
        said = ", ".join(
            f"{count} {name}"
            for name, count in (
                ("connect", errors.connect),
                ("read", errors.read),
                ("write", errors.write),
                ("timeout", errors.timeout),
            )
            if count
        )
        detail = f"{said} errors in {requests} requests (limit 0)"
        return Fault(gate="errors under load", stage="gate", blame="configuration", detail=detail)
    if errors.status:
        detail = f"{errors.status} of {requests} answers had {unexpected} (limit 0)"
        return Fault(gate="unexpected status", stage="gate", blame="configuration", detail=detail)
    return None


ReportGate: TypeAlias = Callable[[Report, LoadSeen, LoadOrder], Fault | None]
REPORT_GATES: Final[tuple[ReportGate, ...]] = (_duration, _requests, _ports_ran_out, _errors)


def wire_size(requests: int, bytes_: int, order: LoadOrder, answers: Sequence[Answer]) -> Fault | None:
    """Redirects, other files and cut bodies show in the size alone.

    wrk counts the bytes of answers that were still coming when it stopped, at most one per connection, but not the
    requests: so much above is no fault. Of several URLs those may all be large ones, which are then missing among the
    counted; and each thread ends (and begins) somewhere in a block of requests.
    """
    weights = [url.weight for url in order.urls]
    sizes = [answer.wire_bytes for answer in answers]
    mean, off = wire_limits(order, answers)
    torn = _torn_blocks(weights, sizes, order.threads)
    low = requests * (mean - off) - order.connections * (max(sizes) - mean) - torn
    high = requests * (mean + off) + order.connections * mean + torn
    if low <= bytes_ <= high:
        return None
    per_request = bytes_ / requests
    said = (
        f"the canary's answer has {mean:.0f}"
        if len(answers) == 1
        else f"the canary's {len(answers)} answers have {mean:.0f} in this mix"
    )
    detail = (
        f"{per_request:.0f} bytes per request, {said}: {100 * (per_request / mean - 1):+.1f} % "
        f"(limit {100 * off / mean:g} %)"
    )
    return Fault(gate="bytes per request off", stage="gate", blame="configuration", detail=detail)


def wire_limits(order: LoadOrder, answers: Sequence[Answer]) -> tuple[float, float]:
    """Bytes of one request in the order's mix, and how far off they may be."""
    weights = [url.weight for url in order.urls]
    allowed = [answer.wire_bytes * (LOOSE_BYTES_OFF if answer.loose else BYTES_OFF) for answer in answers]
    return _weighted(weights, [answer.wire_bytes for answer in answers]), _weighted(weights, allowed)


def _weighted(weights: Sequence[float], values: Sequence[float]) -> float:
    total = math.fsum(weights)
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / total


def _torn_blocks(weights: Sequence[float], sizes: Sequence[float], threads: int) -> float:
    """How far the bytes of two torn blocks in each thread can be from the mix's: at worst, or by chance (6 sigma)."""
    block, mean = math.fsum(weights), _weighted(weights, sizes)
    worst = math.fsum(
        weight * (size - mean) for weight, size in zip(weights, sizes, strict=True) if size > mean
    )
    sigma = math.sqrt(_weighted(weights, [(size - mean) ** 2 for size in sizes]))
    return min(2 * threads * worst, 6 * sigma * math.sqrt(threads * block / 2))


def _connections_held(seen: LoadSeen, order: LoadOrder) -> Fault | None:
    """A failed reconnect is never retried by wrk: the load dies away while the average is taken over the whole run."""
    if seen.connections_held >= order.connections:
        return None
    detail = f"{seen.connections_held} of {order.connections} connections were held half-way through the run"
    return Fault(gate="load died", stage="gate", blame="configuration", detail=detail)


# -- what passed --------------------------------------------------------------------------------------------------------------


def _measurement(report: Report, seen: LoadSeen) -> Measurement:
    duration_s = report.duration_us / 1e6
    latency = report.latency
    counters = dict(seen.counters)
    counters |= {f"before.{name}": level for name, level in seen.before.items()}
    counters |= {f"after.{name}": level for name, level in seen.after.items()}
    counters["connections_held"] = float(seen.connections_held)
    return Measurement(
        requests=report.requests,
        requests_per_s=report.requests / duration_s,
        bytes=report.bytes,
        duration_s=duration_s,
        latency_mean_s=latency.mean_us / 1e6,
        latency_p50_s=latency.p50_us / 1e6,
        latency_p90_s=latency.p90_us / 1e6,
        latency_p95_s=latency.p95_us / 1e6,
        latency_p99_s=latency.p99_us / 1e6,
        latency_p999_s=latency.p999_us / 1e6,
        latency_max_s=latency.max_us / 1e6,
        errors=report.errors,
        server_cpu_s=seen.server_cpu_s,
        client_cpu_s=seen.measured.cpu_s,
        counters=counters,
    )


def _doubts(seen: LoadSeen, order: LoadOrder) -> tuple[Doubt, ...]:
    doubts = [*client_bound(seen, order)]
    if "free_ports" not in seen.before:
        doubts.append(
            Doubt(code="ports unknown", text="the board could not say how many local ports were free")
        )
    lines = [line for line in seen.error_log.splitlines() if line.strip()]
    if lines:
        doubts.append(
            Doubt(
                code="error log",
                text=f"the server wrote {len(lines)} line(s) to its error log under load, the first: {lines[0][:200]}",
                next="The run passed every gate; read the line before you ship this configuration.",
            )
        )
    return tuple(doubts)
