"""php-fpm for real: every extreme of every setting started by an agent in a namespace and answering, and all of it gone after."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from paper_board import plan
from php_board import PAGE, PHP_STUDY, SETTINGS, this_machine

from autotune.actuators.discovery import Discovery
from autotune.agent.allowed import find_program
from autotune.board.connection import Connection
from autotune.board.facts import BoardFacts
from autotune.board.records import (
    Begun,
    LoadOrder,
    LoadUrl,
    PhpOrder,
    PutFile,
    ServerOrder,
    Switched,
    UrlTruth,
)
from autotune.errors import AutotuneError, BoardUnreachable
from autotune.load.gates import Answer, judge
from autotune.runner.session import served_bytes
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value
from conftest import NOBODY, BoardNamespace

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx")]

ADDRESS, PORT = "127.0.0.2", 8088
if not find_program("php-fpm"):
    pytest.skip("php-fpm is not installed: scripts/setup --dev", allow_module_level=True)


@cache
def machine() -> tuple[Discovery, BoardFacts]:
    return this_machine()


@dataclass(frozen=True, slots=True)
class PhpNight:
    """A begun night that serves the study's files."""

    board: BoardNamespace
    line: Connection
    begun: Begun

    def order(self, chosen: dict[str, Value] | None = None, *, php: PhpOrder | None = None) -> ServerOrder:
        found, facts = machine()
        server = plan(chosen or {}, found, study=PHP_STUDY, facts=facts, begun=self.begun).server
        return ServerOrder(
            conf=server.conf,
            workers=server.workers,
            listen=server.listen,
            cpus=(),
            urls=tuple(
                UrlTruth(url=f"http://{ADDRESS}:{PORT}{file.path}", address=ADDRESS)
                for file in PHP_STUDY.server.files  # type: ignore[union-attr]
            ),
            php=php or server.php,
        )

    def serve(self, chosen: dict[str, Value] | None = None) -> Switched:
        """Switches, which must pass, and both files must answer whole."""
        switched = self.line.switch((), self.order(chosen))
        assert (switched.step, switched.reason) == ("", "")
        assert [(one.status, one.length) for one in switched.urls] == [(200, 5_000), (200, 1_000)]
        return switched

    def processes(self) -> list[tuple[int, str]]:
        """php-fpm's, by pid and command line, the master first."""
        found = [(pid, line) for pid, name, line in self.board.processes() if name.startswith("php-fpm")]
        return sorted(found, key=lambda one: "master" not in one[1])

    @property
    def run_dir(self) -> str:
        return self.begun.conf_path.rpartition("/")[0]


def begin(board: BoardNamespace, *, uid: int = 0) -> PhpNight:
    line = board.connect(uid=uid)
    files = tuple(
        PutFile(
            name=file.path.lstrip("/"), content_base64=base64.b64encode(served_bytes(file)).decode("ascii")
        )
        for file in PHP_STUDY.server.files  # type: ignore[union-attr]
    )
    begun = line.begin(study="php", night=1, holder="a test", lease_s=60.0, files=files)
    return PhpNight(board, line, begun)


@pytest.fixture
def night(board_namespace: BoardNamespace) -> PhpNight:
    return begin(board_namespace)


def test_a_page_is_served_through_php_fpm_and_is_the_same_every_time(night: PhpNight) -> None:
    first = night.serve()
    second = night.serve({"fpm:pm": "static", "fpm:max_children": 3, "fpm:listen.socket": "tcp"})
    assert first.urls[0].sha256 == second.urls[0].sha256
    assert first.urls[0].wire_bytes == second.urls[0].wire_bytes
    assert "php" in second.timings_ms
    lines = [line for _, line in night.processes()]
    assert len(lines) == 4
    assert lines[0].startswith(f"php-fpm: master process ({night.run_dir}/")


def test_children_run_as_the_pools_user_and_only_nginx_may_connect(night: PhpNight) -> None:
    night.serve()
    (master, _), *children = night.processes()
    assert Path(f"/proc/{master}").stat().st_uid == 0
    assert children
    assert all(Path(f"/proc/{pid}").stat().st_uid != 0 for pid, _ in children)
    socket = night.board.run("stat", "-c", "%U %a", f"{night.run_dir}/php.sock").stdout
    assert socket == "www-data 600\n"


def test_the_end_leaves_no_process_and_no_socket(night: PhpNight) -> None:
    night.serve({"fpm:pm": "static"})
    ended = night.line.end()
    assert ended.left == ()
    assert night.processes() == []
    assert not night.board.exists(night.run_dir)


def test_a_switch_without_php_ends_it(night: PhpNight) -> None:
    night.serve()
    night.line.switch((), None)
    assert night.processes() == []
    assert not night.board.exists(f"{night.run_dir}/php.sock")


