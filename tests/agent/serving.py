"""What the agent's tests serve: a small site, its nginx configuration, and nights begun on a machine of their own."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from autotune.board.connection import Connection
from autotune.board.records import (
    Begun,
    Listener,
    LoadOrder,
    LoadUrl,
    PutFile,
    ServerOrder,
    Switched,
    UrlTruth,
    Write,
)
from conftest import BoardNamespace

SOMAXCONN = "/proc/sys/net/core/somaxconn"
RMEM = "/proc/sys/net/ipv4/tcp_rmem"
FIN_TIMEOUT = "/proc/sys/net/ipv4/tcp_fin_timeout"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
MIN_FREE = "/proc/sys/vm/min_free_kbytes"
DIRTY_RATIO, DIRTY_BYTES = "/proc/sys/vm/dirty_ratio", "/proc/sys/vm/dirty_bytes"
ADDRESS, PORT = "127.0.0.2", 8088
PAGE = b"It works.\n" * 100


@dataclass(frozen=True, slots=True)
class NightHere:
    """A begun night: its machine, its line, and what begin said."""

    board: BoardNamespace
    line: Connection
    begun: Begun

    def conf(
        self, *, workers: int = 1, main: str = "", http: str = "", listen: str = "", server: str = ""
    ) -> str:
        run = self.begun.conf_path.removesuffix("/nginx.conf")
        log = self.begun.log_dir
        temporary = "".join(
            f"{name}_temp_path {log}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
daemon off;
worker_processes {workers};
pid {run}/nginx.pid;
error_log {log}/error.log warn;
{main}
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  access_log {log}/access.log;
  {temporary}
  {http}
  server {{
    listen {ADDRESS}:{PORT} {listen};
    root {self.begun.www_dir};
    {server}
  }}
}}
"""

    def order(self, conf: str = "", *, workers: int = 1, path: str = "/page.html") -> ServerOrder:
        return ServerOrder(
            conf=conf or self.conf(workers=workers),
            workers=workers,
            listen=(Listener(address=ADDRESS, port=PORT),),
            cpus=(),
            urls=(
                UrlTruth(
                    url=f"http://{ADDRESS}:{PORT}{path}", address=ADDRESS, status=0, length=0, sha256=""
                ),
            ),
        )

    def serve(self, *writes: Write, workers: int = 1) -> Switched:
        """Switches to these values with a plain nginx, which must pass."""
        switched = self.line.switch(writes, self.order(workers=workers))
        assert (switched.step, switched.reason) == ("", "")
        return switched

    def value(self, path: str) -> str:
        return " ".join(self.board.read(path).split())


def begin(board: BoardNamespace, *, uid: int = 0, lease_s: float = 60.0, study: str = "test") -> NightHere:
    line = board.connect(uid=uid)
    page = PutFile(name="page.html", content_base64=base64.b64encode(PAGE).decode("ascii"))
    begun = line.begin(study=study, night=1, holder="a test", lease_s=lease_s, files=(page,))
    return NightHere(board, line, begun)


def truth_of(switched: Switched) -> tuple[UrlTruth, ...]:
    return tuple(
        UrlTruth(url=one.url, address=ADDRESS, status=one.status, length=one.length, sha256=one.sha256)
        for one in switched.urls
    )


def with_truth(order: ServerOrder, truth: Iterable[UrlTruth]) -> ServerOrder:
    return replace(order, urls=tuple(truth))


def load_order(*, warmup_s: float = 0.5, duration_s: float = 1.0, connections: int = 4) -> LoadOrder:
    return LoadOrder(
        urls=(LoadUrl(url=f"http://{ADDRESS}:{PORT}/page.html"),),
        address=ADDRESS,
        seed=1,
        threads=1,
        connections=connections,
        warmup_s=warmup_s,
        duration_s=duration_s,
        marker="report0123456789",
        cpus=(),
    )


def within(seconds: float, true: Callable[[], object]) -> bool:
    """Whether it came true in that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.01)
    return bool(true())


def leftovers(board: BoardNamespace) -> list[str]:
    """Files and processes of a night that are there after it; the lock file alone may stay."""
    found = board.run("find", "/run/autotune", "/var/lib/autotune", "-mindepth", "1").stdout.split()
    names = [name for _, name, _ in board.processes()]
    return [path for path in found if path != "/run/autotune/lock"] + [
        name for name in names if name in ("nginx", "wrk", "luajit", "autotune-guard")
    ]
