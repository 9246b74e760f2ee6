"""What a board offers, with the reason for everything that it doesn't."""

from __future__ import annotations

import pytest
from paper_board import DEBIAN_CONF, DEBIAN_VERSION, NGINX_ORG_CONF, PINNED, STUDY, discovery, facts

from autotune.actuators.discovery import discover, paths_to_read
from autotune.actuators.nginx_build import NginxBuild
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

FOUND = discovery()


@pytest.mark.parametrize(
    ("id_", "value"),
    [
        ("nginx:sendfile", True),
        ("nginx:tcp_nopush", True),
        ("nginx:worker_connections", 768),
        ("nginx:worker_processes", "auto"),
        ("nginx:worker_cpu_affinity", "off"),
        ("nginx:gzip", True),
        ("nginx:keepalive_requests", 1000),
        ("nginx:sendfile_max_chunk", 2 << 20),
        ("nginx:output_buffers.size", 32 << 10),
        ("nginx:access_log", True),
        ("nginx:access_log.buffer", "unset"),
        ("nginx:open_file_cache", "off"),
        ("nginx:listen.backlog", 511),
        ("nginx:timer_resolution", "unset"),
        ("sysctl:net.core.somaxconn", 4096),
        ("sysctl:net.ipv4.tcp_rmem", (4096, 131_072, 6_291_456)),
        ("sysctl:net.ipv4.tcp_autocorking", True),
        ("sysctl:vm.dirty_ratio", 20),
        ("sysctl:vm.dirty_bytes", "unset"),
        ("sysctl:vm.page-cluster", 3),
        ("thp:enabled", "madvise"),
    ],
)
def test_stock_is_what_the_board_has(id_: str, value: Value) -> None:
    assert FOUND.stock[id_] == value
    assert type(FOUND.stock[id_]) is type(value)


def test_packaged_values_come_before_compiled_ones() -> None:
    conf = NGINX_ORG_CONF.replace(
        "keepalive_timeout  65;",
        "keepalive_timeout 65s 60s; output_buffers 4 64k; open_file_cache max=500 inactive=30s; directio 8m;"
        "server_tokens off; large_client_header_buffers 8 16k;",
    )
    stock = discovery(conf).stock
    assert stock["nginx:keepalive_timeout"] == 65
    assert (stock["nginx:output_buffers.number"], stock["nginx:output_buffers.size"]) == (4, 64 << 10)
    assert (stock["nginx:open_file_cache"], stock["nginx:open_file_cache.inactive"]) == (500, 30)
    assert stock["nginx:directio"] == 8 << 20
    assert stock["nginx:server_tokens"] is False
    assert stock["nginx:large_client_header_buffers.number"] == 8


@pytest.mark.parametrize(
    ("version", "id_", "value"),
    [
        ("1.19.9", "nginx:keepalive_requests", 100),
        ("1.19.10", "nginx:keepalive_requests", 1000),
        ("1.21.3", "nginx:sendfile_max_chunk", 0),
        ("1.21.4", "nginx:sendfile_max_chunk", 2 << 20),
        ("1.9.4", "nginx:output_buffers.number", 1),
        ("1.11.2", "nginx:accept_mutex", True),
        ("1.24.0", "nginx:accept_mutex", False),
    ],
)
def test_compiled_values_are_those_of_the_running_version(version: str, id_: str, value: Value) -> None:
    board = facts(nginx_version=DEBIAN_VERSION.replace("1.22.1", version))
    assert discovery(facts=board).stock[id_] == value


def test_the_compiled_value_of_every_directive_is_known_and_within_its_limits() -> None:
    build = NginxBuild.of(facts())
    for id_, setting in CATALOGUE.items():
        if setting.family == "nginx" and id_ != "nginx:build":
            setting.check(build.default(id_))


@pytest.mark.parametrize(
    ("version", "id_", "reason"),
    [
        (DEBIAN_VERSION.replace("1.22.1", "1.18.0"), "nginx:keepalive_time", "needs nginx 1.19.10"),
        (DEBIAN_VERSION.replace("1.22.1", "1.8.0"), "nginx:listen.reuseport", "needs nginx 1.9.1"),
        (DEBIAN_VERSION.replace("--with-threads", ""), "nginx:aio", "--with-threads"),
        (DEBIAN_VERSION.replace("--with-threads", ""), "nginx:thread_pool.threads", "--with-threads"),
        (DEBIAN_VERSION + " --without-http_gzip_module", "nginx:gzip_comp_level", "without gzip"),
        (DEBIAN_VERSION + " --without-pcre", "nginx:pcre_jit", "regular expressions"),
        (None, "nginx:sendfile", "apt-get install nginx"),
    ],
)
def test_what_this_nginx_lacks_is_missing_with_the_reason(version: str | None, id_: str, reason: str) -> None:
    found = discovery(facts=facts(nginx_version=version))
    assert reason in found.missing[id_]
    assert id_ not in found.stock


def test_aio_offers_what_was_compiled_in() -> None:
    assert FOUND.choices["nginx:aio"] == ("off", "threads")
    assert "threads" in FOUND.value_reason("nginx:aio", "on")
    both = discovery(facts=facts(nginx_version=DEBIAN_VERSION + " --with-file-aio"))
    assert both.value_reason("nginx:aio", "on") == ""


