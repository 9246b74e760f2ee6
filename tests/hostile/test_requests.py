"""What a compromised or buggy controller asks of an agent: its own lists answer, and nothing happens that they don't allow."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hostile_inputs import EXAMPLES, TEXTS, Json, mutated, values
from hypothesis import given
from hypothesis import strategies as st
from paper_requests import BUILD, LOAD, NIGHT, SOMAXCONN, SWITCH, URL

from autotune.agent import allowed, builds, orders, php_conf
from autotune.agent.faults import Fault
from autotune.agent.line import parse_request
from autotune.agent.protocol import MAX_LINE, PROTOCOL
from autotune.errors import AutotuneError, BoardMisunderstood, BoardUnfit, BoardUnreachable
from conftest import BoardNamespace

FLAGS = (
    "-fplugin=/tmp/x.so",
    "-Wl,-T,/tmp/x",
    "-wrapper",
    "-I/tmp",
    "@/tmp/x",
    "-B/tmp",
    "-o/tmp/x",
    "--with-cc=/tmp/x",
)
READERS: dict[str, tuple[Callable[[Json], object], Json]] = {
    "begin": (orders.night, NIGHT),
    "switch": (orders.switch, SWITCH),
    "load": (orders.load, LOAD),
    "watch": (orders.watch, {"step": "run", "power": ""}),
    "route": (orders.ways, {"to": ["10.0.0.1"], "port": 8088}),
    "read": (orders.paths, {"paths": [SOMAXCONN]}),
    "check": (orders.truths, {"urls": [URL]}),
}


# -- reading requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", READERS)
@EXAMPLES
@given(data=st.data())
def test_any_body_is_an_order_or_refused(verb: str, data: st.DataObject) -> None:
    read, sound = READERS[verb]
    read(sound)
    body = data.draw(mutated(sound) | values)
    if isinstance(body, dict):
        with contextlib.suppress(Fault):
            read(body)


@EXAMPLES
@given(st.binary(max_size=200) | values.map(lambda one: json.dumps(one).encode()))
def test_any_line_is_a_request_or_told_why_not(line: bytes) -> None:
    request = parse_request(line)
    assert bool(request.verb) != bool(request.problem)


@pytest.mark.parametrize("text", TEXTS)
def test_no_word_of_an_order_becomes_more_than_a_word(text: str) -> None:
    for change in ({"files": [{"name": text, "content_base64": ""}]}, {"services": [text], "files": []}):
        try:
            night = orders.night({**NIGHT, **change})
        except Fault:
            continue
        assert all(not name.startswith(("/", ".")) and ".." not in name.split("/") for name in night.files)
    for key in ("study", "holder"):
        if len(text) < 200:
            try:
                night = orders.night({**NIGHT, key: text})
            except Fault:
                continue
            assert getattr(night, key).isprintable()
            assert getattr(night, key).isascii()


@pytest.mark.parametrize("text", [one for one in TEXTS if one])
def test_no_text_of_the_corpus_is_a_path_a_program_or_a_flag_of_the_agents(text: str) -> None:
    for refuse in (
        lambda: allowed.check_path(text),
        lambda: allowed.check_path(f"/proc/sys/net/core/{text}"),
        lambda: allowed.check_readable(text),
        lambda: allowed.check_readable(f"/etc/php{text}"),
        lambda: allowed.check_pattern(f"{text}*"),
        lambda: allowed.check_write(SOMAXCONN, text, memory_bytes=1 << 33, originals={}),
        lambda: allowed.find_program(text),
        lambda: orders.load({**LOAD, "marker": text}),
        lambda: orders.load({**LOAD, "address": text}),
        lambda: orders.load({**LOAD, "power": text}),
        lambda: php_conf.check_listen(text, "/run/autotune/x"),
    ):
        with pytest.raises(Fault):
            refuse()


@pytest.mark.parametrize("key", ["cflags", "ldflags", "configure", "without"])
def test_no_word_of_a_build_names_a_file_or_a_program(key: str) -> None:
    builds.read_order(BUILD)
    for word in (*TEXTS, *FLAGS):
        with pytest.raises(Fault):
            builds.read_order({**BUILD, key: [word]})


# -- an agent ---------------------------------------------------------------------------------------------------------------


class Talk:
    """An agent and its raw line."""

    def __init__(self, board: BoardNamespace) -> None:
        code = f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); from autotune.agent.serve import main; sys.exit(main())"
        self.process = subprocess.Popen(
            board.command([sys.executable, "-c", code]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, *requests: Json) -> list[Json]:
        """The replies, as many as there are requests."""
        self.send(b"".join(json.dumps(one).encode() + b"\n" for one in requests))
        return [json.loads(_of(self.process.stdout).readline()) for _ in requests]

    def hello(self) -> None:
        [reply] = self.ask({"id": 1, "verb": "hello", "body": {"protocol": PROTOCOL}})
        assert reply["ok"]

    def send(self, data: bytes) -> None:
        into = _of(self.process.stdin)
        into.write(data)
        into.flush()


def _of(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


@pytest.fixture
def talk(module_namespace: BoardNamespace) -> Iterator[Talk]:
    made = Talk(module_namespace)
    with made.process:
        yield made
        made.process.kill()


def words(reply: Json) -> str:
    assert reply["ok"] is False
    return f"{reply['error']['kind']}: {reply['error']['message']}"


def test_nothing_comes_before_hello(talk: Talk) -> None:
    for number, verb in enumerate(("begin", "read", "status", "end", "switch"), 1):
        [reply] = talk.ask({"id": number, "verb": verb, "body": NIGHT})
        assert words(reply) == f"protocol: {verb} comes before hello"
    [reply] = talk.ask({"id": 9, "verb": "hello", "body": {"protocol": PROTOCOL + 1}})
    assert "speaks protocol" in words(reply)
    [reply] = talk.ask({"id": 10, "verb": "begin", "body": NIGHT})
    assert "comes before hello" in words(reply)


def test_a_request_that_comes_again_is_not_carried_out_again(
    talk: Talk, module_namespace: BoardNamespace
) -> None:
    talk.hello()
    begin = {"id": 2, "verb": "begin", "body": NIGHT}
    switch = {
        "id": 3,
        "verb": "switch",
        "body": {"writes": [{"path": SOMAXCONN, "text": "777"}], "server": None},
    }
    end = {"id": 4, "verb": "end", "body": {}}
    assert [reply["ok"] for reply in talk.ask(begin, switch, end)] == [True, True, True]
    before = module_namespace.read(SOMAXCONN)
    for again in (begin, switch, end):
        [reply] = talk.ask(again)
        assert words(reply) == f"protocol: a request {again['id']} was here before"
        assert reply["id"] == again["id"]
    assert module_namespace.read(SOMAXCONN) == before != "777"
    assert not module_namespace.exists("/run/autotune/journal")


def test_verbs_in_the_wrong_order_are_refused(talk: Talk, module_namespace: BoardNamespace) -> None:
    talk.hello()
    watch = {"step": "run", "power": ""}
    # A load host loads without a begin.
    bodies = {"switch": SWITCH, "watch": watch, "check": {"paths": [SOMAXCONN], "urls": []}}
    for number, (verb, body) in enumerate(bodies.items(), 2):
        [reply] = talk.ask({"id": number, "verb": verb, "body": body})
        assert words(reply).startswith("refused: nothing was begun")
    first, second, early, keep, end = talk.ask(
        {"id": 10, "verb": "begin", "body": NIGHT},
        {"id": 11, "verb": "begin", "body": NIGHT},
        {"id": 12, "verb": "load", "body": LOAD},
        {"id": 13, "verb": "end", "body": {"keep": True}},
        {"id": 14, "verb": "end", "body": {}},
    )
    assert first["ok"]
    assert "holds the board already" in words(second)
    assert "no server runs" in words(early)
    assert "not begun to be kept" in words(keep)
    assert end["ok"]


@pytest.mark.parametrize(
    "request_",
    [
        {"id": 5, "verb": "shell", "body": {"command": "id"}},
        {"id": 5, "verb": "", "body": {}},
        {"id": 5, "verb": "begin", "body": None},
        {"id": 0, "verb": "end", "body": {}},
        {"id": -1, "verb": "end", "body": {}},
        {"id": 2**60, "verb": "end", "body": {}},
        {"id": 5.5, "verb": "end", "body": {}},
    ],
    ids=str,
)
def test_a_request_that_is_none_is_answered_and_the_agent_goes_on(talk: Talk, request_: Json) -> None:
    talk.hello()
    reply, after = talk.ask(request_, {"id": 6, "verb": "counters", "body": {}})
    assert words(reply).startswith("protocol: ")
    assert after["ok"]


def test_a_request_without_end_ends_the_agent_within_a_lines_memory(talk: Talk) -> None:
    talk.hello()
    before = _peak_kib(talk.process.pid)
    talk.send(b'{"id":2,"verb":"begin","body":{"study":"' + b"x" * (MAX_LINE - 100_000))
    time.sleep(0.3)
    assert _peak_kib(talk.process.pid) - before < 24 * 1024
    with pytest.raises(BrokenPipeError):
        talk.send(b"x" * (100 * 65536))
    assert talk.process.wait(10) == 1


def test_more_requests_than_a_controller_has_end_the_night_and_restore_the_board(
    talk: Talk, module_namespace: BoardNamespace
) -> None:
    before = module_namespace.read(SOMAXCONN)
    talk.hello()
    writes = [{"path": SOMAXCONN, "text": "777"}]
    talk.ask(
        {"id": 2, "verb": "begin", "body": NIGHT},
        {"id": 3, "verb": "switch", "body": {"writes": writes, "server": None}},
    )
    assert module_namespace.read(SOMAXCONN) == "777"
    talk.send(b"".join(b'{"id":%d,"verb":"counters"}\n' % number for number in range(10, 1000)))
    assert len(_of(talk.process.stdout).readlines()) < 200  # up to its end
    assert talk.process.wait(10) == 1
    assert module_namespace.read(SOMAXCONN) == before
    assert not module_namespace.exists("/run/autotune/journal")


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/1/environ",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/nginx/../shadow",
        "/sys/../etc/shadow",
        "/proc/sys/kernel/core_pattern",
        "relative",
        "",
        "/dev/mem",
        "/*",
        "/etc/*",
        "/home/*/*/*",
        "/sys/*/*/*/*/*/*/*",
        "/proc/*/environ",
        "/sys/*/../../etc/*",
        "/etc/nginx/*\0",
        "tc:eth0/../root",
        "ethtool:eth0/firmware",
    ],
)
def test_a_file_beyond_the_list_is_not_read(module_line: Any, path: str) -> None:
    began = time.monotonic()
    try:
        read = module_line.read((path,))
    except BoardUnfit:
        return
    assert time.monotonic() - began < 2
    assert all(reading.text is None and reading.error for reading in read.values())


@pytest.fixture(scope="module")
def module_line(module_namespace: BoardNamespace) -> Iterator[Any]:
    line = module_namespace.connect()
    yield line
    line.close()


def test_a_link_on_the_list_that_leads_off_it_is_neither_read_nor_written(
    module_namespace: BoardNamespace,
) -> None:
    module_namespace.run(
        "sh",
        "-c",
        "mount -t tmpfs tmpfs /sys/class/net; mkdir /sys/class/net/eth9; ln -s /etc/shadow /sys/class/net/eth9/threaded",
    )
    line = module_namespace.connect()
    path = "/sys/class/net/eth9/threaded"
    try:
        assert "leads to /etc/shadow" in line.read((path,))[path].error
        line.begin(study="s", night=1, holder="h", lease_s=60)
        with pytest.raises(BoardUnfit, match="leads to /etc/shadow"):
            line._ask("switch", writes=[{"path": path, "text": "1"}], server=None)
    finally:
        line.close()
        module_namespace.run("umount", "/sys/class/net")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/shadow", "x"),
        ("/proc/sys/kernel/core_pattern", "|/tmp/x"),
        ("/proc/sysrq-trigger", "b"),
        ("/proc/sys/fs/nr_open", "10"),
        ("/proc/sys/vm/min_free_kbytes", "99999999999"),
        ("/proc/sys/vm/drop_caches", "3"),
        ("/proc/sys/net/core/../../kernel/panic", "1"),
        (SOMAXCONN, "1\n2"),
        (SOMAXCONN, "-1"),
        (SOMAXCONN, "\u0663"),
        (SOMAXCONN + "\0", "1"),
        ("/proc/sys/net/ipv4/tcp_rmem", "1 2 3; reboot"),
    ],
)
def test_a_write_beyond_the_list_changes_nothing_else_either(
    module_namespace: BoardNamespace, module_line: Any, path: str, text: str
) -> None:
    before = module_namespace.read(SOMAXCONN)
    module_line.begin(study="s", night=1, holder="h", lease_s=60)
    try:
        with pytest.raises(BoardUnfit):
            module_line._ask(
                "switch",
                writes=[
                    {"path": "/proc/sys/net/core/netdev_budget", "text": "301"},
                    {"path": path, "text": text},
                ],
                server=None,
            )
        assert "WILL" not in module_namespace.read("/run/autotune/journal")
        assert module_namespace.read(SOMAXCONN) == before
    finally:
        module_line.end()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/cron.d/x", "a/../../x", ".ssh/authorized_keys", "a\0b", "a//b", "x/"]
)
def test_a_file_to_be_served_stays_below_its_directory(module_line: Any, name: str) -> None:
    file = {"name": name, "content_base64": base64.b64encode(b"x").decode()}
    with pytest.raises(BoardUnfit, match=r"plain relative file name|NUL"):
        module_line._ask("begin", **{**NIGHT, "files": [file]})


def test_files_that_stand_in_each_others_way_end_the_beginning_and_nothing_is_left(
    module_namespace: BoardNamespace, module_line: Any
) -> None:
    files = [{"name": name, "content_base64": ""} for name in ("a", "a/b")]
    with pytest.raises(AutotuneError, match=r"File exists|Not a directory"):
        module_line._ask("begin", **{**NIGHT, "files": files})
    assert not module_namespace.exists("/run/autotune/journal")
    assert module_line.status().held_by == ""


def test_an_edit_that_is_no_text_is_refused_before_anything_is_changed(module_line: Any) -> None:
    module_line.begin(study="s", night=1, holder="h", lease_s=60)
    try:
        for text in ("a\0b", "a\ud800b"):
            edits = [{"path": "/etc/nginx/nginx.conf", "text": text}]
            server = {**SWITCH["server"], "conf": "", "conf_path": "/etc/nginx/nginx.conf", "edits": edits}
            with pytest.raises(BoardUnfit, match="holds a NUL, or what is no text"):
                module_line._ask("switch", writes=[], server=server)
    finally:
        module_line.end()


def test_a_controller_of_another_protocol_is_told_so(module_line: Any) -> None:
    with pytest.raises(BoardUnreachable, match="speaks protocol") as refused:
        module_line._ask("hello", protocol=PROTOCOL + 1, controller="x")
    assert not isinstance(refused.value, BoardMisunderstood)


def test_a_users_configuration_with_a_file_of_somebody_elses_is_not_even_asked_about(
    module_namespace: BoardNamespace,
) -> None:
    """`nginx -T` loads what load_module names."""
    module_namespace.run(
        "sh", "-c",
        "mount -t tmpfs tmpfs /etc/nginx; echo 'include x/*.conf; events {}' > /etc/nginx/nginx.conf; mkdir /etc/nginx/x;"
        " echo 'load_module /run/x.so;' > /etc/nginx/x/a.conf; chown 65534 /etc/nginx/x/a.conf",
    )  # fmt: skip
    line = module_namespace.connect()
    try:
        found = line.read_nginx("/etc/nginx/nginx.conf")
        assert found.problem.startswith("/etc/nginx/x/a.conf is not root's alone")
        assert dict(found.files) == {}
    finally:
        line.close()
        module_namespace.run("umount", "/etc/nginx")
