"""The open-loop generator as the agent runs it, and servers of the tests' own that answer as a test wants."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from autotune.agent import orders
from autotune.agent.load import request_list
from autotune.agent.open_loop import open_loop_argv, write_open_loop
from autotune.board.records import LoadOrder, LoadUrl
from autotune.load.open_loop import RateReport, read_rate_report

MARKER = "report0123456789"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@dataclass(frozen=True)
class OpenLoopHere:
    """luajit, its files in `run_dir`, and what a run of it said."""

    program: str
    run_dir: Path

    def argv(
        self,
        origin: str,
        *,
        rate_per_s: float,
        duration_s: float,
        connections: int = 8,
        processes: int = 1,
        run_in_s: float = 0.0,
        address: str = "127.0.0.1",
        targets: tuple[str, ...] = ("/",),
    ) -> list[str]:
        ordered = LoadOrder(
            urls=tuple(LoadUrl(url=origin + target) for target in targets),
            address=address,
            seed=1,
            threads=processes,
            connections=connections,
            warmup_s=run_in_s,
            duration_s=duration_s,
            marker=MARKER,
            cpus=(),
            rate_per_s=rate_per_s,
        )
        order = orders.load(json.loads(json.dumps(asdict(ordered))))
        asked = request_list(order.targets, order.seed)
        (self.run_dir / "requests").write_text("\n".join(asked) + "\n")
        return list(open_loop_argv(self.program, str(self.run_dir), order))

    def run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def report(self, argv: list[str]) -> RateReport:
        """What a run said that must end well."""
        done = self.run(argv)
        assert (done.returncode, done.stderr) == (0, "")
        return report_of(done.stdout)


def report_of(stdout: str) -> RateReport:
    found = read_rate_report(stdout, MARKER)
    assert isinstance(found, RateReport), found
    return found


@pytest.fixture
def open_loop(tmp_path: Path) -> OpenLoopHere:
    """The generator; skips where luajit isn't installed."""
    program = shutil.which("luajit")
    if program is None:
        pytest.skip("needs luajit (apt-get install luajit)")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    write_open_loop(str(run_dir))
    return OpenLoopHere(program, run_dir)


@dataclass
class Server:
    """A server of a test's own: `arrivals` is when each request was there, on the monotonic clock."""

    port: int
    arrivals: list[float] = field(default_factory=list)
    shut: Callable[[], None] = lambda: None  # nobody listens any more

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Answer = Callable[[socket.socket], bool]


def saying(*pieces: bytes, after_s: float = 0.0, between_s: float = 0.0, keep: bool = True) -> Answer:
    """Answers every request with these pieces, and keeps the connection or hangs up."""

    def answer(line: socket.socket) -> bool:
        time.sleep(after_s)
        for piece in pieces:
            line.sendall(piece)
            if between_s:
                time.sleep(between_s)
        return keep

    return answer


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[Server]:
    """A server, a thread for each connection, that does `answer` for each request."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            with contextlib.suppress(OSError):
                while True:
                    while b"\r\n\r\n" not in data:
                        more = self.request.recv(4096)
                        if not more:
                            return
                        data += more
                    data = data.partition(b"\r\n\r\n")[2]
                    seen.arrivals.append(time.monotonic())
                    if not answer(self.request):
                        return

    with _Server(("127.0.0.1", 0), Handler) as server:
        seen = Server(server.server_address[1], shut=server.socket.close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
