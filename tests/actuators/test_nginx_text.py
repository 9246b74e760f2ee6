"""The text of a tested nginx's configuration: stock unchanged, and each choice at its right place."""

from __future__ import annotations

import pytest
from paper_board import BEGUN, DEBIAN_CONF, PINNED, discovery, facts, lines, plan

from autotune.actuators.nginx import PHP_ONLY
from autotune.actuators.packaged import Directive, parse
from autotune.errors import SettingUnsupported
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

FOUND = discovery()
OURS = {"daemon", "pid", "error_log", "access_log", "server"}


def context(conf: str, name: str) -> tuple[Directive, ...]:
    """The directives of a context: "main", "events", "http" or "server"."""
    directives = parse(conf)
    if name == "main":
        return directives
    if name == "server":
        directives = context(conf, "http")
    return next(one.block or () for one in directives if one.name == name)


def test_stock_is_the_packaged_configuration_with_our_own_site() -> None:
    conf = plan(found=FOUND).server.conf
    original = parse(DEBIAN_CONF)
    http = next(one.block or () for one in original if one.name == "http")
    mine = [
        one for one in context(conf, "http") if one.name not in OURS and not one.name.endswith("_temp_path")
    ]
    theirs = [
        one for one in http if (one.name not in OURS and one.name != "include") or "mime" in str(one.args)
    ]
    assert mine == theirs
    assert context(conf, "events") == next(one.block for one in original if one.name == "events")
    assert [one for one in context(conf, "main") if one.name in ("user", "worker_processes")] == [
        Directive(name="user", args=("www-data",)),
        Directive(name="worker_processes", args=("auto",)),
    ]
    assert context(conf, "server") == (
        Directive(name="listen", args=("127.0.0.2:8088",)),
        Directive(name="root", args=(BEGUN.www_dir,)),
    )


def test_the_tested_nginx_keeps_to_its_own_directories() -> None:
    conf = plan(found=FOUND).server.conf
    assert "/var/log/nginx" not in conf
    assert "/run/nginx.pid" not in conf
    written = [line for line in lines(conf) if "_log " in line or "_path " in line]
    assert len(written) == 7
    assert all(f" {BEGUN.log_dir}/" in line for line in written)
    assert "pid /run/autotune/abc/nginx.pid;" in lines(conf)
    assert "daemon off;" in lines(conf)


