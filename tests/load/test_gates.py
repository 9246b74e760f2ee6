"""Every way wrk lies, as a fake generator's output, and the gate that catches it under its right name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autotune.board.records import LoadOrder, LoadSeen, LoadUrl, Run
from autotune.errors import AutotuneError
from autotune.experiment.events import Failure
from autotune.load.gates import Answer, Judged, judge

MARKER = "report0123abcd"
WIRE_BYTES = 1_263
ORDER = LoadOrder(
    urls=(LoadUrl(url="http://127.0.0.2:8088/1k.bin"),),
    address="127.0.0.2",
    seed=0,
    threads=2,
    connections=100,
    warmup_s=0.5,
    duration_s=2.0,
    marker=MARKER,
    cpus=(),
)


def report_line(**changed: Any) -> str:
    """The line of a sound run of 40,000 requests; `changed` replaces top-level fields."""
    report = {
        "requests": 40_000,
        "duration_us": 2_001_000,
        "bytes": 40_000 * WIRE_BYTES,
        "errors": {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0},
        "latency_us": {
            "mean": 4990.5,
            "p50": 4800.0,
            "p90": 6000.0,
            "p95": 7000.0,
            "p99": 9000.0,
            "p999": 12000.0,
            "max": 15000.0,
        },
    }
    return f"{MARKER} {json.dumps(report | changed)}"


def errors(**counts: int) -> dict[str, int]:
    return {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0} | counts


def wrk_run(line: str, **changed: Any) -> Run:
    sound = Run(
        exit_code=0,
        stdout=f"Running 2s test @ http://127.0.0.2:8088/1k.bin\n  2 threads and 100 connections\n\n{line}\n",
        stderr="",
        wall_s=2.01,
        cpu_s=0.9,
        timed_out=False,
    )
    return replace(sound, **changed)


def seen_with(line: str | None = None, **changed: Any) -> LoadSeen:
    measured = wrk_run(report_line() if line is None else line)
    sound = LoadSeen(
        warmup=wrk_run("", wall_s=0.51),
        measured=measured,
        counters={"ListenOverflows": 0.0},
        before={"free_ports": 28_000.0, "load1": 0.4},
        after={"free_ports": 27_000.0, "load1": 0.9},
        server_cpu_s=1.6,
        workers_before=(101, 102),
        workers_after=(101, 102),
        connections_held=100,
        error_log="",
    )
    return replace(sound, **changed)


def judged(seen: LoadSeen, order: LoadOrder = ORDER) -> Judged:
    return judge(seen, order, answers=(Answer(wire_bytes=WIRE_BYTES),))


def test_a_sound_run_gives_its_figures_in_seconds() -> None:
    result = judged(seen_with())
    measurement = result.measurement
    assert measurement is not None
    assert measurement.requests == 40_000
    assert measurement.requests_per_s == pytest.approx(40_000 / 2.001)
    assert measurement.duration_s == pytest.approx(2.001)
    assert measurement.latency_mean_s == pytest.approx(0.0049905)
    assert measurement.latency_p50_s == pytest.approx(0.0048)
    assert measurement.latency_p90_s == pytest.approx(0.006)
    assert measurement.latency_p95_s == pytest.approx(0.007)
    assert measurement.latency_p99_s == pytest.approx(0.009)
    assert measurement.latency_p999_s == pytest.approx(0.012)
    assert measurement.latency_max_s == pytest.approx(0.015)
    assert measurement.server_cpu_s == 1.6
    assert measurement.client_cpu_s == 0.9
    assert measurement.counters["ListenOverflows"] == 0.0
    assert measurement.counters["before.load1"] == 0.4
    assert measurement.counters["after.load1"] == 0.9
    assert (result.gate, result.stage, result.reason, result.blame, result.doubts) == ("", "", "", "", ())


@dataclass(frozen=True)
class Lie:
    """What the generator says, the gate that must catch it, who is blamed, and what the reason must name."""

    seen: LoadSeen
    gate: str
    blame: str
    names: tuple[str, ...]
    stage: str = "gate"


REFUSED = wrk_run(
    "", exit_code=1, stderr="unable to connect to 127.0.0.2:8088 Connection refused\n", wall_s=0.01
)

LIES = {
    "a frozen server gives no answer, no error and exit code 0": Lie(
        seen_with(report_line(requests=0, bytes=0)), "zero requests", "configuration", ("100 connections",)
    ),
    "refused connections make the rest look faster": Lie(
        seen_with(report_line(errors=errors(connect=3))), "errors under load", "configuration", ("3 connect",)
    ),
    "closing connections hold every port, and wrk says so": Lie(
        seen_with(report_line(errors=errors(connect=20)), after={"free_ports": 3.0}),
        "ports ran out",
        "configuration",
        ("3 local ports", "20 could not"),
    ),
    "closing connections hold every port, and wrk says nothing": Lie(
        seen_with(connections_held=52, after={"free_ports": 0.0}),
        "ports ran out",
        "configuration",
        ("52 were held",),
    ),
    "cut connections make the rest look faster": Lie(
        seen_with(report_line(errors=errors(read=50))),
        "errors under load",
        "configuration",
        ("50 read", "40000"),
    ),
    "write errors": Lie(
        seen_with(report_line(errors=errors(write=1))), "errors under load", "configuration", ("1 write",)
    ),
    "answers too late for the histogram": Lie(
        seen_with(report_line(errors=errors(timeout=7))), "errors under load", "configuration", ("7 timeout",)
    ),
    "an error page is quick to serve": Lie(
        seen_with(report_line(errors=errors(status=40_000))),
        "unexpected status",
        "configuration",
        ("40000 of 40000", "400"),
    ),
    "a redirect counts as success": Lie(
        seen_with(report_line(bytes=40_000 * 350)),
        "bytes per request off",
        "configuration",
        ("350", "1263", "2 %"),
    ),
    "a body that is 3 % short": Lie(
        seen_with(report_line(bytes=int(40_000 * WIRE_BYTES * 0.97))),
        "bytes per request off",
        "configuration",
        ("-3.0 %",),
    ),
    "a body that is 3 % long": Lie(
        seen_with(report_line(bytes=int(40_000 * WIRE_BYTES * 1.03))),
        "bytes per request off",
        "configuration",
        ("+3.0 %",),
    ),
    "a run that stopped early": Lie(
        seen_with(
            report_line(duration_us=1_690_000),
            measured=wrk_run(report_line(duration_us=1_690_000), wall_s=1.7),
        ),
        "duration off",
        "environment",
        ("1.690", "2 s", "0.3"),
    ),
    "a run that went on too long": Lie(
        seen_with(measured=wrk_run(report_line(duration_us=2_310_000), wall_s=2.32)),
        "duration off",
        "environment",
        ("2.310",),
    ),
    "the wall clock was set forward": Lie(
        seen_with(report_line(duration_us=62_001_000)), "clock step", "environment", ("62.001", "2.010")
    ),
    "the wall clock was set back": Lie(
        seen_with(report_line(duration_us=1_400_000)), "clock step", "environment", ("1.400",)
    ),
    "a worker is gone": Lie(
        seen_with(workers_after=(101,)), "workers died", "environment", ("2 workers", "1 after")
    ),
    "no worker is left": Lie(seen_with(workers_after=()), "workers died", "environment", ("0 after",)),
    "there never was a worker": Lie(
        seen_with(workers_before=(), workers_after=()), "workers died", "environment", ("0 workers",)
    ),
    "a worker was replaced by its master": Lie(
        seen_with(workers_after=(101, 140)), "workers changed", "environment", ("1 of 2",)
    ),
    "another worker was added": Lie(
        seen_with(workers_after=(101, 102, 140)), "workers changed", "environment", ("1 of 3",)
    ),
    "someone reloads nginx under load: every connection is cut, every worker is another": Lie(
        seen_with(report_line(errors=errors(read=100)), workers_after=(201, 202)),
        "workers changed",
        "environment",
        ("2 of 2",),
    ),
    "the server was killed under load: not the errors' fault": Lie(
        seen_with(report_line(errors=errors(read=100)), workers_after=()), "workers died", "environment", ()
    ),
    "a child of php-fpm was shot, and one request with it": Lie(
        seen_with(
            report_line(errors=errors(status=1)),
            error_log="[27-Nov-2026 01:40:31] WARNING: [pool autotune] child 148691 exited on signal 9 (SIGKILL) after 0.97 seconds",
        ),
        "workers died",
        "environment",
        ("child 148691",),
    ),
    "the last sample's TIME_WAITs hold the ports": Lie(
        seen_with(before={"free_ports": 299.0}), "few free ports", "environment", ("299", "300")
    ),
    "the load died on the way": Lie(
        seen_with(connections_held=52), "load died", "configuration", ("52 of 100", "half-way")
    ),
    "wrk opened fewer than it says": Lie(
        seen_with(connections_held=96), "load died", "configuration", ("96 of 100",)
    ),
    "nobody listened at the warm-up": Lie(
        seen_with(warmup=REFUSED),
        "warm-up failed",
        "configuration",
        ("exit code 1", "refused"),
        stage="warm-up",
    ),
    "nobody listened at the run": Lie(
        seen_with(measured=REFUSED), "load failed", "configuration", ("exit code 1", "refused"), stage="load"
    ),
    "wrk did not like its arguments": Lie(
        seen_with(measured=wrk_run("", exit_code=1, stderr="Usage: wrk <options> <url>", wall_s=0.01)),
        "load failed",
        "environment",
        ("Usage",),
        stage="load",
    ),
    "wrk was killed": Lie(
        seen_with(measured=wrk_run("", exit_code=-9, wall_s=1.2)),
        "load killed",
        "environment",
        ("signal 9",),
        "load",
    ),
    "wrk was killed at the warm-up": Lie(
        seen_with(warmup=wrk_run("", exit_code=-11)),
        "warm-up killed",
        "environment",
        ("signal 11",),
        "warm-up",
    ),
    "wrk never came back": Lie(
        seen_with(measured=wrk_run("", exit_code=-9, wall_s=24.0, timed_out=True)),
        "load timed out",
        "environment",
        ("24.0 s", "2 s"),
        "load",
    ),
    "wrk never came back from the warm-up": Lie(
        seen_with(warmup=wrk_run("", exit_code=-9, wall_s=22.5, timed_out=True)),
        "warm-up timed out",
        "environment",
        ("22.5 s",),
        "warm-up",
    ),
    "the output was cut off": Lie(
        seen_with(report_line()[: len(MARKER) + 40]), "report malformed", "environment", (), "load"
    ),
    "the output was cut off before the report": Lie(
        seen_with(""), "report missing", "environment", (), "load"
    ),
    "two reports": Lie(
        seen_with(f"{report_line()}\n{report_line(requests=80_000)}"),
        "report twice",
        "environment",
        ("2",),
        "load",
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_caught_by_the_gate_of_its_name(lie: Lie) -> None:
    result = judged(lie.seen)
    assert result.measurement is None
    assert (result.gate, result.stage, result.blame) == (lie.gate, lie.stage, lie.blame)
    assert result.reason.startswith(lie.gate)
    for name in lie.names:
        assert name in result.reason


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_failed_gate_fits_a_failure_event(lie: Lie) -> None:
    assert judged(lie.seen).stage in str(Failure.model_fields["stage"].annotation)
    assert judged(lie.seen).blame in str(Failure.model_fields["blame"].annotation)


AT_THE_LIMIT = {
    "2 % short": seen_with(report_line(bytes=int(40_000 * WIRE_BYTES * 0.981))),
    "2 % long": seen_with(report_line(bytes=int(40_000 * WIRE_BYTES * 1.019))),
    "0.3 s over, as wrk stops at the next tenth": seen_with(
        measured=wrk_run(report_line(duration_us=2_299_000), wall_s=2.32)
    ),
    "a slow board's wrk, which takes a second to start and to end": seen_with(
        measured=wrk_run(report_line(), wall_s=3.4)
    ),
    "three ports per connection": seen_with(before={"free_ports": 300.0}),
    "more sockets than connections": seen_with(connections_held=101),
    "workers told in another order": seen_with(workers_after=(102, 101)),
    "large answers unfinished at the end of few requests": seen_with(
        report_line(requests=400, bytes=450 * WIRE_BYTES)
    ),
    "a line of the server that looks like a report": seen_with(f'report {{"requests":1}}\n{report_line()}'),
}


@pytest.mark.parametrize("seen", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT.keys())
def test_what_is_still_within_the_limits_counts(seen: LoadSeen) -> None:
    assert judged(seen).measurement is not None


def test_a_sample_without_warm_up_does_not_ask_for_one() -> None:
    seen = seen_with(warmup=wrk_run("", exit_code=-9, timed_out=True))
    assert judged(seen, replace(ORDER, warmup_s=0.0)).measurement is not None


def test_a_busy_generator_with_its_own_cpus_is_a_doubt_not_a_failure() -> None:
    seen = seen_with(measured=wrk_run(report_line(), cpu_s=1.98))
    result = judged(seen, replace(ORDER, cpus=(0,)))
    assert result.measurement is not None
    assert [doubt.code for doubt in result.doubts] == ["client-bound"]
    assert "99 % busy (limit 90 %)" in result.doubts[0].text


@pytest.mark.parametrize(
    ("cpus", "cpu_s"),
    [((), 3.5), ((0, 1), 3.5), ((0,), 1.75)],
    ids=["shares the server's CPUs", "two CPUs, 87 % busy", "one CPU, 87 % busy"],
)
def test_a_generator_with_room_to_spare_or_without_cpus_of_its_own_is_not_doubted(
    cpus: tuple[int, ...], cpu_s: float
) -> None:
    seen = seen_with(measured=wrk_run(report_line(), cpu_s=cpu_s))
    assert judged(seen, replace(ORDER, cpus=cpus)).doubts == ()


def test_one_thread_can_fill_only_one_of_many_cpus() -> None:
    seen = seen_with(measured=wrk_run(report_line(), cpu_s=1.99))
    result = judged(seen, replace(ORDER, cpus=(0, 1, 2, 3), threads=1))
    assert [doubt.code for doubt in result.doubts] == ["client-bound"]


def test_lines_in_the_error_log_are_a_doubt() -> None:
    seen = seen_with(
        error_log="[warn] 7#7: 768 worker_connections exceed open file resource limit\n\n[alert] x\n"
    )
    (doubt,) = judged(seen).doubts
    assert doubt.code == "error log"
    assert "2 line(s)" in doubt.text
    assert "exceed open file resource limit" in doubt.text


def test_a_board_that_cannot_count_free_ports_is_a_doubt() -> None:
    assert [doubt.code for doubt in judged(seen_with(before={})).doubts] == ["ports unknown"]


def test_a_canary_without_bytes_is_our_own_mistake() -> None:
    with pytest.raises(AutotuneError, match="at least one byte"):
        judge(seen_with(), ORDER, answers=(Answer(wire_bytes=0),))