def test_a_dead_agents_php_fpm_is_found_and_ended(night: PhpNight) -> None:
    night.serve({"fpm:pm": "static"})
    (master, _), *_ = night.processes()
    os.kill(master, signal.SIGKILL)  # its children live on, without a parent
    os.kill(night.line.agent_pid, signal.SIGKILL)
    ended = night.board.connect().end()
    assert ended.left == ()
    assert night.processes() == []


@pytest.mark.parametrize("after_s", [0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1])
def test_an_agent_that_dies_in_a_switch_leaves_nothing(night: PhpNight, after_s: float) -> None:
    order = night.order({"fpm:pm": "static", "fpm:max_children": 8})
    night.line.switch((), order)
    killer = threading.Timer(after_s, os.kill, (night.line.agent_pid, signal.SIGKILL))
    killer.start()
    with contextlib.suppress(BoardUnreachable):
        night.line.switch((), order)
    killer.join()
    # Its guardian has a moment to be done; what it leaves is the next one's to find.
    until = time.monotonic() + 5
    while night.board.exists(night.run_dir) and time.monotonic() < until:
        time.sleep(0.02)
    assert night.processes() == []
    assert not [name for _, name, _ in night.board.processes() if name == "nginx"]
    assert not night.board.exists(night.run_dir)


def load(*, connections: int = 4) -> LoadOrder:
    return LoadOrder(
        urls=(LoadUrl(url=f"http://{ADDRESS}:{PORT}{PAGE.path}"),),
        address=ADDRESS,
        seed=0,
        threads=1,
        connections=connections,
        warmup_s=0.0,
        duration_s=1.0,
        marker="report0123456789",
        cpus=(),
    )


def test_a_load_counts_phps_cpu_too_and_tells_of_its_master(night: PhpNight) -> None:
    night.serve({"fpm:pm": "static", "fpm:max_children": 2})
    seen = night.line.load(load())
    (master, _), *children = night.processes()
    assert master in seen.workers_before
    assert seen.workers_before == seen.workers_after
    spent = sum(float(_cpu_ticks(pid)) for pid, _ in children) / os.sysconf("SC_CLK_TCK")
    assert seen.server_cpu_s >= 0.5 * spent > 0


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_master_that_was_killed_is_missing_after_the_load(night: PhpNight) -> None:
    night.serve({"fpm:pm": "static"})
    (master, _), *_ = night.processes()
    os.kill(master, signal.SIGKILL)
    seen = night.line.load(load())
    assert master in seen.workers_before
    assert master not in seen.workers_after
    night.serve()
    assert all(pid != master for pid, _ in night.processes())


def test_a_backlog_that_overflows_is_the_configurations_failure(night: PhpNight) -> None:
    served = night.serve({"fpm:pm": "static", "fpm:max_children": 1, "fpm:listen.backlog": 16})
    order = load(connections=64)
    judged = judge(night.line.load(order), order, answers=[Answer(wire_bytes=served.urls[0].wire_bytes)])
    assert judged.measurement is None
    assert judged.blame == "configuration"
    assert "status 400 or above" in judged.reason


def test_every_setting_of_php_is_taken_without_a_complaint(night: PhpNight) -> None:
    chosen: dict[str, Value] = {
        "fpm:opcache.validate_timestamps": False,
        "fpm:opcache.revalidate_freq": 60,
        "fpm:opcache.jit": "function",
        "fpm:opcache.jit_buffer_size": 2 << 20,
        "fpm:opcache.memory_consumption": 64 << 20,
        "fpm:opcache.interned_strings_buffer": 4 << 20,
        "fpm:opcache.max_accelerated_files": 1_000,
        "fpm:realpath_cache_size": 1 << 20,
        "fpm:realpath_cache_ttl": 60,
        "fpm:output_buffering": 8_192,
    }
    assert night.serve(chosen).error_log == ""
    assert night.board.read(f"{night.run_dir}/php-fpm.log") == ""


def test_settings_that_count_only_at_php_s_own_start_bite(night: PhpNight) -> None:
    night.serve({"fpm:opcache.jit": "tracing", "fpm:opcache.memory_consumption": 32 << 20})
    (master, _), *_ = night.processes()
    maps = night.board.run("sh", "-c", f"grep zero /proc/{master}/maps").stdout
    spans = [line.split()[0].split("-") for line in maps.splitlines()]
    shared = sum(int(end, 16) - int(start, 16) for start, end in spans)
    assert (32 + 64) << 20 <= shared < 110 << 20


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("daemonize = no", "daemonize = yes", "daemonize = yes"),
        ("user = www-data", "user = root", "another user"),
        ("listen.mode = 0600", "listen.mode = 0666", "not a value"),
        ("pm = dynamic", "pm = dynamic\nphp_admin_value[auto_prepend_file] = /tmp/x.php", "not among"),
        ("pm = dynamic", "pm = dynamic\ninclude = /etc/php/8.2/fpm/pool.d/www.conf", "not among"),
        ("/php.sock", "/../../php.sock", "listens on"),
        ("pm = dynamic", "pm = dynamic\nenv[PATH] = /tmp", "plain line"),
        ("[autotune]", "[other]", "plain line"),
    ],
)
def test_what_has_no_business_in_it_is_not_started(night: PhpNight, old: str, new: str, reason: str) -> None:
    order = night.order()
    assert order.php is not None
    assert old in order.php.conf
    broken = PhpOrder(conf=order.php.conf.replace(old, new, 1), listen=order.php.listen, cpus=())
    with pytest.raises(AutotuneError, match=reason):
        night.line.switch((), night.order(php=broken))
    assert night.processes() == []


