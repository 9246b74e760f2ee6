"""What the open-loop generator can say, and what is made of each: a figure, a failure under its right name, or a doubt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.board.records import LoadOrder, LoadSeen, LoadUrl, Run
from autotune.errors import AutotuneError
from autotune.load.gates import Answer
from autotune.load.open_loop import (
    RUN_IN_S,
    JudgedRate,
    RateReport,
    judge_rate,
    rate_order,
    read_rate_report,
)
from autotune.load.parse import Unreadable

RATE, SECONDS, WIRE_BYTES = 1000.0, 10.0, 1263
CLOSED = LoadOrder(
    urls=(LoadUrl(url="http://127.0.0.2:8088/1k.bin"),),
    address="127.0.0.2",
    seed=3,
    threads=2,
    connections=100,
    warmup_s=5.0,
    duration_s=15.0,
    marker="closed",
    cpus=(0, 1),
)
ORDER = rate_order(CLOSED, RATE, SECONDS, "report0123")
DUE = int(RATE * SECONDS)


def said(**changed: Any) -> dict[str, Any]:
    """A sound report, which has `changed` instead."""
    sound = {
        "due": DUE,
        "unanswered": 0,
        "answered": DUE,
        "bytes": DUE * WIRE_BYTES,
        "retried": 0,
        "duration_us": int(SECONDS * 1e6),
        "errors": {"connect": 0, "read": 0, "write": 0, "status": 0},
        "latency_us": {
            "mean": 300,
            "p50": 250,
            "p90": 400,
            "p95": 500,
            "p99": 900,
            "p999": 2000,
            "max": 5000.5,
        },
        "late_us": {"p50": 20, "p99": 60, "max": 900},
        "busy": 0.1,
    }
    return sound | changed


def judged(text: str, **changed: Any) -> JudgedRate:
    run: dict[str, Any] = {
        "exit_code": 0,
        "stdout": f"\n{ORDER.marker} {text}\n",
        "stderr": "",
        "wall_s": SECONDS + RUN_IN_S + 0.1,
        "cpu_s": 1.0,
        "timed_out": False,
    }
    not_run = Run(exit_code=0, stdout="", stderr="", wall_s=0.0, cpu_s=0.0, timed_out=False)
    seen = LoadSeen(
        warmup=not_run,
        measured=Run(**(run | changed)),
        counters={},
        before={"free_ports": 20_000.0},
        after={},
        server_cpu_s=0.5,
        workers_before=(7, 8),
        workers_after=(7, 8),
        connections_held=100,
        error_log="",
    )
    return judge_rate(seen, ORDER, answers=(Answer(wire_bytes=WIRE_BYTES),))


def test_the_same_load_is_asked_for_at_a_rate() -> None:
    assert (ORDER.urls, ORDER.address, ORDER.connections, ORDER.cpus) == (
        CLOSED.urls,
        CLOSED.address,
        CLOSED.connections,
        CLOSED.cpus,
    )
    assert (ORDER.rate_per_s, ORDER.duration_s, ORDER.marker, ORDER.generator) == (
        RATE,
        SECONDS,
        "report0123",
        "luajit",
    )


def test_a_sound_run_is_a_figure() -> None:
    found = judged(json.dumps(said()))
    assert (found.fault, found.doubts) == (None, ())
    assert [(one.name, one.passed, one.value) for one in found.gates] == [
        ("duration off", True, 0),
        ("errors under load", True, 0),
        ("unexpected status", True, 0),
        ("zero requests", True, DUE),
        ("bytes per request off", True, 0),
        ("rate held", True, 1),
    ]
    figures = found.fixed_rate
    assert figures is not None
    assert (figures.rate_per_s, figures.answered, figures.answered_per_s) == (RATE, DUE, RATE)
    assert (figures.latency_p50_s, figures.latency_p99_s, figures.latency_max_s) == pytest.approx(
        (0.00025, 0.0009, 0.0050005)
    )


@pytest.mark.parametrize(
    ("changed", "gate", "blame"),
    [
        (
            {"errors": {"connect": 1, "read": 0, "write": 0, "status": 0}},
            "errors under load",
            "configuration",
        ),
        (
            {"errors": {"connect": 0, "read": 2, "write": 0, "status": 0}},
            "errors under load",
            "configuration",
        ),
        (
            {"errors": {"connect": 0, "read": 0, "write": 0, "status": 9}},
            "unexpected status",
            "configuration",
        ),
        (
            {"answered": 0, "bytes": 0, "unanswered": DUE},
            "zero requests",
            "configuration",
        ),
        ({"bytes": DUE * 350}, "bytes per request off", "configuration"),
        ({"duration_us": int(1e6 * (SECONDS + 1))}, "duration off", "environment"),
    ],
)
def test_a_run_that_does_not_count_is_named(changed: dict[str, Any], gate: str, blame: str) -> None:
    found = judged(json.dumps(said(**changed)))
    assert found.fault is not None
    assert (found.fault.gate, found.fault.blame) == (gate, blame)
    *passed, last = found.gates
    assert all(one.passed for one in passed)
    assert (last.name, last.passed, last.detail) == (gate, False, found.fault.detail)


@pytest.mark.parametrize(
    ("run", "gate"),
    [
        ({"timed_out": True}, "load timed out"),
        ({"exit_code": -9}, "load killed"),
        ({"exit_code": 1, "stderr": "unable to connect to 127.0.0.2:8088"}, "load failed"),
        ({"stdout": ""}, "report missing"),
    ],
)
def test_a_generator_that_did_not_finish_is_named(run: dict[str, Any], gate: str) -> None:
    fault = judged(json.dumps(said()), **run).fault
    assert fault is not None
    assert fault.gate == gate


def test_a_server_that_cannot_serve_the_rate_keeps_its_terrible_figure() -> None:
    slow = {"mean": 1e6, "p50": 1e6, "p90": 2e6, "p95": 2.2e6, "p99": 2.4e6, "p999": 2.5e6, "max": 2.5e6}
    answered = int(0.7 * DUE)
    text = json.dumps(
        said(answered=answered, bytes=answered * WIRE_BYTES, unanswered=DUE - answered, latency_us=slow)
    )
    found = judged(text)
    assert found.fixed_rate is not None
    assert (found.fixed_rate.answered_per_s, found.fixed_rate.latency_p99_s) == (700, 2.4)
    assert [doubt.code for doubt in found.doubts] == ["rate not held"]
    assert (found.gates[-1].name, found.gates[-1].passed, found.gates[-1].value) == ("rate held", False, 0.7)


def test_a_generator_that_cannot_hold_the_rate_gives_no_figure() -> None:
    answered = int(0.7 * DUE)
    found = judged(json.dumps(said(answered=answered, bytes=answered * WIRE_BYTES, busy=0.97)))
    assert (found.fixed_rate, found.fault) == (None, None)
    assert [doubt.code for doubt in found.doubts] == ["client-bound rate"]


def test_a_generator_that_is_late_itself_says_so() -> None:
    found = judged(json.dumps(said(late_us={"p50": 30, "p99": 800, "max": 1000})))
    assert found.fixed_rate is not None
    assert [doubt.code for doubt in found.doubts] == ["late generator"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "other fields"),
        ("[]", "not an object"),
        ("{", "the line was"),
        (json.dumps(said(due=-1)), "due is not a count"),
        (json.dumps(said(due=1.5)), "due is not a count"),
        (json.dumps(said(unanswered=DUE + 1)), "can't be unanswered"),
        (json.dumps(said(busy=None)), "busy is not a number"),
        (json.dumps(said(late_us={"p50": 1, "p99": 1})), "late_us has other fields"),
        (json.dumps(said(more=1)), "other fields"),
        (json.dumps(said()).replace("0.1", "NaN"), "not a number"),
        (json.dumps(said()).replace("5000.5", "1e999"), "not a number"),
        (f"{json.dumps(said())}\n{ORDER.marker} {json.dumps(said())}", "2 report lines"),
    ],
)
def test_a_report_is_read_strictly(text: str, problem: str) -> None:
    found = read_rate_report(f"\n{ORDER.marker} {text}\n", ORDER.marker)
    assert isinstance(found, Unreadable)
    assert problem in found.detail


def test_what_a_server_could_print_is_never_a_report() -> None:
    found = read_rate_report(
        f"report9999 {json.dumps(said(due=1))}\n{ORDER.marker} {json.dumps(said())}\n", ORDER.marker
    )
    assert isinstance(found, RateReport)
    assert found.due == DUE


def test_every_url_needs_its_answer() -> None:
    with pytest.raises(AutotuneError, match="1 URLs were loaded, 2 answers"):
        judge_rate(
            LoadSeen(
                warmup=Run(exit_code=0, stdout="", stderr="", wall_s=0, cpu_s=0, timed_out=False),
                measured=Run(exit_code=0, stdout="", stderr="", wall_s=1, cpu_s=0, timed_out=False),
                counters={},
                before={},
                after={},
                server_cpu_s=0,
                workers_before=(1,),
                workers_after=(1,),
                connections_held=0,
                error_log="",
            ),
            ORDER,
            answers=(Answer(wire_bytes=1), Answer(wire_bytes=1)),
        )
