"""The canary: proof, after every switch, that it is our nginx that answers, as ordered, and with the right bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import time
from typing import Dict, Iterator, List, NamedTuple, Sequence

from autotune.agent import processes, sockets
from autotune.agent.counters import memory_bytes
from autotune.agent.nginx import Refused, Server, grave_line
from autotune.agent.protocol import UrlSeen, UrlTruth

_ANSWER_WITHIN_S = 5.0
_BODY_CAP = 256 << 20
_HEADERS_CAP = 1 << 16
_MEMORY_FLOOR_SHARE, _MEMORY_FLOOR_BYTES = 0.05, 200_000_000
_LOOSE_SHARE = 0.2
# Nothing of it can end a line of a request, of wrk's list or of a hosts file.
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?(?P<target>/[A-Za-z0-9._~!$&()*+,;=:@%/?-]*)"
)
PORTS = {"http": 80, "https": 443}


class Answer(NamedTuple):
    status: int
    length: int
    wire_bytes: int
    sha256: str


def prove(server: Server, *, workers: int, since: float, urls: Sequence[UrlTruth]) -> List[UrlSeen]:
    """What each URL answered, when everything is as ordered; `since` is the boot-time second at which the switch began.

    Raises Refused with the first thing that is not.
    """
    _prove_processes(server, workers, since)
    _prove_listeners(server)
    seen = [_prove_url(server, truth) for truth in urls]
    available, total = memory_bytes()
    floor = max(_MEMORY_FLOOR_SHARE * total, _MEMORY_FLOOR_BYTES)
    if available < floor:
        raise _refused(
            f"{available / 1e6:.0f} MB of memory are available, fewer than the floor of {floor / 1e6:.0f} MB"
        )
    if grave := grave_line(server.error_log()):
        raise _refused(grave)
    return seen


def _refused(reason: str) -> Refused:
    return Refused("canary", reason, "configuration")


def _prove_processes(server: Server, ordered: int, since: float) -> None:
    if server.child.poll() is not None:
        raise _refused(f"the master ended with exit code {server.child.exit_code}")
    workers = server.workers()
    if len(workers) != ordered:
        raise _refused(f"{len(workers)} workers run, {ordered} were ordered")
    for pid in workers:
        stat = processes.read_stat(pid)
        if stat is None:
            raise _refused(f"worker {pid} ended right after the start")
        if (stat.start + 1) * processes.TICK_S < since:
            raise _refused(f"worker {pid} is older than this switch")
        try:
            where = os.sched_getaffinity(pid)
        except ProcessLookupError:
            raise _refused(f"worker {pid} ended right after the start") from None
        if server.cpus and not where <= set(server.cpus):
            raise _refused(
                f"worker {pid} may run on CPUs {sorted(where)}, the server's are {sorted(server.cpus)}"
            )


def _prove_listeners(server: Server) -> None:
    """Two masters with reuseport on one port both start without a word and share the requests."""
    for address, port in server.listen:
        if not sockets.listeners(address, port):
            raise _refused(f"nobody listens on {address}:{port}")
    if told := strangers(server):
        raise Refused("canary", told, "environment")


def strangers(server: Server) -> str:
    """Who else takes a share of this server's requests (an old worker, another nginx), in words; "" when nobody does."""
    ours = sockets.owned_inodes(server.child.pid)
    for address, port in server.listen:
        others = [one for one in sockets.listeners(address, port) if one.inode not in ours]
        if others and ours:
            return (
                f"{sockets.owner_text(others)} listens on port {port} too and takes a share of the requests"
            )
    return ""


def _prove_url(server: Server, truth: UrlTruth) -> UrlSeen:
    try:
        answer = get(truth["url"], truth["address"])
    except (OSError, ValueError) as problem:
        raise _refused(
            f"GET {truth['url']}: {str(problem) or type(problem).__name__}; {grave_line(server.error_log())}"
        ) from None
    if truth["status"] and (difference := _difference(answer, truth)):
        raise _refused(f"GET {truth['url']}: {difference}")
    return seen_of(truth["url"], answer)


