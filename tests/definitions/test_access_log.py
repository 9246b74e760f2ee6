"""The URLs of a workload from an access log."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from autotune.definitions.access_log import LogUnfit, urls_from_log

BASE = "https://www.example.org"
LINE = '203.0.113.7 - - [24/Nov/2026:16:00:00 +0000] "{0}" {1} 1234 "-" "curl \\"x\\""\n'


def log(*requests: tuple[str, int, int]) -> bytes:
    text = "".join(LINE.format(request, status) * times for request, status, times in requests)
    return text.encode() + b"\xff\xfe not a line\n\n"


REQUESTS = log(
    ("GET /a?x=1&y=%20 HTTP/1.1", 200, 30),
    ("GET / HTTP/2.0", 200, 60),
    ("GET /gone HTTP/1.1", 404, 90),
    ("POST / HTTP/1.1", 200, 90),
    ("GET /${jndi:x} HTTP/1.1", 200, 95),
    ("GET http://evil.example/ HTTP/1.1", 200, 95),
    ("GET /b HTTP/1.1", 200, 5),
)


@pytest.mark.parametrize("name", ["access.log", "access.log.2.gz"])
def test_most_requested_first_with_their_shares(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(REQUESTS) if name.endswith(".gz") else REQUESTS)
    urls = urls_from_log(path, 2, BASE)
    assert [(url.target, url.weight) for url in urls] == [(BASE + "/", 60), (BASE + "/a?x=1&y=%20", 30)]
    assert len(urls_from_log(path, 20, BASE)) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no GET answered with 200 in it: 0 lines"),
        (b"what\n" * 3, "3 lines, 3 of them in another format"),
        (log(("GET /${x} HTTP/1.1", 200, 2)), "2 with a path that can't be loaded"),
    ],
)
def test_a_log_without_a_url_is_refused_with_its_lines(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(data)
    with pytest.raises(LogUnfit) as caught:
        urls_from_log(path, 3, BASE)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_not_there_or_no_gzip_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogUnfit, match="No such file"):
        urls_from_log(tmp_path / "none.log", 3, BASE)
    (tmp_path / "x.gz").write_bytes(b"plain")
    with pytest.raises(LogUnfit, match="after 0 lines"):
        urls_from_log(tmp_path / "x.gz", 3, BASE)
