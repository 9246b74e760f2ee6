"""The agent's lists: what it may write, and what it never does, whoever asks."""

from __future__ import annotations

import pytest

from autotune.agent import allowed
from autotune.agent.faults import Fault
from autotune.agent.kernel_files import normalise

SYS = "/proc/sys/"
GIB = 1 << 30


def write(path: str, text: str, original: str | None = None, memory: int = 8 * GIB) -> None:
    allowed.check_write(path, text, memory_bytes=memory, originals={path: original})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (SYS + "net/core/somaxconn", "65535"),
        (SYS + "net/ipv4/tcp_rmem", "4096 131072 6291456"),
        (SYS + "net/ipv4/ip_local_port_range", "10240 65535"),
        (SYS + "net/ipv4/tcp_congestion_control", "bbr"),
        (SYS + "net/ipv4/tcp_adv_win_scale", "-2"),
        (SYS + "net/ipv4/tcp_notsent_lowat", "4294967295"),
        (SYS + "vm/page-cluster", "0"),
        ("/sys/kernel/mm/transparent_hugepage/defrag", "defer+madvise"),
    ],
)
def test_ordinary_tuning_is_allowed(path: str, text: str) -> None:
    write(path, text)


@pytest.mark.parametrize(
    "path",
    [
        SYS + "fs/nr_open",
        SYS + "fs/file-max",
        SYS + "kernel/sysrq",
        SYS + "kernel/core_pattern",
        SYS + "kernel/panic",
        "/proc/sysrq-trigger",
        SYS + "net/ipv4/tcp_mem",
        SYS + "net/ipv4/ip_forward",
        SYS + "net/ipv4/conf/all/rp_filter",
        SYS + "net/ipv4/icmp_echo_ignore_all",
        SYS + "net/ipv4/ip_unprivileged_port_start",
        SYS + "net/core/bpf_jit_harden",
        SYS + "vm/overcommit_memory",
        SYS + "vm/panic_on_oom",
        SYS + "vm/drop_caches",
        SYS + "vm/nr_hugepages",
        SYS + "vm/mmap_min_addr",
        "/sys/class/net/lo/mtu",
        "/sys/devices/system/cpu/cpu1/online",
        "/etc/sysctl.conf",
        "/etc/passwd",
        "/dev/sda",
        "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan",
        SYS + "net/core/../../kernel/sysrq",
        "net/core/somaxconn",
        SYS + "net/core/somaxconn\n",
        SYS + "net/core/" + "a" * 300,
        "",
    ],
)
def test_paths_that_are_never_written_are_refused(path: str) -> None:
    with pytest.raises(Fault) as refusal:
        write(path, "1")
    assert refusal.value.kind == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "1\n2",
        "1;2",
        "{1}",
        "$(id)",
        "`id`",
        "1 2",
        "-1",
        "0x10",
        "1\0",
        "１",
        "",
        " 1",
        "1 ",
        "9" * 30,
        "a",
        "'1'",
        "#",
    ],
)
def test_hostile_and_nonsensical_values_are_refused(text: str) -> None:
    with pytest.raises(Fault):
        write(SYS + "net/core/somaxconn", text)


@pytest.mark.parametrize(
    "text", ["8192 4096 1024", "4096 16384", "1 2 3 4", "4096  16384 32768", "a b c", "1\t2\t3"]
)
def test_vectors_that_the_kernel_would_take_and_nobody_means_are_refused(text: str) -> None:
    with pytest.raises(Fault):
        write(SYS + "net/ipv4/tcp_rmem", text)


@pytest.mark.parametrize("text", ["22 65535", "40000 40010", "1024 70000"])
def test_a_port_range_keeps_services_and_enough_ports(text: str) -> None:
    with pytest.raises(Fault):
        write(SYS + "net/ipv4/ip_local_port_range", text)


def test_what_protects_connections_is_never_lowered() -> None:
    path = SYS + "net/ipv4/tcp_max_tw_buckets"
    write(path, "131072", original="131072")
    write(path, "262144", original="131072")
    with pytest.raises(Fault, match="never lowered"):
        write(path, "131071", original="131072")


def test_reserved_memory_stays_under_five_percent() -> None:
    path = SYS + "vm/min_free_kbytes"
    write(path, str(GIB // 1024 * 5 // 100), memory=GIB)
    with pytest.raises(Fault, match="5 %"):
        write(path, str(GIB // 1024 * 6 // 100), memory=GIB)


@pytest.mark.parametrize("name", ["sh", "nginx;id", "../bin/sh", "/usr/sbin/nginx", ""])
def test_only_the_listed_programs_are_run(name: str) -> None:
    with pytest.raises(Fault):
        allowed.find_program(name)


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/home/someone/.ssh/id_rsa", "/etc/nginx/../shadow", "/proc/1/environ", "/proc/kcore"],
)
def test_other_peoples_files_are_not_read(path: str) -> None:
    with pytest.raises(Fault):
        allowed.check_readable(path)


QUEUES = "/sys/class/net/no-such-card/queues/"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (QUEUES + "rx-0/rps_cpus", "ff"),
        (QUEUES + "tx-3/xps_cpus", "f,00000000"),
        (QUEUES + "rx-0/rps_flow_cnt", "4096"),
        ("/sys/class/net/no-such-card/threaded", "1"),
        ("/sys/block/no-such-disk/queue/read_ahead_kb", "128"),
    ],
)
def test_queues_and_read_ahead_may_be_written(path: str, text: str) -> None:
    write(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (QUEUES + "rx-0/rps_cpus", "0f"),
        (QUEUES + "rx-0/rps_cpus", "f,0"),
        (QUEUES + "rx-0/rps_cpus", "0-3"),
        (QUEUES + "rx-0/rps_flow_cnt", "-1"),
        (QUEUES + "rx-0/../../flags", "1"),
        (QUEUES + "tx-0/tx_maxrate", "1"),
        ("/sys/class/net/no-such-card/threaded", "2"),
        ("/sys/class/net/no-such-card/mtu", "1500"),
        ("/sys/block/no-such-disk/queue/scheduler", "none"),
    ],
)
def test_what_lies_beside_them_and_other_texts_are_refused(path: str, text: str) -> None:
    with pytest.raises(Fault):
        write(path, text)


@pytest.mark.parametrize(
    ("raw", "mask"),
    [("00\n", "0"), ("00000000,0000000f\n", "f"), ("0f,00000000\n", "f,00000000"), ("3\n", "3")],
)
def test_a_mask_is_compared_without_its_padding(raw: str, mask: str) -> None:
    assert normalise(QUEUES + "rx-0/rps_cpus", raw) == mask
