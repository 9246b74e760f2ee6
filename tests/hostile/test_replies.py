"""Whatever an agent or a load host answers: a record whose every field is what it should be, or one clear error in time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hostile_inputs import EXAMPLES, NUMBERS, Json, mutated, values
from hypothesis import given
from hypothesis import strategies as st
from paper_replies import REPLIES

from autotune.board import connection as lines
from autotune.board import replies
from autotune.board.connection import Connection, connect
from autotune.errors import BoardMisunderstood, BoardUnreachable

FAKE = Path(__file__).with_name("fake_agent.py")
READERS: dict[str, Callable[[Json], object]] = {
    "facts": replies.facts,
    "clock": replies.clock,
    "readings": replies.readings,
    "nginx_files": replies.nginx_files,
    "begun": replies.begun,
    "switched": lambda body: replies.switched(body, ["http://127.0.0.2:8088/a"]),
    "fetched": lambda body: replies.fetched(body, ["http://127.0.0.2:8088/a"]),
    "checked": replies.checked,
    "load_seen": replies.load_seen,
    "watched": replies.watched,
    "routes": lambda body: replies.routes(body, ["192.168.1.20"]),
    "counted": replies.counted,
    "ended": replies.ended,
    "status": replies.status,
    "builds": replies.builds,
    "error_words": replies.error_words,
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines so short that a test sees them pass."""
    monkeypatch.setattr(lines, "_DEADLINES_S", {})
    monkeypatch.setattr(lines, "_DEADLINE_S", 0.4)
    monkeypatch.setattr(lines, "_LEAVES_WITHIN_S", 0.2)


def talk_to(part: str) -> Connection:
    return connect("local", prefix=(sys.executable, "-I", "-S", str(FAKE), part))


# -- one reply as such --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
def test_a_sound_reply_is_read(name: str) -> None:
    READERS[name](REPLIES[name])


@pytest.mark.parametrize("name", READERS)
@EXAMPLES
@given(data=st.data())
def test_any_other_reply_is_read_or_refused_in_plain_words(name: str, data: st.DataObject) -> None:
    record = read_or_words(READERS[name], data.draw(mutated(REPLIES[name])))
    # A user's own files are bytes, which JSON has as halves of characters.
    json.dumps(record, default=asdict, allow_nan=False, ensure_ascii=False).encode(
        errors="surrogateescape" if name == "nginx_files" else "strict"
    )


def read_or_words(read: Callable[[Json], object], body: Json) -> object:
    """What was read, or the words that refuse it."""
    try:
        return read(body)
    except BoardMisunderstood as refused:
        return refused.message if len(refused.message) < 600 else pytest.fail(refused.message)


@pytest.mark.parametrize("name", READERS)
@EXAMPLES
@given(body=values)
def test_what_is_no_reply_at_all_is_refused(name: str, body: Json) -> None:
    with pytest.raises(BoardMisunderstood):
        READERS[name](body)


@pytest.mark.parametrize(
    "number", [one for one in NUMBERS if one is not True and not 0 <= one < 2**63], ids=str
)
def test_a_number_that_nobody_can_count_with_is_refused(number: float) -> None:
    body = {**REPLIES["counted"], "counters": {"load1": number}}
    if -(2**63) < number < 2**63:  # a level may be below zero
        assert replies.counted(body).counters == {"load1": number}
        return
    with pytest.raises(BoardMisunderstood, match="load1"):
        replies.counted(body)


@pytest.mark.parametrize(
    "change",
    [
        {"token": "../../../../tmp/x"},
        {"conf_path": "/run/autotune/x;user root"},
        {"www_dir": "/var/lib/../../etc"},
        {"www_dir": "var/lib"},
        {"log_dir": "/var/lib/a\nb"},
    ],
)
def test_a_place_that_would_become_more_than_a_place_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(BoardMisunderstood):
        replies.begun({**REPLIES["begun"], **change})


@pytest.mark.parametrize(
    "change",
    [{"urls": []}, {"step": "other", "blame": "configuration"}, {"step": "canary"}, {"blame": "environment"}],
)
def test_a_switch_that_contradicts_itself_is_refused(change: dict[str, Json]) -> None:
    with pytest.raises(BoardMisunderstood):
        READERS["switched"]({**REPLIES["switched"], **change})


