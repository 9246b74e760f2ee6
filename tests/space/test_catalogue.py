"""The built-in catalogue: honest, complete, and holding what the published guides use."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from autotune.space.catalogue import (
    CATALOGUE,
    DENIED,
    builds,
    denied_reason,
    device,
    fpm,
    network,
    nginx,
    overlapping,
    power,
    sysctl,
    thp,
)
from autotune.space.setting import NUMERIC, Kind, Setting
from autotune.space.value import Value

SETTINGS = [pytest.param(setting, id=id_) for id_, setting in CATALOGUE.items()]

HAND_TUNED: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:tcp_nopush": True,
    "nginx:tcp_nodelay": True,
    "nginx:worker_processes": 8,
    "nginx:worker_connections": 2048,
    "nginx:worker_cpu_affinity": "auto",
    "nginx:worker_rlimit_nofile": 65_535,
    "nginx:client_body_buffer_size": 128 << 10,
    "nginx:client_max_body_size": 10 << 20,
    "nginx:client_header_buffer_size": 1 << 10,
    "nginx:large_client_header_buffers.number": 4,
    "nginx:large_client_header_buffers.size": 4 << 10,
    "nginx:output_buffers.number": 4,
    "nginx:output_buffers.size": 32 << 10,
    "nginx:postpone_output": 1460,
    "sysctl:net.core.rmem_max": 134_217_728,
    "sysctl:net.core.wmem_max": 134_217_728,
    "sysctl:net.core.rmem_default": 16_777_216,
    "sysctl:net.core.wmem_default": 16_777_216,
    "sysctl:net.ipv4.tcp_rmem": (4096, 87_380, 67_108_864),
    "sysctl:net.ipv4.tcp_wmem": (4096, 65_536, 67_108_864),
    "sysctl:net.core.somaxconn": 8192,
    "sysctl:net.ipv4.tcp_max_syn_backlog": 8192,
    "sysctl:net.ipv4.tcp_tw_reuse": 1,
    "sysctl:net.ipv4.tcp_fin_timeout": 15,
    "sysctl:net.ipv4.tcp_congestion_control": "bbr",
    "sysctl:net.core.default_qdisc": "fq",
    "sysctl:net.ipv4.tcp_fastopen": 3,
    "thp:enabled": "always",
    "thp:defrag": "always",
}
OTHER_GUIDES: list[tuple[str, Value]] = [
    ("nginx:worker_connections", 32_768),
    ("nginx:timer_resolution", 1000),
    ("nginx:listen.fastopen", 4096),
    ("nginx:keepalive_requests", 300_000),
    ("nginx:open_file_cache", 200_000),
    ("nginx:worker_rlimit_nofile", 100_000),
    ("nginx:send_timeout", 2),
    ("nginx:sendfile_max_chunk", 512 << 10),
    ("nginx:worker_connections", 768),
    ("sysctl:net.core.somaxconn", 128),
    ("sysctl:net.core.netdev_max_backlog", 262_144),
    ("sysctl:net.core.netdev_budget", 50_000),
    ("sysctl:net.ipv4.tcp_notsent_lowat", 4_294_967_295),
    ("sysctl:net.ipv4.tcp_notsent_lowat", 131_072),
    ("sysctl:net.core.busy_read", 50),
    ("sysctl:vm.stat_interval", 10),
    ("sysctl:vm.swappiness", 10),
    ("sysctl:net.ipv4.tcp_rmem", (4096, 131_072, 33_554_432)),
]


def test_every_family_has_what_a_night_needs() -> None:
    assert len(nginx.SETTINGS) >= 30
    assert len(sysctl.SETTINGS) >= 40
    assert [setting.id for setting in thp.SETTINGS] == ["thp:enabled", "thp:defrag"]


def test_no_id_stands_there_twice() -> None:
    rooms = (nginx, builds, fpm, sysctl, thp, power, network, device)
    assert len(CATALOGUE) == sum(len(room.SETTINGS) for room in rooms)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_says_why_when_how_much_and_where_from(setting: Setting) -> None:
    assert re.fullmatch(r"[A-Za-z0-9`].{15,}\.", setting.why), "one sentence"
    assert setting.bites
    assert re.match(r"(nginx\.org|Linux|php\.net|the capstone's step 8; gcc), ", setting.source)
    assert re.fullmatch(r"[^/]+/[^/]+/[^/]+", setting.effect), "1 KB / 100 KB / PHP"


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_has_limits_that_make_sense(setting: Setting) -> None:
    if setting.kind in NUMERIC or setting.kind is Kind.VECTOR:
        assert setting.low is not None
        assert setting.high is not None
        assert setting.low < setting.high
        assert setting.low >= 0 or setting.id in {
            "nginx:worker_priority",
            "sysctl:net.ipv4.tcp_adv_win_scale",
        }
    if setting.kind is Kind.TIME:
        assert setting.unit in {"us", "ms", "s"}
    assert len(set(setting.choices + setting.specials)) == len(setting.choices + setting.specials)


@pytest.mark.parametrize(("id_", "value"), [*HAND_TUNED.items(), *OTHER_GUIDES])
def test_the_limits_hold_what_is_published(id_: str, value: Value) -> None:
    CATALOGUE[id_].check(value)


def test_what_changes_the_service_is_marked() -> None:
    marked = {id_ for id_, setting in CATALOGUE.items() if setting.changes_service}
    assert marked >= {
        "nginx:access_log",
        "nginx:gzip",
        "nginx:etag",
        "nginx:server_tokens",
        "nginx:open_file_cache",
        "nginx:client_max_body_size",
        "nginx:large_client_header_buffers.size",
    }
    assert not marked & {"nginx:sendfile", "nginx:access_log.buffer", "nginx:keepalive_requests"}


def test_what_loopback_makes_pointless_is_marked() -> None:
    marked = {id_ for id_, setting in CATALOGUE.items() if setting.loopback}
    assert marked >= {
        "sysctl:net.core.busy_read",
        "sysctl:net.core.default_qdisc",
        "sysctl:net.core.netdev_budget",
        "sysctl:net.ipv4.tcp_limit_output_bytes",
        "nginx:listen.fastopen",
    }
    # bbr's pacing costs a quarter of the throughput of 100 KB files over loopback: that is anything but pointless.
    assert "sysctl:net.ipv4.tcp_congestion_control" not in marked


def test_nothing_in_the_catalogue_is_denied() -> None:
    assert {id_: denied_reason(id_) for id_ in CATALOGUE if denied_reason(id_)} == {}


def test_every_denial_has_a_reason_and_an_id_pattern() -> None:
    for pattern, reason in DENIED:
        assert re.match(r"(nginx|sysctl|thp):", pattern), pattern
        assert len(reason) > 15, pattern
        assert any(fnmatchcase(example, pattern) for example in (pattern.replace("*", "x"),))


@pytest.mark.parametrize(
    "id_",
    [
        "sysctl:fs.nr_open",
        "sysctl:fs.file-max",
        "sysctl:kernel.panic",
        "sysctl:kernel.sysrq",
        "sysctl:kernel.randomize_va_space",
        "sysctl:net.ipv4.tcp_mem",
        "sysctl:net.ipv4.ip_forward",
        "sysctl:net.ipv4.conf.all.rp_filter",
        "sysctl:net.ipv4.conf.eth0.forwarding",
        "sysctl:net.ipv4.tcp_max_orphans",
        "sysctl:net.ipv4.tcp_max_tw_buckets",
        "sysctl:net.ipv4.ip_unprivileged_port_start",
        "sysctl:vm.overcommit_memory",
        "sysctl:vm.panic_on_oom",
        "sysctl:vm.drop_caches",
        "sysctl:vm.nr_hugepages",
        "sysctl:vm.min_free_kbytes",
        "sysctl:vm/swappiness",
        "sysctl:net..core",
        "nginx:include",
        "nginx:load_module",
        "nginx:user",
        "nginx:proxy_pass",
        "nginx:fastcgi_pass",
        "nginx:proxy_temp_path",
        "nginx:root",
        "nginx:perl_set",
        "nginx:content_by_lua_block",
        "nginx:ssl_engine",
        "nginx:error_log",
    ],
)
def test_what_must_never_change_is_denied_with_a_reason(id_: str) -> None:
    assert denied_reason(id_)
    assert id_ not in CATALOGUE


@pytest.mark.parametrize(
    ("id_", "canonical"),
    [
        ("cpufreq:policy4.governor", "cpufreq:all.governor"),
        ("cpufreq:big.ondemand.up_threshold", "cpufreq:all.ondemand.up_threshold"),
        ("devfreq:fb000000-gpu.governor", "devfreq:dmc.governor"),
        ("irq:eth0.affinity", "irq:nic.affinity"),
        ("irq:enP4p65s0.12.affinity", "irq:nic.0.affinity"),
        ("net:eth0.rps_cpus", "net:nic.rps_cpus"),
        ("block:nvme0n1.read_ahead_kb", "block:site.read_ahead_kb"),
    ],
)
def test_a_template_stands_for_one_setting_of_every_device(id_: str, canonical: str) -> None:
    assert id_ in CATALOGUE
    assert id_ not in list(CATALOGUE)
    assert CATALOGUE[id_] == CATALOGUE[canonical].model_copy(update={"id": id_})


@pytest.mark.parametrize(
    "id_",
    [
        "cpufreq:policy.governor",
        "cpufreq:fast.governor",
        "cpufreq:policy4.scaling_governor",
        "irq:eth0.x.affinity",
        "irq:eth0/1.affinity",
        "net:../eth0.rps_cpus",
        "net:a-name-that-no-interface-can-have.rps_cpus",
        "block:.read_ahead_kb",
        "nginx:x.sendfile",
        "",
    ],
)
def test_what_no_template_stands_for_is_unknown(id_: str) -> None:
    assert id_ not in CATALOGUE
    assert CATALOGUE.get(id_) is None


def test_ports_for_connecting_leave_a_thousand() -> None:
    ports = CATALOGUE["sysctl:net.ipv4.ip_local_port_range"]
    ports.check((10_240, 65_535))
    with pytest.raises(ValueError, match="at least 1000 above"):
        ports.check((10_240, 10_300))


def test_settings_that_name_one_value_are_known() -> None:
    ids = (
        "cpufreq:all.governor",
        "cpufreq:policy4.governor",
        "cpufreq:policy4.max_freq",
        "irq:nic.affinity",
        "irq:nic.1.affinity",
        "irq:eth1.0.affinity",
    )
    assert overlapping(ids) == (
        ("cpufreq:all.governor", "cpufreq:policy4.governor"),
        ("irq:nic.affinity", "irq:nic.1.affinity"),
    )
