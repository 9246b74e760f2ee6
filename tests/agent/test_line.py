"""Requests that can't be understood get an answer, not a death."""

from __future__ import annotations

import json
import os
import threading

import pytest
from paper_requests import LOAD, NIGHT

from autotune.agent import line as line_module
from autotune.agent.faults import Fault, Leave
from autotune.agent.line import Line, parse_request
from autotune.agent.orders import load, night, switch
from autotune.agent.protocol import MAX_LINE


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b"{", b"\xff", b'{"id":"1"}', b'{"id":true,"verb":"read"}', b"[" * 100_000],
)
def test_noise_on_the_line_is_answered_under_number_zero(line: bytes) -> None:
    request = parse_request(line)
    assert (request.number, request.verb) == (0, "")
    assert request.problem


@pytest.mark.parametrize(
    "line", [b'{"id":7,"verb":"shell"}', b'{"id":7,"verb":["read"]}', b'{"id":7,"verb":"read","body":[]}']
)
def test_an_unknown_verb_is_answered_under_its_own_number(line: bytes) -> None:
    request = parse_request(line)
    assert (request.number, request.verb) == (7, "")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", ".hidden", "a//b", "a\nb", "", "a/", "a\0b"]
)
def test_files_stay_below_the_served_directory(name: str) -> None:
    with pytest.raises(Fault):
        night({**NIGHT, "files": [{"name": name, "content_base64": ""}]})


@pytest.mark.parametrize("lease_s", [0, -1, 1e9, "60", True, None, float("nan")])
def test_a_lease_has_sensible_limits(lease_s: object) -> None:
    with pytest.raises(Fault):
        night({**NIGHT, "lease_s": lease_s})


@pytest.mark.parametrize(
    "change",
    [
        {"urls": [{"url": "http://127.0.0.2:8088/a b", "weight": 1}]},
        {"urls": [{"url": "ftp://127.0.0.2:8088/a", "weight": 1}]},
        {"urls": [{"url": "http://127.0.0.2:8088/a", "weight": 0}]},
        {"urls": []},
        {"address": "-s"},
        {"seed": -1},
        {"urls": [{"url": "http://127.0.0.2:8088/a\n-s /tmp/x.lua", "weight": 1}]},
        {"marker": "-s /tmp/x"},
        {"power": "file:/etc/shadow"},
        {"power": "hwmon:../x"},
        {"threads": 3},
        {"connections": 0},
        {"duration_s": 0},
        {"duration_s": 1e9},
        {"cpus": [10_000]},
        {"cpus": ["0"]},
        {"marker": None},
        {"rate_per_s": -1},
        {"rate_per_s": 1e12},
        {"rate_per_s": float("nan")},
    ],
)
def test_a_load_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    load(dict(LOAD))
    with pytest.raises(Fault):
        load({**LOAD, **change})


def test_a_path_is_written_once_in_a_switch() -> None:
    write = {"path": "/proc/sys/net/core/somaxconn", "text": "1"}
    with pytest.raises(Fault, match="twice"):
        switch({"writes": [write, write], "server": None})


def test_an_answer_too_long_for_a_line_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller would give up the whole line, and the board with it."""
    incoming, outgoing = os.pipe(), os.pipe()
    monkeypatch.setattr(line_module, "_catch_signals", lambda _told: incoming[0])  # pytest's are its own
    line = Line(incoming[0], outgoing[1])
    try:
        line.reply(7, {"text": "x" * MAX_LINE})
        reply = json.loads(os.read(outgoing[0], 1 << 16))
    finally:
        for handle in (*incoming, *outgoing):
            os.close(handle)
    assert (reply["id"], reply["ok"], reply["error"]["kind"]) == (7, False, "failed")
    assert str(MAX_LINE) in reply["error"]["message"]


def test_a_long_run_is_no_silence_of_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a load host's run lasts, nobody has anything to ask it: only waiting for a request counts."""
    incoming, outgoing, woken = os.pipe(), os.pipe(), os.pipe()
    monkeypatch.setattr(line_module, "_catch_signals", lambda _told: woken[0])  # pytest's are its own
    line = Line(incoming[0], outgoing[1])
    line.silence_most_s = 0.3
    try:
        os.write(incoming[1], b'{"id":1,"verb":"load","body":{}}\n')
        assert line.next_request().number == 1
        line.sleep(0.5)
        asking = threading.Timer(0.1, os.write, (incoming[1], b'{"id":2,"verb":"load","body":{}}\n'))
        asking.start()
        assert line.next_request().number == 2
        asking.join()
        with pytest.raises(Leave, match="says nothing"):
            line.next_request()
    finally:
        for handle in (*incoming, *outgoing, *woken):
            os.close(handle)