def test_a_users_bytes_that_are_no_text_stay_what_they_are() -> None:
    body = json.loads(json.dumps(REPLIES["nginx_files"]))
    body["nginx_files"]["/etc/nginx/nginx.conf"]["text"] = "# caf\udce9\ud800"
    [found] = replies.nginx_files(body).files.values()
    assert found.text == "# caf\udce9\ufffd"


# -- the line -----------------------------------------------------------------------------------------------------------

ANSWERS = {
    "not JSON": "}{",
    "not an object": '["id",NUMBER]',
    "a number of many digits": '{"id":NUMBER,"ok":true,"body":{"protocol":' + "9" * 5000 + "}}",
    "deep nesting": '{"id":NUMBER,"ok":true,"body":' + "[" * 100_000,
    "nested and whole": '{"id":NUMBER,"ok":true,"body":' + "[" * 50_000 + "]" * 50_000 + "}",
    "not UTF-8": '{"id":NUMBER,"ok":true,"body":{"hostname":"\udcff"}}',
    "NaN": '{"id":NUMBER,"ok":true,"body":{"memory_bytes":NaN}}',
    "neither": '{"id":NUMBER}',
    "ok, and no body": '{"id":NUMBER,"ok":true,"body":[]}',
    "not ok, and no words": '{"id":NUMBER,"ok":false,"error":{"kind":7}}',
    "an unknown kind of error": '{"id":NUMBER,"ok":false,"error":{"kind":"x","message":"m","hint":""}}',
    "an empty body": '{"id":NUMBER,"ok":true,"body":{}}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_makes_no_sense_ends_the_line_at_once(answer: str) -> None:
    with pytest.raises(BoardMisunderstood):
        talk_to(answer)


@pytest.mark.parametrize(
    "answer",
    [
        '{"id":0,"ok":true,"body":{}}',
        '{"id":NUMBER7,"ok":true,"body":{}}',
        '{"id":"NUMBER","ok":true,"body":{}}',
        "{}",
    ],
)
def test_an_answer_to_another_question_is_no_answer(answer: str) -> None:
    with pytest.raises(BoardUnreachable, match="in time"):
        talk_to(answer)


@pytest.mark.parametrize("part", ["silence", "slow drip", "lines without end"])
def test_an_answer_that_does_not_come_is_not_waited_for_beyond_its_deadline(part: str) -> None:
    began = time.monotonic()
    with pytest.raises(BoardUnreachable, match="in time"):
        talk_to(part)
    assert time.monotonic() - began < 4


def test_an_agent_that_ends_within_a_line_is_gone() -> None:
    with pytest.raises(BoardUnreachable, match="exit code 3"):
        talk_to("partial line, then gone")


@pytest.mark.parametrize("part", ["never-ending line", "oversize reply", "largest reply"])
def test_no_answer_takes_more_memory_than_a_line_may(part: str) -> None:
    """In a process of its own, whose peak is its own."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path.cwd())!r})
from autotune.board import connection
from autotune.errors import BoardMisunderstood
connection._LEAVES_WITHIN_S = 0.2
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    connection.connect("local", prefix=({sys.executable!r}, "-I", "-S", {str(FAKE)!r}, {part!r}))
except BoardMisunderstood as refused:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, refused.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    grown_kib, _, message = done.stdout.partition(" ")
    assert message
    # The line itself, and for the longest that may be: its 2.8 million empty lists, of 64 bytes each.
    assert int(grown_kib) < (300 if part == "largest reply" else 40) * 1024


def test_words_of_an_error_are_cut_and_can_be_shown() -> None:
    words = "\x1b[2J\ud800" + "x" * 100_000
    error = json.dumps({"kind": "protocol", "message": words, "hint": words})
    with pytest.raises(BoardUnreachable) as refused:
        talk_to('{"id":NUMBER,"ok":false,"error":' + error + "}")
    assert len(refused.value.message) < 5_000
    refused.value.message.encode()
