"""What servers can answer to the open-loop generator: sound, broken, and made to break its parser."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from open_loop_here import PAGE, Answer, OpenLoopHere, answering, open_loop, saying

from autotune.experiment.events import ErrorCounts
from autotune.load.open_loop import RateReport

__all__ = ["open_loop"]
pytestmark = pytest.mark.real

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DUE = 60
SOUND = ErrorCounts()


def run(open_loop: OpenLoopHere, answer: Answer) -> RateReport:
    with answering(answer) as server:
        return open_loop.report(
            open_loop.argv(server.origin, rate_per_s=200, duration_s=DUE / 200, connections=4)
        )


@pytest.mark.parametrize(
    ("pieces", "how"),
    [
        pytest.param([PAGE], {}, id="a length"),
        pytest.param([PAGE[at : at + 1] for at in range(len(PAGE))], {}, id="byte by byte"),
        pytest.param([PAGE[:20], PAGE[20:]], {"between_s": 0.002}, id="a head in two"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh:\t 5 \r\nX: content-length: 9\r\n\r\nhello"],
            {},
            id="odd letters",
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], {}, id="an empty body"),
        pytest.param(
            [CHUNKED, b"5\r\nhello\r\n", b"A;x=y\r\n0123456789\r\n0\r\n\r\n"],
            {"between_s": 0.001},
            id="chunks",
        ),
        pytest.param([CHUNKED + b"5\r\nhello\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n"], {}, id="trailers"),
        pytest.param(
            [bytes([one]) for one in CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], {}, id="chunks byte by byte"
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"],
            {"keep": False},
            id="the server closes and says so",
        ),
        pytest.param(
            [b"HTTP/1.0 200 OK\r\n\r\nhello"], {"keep": False}, id="the body ends with the connection"
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000],
            {},
            id="larger than any buffer",
        ),
    ],
)
def test_a_sound_answer_is_counted_to_the_byte(
    open_loop: OpenLoopHere, pieces: list[bytes], how: dict[str, Any]
) -> None:
    seen = run(open_loop, saying(*pieces, **how))
    assert seen.errors == SOUND
    assert (seen.due, seen.unanswered) == (DUE, 0)
    assert seen.bytes == seen.answered * sum(map(len, pieces))


def test_an_interim_answer_is_not_the_answer(open_loop: OpenLoopHere) -> None:
    seen = run(open_loop, saying(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", PAGE))
    assert (seen.errors, seen.unanswered) == (SOUND, 0)
    assert seen.bytes == seen.answered * len(PAGE)


def test_a_server_that_hangs_up_without_a_word_is_asked_again(open_loop: OpenLoopHere) -> None:
    """As after a keep-alive timeout: whether the request or the end came first is chance, and no fault."""
    seen = run(open_loop, saying(PAGE, keep=False))
    assert (seen.errors, seen.unanswered) == (SOUND, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", keep=False), id="a short body"
        ),
        pytest.param(saying(CHUNKED + b"5\r\nhello\r\n", keep=False), id="chunks without an end"),
        pytest.param(saying(PAGE[:20], keep=False), id="half a head"),
        pytest.param(saying(keep=False), id="nothing at all"),
        pytest.param(saying(PAGE + b"more"), id="more than it said"),
        pytest.param(saying(b"220 mail.example.org ESMTP\r\n\r\n"), id="another protocol"),
        pytest.param(saying(b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n"), id="another version"),
        pytest.param(saying(b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"), id="a status of letters"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), id="a negative length"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            id="two lengths",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"), id="a length too long"
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"), id="an encoding not asked for"
        ),
        pytest.param(saying(CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n"), id="a chunk too long"),
        pytest.param(saying(CHUNKED + b"xyz\r\n"), id="a chunk of letters"),
        pytest.param(saying(CHUNKED + b"\r\n"), id="a chunk of no size"),
        pytest.param(saying(CHUNKED + b"5;" + b"x" * 40_000), id="an endless extension"),
        pytest.param(saying(CHUNKED + b"0\r\n" + b"Trailer: x\r\n" * 4_000), id="trailers without an end"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + b"X-Header: x\r\n" * 4_000), id="headers without an end"
        ),
        pytest.param(saying(b"\0" * 40_000), id="zeros"),
    ],
)
def test_what_is_no_answer_is_a_read_error(open_loop: OpenLoopHere, answer: Answer) -> None:
    seen = run(open_loop, answer)
    assert seen.errors.read > 0
    assert seen.errors.read + seen.unanswered >= DUE / 2
    assert seen.errors.connect == seen.errors.status == 0


@pytest.mark.parametrize("status", [302, 404, 500, 204])
def test_every_status_but_200_is_counted(open_loop: OpenLoopHere, status: int) -> None:
    seen = run(open_loop, saying(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode()))
    assert seen.errors == ErrorCounts(status=DUE)
    assert seen.unanswered == 0


def test_a_server_that_never_answers_leaves_every_request_waiting(open_loop: OpenLoopHere) -> None:
    seen = run(open_loop, saying())
    assert (seen.errors, seen.answered, seen.unanswered) == (SOUND, 0, DUE)
    assert seen.latency.p50_us > 2e6, "each counts with the time it has waited, the drain included"


def test_what_a_server_sends_is_never_the_report(open_loop: OpenLoopHere) -> None:
    body = b'\nreport0123456789 {"due":1}\n'
    seen = run(open_loop, saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)))
    assert seen.due == DUE


@pytest.mark.parametrize("processes", [1, 2])
def test_where_nobody_listens_there_is_no_run(open_loop: OpenLoopHere, processes: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    argv = open_loop.argv(
        f"http://127.0.0.1:{port}", rate_per_s=100, duration_s=30, processes=processes, connections=4
    )
    done = open_loop.run(argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "unable to connect to 127.0.0.1" in done.stderr


def test_a_server_that_goes_in_the_middle_is_found_gone(open_loop: OpenLoopHere) -> None:
    left = [20]

    def answer(line: socket.socket) -> bool:
        left[0] -= 1
        if left[0] == 0:
            server.shut()
        line.sendall(PAGE)
        return left[0] > 0

    with answering(answer) as server:
        seen = open_loop.report(open_loop.argv(server.origin, rate_per_s=100, duration_s=1, connections=4))
    assert seen.errors.connect > 0
    assert seen.unanswered > 0
    assert seen.due == 100, "the schedule goes on, whoever answers"
