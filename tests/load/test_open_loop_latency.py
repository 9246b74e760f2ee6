"""The open-loop generator against servers whose latency is known, and against a stall that a closed loop hides."""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from open_loop_here import PAGE, OpenLoopHere, answering, open_loop, report_of, saying

from autotune.agent.wrk_report import REPORT_LUA
from autotune.load.parse import Report, read_report

__all__ = ["open_loop"]
pytestmark = pytest.mark.real

# How much later than it was ordered a shared machine may do a thing, at the median and at the worst.
LATE_S, VERY_LATE_S = 0.004, 0.05
SITE = """
user root; daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log {here}/access.log;
    keepalive_requests 1000000;
    client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;
    uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;
    server {{ listen unix:{here}/unused.sock; }}
    {servers}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A real nginx with one worker."""

    here: Path
    port: int
    master: int

    @property
    def worker(self) -> int:
        return int(Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()[0])


@contextmanager
def serving(here: Path, servers: str, port: int) -> Iterator[Nginx]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs nginx (apt-get install nginx)")
    (here / "page.html").write_bytes(b"x" * 1024)
    (here / "nginx.conf").write_text(SITE.format(here=here, servers=servers))
    nginx = subprocess.Popen([program, "-p", str(here), "-c", str(here / "nginx.conf")])
    try:
        until = time.monotonic() + 5
        while not (here / "nginx.pid").exists():
            assert nginx.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        yield Nginx(here, port, nginx.pid)
    finally:
        nginx.terminate()
        nginx.wait(10)


def free_port() -> int:
    with answering(saying(PAGE)) as server:
        return server.port


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    port = free_port()
    with serving(tmp_path, f"server {{ listen 127.0.0.1:{port}; root {tmp_path}; }}", port) as started:
        yield started


@pytest.mark.parametrize("latency_s", [0.005, 0.02])
def test_a_known_latency_is_measured(open_loop: OpenLoopHere, latency_s: float) -> None:
    with answering(saying(PAGE, after_s=latency_s)) as server:
        seen = open_loop.report(open_loop.argv(server.origin, rate_per_s=100, duration_s=2, run_in_s=0.2))
    assert (seen.due, seen.unanswered, seen.errors.total) == (200, 0, 0)
    assert latency_s * 0.995 <= seen.latency.p50_us / 1e6 <= latency_s + LATE_S
    assert latency_s * 0.995 <= seen.latency.mean_us / 1e6 <= latency_s + LATE_S + VERY_LATE_S
    assert seen.latency.p50_us <= seen.latency.p90_us <= seen.latency.p95_us <= seen.latency.p99_us
    assert seen.latency.p99_us <= seen.latency.p999_us <= seen.latency.max_us


@pytest.mark.parametrize("processes", [1, 2])
def test_the_rate_is_held_whatever_the_server_does(open_loop: OpenLoopHere, processes: int) -> None:
    """By the server's own watch: 300 requests/s, though each connection can do no more than 50."""
    with answering(saying(PAGE, after_s=0.02)) as server:
        seen = open_loop.report(
            open_loop.argv(server.origin, rate_per_s=300, duration_s=3, connections=20, processes=processes)
        )
        came = sorted(server.arrivals)
    assert len(came) == seen.due == 900
    assert (len(came) - 1) / (came[-1] - came[0]) == pytest.approx(300, rel=0.01)
    assert seen.answered / 3 == pytest.approx(300, rel=0.02)


def test_requests_that_wait_for_a_connection_count_from_when_they_were_due(open_loop: OpenLoopHere) -> None:
    """Two connections of 20 ms serve 100/s of the 200/s that are due: after a second the queue is half a second long."""
    with answering(saying(PAGE, after_s=0.02)) as server:
        seen = open_loop.report(open_loop.argv(server.origin, rate_per_s=200, duration_s=2, connections=2))
    assert seen.due == 400
    # Request k is done at k / 100 s and was due at k / 200 s.
    assert seen.latency.p50_us / 1e6 == pytest.approx(1.0, abs=0.15)
    assert seen.latency.p99_us / 1e6 == pytest.approx(1.98, abs=0.25)
    assert seen.answered / 2 == pytest.approx(100, rel=0.1)
    assert seen.late_p99_us / 1e6 < VERY_LATE_S, "the queue is the server's doing, not the generator's"


def test_what_is_unanswered_at_the_end_counts_with_its_wait(open_loop: OpenLoopHere) -> None:
    """One connection of 100 ms, 100/s due for a second, and two seconds of waiting for the rest."""
    with answering(saying(PAGE, after_s=0.1)) as server:
        seen = open_loop.report(open_loop.argv(server.origin, rate_per_s=100, duration_s=1, connections=1))
    assert seen.due == 100
    assert seen.unanswered == pytest.approx(70, abs=6)
    assert seen.latency.max_us / 1e6 == pytest.approx(2.7, abs=0.15), (
        "the first that never came was due at .3 s"
    )
    assert seen.latency.p50_us > 2e6