def test_a_key_the_kernel_lacks_is_missing() -> None:
    assert "no /proc/sys/vm/swappiness" in FOUND.missing["sysctl:vm.swappiness"]
    without_thp = discovery(without=("/sys/kernel/mm/transparent_hugepage/enabled",))
    assert "transparent_hugepage" in without_thp.missing["thp:enabled"]


def test_what_cannot_be_written_is_missing_but_its_stock_is_known() -> None:
    path = "/proc/sys/net/core/rmem_max"
    as_root = discovery(read_only=(path,))
    assert "namespace" in as_root.missing["sysctl:net.core.rmem_max"]
    assert as_root.stock["sysctl:net.core.rmem_max"] == 212_992
    as_user = discovery(facts=facts(uid=1000), read_only=(path,))
    assert "run as root" in as_user.missing["sysctl:net.core.rmem_max"]
    assert path not in as_user.kernel_paths


def test_without_root_only_what_needs_root_is_missing() -> None:
    missing = discovery(facts=facts(uid=1000)).missing
    assert "root" in missing["nginx:worker_priority"]
    assert "root" in missing["nginx:worker_rlimit_nofile"]
    assert "nginx:sendfile" not in missing


def test_what_loopback_makes_pointless_is_missing_with_the_reason() -> None:
    for id_, setting in CATALOGUE.items():
        if setting.loopback and id_ in FOUND.stock:
            assert FOUND.missing[id_] == f"no use over loopback: {setting.loopback}"
    assert "sysctl:net.ipv4.tcp_congestion_control" not in FOUND.missing


def test_what_one_cpu_makes_pointless_is_missing_only_there() -> None:
    pinned_to_one = discovery(study=PINNED, facts=facts(cpus=(0, 1)))
    pinned_to_more = discovery(study=PINNED)
    for id_, setting in CATALOGUE.items():
        if setting.pinned:
            assert setting.pinned in pinned_to_one.missing[id_]
            assert id_ not in pinned_to_more.missing
            assert id_ not in FOUND.missing


def test_a_value_the_setting_cannot_hold_makes_it_missing() -> None:
    assert "can't be read as a switch" in FOUND.missing["sysctl:net.ipv4.tcp_early_demux"]
    by_worker = discovery("worker_cpu_affinity 01 10;" + DEBIAN_CONF)
    assert "CPU for every worker" in by_worker.missing["nginx:worker_cpu_affinity"]


def test_what_is_denied_or_unknown_is_missing_with_the_reason() -> None:
    odd = (
        Setting(id="sysctl:kernel.panic", kind=Kind.INTEGER, why="t"),
        Setting(id="sysctl:net.core.invented", kind=Kind.INTEGER, why="t"),
    )
    found = discover(odd, {}, facts(), STUDY)
    assert found.missing["sysctl:kernel.panic"].startswith("never changed: kernel.*")
    assert found.missing["sysctl:net.core.invented"] == "not in the built-in catalogue"
    assert not [path for path in paths_to_read(odd, STUDY) if "panic" in path or "invented" in path]


def test_congestion_controls_are_those_that_may_be_chosen_here() -> None:
    id_ = "sysctl:net.ipv4.tcp_congestion_control"
    assert FOUND.choices[id_] == ("bbr", "cubic", "reno")
    assert FOUND.value_reason(id_, "bbr") == ""
    assert "modprobe tcp_vegas" in FOUND.value_reason(id_, "vegas")
    inside = discovery(without=("/proc/sys/net/core/netdev_max_backlog",))
    assert inside.choices[id_] == ("cubic", "reno")


def test_a_value_is_judged_by_the_catalogues_limits() -> None:
    assert "above the limit" in FOUND.value_reason("nginx:worker_connections", 1 << 20)
    assert FOUND.value_reason("nginx:worker_connections", 1024) == ""
    assert "offers always, defer, madvise, never" in FOUND.value_reason("thp:defrag", "defer+madvise")


def test_kernel_paths_are_those_that_can_be_written() -> None:
    assert FOUND.kernel_paths["/proc/sys/net/ipv4/tcp_rmem"] == "sysctl:net.ipv4.tcp_rmem"
    assert not set(FOUND.kernel_paths.values()) & set(FOUND.missing)


def test_every_path_to_read_is_plain() -> None:
    paths = paths_to_read(tuple(CATALOGUE.values()), STUDY)
    assert "/etc/nginx/nginx.conf" in paths
    assert "/proc/sys/vm/page-cluster" in paths
    roots = ("/proc/sys/", "/proc/self/mountinfo", "/sys/", "/etc/nginx/")
    assert all(path.startswith(roots) and ".." not in path for path in paths)
    assert len(paths) == len(set(paths))


def test_capstone_stock_lies_under_everything() -> None:
    overrides = Configuration.of({"nginx:sendfile": False, "sysctl:net.ipv4.tcp_fin_timeout": 30})
    study = STUDY.model_copy(update={"stock": "capstone", "stock_overrides": overrides})
    assert discovery(study=study).stock["nginx:sendfile"] is False
    assert discovery(study=study).stock["sysctl:net.ipv4.tcp_fin_timeout"] == 30
    as_found = STUDY.model_copy(update={"stock_overrides": overrides})
    assert discovery(study=as_found).stock["nginx:sendfile"] is True


def test_a_board_without_a_readable_configuration_still_answers() -> None:
    found = discovery(None)
    assert found.site is None
    assert "/etc/nginx/nginx.conf can't be read" in found.site_problem
    assert found.missing["nginx:sendfile"] == found.site_problem
    assert found.stock["sysctl:net.core.somaxconn"] == 4096
