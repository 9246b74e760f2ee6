"""A load at a fixed rate through the real agent: who runs it, who may, and that nothing of it is left."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from serving import NightHere, begin, load_order, within

from autotune.agent.open_loop import processes_for
from autotune.board.records import LoadOrder, LoadSeen
from conftest import BoardNamespace

RATE_PER_S = 500.0


@pytest.fixture
def night(board_namespace: BoardNamespace, real_nginx: str, real_luajit: str) -> NightHere:
    night = begin(board_namespace)
    night.serve(workers=2)
    return night


def order(**changed: object) -> LoadOrder:
    return replace(load_order(warmup_s=0.3, duration_s=1), rate_per_s=RATE_PER_S, **changed)  # type: ignore[arg-type]


def report(seen: LoadSeen) -> dict[str, float]:
    [line] = [line for line in seen.measured.stdout.splitlines() if line.startswith("report0123456789 ")]
    found: dict[str, float] = json.loads(line.partition(" ")[2])
    return found


@pytest.mark.real
def test_a_load_at_a_fixed_rate_is_run_and_counted(night: NightHere) -> None:
    seen = night.line.load(order(duration_s=3.0))  # the kernel counts CPU in hundredths of a second
    assert (seen.measured.exit_code, seen.measured.stderr, seen.measured.timed_out) == (0, "", False)
    assert report(seen)["due"] == 3 * RATE_PER_S
    assert seen.connections_held == 4
    assert seen.workers_before == seen.workers_after != ()
    assert seen.server_cpu_s > 0
    assert (seen.warmup.wall_s, seen.error_log) == (0.0, "")


@pytest.mark.real
def test_two_processes_share_the_rate_and_the_connections(night: NightHere) -> None:
    seen = night.line.load(order(threads=2))
    assert report(seen)["due"] == RATE_PER_S
    assert seen.connections_held == 4


@pytest.mark.real
def test_an_order_of_several_urls_asks_for_them_by_their_shares(night: NightHere) -> None:
    page = load_order().urls[0]
    other = replace(page, url=page.url + "?other", weight=3.0)
    seen = night.line.load(order(urls=(page, other)))
    assert report(seen)["due"] == RATE_PER_S
    lines = night.board.read(night.begun.log_dir + "/access.log").splitlines()
    # The canary asked for the page once; the run-in is part of what nginx has logged.
    asked = [line for line in lines if "page.html" in line]
    assert sum("?other" in line for line in asked) / (len(asked) - 1) == pytest.approx(0.75, abs=0.01)


@pytest.mark.real
def test_no_process_of_it_outlives_the_agent(board_namespace: BoardNamespace, real_luajit: str) -> None:
    night = begin(board_namespace)
    night.serve()
    agent = night.line.agent_pid
    killer = board_namespace.run("sh", "-c", f"(sleep 0.6; kill -9 {agent}) >/dev/null 2>&1 &")
    assert killer.returncode == 0
    with pytest.raises(Exception, match="agent is gone"):
        night.line.load(order(threads=2, duration_s=30.0))
    assert within(10, lambda: not [name for _, name, _ in board_namespace.processes() if name == "luajit"])


@pytest.mark.real
def test_a_signal_to_one_of_its_processes_is_no_result(night: NightHere) -> None:
    script = "while ! pids=$(pidof luajit); do sleep 0.1; done; sleep 0.6; set -- $(pidof luajit); kill -9 $1"
    killer = night.board.run("sh", "-c", f"({script}) >/dev/null 2>&1 &")
    assert killer.returncode == 0
    seen = night.line.load(order(threads=2, duration_s=2.0))
    assert seen.measured.exit_code != 0


@pytest.mark.parametrize(
    ("connections", "threads", "cpus", "processes"),
    [(100, 4, 1, 1), (100, 4, 8, 4), (100, 4, 3, 2), (100, 1, 8, 1), (7, 7, 4, 1)],
)
def test_every_process_has_as_many_connections(
    connections: int, threads: int, cpus: int, processes: int
) -> None:
    assert processes_for(connections, threads, cpus) == processes
