"""Load from a third machine, for real: wrk on one machine of the lab, nginx on another, both told what to do from a third."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lab import ADDRESS, BOARD_IP, LOAD_IP, Lab

from autotune.board.connection import Connection, connect
from autotune.board.load_host import LoadHost
from autotune.board.records import Begun, Listener, LoadOrder, LoadUrl, PutFile, ServerOrder, UrlTruth
from autotune.errors import LoadGeneratorFailed, LoadHostUnreachable
from autotune.load.gates import Answer, judge
from autotune.load.open_loop import RateReport, judge_rate, rate_order, read_rate_report
from autotune.runner.pushing import Pusher

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("real_nginx", "real_wrk")]

PORT = 8088
PLAIN = "ssh://plain@load"
PAGE = b"It works.\n" * 100


@dataclass(frozen=True)
class Both:
    """A board that serves a page on its network address, and a user of the load host who may do nothing special."""

    lab: Lab
    board: Connection
    load: LoadHost
    wire_bytes: int

    def order(self, **changed: object) -> LoadOrder:
        order = LoadOrder(
            urls=(LoadUrl(url=f"http://{BOARD_IP}:{PORT}/page.html"),),
            address=BOARD_IP,
            seed=1,
            threads=1,
            connections=4,
            warmup_s=0.2,
            duration_s=1.0,
            marker="report0123456789",
            cpus=(),
        )
        return replace(order, **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both(lab: Lab) -> Iterator[Both]:
    with connect(PLAIN, prefix=lab.on_client) as line, connect(ADDRESS, prefix=lab.on_client) as board:
        page = PutFile(name="page.html", content_base64=base64.b64encode(PAGE).decode("ascii"))
        begun = board.begin(study="lab", night=1, holder="test", lease_s=60, files=(page,))
        url = UrlTruth(url=f"http://{BOARD_IP}:{PORT}/page.html", address=BOARD_IP)
        order = ServerOrder(
            conf=conf(begun),
            workers=1,
            listen=(Listener(address=BOARD_IP, port=PORT),),
            cpus=(),
            urls=(url,),
        )
        switched = board.switch((), order)
        assert (switched.step, switched.reason) == ("", "")
        yield Both(lab, board, LoadHost(PLAIN, line), switched.urls[0].wire_bytes)
        board.end()


def conf(begun: Begun) -> str:
    run, log = begun.conf_path.removesuffix("/nginx.conf"), begun.log_dir
    temporary = "".join(
        f"{name}_temp_path {log}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
worker_processes 1;
pid {run}/nginx.pid;
error_log {log}/error.log warn;
events {{ worker_connections 512; }}
http {{ access_log off; {temporary} server {{ listen {BOARD_IP}:{PORT}; root {begun.www_dir}; }} }}
"""


def running(lab: Lab, name: str) -> list[int]:
    """Processes of this name on the load host."""
    mounts = Path(f"/proc/{lab.load_pid}/ns/mnt").readlink()
    found = []
    for pid in lab.processes():
        try:
            if (
                Path(f"/proc/{pid}/ns/mnt").readlink() == mounts
                and Path(f"/proc/{pid}/comm").read_text().strip() == name
            ):
                found.append(pid)
        except OSError:
            continue
    return found


def agents(lab: Lab) -> list[int]:
    return [
        pid
        for pid in (*running(lab, "python3"), *running(lab, "python"))
        if b"autotune-agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def ends_within(seconds: float, lab: Lab, name: str) -> bool:
    until = time.monotonic() + seconds
    while running(lab, name):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_the_way_to_the_board_is_found_from_both_ends(both: Both) -> None:
    way = both.load.way_to(both.board)
    assert (way.address, way.interface, way.source) == (BOARD_IP, "eth0", LOAD_IP)
    assert both.load.way_to(both.board, BOARD_IP) == way
    assert both.load.connection_problem(way, 9) == "", "a refusal comes from a board that was reached"
    with pytest.raises(LoadGeneratorFailed, match="no way over a network"):
        both.load.way_to(both.board, "192.0.2.7")


def test_a_load_from_there_is_watched_on_the_board(both: Both) -> None:
    order = both.order()
    seen = both.load.load(order, both.board)
    assert both.load.facts.uid != 0
    judged = judge(seen, order, answers=[Answer(wire_bytes=both.wire_bytes)])
    assert judged.reason == ""
    measurement = judged.measurement
    assert measurement is not None
    # The board's window holds the whole run: every request and every answer is a packet that it counted.
    assert seen.counters["tcp.InSegs"] > measurement.requests
    assert seen.workers_before == seen.workers_after != ()
    assert 0 < seen.server_cpu_s <= seen.counters["wall_s"]
    assert seen.counters["wall_s"] < seen.measured.wall_s + 1
    assert seen.load_host is not None
    assert seen.load_host.server_cpu_s == 0
    assert seen.load_host.workers_before == ()
    assert seen.before["free_ports"] == seen.load_host.before["free_ports"]
    assert (seen.warmup.exit_code, seen.connections_held) == (0, 4)


def test_the_open_loop_generator_pushes_from_there_too(both: Both, real_luajit: str) -> None:
    order = rate_order(both.order(), 200.0, 1.0, "rate0123456789")
    seen = both.load.load(order, both.board)
    judged = judge_rate(seen, order, answers=[Answer(wire_bytes=both.wire_bytes)])
    assert judged.fault is None
    report = read_rate_report(seen.measured.stdout, order.marker)
    assert isinstance(report, RateReport)
    assert report.due == 200
    assert 0 < report.answered <= report.due
    assert seen.server_cpu_s > 0


@pytest.mark.parametrize("who", ["agent", "ssh"])
def test_a_generator_dies_with_whoever_of_its_line_dies(both: Both, who: str) -> None:
    others = agents(both.lab)
    with connect(PLAIN, prefix=both.lab.on_client) as line:
        [agent] = set(agents(both.lab)) - set(others)
        victim = line.agent_pid if who == "ssh" else agent
        timer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
        timer.start()
        with pytest.raises(LoadHostUnreachable, match="the load host ssh://plain@load"):
            LoadHost(PLAIN, line).load(both.order(warmup_s=0, duration_s=30.0), both.board)
    assert ends_within(3, both.lab, "wrk")
    assert both.board.counters().levels, "the board is still there"


def test_the_board_is_not_blamed_for_a_line_that_is_cut(both: Both) -> None:
    """A server that the load host does not reach, though the board itself does: nothing a configuration did."""
    url = UrlTruth(url=f"http://{BOARD_IP}:{PORT}/page.html", address=BOARD_IP)
    pusher = Pusher(both.board, both.load)
    urls = both.board.fetch([url])
    assert pusher.unreached(BOARD_IP, urls) == ""
    rule = ("ip", "route", "add", "blackhole", f"{BOARD_IP}/32")
    assert both.lab.run(both.lab.on_load, *rule).returncode == 0
    try:
        assert "gets no answer" in pusher.unreached(BOARD_IP, urls)
    finally:
        both.lab.run(both.lab.on_load, "ip", "route", "del", "blackhole", f"{BOARD_IP}/32")
