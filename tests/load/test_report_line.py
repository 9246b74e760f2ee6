"""The report line: only the one behind the marker counts, and only when it says exactly what it should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.load.parse import Report, Unreadable, read_report

MARKER = "reportff00"
SOUND: dict[str, Any] = {
    "requests": 10,
    "duration_us": 1_000_000,
    "bytes": 12_630,
    "errors": {"connect": 0, "read": 1, "write": 2, "status": 3, "timeout": 4},
    "latency_us": {"mean": 1.5, "p50": 1, "p90": 2, "p95": 3, "p99": 4, "p999": 5, "max": 6.25},
}


def line(value: object) -> str:
    return f"{MARKER} {json.dumps(value)}\n"


def test_each_figure_lands_in_its_own_field() -> None:
    report = read_report(f"Running 1s test\n{line(SOUND)}", MARKER)
    assert isinstance(report, Report)
    assert (report.requests, report.duration_us, report.bytes) == (10, 1_000_000, 12_630)
    assert report.errors.model_dump() == SOUND["errors"]
    latency = report.latency
    assert (latency.mean_us, latency.p50_us, latency.p90_us, latency.p95_us) == (1.5, 1, 2, 3)
    assert (latency.p99_us, latency.p999_us, latency.max_us) == (4, 5, 6.25)


MALFORMED: dict[str, str] = {
    "cut": line(SOUND)[:-30],
    "empty": f"{MARKER} \n",
    "a list": line([SOUND]),
    "a field absent": line({key: SOUND[key] for key in SOUND if key != "bytes"}),
    "a field too many": line(SOUND | {"rps": 9}),
    "a negative count": line(SOUND | {"requests": -1}),
    "a broken count": line(SOUND | {"requests": 1.5}),
    "a truth for a count": line(SOUND | {"requests": True}),
    "a text for a count": line(SOUND | {"bytes": "12630"}),
    "not a number": line(SOUND | {"latency_us": SOUND["latency_us"] | {"mean": float("nan")}}),
    "infinite": line(SOUND | {"latency_us": SOUND["latency_us"] | {"max": float("inf")}}),
    "infinite in digits": line(SOUND | {"latency_us": SOUND["latency_us"] | {"max": 0}}).replace(
        '"max": 0', '"max": 1e999'
    ),
    "an error counter absent": line(SOUND | {"errors": {"read": 0}}),
    "deeply nested": f"{MARKER} {'[' * 100_000}\n",
}


@pytest.mark.parametrize("stdout", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_line_that_says_something_else_is_malformed(stdout: str) -> None:
    report = read_report(stdout, MARKER)
    assert isinstance(report, Unreadable)
    assert report.problem == "report malformed"
    assert len(report.detail) < 400


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "Running 1s test\n",
        line(SOUND).replace(MARKER, "reportff01"),
        f" {line(SOUND)}",
        f"x{line(SOUND)}",
    ],
    ids=["nothing", "no line", "another run's marker", "indented", "in the middle of a line"],
)
def test_without_a_line_of_this_run_there_is_no_report(stdout: str) -> None:
    report = read_report(stdout, MARKER)
    assert isinstance(report, Unreadable)
    assert report.problem == "report missing"


def test_two_lines_are_none() -> None:
    report = read_report(line(SOUND) + line(SOUND), MARKER)
    assert isinstance(report, Unreadable)
    assert report.problem == "report twice"


@given(st.text())
def test_no_text_makes_it_fall_over(text: str) -> None:
    assert isinstance(read_report(text, MARKER), Unreadable)
    assert isinstance(read_report(f"{MARKER} {text}", MARKER), Unreadable)