def test_a_value_that_php_fpm_itself_refuses_is_the_configurations_failure(night: PhpNight) -> None:
    order = night.order()
    assert order.php is not None
    text = order.php.conf.replace("pm.min_spare_servers = 1", "pm.min_spare_servers = 0")
    switched = night.line.switch((), night.order(php=PhpOrder(conf=text, listen=order.php.listen, cpus=())))
    assert (switched.step, switched.blame) == ("nginx", "configuration")
    assert "min_spare_servers" in switched.reason
    assert night.processes() == []
    night.serve()


def test_a_port_that_is_taken_is_the_environments_failure(night: PhpNight) -> None:
    script = "import socket, time; s = socket.create_server(('127.0.0.2', 8089)); print(); time.sleep(30)"
    taker = night.board.run(
        "sh", "-c", f'python3 -c "{script}" >/dev/null 2>&1 & echo $!; sleep 0.5'
    ).stdout.strip()
    try:
        switched = night.line.switch((), night.order({"fpm:listen.socket": "tcp"}))
    finally:
        os.kill(int(taker), signal.SIGKILL)
    assert (switched.step, switched.blame) == ("nginx", "environment")
    assert "8089" in switched.reason


def test_a_user_without_root_has_php_too(board_namespace: BoardNamespace) -> None:
    night = begin(board_namespace, uid=NOBODY)
    order = night.order()
    assert order.php is not None
    conf = "\n".join(
        line for line in order.php.conf.split("\n") if not line.startswith(("user", "group", "listen.owner"))
    )
    server = ServerOrder(
        conf=order.conf.replace("user www-data;\n", ""),
        workers=order.workers,
        listen=order.listen,
        cpus=(),
        urls=order.urls,
        php=PhpOrder(conf=conf, listen=order.php.listen, cpus=()),
    )
    switched = night.line.switch((), server)
    assert (switched.step, switched.reason) == ("", "")
    assert [one.status for one in switched.urls] == [200, 200]
    assert night.line.end().left == ()
    assert night.processes() == []


def extremes(setting: Setting) -> list[Value]:
    if setting.kind is Kind.SWITCH:
        return [True, False]
    low, high = setting.low, setting.high
    plain: list[Value] = [] if low is None or high is None else [int(low), int(high)]
    return [*plain, *setting.choices, *setting.specials]


def helped(id_: str, value: Value) -> dict[str, Value]:
    """What an extreme needs beside it, so that it can be had at all."""
    key = id_.partition(":")[2]
    if key in ("start_servers", "min_spare_servers", "max_spare_servers"):
        return {"fpm:max_children": 512 if value == 512 else 5}
    if key == "process_idle_timeout":
        return {"fpm:pm": "ondemand"}
    if key == "opcache.jit_buffer_size":
        return {"fpm:opcache.jit": "tracing"}
    if key == "opcache.interned_strings_buffer":
        return {"fpm:opcache.memory_consumption": 512 << 20}
    if key == "upstream.keepalive":
        return {"nginx:fastcgi_keep_conn": True, "fpm:max_children": 512, "nginx:worker_processes": 1}
    if key == "fastcgi_buffers.size" and value == 1_024:
        return {"nginx:fastcgi_buffer_size": 4_096}
    if key == "fastcgi_buffer_size" and value == 1 << 20:
        return {"nginx:fastcgi_buffers.size": 1 << 20}
    if key == "fastcgi_busy_buffers_size":
        small = {"nginx:fastcgi_buffers.size": 1_024, "nginx:fastcgi_buffer_size": 1_024}
        large = {"nginx:fastcgi_buffers.size": 1 << 20, "nginx:fastcgi_buffers.number": 256}
        return dict(small if value == 1_024 else large if value != "auto" else {})
    return {}


def test_every_extreme_is_started_and_answers(night: PhpNight) -> None:
    """One night for all, for a switch is what is tried: 60 fresh namespaces would take longer."""
    found, _ = machine()
    tried = 0
    refused: list[str] = []
    for setting in SETTINGS:
        for value in extremes(setting):
            chosen = {**helped(setting.id, value), setting.id: value}
            assert not found.missing.get(setting.id)
            switched = night.line.switch((), night.order(chosen))
            tried += 1
            if switched.step or [one.status for one in switched.urls] != [200, 200]:
                refused.append(f"{setting.id} {value}: {switched.step} {switched.reason}")
    assert not refused
    assert tried > 50
