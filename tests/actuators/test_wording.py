"""How values are written, and what is never written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from paper_board import BEGUN, discovery, plan

from autotune.actuators.wording import (
    kernel_text,
    kernel_value,
    nginx_value,
    nginx_word,
    safe_path,
)
from autotune.errors import SettingUnsupported
from autotune.space.catalogue import CATALOGUE
from autotune.space.value import Value

HOSTILE = [
    "a;b",
    "a}b",
    "a{b",
    "a$b",
    "$(reboot)",
    "${x}",
    "`id`",
    "a#b",
    'a"b',
    "a'b",
    "a\\b",
    "a\nb",
    "a\rb",
    "a\0b",
    "a b",
    "a\tb",
    "",
    "é",
    "\u202e",
    "../../etc/passwd",
    "x" * 65,
    "on;include /etc/passwd",
]


@pytest.mark.parametrize(
    ("id_", "value", "word"),
    [
        ("nginx:sendfile", True, "on"),
        ("nginx:sendfile", False, "off"),
        ("nginx:worker_processes", 4, "4"),
        ("nginx:worker_processes", "auto", "auto"),
        ("nginx:worker_priority", -5, "-5"),
        ("nginx:postpone_output", 1460, "1460"),
        ("nginx:postpone_output", 0, "0"),
        ("nginx:sendfile_max_chunk", 2 << 20, "2m"),
        ("nginx:client_max_body_size", 1 << 30, "1024m"),
        ("nginx:output_buffers.size", 32 << 10, "32k"),
        ("nginx:timer_resolution", 100, "100ms"),
        ("nginx:keepalive_timeout", 75, "75s"),
        ("nginx:aio", "threads", "threads"),
        ("nginx:directio", "off", "off"),
        ("nginx:worker_cpu_affinity", 0b1010, "1010"),
    ],
)
def test_a_directive_is_written_as_nginx_reads_it(id_: str, value: Value, word: str) -> None:
    assert nginx_word(CATALOGUE[id_], value) == word


@pytest.mark.parametrize(
    ("id_", "word", "value"),
    [
        ("nginx:sendfile", "on", True),
        ("nginx:keepalive_timeout", "75s", 75),
        ("nginx:keepalive_timeout", "75", 75),
        ("nginx:keepalive_timeout", "1m15s", 75),
        ("nginx:keepalive_time", "1h", 3600),
        ("nginx:accept_mutex_delay", "500ms", 500),
        ("nginx:sendfile_max_chunk", "2M", 2 << 20),
        ("nginx:directio", "4m", 4 << 20),
        ("nginx:directio", "off", "off"),
        ("nginx:worker_processes", "auto", "auto"),
        ("nginx:lingering_close", "always", "always"),
    ],
)
def test_a_packaged_word_is_read(id_: str, word: str, value: Value) -> None:
    assert nginx_value(CATALOGUE[id_], word) == value


@pytest.mark.parametrize(
    ("id_", "word"),
    [
        ("nginx:server_tokens", "build"),
        ("nginx:keepalive_timeout", "500ms"),
        ("nginx:keepalive_timeout", "soon"),
        ("nginx:aio", "threads=$pool"),
        ("nginx:worker_processes", "many"),
    ],
)
def test_a_packaged_word_that_the_setting_cannot_hold_is_refused(id_: str, word: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        nginx_value(CATALOGUE[id_], word)


@pytest.mark.parametrize(
    ("id_", "value", "text"),
    [
        ("sysctl:net.ipv4.tcp_autocorking", True, "1"),
        ("sysctl:net.ipv4.tcp_rmem", (4096, 87_380, 67_108_864), "4096 87380 67108864"),
        ("sysctl:net.ipv4.tcp_fin_timeout", 15, "15"),
        ("sysctl:net.ipv4.tcp_adv_win_scale", -2, "-2"),
        ("sysctl:net.core.rmem_max", 134_217_728, "134217728"),
        ("sysctl:net.ipv4.tcp_congestion_control", "bbr", "bbr"),
        ("thp:defrag", "defer+madvise", "defer+madvise"),
    ],
)
def test_a_kernel_value_is_written_and_read_back(id_: str, value: Value, text: str) -> None:
    setting = CATALOGUE[id_]
    assert kernel_text(setting, value) == text
    assert kernel_value(setting, text) == value


@pytest.mark.parametrize(
    ("id_", "text", "value"),
    [
        ("sysctl:net.ipv4.tcp_rmem", "4096\t131072\t6291456\n", (4096, 131_072, 6_291_456)),
        ("thp:enabled", "always [madvise] never\n", "madvise"),
        ("thp:defrag", "always defer [defer+madvise] madvise never", "defer+madvise"),
        ("sysctl:net.core.default_qdisc", "pfifo_fast\n", "pfifo_fast"),
    ],
)
def test_the_kernels_own_ways_of_writing_are_read(id_: str, text: str, value: Value) -> None:
    assert kernel_value(CATALOGUE[id_], text) == value


@pytest.mark.parametrize(
    ("id_", "text"),
    [
        ("sysctl:net.ipv4.tcp_rmem", "4096 131072"),
        ("sysctl:net.ipv4.tcp_autocorking", "2"),
        ("sysctl:vm.swappiness", ""),
        ("sysctl:vm.swappiness", "a b"),
        ("thp:enabled", "always madvise never"),
    ],
)
def test_a_kernel_text_that_the_setting_cannot_hold_is_refused(id_: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        kernel_value(CATALOGUE[id_], text)


FOUND = discovery()


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_no_hostile_text_reaches_a_configuration_or_a_kernel_file(hostile: str) -> None:
    for setting in CATALOGUE.values():
        with pytest.raises(SettingUnsupported):
            nginx_word(setting, hostile)
        with pytest.raises(SettingUnsupported):
            kernel_text(setting, hostile)
        with pytest.raises(SettingUnsupported):
            plan({setting.id: hostile}, FOUND)


@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one not in ("", "x" * 65)], ids=repr)
def test_no_hostile_path_or_address_reaches_a_configuration(hostile: str) -> None:
    with pytest.raises(SettingUnsupported):
        plan(found=FOUND, begun=replace(BEGUN, www_dir=f"/var/{hostile}"))
    with pytest.raises(SettingUnsupported):
        plan(found=FOUND, begun=replace(BEGUN, log_dir=f"/var/{hostile}"))
    with pytest.raises(SettingUnsupported):
        plan(found=FOUND, begun=replace(BEGUN, conf_path=f"/run/{hostile}/nginx.conf"))
    with pytest.raises(SettingUnsupported):
        plan(found=FOUND, address=hostile)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "224.0.0.1", "127.0.0.256", "127.0.0.2:80", "::1", "localhost", "10.0.0.1;"]
)
def test_the_tested_nginx_listens_on_one_address_of_one_machine(address: str) -> None:
    with pytest.raises(SettingUnsupported):
        plan(found=FOUND, address=address)


@pytest.mark.parametrize(
    ("id_", "value"),
    [
        ("nginx:worker_connections", 1 << 30),
        ("nginx:sendfile", 1),
        ("nginx:worker_processes", 2.0),
        ("nginx:connection_pool_size", 520),
        ("nginx:request_pool_size", 4100),
        ("sysctl:net.ipv4.tcp_rmem", (5000, 4096, 8192)),
        ("sysctl:net.ipv4.tcp_rmem", (4096, 4096)),
        ("sysctl:net.core.somaxconn", -1),
        ("sysctl:kernel.panic", 1),
        ("sysctl:net.core.invented", 1),
        ("nginx:include", "x"),
        ("nginx:listen.fastopen", 256),
    ],
)
def test_a_value_beyond_the_catalogue_is_no_plan(id_: str, value: Value) -> None:
    with pytest.raises(SettingUnsupported, match=id_):
        plan({id_: value}, FOUND)


def test_a_good_value_beside_those_is_a_plan() -> None:
    assert "connection_pool_size 528;" in plan({"nginx:connection_pool_size": 528}).server.conf
    assert safe_path(BEGUN.log_dir) == BEGUN.log_dir
