"""A load through the real agent: real nginx, real wrk, the report script and the gates in one line."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Listener, LoadUrl, PutFile, ServerOrder, UrlTruth
from autotune.errors import AutotuneError
from autotune.experiment.study import Url, Workload
from autotune.load.gates import Answer, Judged, judge
from autotune.load.wrk import load_order, new_marker, raw_text

if TYPE_CHECKING:
    from autotune.board.connection import Connection
    from conftest import BoardNamespace

pytestmark = pytest.mark.real

ADDRESS, PORT = "127.0.0.2", 8088
URL = f"http://{ADDRESS}:{PORT}/1k.bin"
WORKLOAD = Workload(
    name="1 KB", urls=(Url(target="/1k.bin"),), connections=100, threads=2, warmup_s=0.3, duration_s=1
)
CONF = """daemon off; worker_processes 1; pid {run}/nginx.pid; error_log {log}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {log}/a; proxy_temp_path {log}/b; fastcgi_temp_path {log}/c;
    uwsgi_temp_path {log}/d; scgi_temp_path {log}/e;
    server {{ listen 127.0.0.2:8088; root {www}; {more} }}
}}
"""


@dataclass(frozen=True)
class Served:
    """A board under our lock; `measure` starts nginx with more directives and loads it once."""

    connection: Connection
    begun: Begun

    def measure(self, more: str, workload: Workload = WORKLOAD) -> Judged:
        run = self.begun.conf_path.rpartition("/")[0]
        conf = CONF.format(run=run, log=self.begun.log_dir, www=self.begun.www_dir, more=more)
        truth = UrlTruth(url=URL, address=ADDRESS)
        listen = (Listener(address=ADDRESS, port=PORT),)
        order = ServerOrder(conf=conf, workers=1, listen=listen, cpus=(), urls=(truth,))
        switched = self.connection.switch((), order)
        assert switched.step == "", switched.reason
        load = load_order(workload, (LoadUrl(url=URL),), ADDRESS, CpuPlacement(), new_marker())
        seen = self.connection.load(load)
        assert load.marker in raw_text(seen)
        return judge(seen, load, answers=(Answer(wire_bytes=switched.urls[0].wire_bytes),))


@pytest.fixture
def served(board_namespace: BoardNamespace, real_nginx: str, real_wrk: str) -> Iterator[Served]:
    del real_nginx, real_wrk
    connection = board_namespace.connect()
    content = base64.b64encode(b"x" * 1024).decode()
    files = (PutFile(name="1k.bin", content_base64=content),)
    begun = connection.begin(study="load", night=1, holder="test", lease_s=30, files=files)
    yield Served(connection, begun)
    assert connection.end().left == ()


def test_a_sound_server_gives_a_measurement_with_counters_of_both_sides(served: Served) -> None:
    judged = served.measure("")
    assert judged.reason == ""
    measurement = judged.measurement
    assert measurement is not None
    assert measurement.requests > 0
    assert measurement.server_cpu_s > 0
    assert measurement.client_cpu_s > 0
    assert measurement.counters["connections_held"] == WORKLOAD.connections
    assert measurement.counters["before.free_ports"] > 3 * WORKLOAD.connections


@pytest.mark.parametrize("more", ["keepalive_requests 10;", "keepalive_timeout 0;"])
def test_a_server_that_often_closes_still_holds_its_load(served: Served, more: str) -> None:
    judged = served.measure(more)
    assert judged.reason == ""


def test_ports_that_have_run_out_are_seen_before_the_run(
    served: Served, board_namespace: BoardNamespace
) -> None:
    """100 connections from 250 ports, some of which the warm-up holds still: fewer than three for each."""
    narrow = board_namespace.run("sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=41000 41249")
    assert narrow.returncode == 0, narrow.stderr
    judged = served.measure("")
    assert (judged.gate, judged.blame) == ("few free ports", "environment")
    assert "at least 300 are needed" in judged.reason


def test_ports_that_run_out_under_load_are_no_slow_server(
    served: Served, board_namespace: BoardNamespace
) -> None:
    """Every tenth answer ends its connection; soon all 32 ports are held by such, and wrk gives its connections up."""
    ports = ("net.ipv4.ip_local_port_range=41000 41031", "net.ipv4.tcp_tw_reuse=0")
    assert board_namespace.run("sysctl", "-q", "-w", *ports).returncode == 0
    few = WORKLOAD.model_copy(update={"warmup_s": 0, "connections": 10})
    judged = served.measure("keepalive_requests 10;", few)
    assert (judged.gate, judged.blame) == ("ports ran out", "configuration"), judged.reason


def test_the_agent_refuses_a_load_that_wrk_would_quietly_shrink(served: Served) -> None:
    with pytest.raises(AutotuneError, match="100 connections can't be shared evenly by 8 threads"):
        served.measure("", WORKLOAD.model_copy(update={"threads": 8}))