@pytest.mark.parametrize(
    ("chosen", "where", "line"),
    [
        ({"nginx:sendfile": False}, "http", "sendfile off;"),
        ({"nginx:worker_connections": 2048}, "events", "worker_connections 2048;"),
        ({"nginx:multi_accept": True}, "events", "multi_accept on;"),
        ({"nginx:accept_mutex_delay": 100}, "events", "accept_mutex_delay 100ms;"),
        ({"nginx:worker_processes": 3}, "main", "worker_processes 3;"),
        ({"nginx:worker_rlimit_nofile": 65_535}, "main", "worker_rlimit_nofile 65535;"),
        ({"nginx:timer_resolution": 100}, "main", "timer_resolution 100ms;"),
        ({"nginx:thread_pool.threads": 8}, "main", "thread_pool default threads=8 max_queue=65536;"),
        ({"nginx:output_buffers.number": 4}, "http", "output_buffers 4 32k;"),
        ({"nginx:output_buffers.size": 65_536}, "http", "output_buffers 2 64k;"),
        ({"nginx:large_client_header_buffers.size": 4096}, "http", "large_client_header_buffers 4 4k;"),
        ({"nginx:open_file_cache": 1000}, "http", "open_file_cache max=1000 inactive=60s;"),
        (
            {"nginx:open_file_cache": 1000, "nginx:open_file_cache.inactive": 20},
            "http",
            "open_file_cache max=1000 inactive=20s;",
        ),
        ({"nginx:open_file_cache.inactive": 20}, "http", "open_file_cache off;"),
        ({"nginx:keepalive_timeout": 10}, "http", "keepalive_timeout 10s;"),
        ({"nginx:access_log": False}, "http", "access_log off;"),
        (
            {"nginx:access_log.buffer": 65_536},
            "http",
            f"access_log {BEGUN.log_dir}/access.log combined buffer=64k;",
        ),
        (
            {"nginx:access_log.buffer": 65_536, "nginx:access_log.flush": 1000},
            "http",
            f"access_log {BEGUN.log_dir}/access.log combined buffer=64k flush=1000ms;",
        ),
        ({"nginx:access_log.flush": 1000}, "http", f"access_log {BEGUN.log_dir}/access.log combined;"),
        ({"nginx:aio": "threads"}, "http", "aio threads;"),
        ({"nginx:directio": 4 << 20}, "http", "directio 4m;"),
        ({"nginx:listen.backlog": 4096}, "server", "listen 127.0.0.2:8088 backlog=4096;"),
        (
            {"nginx:listen.reuseport": True, "nginx:listen.deferred": True, "nginx:listen.sndbuf": 65_536},
            "server",
            "listen 127.0.0.2:8088 reuseport deferred sndbuf=64k;",
        ),
        ({"nginx:worker_cpu_affinity": "auto"}, "main", "worker_cpu_affinity auto;"),
        ({"nginx:worker_cpu_affinity": 0b1100}, "main", "worker_cpu_affinity auto 1100;"),
    ],
)
def test_a_choice_stands_once_and_at_its_right_place(chosen: dict[str, Value], where: str, line: str) -> None:
    conf = plan(chosen, FOUND).server.conf
    name = line.split(maxsplit=1)[0].rstrip(";")
    found = [one for one in context(conf, where) if one.name == name]
    assert [f"{' '.join((one.name, *one.args))};" for one in found] == [line]
    assert sum(one.startswith(f"{name} ") for one in lines(conf)) == 1


def test_nothing_else_moves_when_one_value_is_chosen() -> None:
    stock = lines(plan(found=FOUND).server.conf)
    tuned = lines(plan({"nginx:tcp_nopush": False}, FOUND).server.conf)
    assert [(a, b) for a, b in zip(stock, tuned, strict=True) if a != b] == [
        ("tcp_nopush on;", "tcp_nopush off;")
    ]


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("timer_resolution 100ms;", {"nginx:timer_resolution": "unset"}),
        ("worker_rlimit_nofile 9000;", {"nginx:worker_rlimit_nofile": "unset"}),
        ("worker_cpu_affinity auto;", {"nginx:worker_cpu_affinity": "off"}),
    ],
)
def test_a_packaged_line_can_be_taken_away(line: str, chosen: dict[str, Value]) -> None:
    found = discovery(line + DEBIAN_CONF)
    assert line in lines(plan(found=found).server.conf)
    assert line.split(maxsplit=1)[0] not in plan(chosen, found).server.conf


def test_other_thread_pools_stay() -> None:
    found = discovery("thread_pool big threads=64; thread_pool default threads=4;" + DEBIAN_CONF)
    assert found.stock["nginx:thread_pool.threads"] == 4
    conf = lines(plan({"nginx:thread_pool.threads": 8}, found).server.conf)
    assert "thread_pool big threads=64;" in conf
    assert "thread_pool default threads=8 max_queue=65536;" in conf
    assert "thread_pool default threads=4;" not in conf


def test_a_packaged_log_keeps_its_format_and_condition() -> None:
    packaged_log = "access_log /var/log/nginx/access.log main buffer=32k if=$loud;"
    found = discovery(DEBIAN_CONF.replace("access_log /var/log/nginx/access.log;", packaged_log))
    assert found.stock["nginx:access_log.buffer"] == 32_768
    assert f"access_log {BEGUN.log_dir}/access.log main buffer=32k if=$loud;" in lines(
        plan(found=found).server.conf
    )
    tuned = plan({"nginx:access_log.buffer": "unset"}, found).server.conf
    assert f"access_log {BEGUN.log_dir}/access.log main if=$loud;" in lines(tuned)