@pytest.mark.slow
def test_a_stall_counts_for_all_it_holds_up_and_a_closed_loop_hides_it(
    open_loop: OpenLoopHere, nginx: Nginx
) -> None:
    """nginx is stopped for 300 ms in a run of 3 s at 1,000/s: 300 requests wait, evenly from all of it to nothing.

    So one in a hundred (30 of 3,000) waits for all but 30 ms of it, and one in twenty for half of it. A closed loop of as
    many connections asks for nothing meanwhile: its figures have one slow request for each connection.
    """
    rate_per_s, duration_s, connections = 1000.0, 3.0, 10
    argv = open_loop.argv(
        f"http://127.0.0.1:{nginx.port}",
        targets=("/page.html",),
        rate_per_s=rate_per_s,
        duration_s=duration_s,
        connections=connections,
        run_in_s=0.3,
    )
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as generator:
        stall_s = stall(nginx)
        seen = report_of(generator.communicate(timeout=30)[0])
    assert (seen.due, seen.unanswered, seen.errors.total) == (3000, 0, 0)
    for share, found_us in ((0.95, seen.latency.p95_us), (0.99, seen.latency.p99_us)):
        expected_s = stall_s - (1 - share) * duration_s
        assert found_us / 1e6 == pytest.approx(expected_s, abs=VERY_LATE_S), f"p{100 * share:g}"
    assert seen.latency.max_us / 1e6 == pytest.approx(stall_s, abs=VERY_LATE_S)

    with ThreadPoolExecutor(connections) as threads:
        until = time.monotonic() + duration_s
        loops = [threads.submit(closed_loop, nginx.port, until) for _ in range(connections)]
        stall_s = stall(nginx)
        closed = sorted(latency_s for loop in loops for latency_s in loop.result())
    assert closed[-1] == pytest.approx(stall_s, abs=VERY_LATE_S), "it was there"
    assert sum(latency_s > stall_s / 2 for latency_s in closed) == connections
    assert closed[int(0.99 * len(closed))] < seen.latency.p99_us / 1e6 / 3


def stall(nginx: Nginx) -> float:
    """Stops the server for a while, in a while; how long it was."""
    time.sleep(1.5)
    os.kill(nginx.worker, signal.SIGSTOP)
    began = time.monotonic()
    try:
        time.sleep(0.3)
    finally:
        os.kill(nginx.worker, signal.SIGCONT)
    return time.monotonic() - began


def closed_loop(port: int, until: float) -> list[float]:
    """Latencies of one connection that asks as soon as it is answered, each counted from its sending."""
    found = []
    line = http.client.HTTPConnection("127.0.0.1", port)
    while (began := time.monotonic()) < until:
        line.request("GET", "/page.html")
        line.getresponse().read()
        found.append(time.monotonic() - began)
    line.close()
    return found


def test_wrk_makes_up_latencies_that_nobody_waited_for(
    open_loop: OpenLoopHere, real_wrk: str, tmp_path: Path
) -> None:
    """19 of 20 requests are answered at once, the twentieth after 50 ms; so nine in ten take no time.

    For each that was slow wrk (4.0 and later) adds those that its loop would have sent meanwhile, at its mean pace, with
    the times they would have waited. After a stall that comes near the truth. Here it buries it.
    """
    asked = itertools.count()

    def answer(line: socket.socket) -> bool:
        time.sleep(0.05 if next(asked) % 20 == 0 else 0)
        line.sendall(PAGE)
        return True

    script = tmp_path / "report.lua"
    script.write_text(REPORT_LUA)
    with answering(answer) as server:
        argv = [real_wrk, "-t1", "-c8", "-d2s", "--latency", "-s", str(script), server.origin, "--", "closed"]
        closed = read_report(open_loop.run(argv).stdout, "closed")
        seen = open_loop.report(
            open_loop.argv(server.origin, rate_per_s=200, duration_s=2, connections=40, run_in_s=0.2)
        )
    assert isinstance(closed, Report)
    assert seen.latency.p90_us < 15_000
    assert seen.latency.p99_us == pytest.approx(50_000, rel=0.2)
    assert seen.latency.mean_us < 10_000
    assert closed.latency.p90_us > 25_000
    assert closed.latency.mean_us > seen.latency.mean_us


def test_a_mix_asks_for_each_url_as_often(open_loop: OpenLoopHere, nginx: Nginx) -> None:
    seen = open_loop.report(
        open_loop.argv(
            f"http://127.0.0.1:{nginx.port}",
            targets=("/page.html?a", "/page.html?b", "/page.html?c", "/page.html?d"),
            rate_per_s=400,
            duration_s=1,
            processes=2,
        )
    )
    assert (seen.due, seen.errors.total) == (400, 0)
    log = (nginx.here / "access.log").read_text()
    assert [log.count(f"?{letter} ") for letter in "abcd"] == [100] * 4


def test_over_tls_the_name_is_told_and_the_address_is_the_ordered_one(
    open_loop: OpenLoopHere, tmp_path: Path
) -> None:
    """A server of that name answers 200, any other name's 404."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    port, key, certificate = free_port(), tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example.org",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    servers = f"""
    server {{ listen 127.0.0.1:{port} ssl default_server; {tls} return 404; }}
    server {{ listen 127.0.0.1:{port} ssl; {tls} server_name shop.example.org; root {tmp_path};
              if ($ssl_server_name != shop.example.org) {{ return 404; }}
              location /closing/ {{ alias {tmp_path}/; keepalive_timeout 0; }} }}
    """
    with serving(tmp_path, servers, port):
        for origin, target, errors in (
            (f"https://shop.example.org:{port}", "/page.html", 0),
            (f"https://shop.example.org:{port}", "/closing/page.html", 0),
            (f"https://127.0.0.1:{port}", "/page.html", 300),
        ):
            seen = open_loop.report(
                open_loop.argv(origin, targets=(target,), rate_per_s=300, duration_s=1, processes=2)
            )
            assert (seen.due, seen.unanswered, seen.errors.read) == (300, 0, 0), (origin, target)
            assert seen.errors.status == errors


def test_a_plain_server_where_tls_is_asked_for_can_not_be_reached(
    open_loop: OpenLoopHere, nginx: Nginx
) -> None:
    done = open_loop.run(open_loop.argv(f"https://127.0.0.1:{nginx.port}", rate_per_s=100, duration_s=1))
    assert (done.returncode, done.stdout) == (1, "")
    assert "unable to connect" in done.stderr