def _difference(answer: Answer, truth: UrlTruth) -> str:
    """What is not as stock answers; "" when all is."""
    if answer.status != truth["status"]:
        return f"status {answer.status}, stock answers {truth['status']}"
    if truth["loose"]:
        if abs(answer.length - truth["length"]) > _LOOSE_SHARE * truth["length"]:
            return f"{answer.length} bytes, stock sends about {truth['length']}"
        return ""
    if answer.length != truth["length"]:
        return f"{answer.length} bytes, stock sends {truth['length']}"
    if truth["sha256"] and answer.sha256 != truth["sha256"]:
        return f"{answer.length} bytes as stock, but others (SHA-256 {answer.sha256[:12]}…)"
    return ""


def look(truth: UrlTruth) -> UrlSeen:
    """What this URL answers now, whoever serves it; `status` 0 when nobody does."""
    try:
        return seen_of(truth["url"], get(truth["url"], truth["address"]))
    except (OSError, ValueError):
        return seen_of(truth["url"], Answer(0, 0, 0, ""))


def seen_of(url: str, answer: Answer) -> UrlSeen:
    return {
        "url": url,
        "status": answer.status,
        "length": answer.length,
        "wire_bytes": answer.wire_bytes,
        "sha256": answer.sha256,
    }


def get(url: str, address: str) -> Answer:
    """A GET with the very words wrk uses, from `address`. Raises OSError or ValueError.

    A certificate is not looked into: that it is this board's nginx is proven by who listens.
    """
    found = URL.fullmatch(url)
    assert found is not None  # checked with the order
    until = time.monotonic() + _ANSWER_WITHIN_S
    where = (address, int(found["port"] or PORTS[found["scheme"]]))
    with contextlib.closing(socket.create_connection(where, timeout=_ANSWER_WITHIN_S)) as plain:
        line = plain if found["scheme"] == "http" else _secured(plain, found["host"].strip("[]"))
        host = found["host"] + (f":{found['port']}" if found["port"] else "")
        line.sendall(f"GET {found['target']} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii"))
        return _Response(line, until).read()


def _secured(line: socket.socket, host: str) -> socket.socket:
    import ssl  # slow to load, and most nights do without it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(line, server_hostname=host)


class _Response:
    def __init__(self, line: socket.socket, until: float) -> None:
        self._line = line
        self._until = until
        self._data = b""
        self._wire_bytes = 0

    def read(self) -> Answer:
        while b"\r\n\r\n" not in self._data:
            if len(self._data) > _HEADERS_CAP or not self._more():
                raise ValueError("an answer without an end of its headers")
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ValueError(f"not an HTTP answer: {first[:60]!r}")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
        }
        digest = hashlib.sha256()
        length = 0
        for piece in self._body(headers):
            digest.update(piece)
            length += len(piece)
            if length > _BODY_CAP:
                raise ValueError("an answer over 256 MiB")
        # What is left over belongs to no answer of ours.
        return Answer(int(words[1]), length, self._wire_bytes - len(self._data), digest.hexdigest())

    def _body(self, headers: Dict[bytes, bytes]) -> Iterator[bytes]:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            while True:
                size = int(self._until_line_end().split(b";")[0], 16)
                if size == 0:
                    self._until_line_end()
                    return
                yield from self._exactly(size)
                self._until_line_end()
        elif b"content-length" in headers:
            yield from self._exactly(int(headers[b"content-length"]))
        else:
            while self._data or self._more():
                piece, self._data = self._data, b""
                yield piece

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._data and not self._more():
                raise ValueError(f"the answer ends {size} bytes early")
            piece, self._data = self._data[:size], self._data[size:]
            size -= len(piece)
            yield piece

    def _until_line_end(self) -> bytes:
        while b"\r\n" not in self._data:
            if len(self._data) > _HEADERS_CAP or not self._more():
                raise ValueError("a chunk without an end")
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _more(self) -> bool:
        left = self._until - time.monotonic()
        if left <= 0:
            raise ValueError(f"no whole answer within {_ANSWER_WITHIN_S:g} s")
        self._line.settimeout(left)
        piece = self._line.recv(1 << 16)
        self._data += piece
        self._wire_bytes += len(piece)
        return bool(piece)
