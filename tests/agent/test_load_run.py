"""Loads: a real wrk on a real nginx, with the line alive meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from serving import ADDRESS, PORT, NightHere, begin, load_order, within

from autotune.agent import load, orders
from autotune.agent.faults import Fault
from autotune.board.records import LoadSeen, LoadUrl
from autotune.errors import AutotuneError
from autotune.load.gates import Answer, judge
from conftest import BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx", "real_wrk")]


@pytest.fixture
def night(board_namespace: BoardNamespace) -> NightHere:
    night = begin(board_namespace)
    night.serve(workers=2)
    return night


def report(seen: LoadSeen) -> dict[str, float]:
    [line] = [line for line in seen.measured.stdout.splitlines() if line.startswith("report0123456789 ")]
    found: dict[str, float] = json.loads(line.partition(" ")[2])
    return found


def test_a_load_is_warmed_up_measured_and_counted(night: NightHere) -> None:
    seen = night.line.load(load_order(connections=4))
    assert (seen.warmup.exit_code, seen.measured.exit_code, seen.measured.timed_out) == (0, 0, False)
    assert report(seen)["requests"] > 100
    assert seen.connections_held == 4
    assert seen.workers_before == seen.workers_after != ()
    assert 0.05 < seen.server_cpu_s < 4
    assert 0.05 < seen.measured.cpu_s < 2
    assert seen.counters["tcp.InSegs"] > 100
    assert seen.before["mem_available"] > 0
    assert seen.before["free_ports"] > 1000
    assert seen.error_log == ""


def test_a_fraction_of_a_second_is_a_fraction_of_a_second(night: NightHere) -> None:
    seen = night.line.load(load_order(warmup_s=0.3, duration_s=0.5))
    assert seen.warmup.wall_s < 0.9
    assert abs(report(seen)["duration_us"] / 1e6 - 0.5) < 0.3
    assert seen.measured.exit_code == 0


def test_no_warm_up_is_possible(night: NightHere) -> None:
    seen = night.line.load(load_order(warmup_s=0))
    assert (seen.warmup.wall_s, seen.warmup.stdout) == (0.0, "")


def test_keepalives_are_answered_and_hold_the_lease_during_a_load(board_namespace: BoardNamespace) -> None:
    night = begin(board_namespace, lease_s=0.8)
    night.serve()
    seen = night.line.load(load_order(warmup_s=0, duration_s=3))
    assert seen.measured.exit_code == 0
    # The questions of the meantime were answered meanwhile, not kept until the end.
    began = time.monotonic()
    night.line.keepalive()
    assert time.monotonic() - began < 0.3
    night.line.end()


def test_a_worker_that_dies_under_load_shows(night: NightHere) -> None:
    [victim] = night.line.load(load_order(warmup_s=0, duration_s=0.5)).workers_before[:1]
    killer = night.board.run("sh", "-c", f"(sleep 0.5; kill -9 {victim}) >/dev/null 2>&1 &")
    assert killer.returncode == 0
    seen = night.line.load(load_order(warmup_s=0, duration_s=2))
    assert victim in seen.workers_before
    assert victim not in seen.workers_after
    assert "exited on signal 9" in seen.error_log


def _wait_until_dead(pid: int) -> None:
    until = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX":
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_server_that_was_killed_before_its_load_shows_as_no_workers(night: NightHere) -> None:
    master = night.serve().master_pid
    os.kill(master, signal.SIGKILL)
    _wait_until_dead(master)
    order = load_order(warmup_s=0.1, duration_s=1)
    seen = night.line.load(order)
    assert seen.workers_before == ()
    judged = judge(seen, order, answers=(Answer(wire_bytes=1000),))
    assert (judged.gate, judged.blame) == ("workers died", "environment")


def test_without_a_server_nothing_is_loaded(night: NightHere) -> None:
    night.line.switch((), None)
    with pytest.raises(AutotuneError, match="no server runs"):
        night.line.load(load_order())


@pytest.mark.parametrize(
    ("url", "address", "says"),
    [
        (f"http://127.0.0.1:{PORT}/page.html", "127.0.0.1", "not served where the tested server listens"),
        (f"http://{ADDRESS}:22/", ADDRESS, "not served where the tested server listens"),
        (f"http://127.0.0.1:{PORT}/page.html", ADDRESS, "127.0.0.1 is not at 127.0.0.2"),
    ],
)
def test_only_the_tested_server_is_loaded(night: NightHere, url: str, address: str, says: str) -> None:
    with pytest.raises(AutotuneError, match=says):
        night.line.load(replace(load_order(), urls=(LoadUrl(url=url),), address=address))


def test_no_generator_is_left_after_a_load(night: NightHere) -> None:
    night.line.load(load_order(warmup_s=0.2, duration_s=0.2))
    assert within(0.5, lambda: not [name for _, name, _ in night.board.processes() if name == "wrk"])


def test_the_generator_runs_on_its_own_cpus(night: NightHere) -> None:
    cpus = night.line.facts.cpus
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    night.line.switch((), replace(night.order(), cpus=cpus[1:]))
    seen = night.line.load(replace(load_order(warmup_s=0), cpus=cpus[:1]))
    assert report(seen)["requests"] > 100


def test_counters_and_levels_have_their_names(night: NightHere) -> None:
    seen = night.line.counters()
    assert {"tcpext.ListenOverflows", "tcpext.ListenDrops", "tcp.RetransSegs", "softnet.dropped"} <= set(
        seen.counters
    )
    assert {"softnet.time_squeeze", "ctxt", "intr", "cpu0.softirq_s", "cpu0.steal_s", "wall_s"} <= set(
        seen.counters
    )
    assert {"load1", "mem_available", "mem_total", "time_wait"} <= set(seen.levels)


def test_a_name_leads_to_the_ordered_address_alone(tmp_path: Path) -> None:
    """Also one that the machine knows better: `localhost` is where the study says that it is."""
    if os.geteuid():
        pytest.skip("needs root: a name is made to lead elsewhere in a mount namespace")
    body = {"address": "127.0.0.9", "seed": 1, "threads": 1, "connections": 1, "warmup_s": 0, "duration_s": 1}
    urls = [{"url": "http://localhost:8090/", "weight": 1}]
    order = orders.load({**body, "urls": urls, "marker": "abcd", "cpus": [], "rate_per_s": 0, "power": ""})
    load.host_names(order, str(tmp_path))
    assert (tmp_path / "hosts").read_text() == "127.0.0.9 localhost\n"


@pytest.mark.parametrize(
    "url",
    [
        "http://a b/",
        "http://a\n127.0.0.1/",
        "http://a#b/",
        "http://-a/",
        "http:///x",
        "http://a/x\ny",
        'http://a/"',
    ],
)
def test_a_host_or_target_that_could_say_more_is_refused(url: str) -> None:
    with pytest.raises(Fault, match="not a plain http or https URL"):
        orders.load(
            {"address": "127.0.0.9", "seed": 1, "threads": 1, "connections": 1, "warmup_s": 0, "duration_s": 1,
             "urls": [{"url": url, "weight": 1}], "marker": "abcd", "cpus": [], "rate_per_s": 0, "power": ""}
        )  # fmt: skip
