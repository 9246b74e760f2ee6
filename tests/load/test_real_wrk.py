"""Real wrk against real servers, in a network namespace of its own: what each of them makes wrk say, and what we make of it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autotune.agent.wrk_report import REPORT_LUA
from autotune.board.records import LoadOrder, LoadSeen, LoadUrl, Run
from autotune.load.gates import Answer, Judged, judge
from autotune.load.parse import Report, read_report
from autotune.load.wrk import new_marker

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
WRK = shutil.which("wrk")
PORT = 8088

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root"),
    pytest.mark.skipif(WRK is None or NGINX is None, reason="wrk or nginx is not installed (scripts/setup)"),
]

SITE = """
user root; daemon off; master_process on; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.2:8088;
        root {here}/www;
        location = /moved.bin {{ return 302 /1k.bin; }}
        location = /broken.bin {{ return 500; }}
        location = /short.bin {{ alias {here}/www/half.bin; }}
        location = /closing.bin {{ alias {here}/www/1k.bin; keepalive_timeout 0; }}
    }}
}}
"""


@dataclass(frozen=True)
class TestBoard:
    """A network namespace, held open by one sleeping process, with one nginx in it."""

    __test__ = False

    here: Path
    holder: int
    master: int

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", *argv]

    def workers(self) -> tuple[int, ...]:
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        return tuple(int(pid) for pid in children.read_text().split()) if children.exists() else ()

    def load(
        self, path: str, *, connections: int = 20, threads: int = 2, during: Callable[[], None] = lambda: None
    ) -> tuple[LoadSeen, LoadOrder]:
        """One second of wrk; `during` happens a fifth of the way through."""
        order = LoadOrder(
            urls=(LoadUrl(url=f"http://127.0.0.2:{PORT}{path}"),),
            address="127.0.0.2",
            seed=0,
            threads=threads,
            connections=connections,
            warmup_s=0.0,
            duration_s=1.0,
            marker=new_marker(),
            cpus=(),
        )
        script = self.here / "report.lua"
        script.write_text(REPORT_LUA)
        argv = ["-t", str(threads), "-c", str(connections), "-d", "1s", "--timeout", "6s", "--latency"]
        before = self.workers()
        cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        wrk = subprocess.Popen(
            self.command("wrk", *argv, "-s", str(script), order.urls[0].url, "--", order.marker),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.2)
        during()
        time.sleep(0.3)
        held = max(sockets(wrk.pid) for _ in range(5))
        stdout, stderr = wrk.communicate(timeout=20)
        wall_s = time.monotonic() - began
        cpu_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = Run(
            exit_code=wrk.returncode,
            stdout=stdout,
            stderr=stderr,
            wall_s=wall_s,
            cpu_s=cpu_after.ru_utime + cpu_after.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime,
            timed_out=False,
        )
        seen = LoadSeen(
            warmup=replace(run, stdout=""),
            measured=run,
            counters={},
            before={"free_ports": 20_000.0},
            after={},
            server_cpu_s=0.5,
            workers_before=before,
            workers_after=self.workers(),
            connections_held=held,
            error_log="",
        )
        return seen, order


def sockets(pid: int) -> int:
    """Sockets that a process holds. A connection wrk has given up is closed; one whose server just hung up is not yet.

    Counting established ones instead would call a load dead whose server closes after every answer.
    """
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            held += str(descriptor.readlink()).startswith("socket:")
    return held


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, and its end."""
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=10)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline, "waited 5 s in vain"
        time.sleep(0.01)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TestBoard]:
    """One nginx with one worker, serving files of 1,024 and 512 bytes, a redirect and an error."""
    www = tmp_path / "www"
    www.mkdir()
    (www / "1k.bin").write_bytes(b"x" * 1024)
    (www / "half.bin").write_bytes(b"x" * 512)
    (tmp_path / "nginx.conf").write_text(SITE.format(here=tmp_path))
    with running("unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep 120") as holder:
        wait_until(lambda: Path(f"/proc/{holder.pid}/comm").read_text().strip() == "sleep")
        enter = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
        with running(*enter, str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")) as nginx:
            started = TestBoard(here=tmp_path, holder=holder.pid, master=nginx.pid)
            wait_until(lambda: (tmp_path / "nginx.pid").exists() and len(started.workers()) == 1)
            yield started


@pytest.fixture
def wire_bytes(board: TestBoard) -> int:
    """The canary's full answer: status line, headers and body, with nothing asked for but the file."""
    asked = subprocess.run(
        board.command("python3", "-c", CANARY), capture_output=True, check=True, timeout=10, text=True
    )
    return int(asked.stdout)


CANARY = """
import socket
server = socket.create_connection(("127.0.0.2", 8088), timeout=5)
server.sendall(b"GET /1k.bin HTTP/1.1\\r\\nHost: 127.0.0.2:8088\\r\\n\\r\\n")
answer = b""
while not answer.endswith(b"x" * 1024):
    answer += server.recv(65536)
print(len(answer))
"""


def judged(seen_and_order: tuple[LoadSeen, LoadOrder], wire_bytes: int) -> Judged:
    seen, order = seen_and_order
    return judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),))