def test_a_packaged_log_that_is_off_can_be_turned_on() -> None:
    found = discovery(DEBIAN_CONF.replace("access_log /var/log/nginx/access.log;", "access_log off;"))
    assert found.stock["nginx:access_log"] is False
    assert "access_log off;" in lines(plan(found=found).server.conf)
    assert f"access_log {BEGUN.log_dir}/access.log combined;" in lines(
        plan({"nginx:access_log": True}, found).server.conf
    )


def test_auto_counts_the_online_cpus_whatever_the_server_may_use() -> None:
    assert plan(found=FOUND).server.workers == 4
    assert plan(study=PINNED).server.workers == 4
    assert plan({"nginx:worker_processes": 3}, FOUND).server.workers == 3
    plain = discovery(DEBIAN_CONF.replace("worker_processes auto;", ""))
    assert plain.stock["nginx:worker_processes"] == 1
    assert plan(found=plain).server.workers == 1


@pytest.mark.parametrize(
    ("packaged_line", "chosen", "expected"),
    [
        ("", {}, None),
        ("worker_cpu_affinity auto;", {}, "auto 1110"),
        ("worker_cpu_affinity auto 0011;", {}, "auto 10"),
        ("worker_cpu_affinity 0001 0010;", {}, None),
        ("", {"nginx:worker_cpu_affinity": "auto"}, "auto 1110"),
        ("", {"nginx:worker_cpu_affinity": 0b0101}, "auto 100"),
        ("worker_cpu_affinity auto;", {"nginx:worker_cpu_affinity": "off"}, None),
    ],
)
def test_a_pinned_servers_workers_stay_on_its_cpus(
    packaged_line: str, chosen: dict[str, Value], expected: str | None
) -> None:
    found = discovery(packaged_line + DEBIAN_CONF, study=PINNED)
    conf = plan(chosen, found, study=PINNED).server.conf
    words = [" ".join(one.args) for one in context(conf, "main") if one.name == "worker_cpu_affinity"]
    left_out = found.site.left_out if found.site else ()
    assert words == ([] if expected is None else [expected])
    assert any("worker_cpu_affinity" in one for one in left_out) is bool(packaged_line)


def test_a_mask_without_a_cpu_of_the_server_is_no_plan() -> None:
    with pytest.raises(SettingUnsupported, match="names no CPU"):
        plan({"nginx:worker_cpu_affinity": 0b0001}, study=PINNED)
    with pytest.raises(SettingUnsupported, match="CPUs that this board lacks"):
        plan({"nginx:worker_cpu_affinity": 0b11000}, FOUND)
    with pytest.raises(SettingUnsupported, match="CPUs that this board lacks"):
        plan({"nginx:worker_cpu_affinity": 0}, FOUND)


def test_affinity_is_dropped_when_one_cpu_is_left() -> None:
    two = facts(cpus=(0, 1))
    found = discovery("worker_cpu_affinity auto;" + DEBIAN_CONF, study=PINNED, facts=two)
    assert "one CPU" in found.missing["nginx:worker_cpu_affinity"]
    assert "worker_cpu_affinity" not in plan(found=found, study=PINNED, facts=two).server.conf


def another(setting: Setting) -> Value:
    """A value that isn't the stock one."""
    stock = FOUND.stock[setting.id]
    if isinstance(stock, bool):
        return not stock
    if setting.kind is Kind.CPU_MASK:
        return 1
    if setting.choices:
        return next(one for one in FOUND.choices.get(setting.id, setting.choices) if one != stock)
    return int(setting.high or 0)


@pytest.mark.parametrize(
    "setting",
    [
        one
        for one in CATALOGUE.values()
        if one.family == "nginx" and not one.loopback and one.id not in (*PHP_ONLY, "nginx:build")
    ],
    ids=lambda setting: setting.key,
)
def test_every_directive_of_the_catalogue_has_a_place(setting: Setting) -> None:
    beside: dict[str, Value] = {"nginx:access_log.buffer": 4096, "nginx:open_file_cache": 10}
    beside.pop(setting.id, None)
    assert (
        plan({**beside, setting.id: another(setting)}, FOUND).server.conf != plan(beside, FOUND).server.conf
    )
