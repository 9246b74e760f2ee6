"""The gates of a run as they are kept: up to the one that decided, each with what it saw; and who the limit is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest
from test_gates import LIES, MARKER, ORDER, WIRE_BYTES, Lie, report_line, seen_with, wrk_run

from autotune.board.records import LoadOrder, LoadSeen
from autotune.load.asked import gates_asked
from autotune.load.client_bound import client_bound, cpu_busy
from autotune.load.gates import Answer, GateName, judge

ANSWERS = (Answer(wire_bytes=WIRE_BYTES),)


def asked(
    seen: LoadSeen, order: LoadOrder = ORDER
) -> dict[str, tuple[bool | None, float | None, float | None]]:
    judged = judge(seen, order, answers=ANSWERS)
    gates = gates_asked(seen, order, judged, answers=ANSWERS)
    assert len({gate.name for gate in gates}) == len(gates)
    return {gate.name: (gate.passed, gate.value, gate.limit) for gate in gates}


def test_a_sound_run_was_asked_at_every_gate() -> None:
    gates = asked(seen_with())
    assert list(gates) == list(get_args(GateName))
    assert {passed for passed, _, _ in gates.values()} == {True}
    assert gates["few free ports"] == (True, 28_000, 300)
    assert gates["bytes per request off"] == (True, 0, 0.02)
    assert gates["load died"] == (True, 100, 100)
    assert gates["zero requests"] == (True, 40_000, 1)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_was_asked_ends_with_the_gate_that_caught_the_lie(lie: Lie) -> None:
    gates = asked(lie.seen)
    *before, last = gates
    assert last == lie.gate
    assert gates[last][0] is False
    assert {gates[name][0] for name in before} <= {True}


def test_without_a_warm_up_nothing_is_asked_of_it() -> None:
    assert not any(name.startswith("warm-up") for name in asked(seen_with(), replace(ORDER, warmup_s=0)))


def test_a_board_that_cannot_count_its_ports_neither_passes_nor_fails() -> None:
    assert asked(seen_with(before={}))["few free ports"] == (None, None, 300)


# -- who is the limit ------------------------------------------------------------------------------------------------------


def shared(cpu_s: float, idle_s: float, *, threads: int = 2) -> tuple[LoadSeen, LoadOrder]:
    """Two CPUs for both, so many CPU-seconds of wrk's in 2.01 s, and so many that nobody used."""
    counters: Mapping[str, float] = {"cpu0.user_s": 2.01 - idle_s, "cpu0.idle_s": idle_s, "cpu1.user_s": 2.01}
    seen = seen_with(measured=wrk_run(report_line(), cpu_s=cpu_s), counters=counters)
    return seen, replace(ORDER, threads=threads, marker=MARKER)


@pytest.mark.parametrize(
    ("cpu_s", "idle_s", "threads", "codes"),
    [
        (1.8, 0.02, 2, ["no CPU to spare"]),
        (1.8, 0.9, 2, []),
        (1.95, 0.9, 1, ["client-bound"]),
        (1.2, 0.8, 1, []),
    ],
    ids=["the machine was full", "there was room", "its one thread never rested", "its one thread rested"],
)
def test_on_shared_cpus_no_more_is_said_than_can_be_known(
    cpu_s: float, idle_s: float, threads: int, codes: list[str]
) -> None:
    doubts = client_bound(*shared(cpu_s, idle_s, threads=threads))
    assert [doubt.code for doubt in doubts] == codes
    assert all("server CPU-second" in doubt.next for doubt in doubts)


def test_a_full_machine_is_told_with_the_generators_share() -> None:
    (doubt,) = client_bound(*shared(1.8, 0.02))
    assert "wrk took 45 % of them" in doubt.text


def test_how_busy_the_servers_own_cpus_were() -> None:
    counters = {
        "cpu0.user_s": 1.0,
        "cpu1.user_s": 0.5,
        "cpu1.iowait_s": 0.25,
        "cpu1.idle_s": 0.25,
        "ctxt": 9.0,
    }
    assert cpu_busy(counters, (0,)) == 1.0
    assert cpu_busy(counters, (1,)) == 0.5
    assert cpu_busy(counters, ()) == 0.75
    assert cpu_busy({"ctxt": 9.0}, ()) is None