def test_a_sound_server_is_measured(board: TestBoard, wire_bytes: int) -> None:
    seen, order = board.load("/1k.bin")
    result = judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),))
    assert result.reason == ""
    measurement = result.measurement
    assert measurement is not None
    assert f"{measurement.requests} requests in" in seen.measured.stdout, (
        "our line says what wrk prints for people"
    )
    assert 0 < measurement.latency_p50_s <= measurement.latency_p90_s <= measurement.latency_p95_s
    assert measurement.latency_p95_s <= measurement.latency_p99_s <= measurement.latency_p999_s
    assert measurement.latency_p999_s <= measurement.latency_max_s < 1.5
    assert measurement.bytes / measurement.requests == pytest.approx(wire_bytes, rel=0.005)


def test_a_server_that_closes_after_every_answer_holds_its_load(board: TestBoard, wire_bytes: int) -> None:
    seen, order = board.load("/closing.bin")
    assert judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),)).reason == ""
    assert seen.connections_held == order.connections


def test_a_redirecting_site_is_success_to_wrk_and_not_to_us(board: TestBoard, wire_bytes: int) -> None:
    seen, order = board.load("/moved.bin")
    report = read_report(seen.measured.stdout, order.marker)
    assert isinstance(report, Report)
    assert report.errors.total == 0
    result = judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),))
    assert (result.gate, result.blame) == ("bytes per request off", "configuration")


def test_a_broken_site_has_an_unexpected_status(board: TestBoard, wire_bytes: int) -> None:
    result = judged(board.load("/broken.bin"), wire_bytes)
    assert (result.gate, result.blame) == ("unexpected status", "configuration")


def test_a_short_body_is_noticed(board: TestBoard, wire_bytes: int) -> None:
    result = judged(board.load("/short.bin"), wire_bytes)
    assert result.gate == "bytes per request off"
    assert "-4" in result.reason


def test_a_frozen_server_is_no_success(board: TestBoard, wire_bytes: int) -> None:
    for worker in board.workers():
        os.kill(worker, signal.SIGSTOP)
    try:
        seen, order = board.load("/1k.bin")
    finally:
        for worker in board.workers():
            os.kill(worker, signal.SIGCONT)
    assert seen.measured.exit_code == 0
    assert judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),)).gate == "zero requests"


def test_nothing_listening_is_a_failed_load(board: TestBoard, wire_bytes: int) -> None:
    seen, order = board.load("/1k.bin")
    nowhere = f"http://127.0.0.2:{PORT + 1}/1k.bin"
    refused = subprocess.run(
        board.command("wrk", "-t1", "-c1", "-d1s", nowhere), capture_output=True, text=True, check=False
    )
    run = replace(seen.measured, exit_code=refused.returncode, stdout=refused.stdout, stderr=refused.stderr)
    result = judge(replace(seen, measured=run), order, answers=(Answer(wire_bytes=wire_bytes),))
    assert (result.gate, result.stage) == ("load failed", "load")
    assert "refused" in result.reason


def test_a_server_killed_under_load_is_the_environments_fault(board: TestBoard, wire_bytes: int) -> None:
    result = judged(
        board.load("/1k.bin", during=lambda: os.kill(board.workers()[0], signal.SIGKILL)), wire_bytes
    )
    assert (result.gate, result.blame) == ("workers changed", "environment")


def test_a_reload_under_load_is_the_environments_fault(board: TestBoard, wire_bytes: int) -> None:
    """Each connection is cut once it is idle, and wrk counts a read error for it: no fault of the configuration."""
    old = board.workers()
    result = judged(board.load("/1k.bin", during=lambda: os.kill(board.master, signal.SIGHUP)), wire_bytes)
    assert (result.gate, result.blame) == ("workers changed", "environment")
    assert not set(old) & set(board.workers())


def test_a_killed_wrk_is_the_environments_fault(board: TestBoard, wire_bytes: int) -> None:
    def kill_wrk() -> None:
        tasks = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for pid in tasks:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "wrk":
                os.kill(int(pid), signal.SIGKILL)

    result = judged(board.load("/1k.bin", during=kill_wrk), wire_bytes)
    assert (result.gate, result.blame) == ("load killed", "environment")


def test_connections_that_wrk_never_opened_are_missed(board: TestBoard, wire_bytes: int) -> None:
    seen, order = board.load("/1k.bin", connections=100, threads=8)
    assert "100 connections" in seen.measured.stdout, "wrk prints the number it was asked for"
    result = judge(seen, order, answers=(Answer(wire_bytes=wire_bytes),))
    assert result.gate == "load died"
    assert "96 of 100" in result.reason
