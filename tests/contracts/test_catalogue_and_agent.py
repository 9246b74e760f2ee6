"""The catalogue and the agent's own lists can't drift apart: what one offers the other takes, what one denies both do."""

from __future__ import annotations

import itertools

import pytest

from autotune.actuators import sysctl, thp
from autotune.actuators.discovery import paths_to_read
from autotune.actuators.wording import kernel_text
from autotune.agent.allowed import check_path, check_readable, check_write
from autotune.agent.faults import Fault
from autotune.experiment.study import (
    HandTunedSequence,
    ManagedNginx,
    Placement,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.space.catalogue import CATALOGUE, DENIED, denied_reason
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

STUDY = Study(
    name="contract",
    server=ManagedNginx(files=(ServedFile(path="/index.php", size_bytes=1024),)),
    workloads=(Workload(name="w", urls=(Url(target="/a"),), connections=16, threads=1),),
    placement=Placement.FREE,
    space=SearchSpace(title="none", parameters=()),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)
KERNEL = [setting for setting in CATALOGUE.values() if setting.family in ("sysctl", "thp")]
PORT_RANGE = "sysctl:net.ipv4.ip_local_port_range"
SMALL_BOARD_BYTES = 1 << 30
# One key for every pattern of the kernel's deny list, with a value that would do harm and its value before.
DENIED_EXAMPLES: dict[str, tuple[str, str, str]] = {
    "sysctl:kernel.*": ("kernel.panic", "1", "0"),
    "sysctl:fs.*": ("fs.nr_open", "1024", "1048576"),
    "sysctl:dev.*": ("dev.raid.speed_limit_max", "1", "200000"),
    "sysctl:abi.*": ("abi.vsyscall32", "0", "1"),
    "sysctl:user.*": ("user.max_net_namespaces", "0", "100"),
    "sysctl:debug.*": ("debug.exception-trace", "0", "1"),
    "sysctl:net.ipv4.tcp_mem": ("net.ipv4.tcp_mem", "1 2 3", "1 2 3"),
    "sysctl:net.ipv4.udp_mem": ("net.ipv4.udp_mem", "1 2 3", "1 2 3"),
    "sysctl:net.ipv4.tcp_max_orphans": ("net.ipv4.tcp_max_orphans", "1", "65536"),
    "sysctl:net.ipv4.tcp_max_tw_buckets": ("net.ipv4.tcp_max_tw_buckets", "1", "131072"),
    "sysctl:net.ipv4.ip_forward*": ("net.ipv4.ip_forward", "1", "0"),
    "sysctl:net.ipv4.ip_default_ttl": ("net.ipv4.ip_default_ttl", "8", "64"),
    "sysctl:net.ipv4.ip_unprivileged_port_start": ("net.ipv4.ip_unprivileged_port_start", "0", "1024"),
    "sysctl:net.ipv4.ping_group_range": ("net.ipv4.ping_group_range", "0", "1"),
    "sysctl:net.ipv4.icmp_*": ("net.ipv4.icmp_ratelimit", "0", "1000"),
    "sysctl:net.ipv4.conf.*": ("net.ipv4.conf.all.forwarding", "1", "0"),
    "sysctl:net.ipv4.neigh.*": ("net.ipv4.neigh.default.gc_thresh1", "1", "128"),
    "sysctl:net.ipv4.route.*": ("net.ipv4.route.flush", "1", "0"),
    "sysctl:net.ipv4.*rp_filter*": ("net.ipv4.conf.all.rp_filter", "0", "2"),
    "sysctl:net.ipv6.*": ("net.ipv6.conf.all.disable_ipv6", "1", "0"),
    "sysctl:net.netfilter.*": ("net.netfilter.nf_conntrack_max", "1", "65536"),
    "sysctl:net.bridge.*": ("net.bridge.bridge-nf-call-iptables", "0", "1"),
    "sysctl:net.core.bpf_*": ("net.core.bpf_jit_enable", "0", "1"),
    "sysctl:vm.overcommit_*": ("vm.overcommit_memory", "2", "0"),
    "sysctl:vm.panic_on_oom": ("vm.panic_on_oom", "1", "0"),
    "sysctl:vm.oom_*": ("vm.oom_kill_allocating_task", "1", "0"),
    "sysctl:vm.drop_caches": ("vm.drop_caches", "3", "0"),
    "sysctl:vm.compact_memory": ("vm.compact_memory", "1", "0"),
    "sysctl:vm.nr_*hugepages*": ("vm.nr_hugepages", "512", "0"),
    "sysctl:vm.min_free_kbytes": ("vm.min_free_kbytes", "900000", "67584"),
    "sysctl:vm.mmap_*": ("vm.mmap_min_addr", "0", "65536"),
    "sysctl:vm.max_map_count": ("vm.max_map_count", "100", "65530"),
    "sysctl:vm.*_reserve_*": ("vm.admin_reserve_kbytes", "0", "8192"),
    "sysctl:vm.lowmem_reserve_ratio": ("vm.lowmem_reserve_ratio", "1", "256"),
    "sysctl:*/*": ("net.core/../../kernel/panic", "1", "0"),
    "sysctl:*..*": ("net..core.somaxconn", "1", "4096"),
    "thp:khugepaged*": ("khugepaged/defrag", "0", "1"),
}


def extremes(setting: Setting) -> list[Value]:
    """Both ends of every dimension, and every word."""
    if setting.kind is Kind.SWITCH:
        return [True, False]
    if setting.low is None or setting.high is None:
        return list(setting.choices or ("bbr", "cubic", "reno", "dctcp"))
    ends: list[Value] = [int(setting.low), int(setting.high)]
    if setting.kind is Kind.VECTOR:
        both = (int(setting.low), int(setting.high))
        ordered = [one for one in itertools.product(both, repeat=setting.length) if list(one) == sorted(one)]
        # The range of local ports has to leave room between its ends.
        return [one for one in ordered if setting.id != PORT_RANGE or one[0] != one[1]]
    return [*ends, *setting.specials]


def path_of(setting: Setting) -> str:
    return thp.path_of(setting) if setting.family == "thp" else sysctl.path_of(setting)


@pytest.mark.parametrize("setting", KERNEL, ids=lambda setting: str(setting.id))
def test_the_agent_takes_every_extreme_of_the_catalogue(setting: Setting) -> None:
    path = path_of(setting)
    for value in extremes(setting):
        text = kernel_text(setting, value)
        if text == "unset":
            continue
        check_write(path, text, memory_bytes=SMALL_BOARD_BYTES, originals={path: text})


@pytest.mark.parametrize("setting", KERNEL, ids=lambda setting: str(setting.id))
def test_the_agent_reads_what_discovery_asks_for(setting: Setting) -> None:
    check_readable(path_of(setting))


@pytest.mark.parametrize("family", dict.fromkeys(one.family for one in CATALOGUE.values()))
def test_the_agent_reads_what_every_discovery_asks_for(family: str) -> None:
    asked = [one for one in CATALOGUE.values() if one.family == family]
    paths = paths_to_read(asked, STUDY, "eth0")
    assert len(paths) >= 3
    for path in paths:
        if path.startswith("/"):  # the agent's own words are no files
            check_readable(_example(path))


def _example(path: str) -> str:
    """A path that a pattern stands for, which this machine need not have."""
    for pattern, name in {
        "modules-enabled/*": "modules-enabled/50-mod-geoip.conf",
        "/php/*/": "/php/8.2/",
        "conf.d/*": "conf.d/10-opcache",
        "/devices/*/net": "/devices/virtio99/net",
    }.items():
        path = path.replace(pattern, name)
    return path.replace("*", "9")


@pytest.mark.parametrize("setting", KERNEL, ids=lambda setting: str(setting.id))
@pytest.mark.parametrize(
    "text", ["", " ", "1\n2", "1;2", "$(id)", "`id`", "1 2 3 4", "-99999999999", "é", "\0", "1" * 200]
)
def test_the_agent_refuses_what_no_setting_writes(setting: Setting, text: str) -> None:
    with pytest.raises(Fault):
        check_write(path_of(setting), text, memory_bytes=SMALL_BOARD_BYTES, originals={})


def test_every_denied_pattern_of_the_kernel_has_an_example_here() -> None:
    patterns = {pattern for pattern, _ in DENIED if not pattern.startswith("nginx:")}
    assert patterns == set(DENIED_EXAMPLES)


@pytest.mark.parametrize("pattern", DENIED_EXAMPLES)
def test_what_is_denied_is_denied_by_both(pattern: str) -> None:
    key, text, original = DENIED_EXAMPLES[pattern]
    family = pattern.partition(":")[0]
    assert denied_reason(f"{family}:{key}")
    root = "/sys/kernel/mm/transparent_hugepage/" if family == "thp" else "/proc/sys/"
    path = root + (key if family == "thp" else key.replace(".", "/"))
    with pytest.raises(Fault) as refused:
        check_write(path, text, memory_bytes=SMALL_BOARD_BYTES, originals={path: original})
    assert refused.value.kind == "refused"


def test_the_catalogue_asks_for_no_path_that_the_agent_denies() -> None:
    for setting in KERNEL:
        check_path(path_of(setting))


def test_a_kernel_text_is_one_short_line() -> None:
    for setting in KERNEL:
        for value in extremes(setting):
            text = kernel_text(setting, value)
            assert text.isprintable()
            assert text.isascii()
            assert len(text) <= 64
