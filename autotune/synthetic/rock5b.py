"""The imagined Rock 5B+: its settings as found, and what each of them is worth. Invented, except where a source is named.

Under static 100 KB the eight hand-tuned steps gain what the text they are from says they gained (`PUBLISHED`). The load comes
over a network card that carries it all, so that the card's steps count. The small cores (0-3) carry the card's interrupts:
workers there are slow and in the way. Most settings do nothing, as on a real board; some only do together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from autotune.space.value import Value
from autotune.synthetic.effects import (
    Effect,
    Gain,
    Page,
    Values,
    differs,
    element,
    equals,
    linear,
    off,
    on,
    peak,
    ramp,
    table,
)

CPUS: Final = 8
BIG_CPUS: Final = (4, 5, 6, 7)
MEMORY_BYTES: Final = 8 << 30
OPEN_FILES: Final = 1 << 20

# Requests/s of the text's stock (sendfile off) for 1 KB, 100 KB and PHP.
CAPSTONE_RATES: Final = (45_231.0, 8_942.0, 1_823.0)
# CPU seconds per request of the same: its CPUs were 45, 78 and 92 % busy.
CAPSTONE_CPU_S: Final = (0.45 * CPUS / 45_231, 0.78 * CPUS / 8_942, 0.92 * CPUS / 1_823)
PUBLISHED: Final = (1.256, 1.109, 1.054, 1.059, 1.025, 1.023, 1.015, 1.030)
_STEP: Final = tuple(math.log(ratio) for ratio in PUBLISHED)
CAPSTONE: Final[Mapping[str, Value]] = MappingProxyType(
    {"nginx:sendfile": False, "nginx:worker_connections": 768}
)

_POLICIES: Final = {"policy0": 0.2, "policy4": 0.4, "policy6": 0.4}
_GOVERNORS: Final = ("conservative", "ondemand", "performance", "powersave", "schedutil", "userspace")

OFFERED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **{f"cpufreq:{name}.governor": _GOVERNORS for name in ("all", *_POLICIES)},
        "devfreq:dmc.governor": ("dmc_ondemand", "performance", "powersave", "simple_ondemand", "userspace"),
        "sysctl:net.ipv4.tcp_congestion_control": ("reno", "cubic", "bbr"),
        "pcie:aspm": ("default", "performance", "powersave"),
        "nginx:build": ("distribution", "o2", "o3-cpu"),
    }
)

STOCK: Final[Mapping[str, Value]] = MappingProxyType(
    {
        **{f"cpufreq:{name}.governor": "schedutil" for name in ("all", *_POLICIES)},
        **{
            f"cpufreq:{name}.{tunable}": "unset"
            for name in ("all", *_POLICIES)
            for tunable in (
                "ondemand.io_is_busy",
                "ondemand.sampling_down_factor",
                "ondemand.sampling_rate",
                "ondemand.up_threshold",
                "schedutil.rate_limit_us",
            )
        },
        "cpuidle:deepest": True,
        "devfreq:dmc.governor": "dmc_ondemand",
        "devfreq:dmc.upthreshold": 40,
        "fpm:listen.backlog": 511,
        "fpm:listen.socket": "unix",
        "fpm:max_children": 5,
        "fpm:max_requests": 0,
        "fpm:pm": "dynamic",
        "irq:nic.affinity": "as found",
        "net:nic.qdisc": "fq_codel",
        "net:nic.rps_cpus": "off",
        "net:nic.rps_flow_cnt": 0,
        "net:nic.threaded": False,
        "net:nic.xps_cpus": "off",
        "nginx:accept_mutex": False,
        "nginx:accept_mutex_delay": 500,
        "nginx:access_log": True,
        "nginx:access_log.buffer": "unset",
        "nginx:access_log.flush": "unset",
        "nginx:aio": "off",
        "nginx:build": "distribution",
        "nginx:client_body_buffer_size": 8192,
        "nginx:client_header_buffer_size": 1024,
        "nginx:client_max_body_size": 1 << 20,
        "nginx:connection_pool_size": 512,
        "nginx:directio": "off",
        "nginx:fastcgi_buffer_size": 4096,
        "nginx:fastcgi_buffers.number": 8,
        "nginx:fastcgi_buffers.size": 4096,
        "nginx:fastcgi_keep_conn": False,
        "nginx:keepalive_requests": 1000,
        "nginx:keepalive_time": 3600,
        "nginx:keepalive_timeout": 65,
        "nginx:large_client_header_buffers.number": 4,
        "nginx:large_client_header_buffers.size": 8192,
        "nginx:lingering_close": "on",
        "nginx:listen.backlog": 511,
        "nginx:listen.deferred": False,
        "nginx:listen.rcvbuf": "unset",
        "nginx:listen.reuseport": False,
        "nginx:listen.sndbuf": "unset",
        "nginx:multi_accept": False,
        "nginx:open_file_cache": "off",
        "nginx:open_file_cache.inactive": 60,
        "nginx:open_file_cache_errors": False,
        "nginx:open_file_cache_min_uses": 1,
        "nginx:open_file_cache_valid": 60,
        "nginx:output_buffers.number": 2,
        "nginx:output_buffers.size": 32768,
        "nginx:pcre_jit": False,
        "nginx:postpone_output": 1460,
        "nginx:read_ahead": 0,
        "nginx:request_pool_size": 4096,
        "nginx:reset_timedout_connection": False,
        "nginx:send_timeout": 60,
        "nginx:sendfile": True,
        "nginx:sendfile_max_chunk": 2 << 20,
        "nginx:tcp_nodelay": True,
        "nginx:tcp_nopush": True,
        "nginx:thread_pool.max_queue": 65536,
        "nginx:thread_pool.threads": 32,
        "nginx:timer_resolution": "unset",
        "nginx:upstream.keepalive": "off",
        "nginx:worker_connections": 768,
        "nginx:worker_cpu_affinity": "off",
        "nginx:worker_priority": 0,
        "nginx:worker_processes": "auto",
        "nginx:worker_rlimit_nofile": "unset",
        "pcie:aspm": "default",
        "sysctl:net.core.busy_poll": 0,
        "sysctl:net.core.busy_read": 0,
        "sysctl:net.core.default_qdisc": "fq_codel",
        "sysctl:net.core.dev_weight": 64,
        "sysctl:net.core.netdev_budget": 300,
        "sysctl:net.core.netdev_budget_usecs": 8000,
        "sysctl:net.core.netdev_max_backlog": 1000,
        "sysctl:net.core.rmem_default": 212992,
        "sysctl:net.core.rmem_max": 212992,
        "sysctl:net.core.rps_sock_flow_entries": 0,
        "sysctl:net.core.somaxconn": 4096,
        "sysctl:net.core.wmem_default": 212992,
        "sysctl:net.core.wmem_max": 212992,
        "sysctl:net.ipv4.ip_early_demux": True,
        "sysctl:net.ipv4.tcp_autocorking": True,
        "sysctl:net.ipv4.tcp_congestion_control": "cubic",
        "sysctl:net.ipv4.tcp_early_demux": True,
        "sysctl:net.ipv4.tcp_fastopen": 1,
        "sysctl:net.ipv4.tcp_fin_timeout": 60,
        "sysctl:net.ipv4.tcp_limit_output_bytes": 1 << 20,
        "sysctl:net.ipv4.tcp_max_syn_backlog": 1024,
        "sysctl:net.ipv4.tcp_min_tso_segs": 2,
        "sysctl:net.ipv4.tcp_no_metrics_save": False,
        "sysctl:net.ipv4.tcp_notsent_lowat": 4294967295,
        "sysctl:net.ipv4.tcp_rmem": (4096, 131072, 6291456),
        "sysctl:net.ipv4.tcp_slow_start_after_idle": True,
        "sysctl:net.ipv4.tcp_tw_reuse": 2,
        "sysctl:net.ipv4.tcp_wmem": (4096, 16384, 4194304),
        "sysctl:vm.dirty_background_ratio": 10,
        "sysctl:vm.dirty_ratio": 20,
        "sysctl:vm.dirty_writeback_centisecs": 500,
        "sysctl:vm.stat_interval": 1,
        "sysctl:vm.swappiness": 60,
        "sysctl:vm.vfs_cache_pressure": 100,
        "thp:defrag": "madvise",
        "thp:enabled": "madvise",
    }
)


def workers_of(values: Values) -> int:
    wanted = values.get("nginx:worker_processes")
    return wanted if isinstance(wanted, int) else CPUS


def worker_cpus(values: Values) -> tuple[int, ...]:
    """The CPU of each worker. Unbound, the scheduler fills the large cores first; bound, worker i takes the i-th CPU."""
    bound = values.get("nginx:worker_cpu_affinity")
    if isinstance(bound, int) and not isinstance(bound, bool):
        allowed = tuple(cpu for cpu in range(CPUS) if bound >> cpu & 1) or tuple(range(CPUS))
    elif bound == "auto":
        allowed = tuple(range(CPUS))
    else:
        allowed = (*BIG_CPUS, *(cpu for cpu in range(CPUS) if cpu not in BIG_CPUS))
    return tuple(allowed[place % len(allowed)] for place in range(workers_of(values)))


def unbound(values: Values) -> bool:
    return values.get("nginx:worker_cpu_affinity", "off") == "off"


_LITTLE_SPEED: Final = 0.42
_IN_THE_WAY: Final = 0.4424  # all four small cores busy with workers and with the card's interrupts
_WANDERING: Final = 0.085  # what unbound workers lose by being moved about
# How much of the work is nginx's own, and not the card's or PHP's.
_WORKERS_SHARE: Final = Gain(small=0.8, large=0.6, php=0.06)


def _placement(values: Values) -> float:
    """ln of what the workers' cores can do, against four workers on the four large ones; unbound workers wander."""
    cpus = worker_cpus(values)
    used = set(cpus)
    little = len(used - set(BIG_CPUS))
    able = (len(used) - little) + _LITTLE_SPEED * little
    # Connections are shared out by worker: two on one core and one on the next is as slow as the fuller core.
    crowded = math.ceil(len(cpus) / len(used)) * len(used) / len(cpus) - 1
    taking_turns = 0.012 * (math.ceil(len(cpus) / len(used)) - 1)
    return math.log(able / len(BIG_CPUS)) - _IN_THE_WAY * little / 4 - 0.25 * crowded - taking_turns


def placement_gain(values: Values, page: Page) -> float:
    """What the workers' number and places are worth, as a change of ln(requests/s)."""
    wandering = _WANDERING if unbound(values) else 0.0
    return _WORKERS_SHARE.of(page) * _placement(values) - wandering * Gain(small=1.1, large=1, php=0.2).of(
        page
    )


def _is_bbr_with_nopush(values: Values) -> bool:
    return (
        values.get("sysctl:net.ipv4.tcp_congestion_control") == "bbr"
        and values.get("nginx:sendfile") is True
        and values.get("nginx:tcp_nopush") is True
    )


def _is_cubic_with_nopush(values: Values) -> bool:
    return values.get("nginx:sendfile") is True and not _is_bbr_with_nopush(values)


def _steers(values: Values) -> bool:
    """Receive flow steering takes all three: where to, how many flows, and the table of the whole machine."""
    entries = values.get("sysctl:net.core.rps_sock_flow_entries", 0)
    return values.get("net:nic.rps_cpus", "off") != "off" and isinstance(entries, int) and entries > 0


def _has_card_irq_on_one(values: Values) -> bool:
    return values.get("irq:nic.affinity") in ("one", 1)


_NOPUSH: Final = 0.010
_BBR_WITH_NOPUSH: Final = -0.020
_WMEM: Final = 0.042
_KERNEL_REST: Final = _STEP[3] - _BBR_WITH_NOPUSH - _WMEM
_BUFFERS: Final = Gain(small=0.03, large=_STEP[2], php=0.005)
_GOVERNOR: Final = Gain(small=0.035, large=_STEP[4], php=0.05)
_THP: Final = Gain(small=0.010, large=_STEP[6], php=0.012)


def _part(gain: Gain, share: float) -> Gain:
    return Gain(small=share * gain.small, large=share * gain.large, php=share * gain.php)


def _kernel(share: float) -> Gain:
    """A share of what step 4 gains beside the send buffer."""
    return _part(Gain(small=0.03, large=_KERNEL_REST, php=0.006), share)


_HAND_TUNED: Final = (
    # 1 zero copy
    Effect(
        id="nginx:sendfile",
        worth=table({True: 1.0}),
        gain=Gain(small=math.log(0.88), large=_STEP[0] - _NOPUSH),
    ),
    Effect(
        id="nginx:tcp_nopush",
        worth=table({True: 1.0}),
        gain=Gain(small=0.001, large=_NOPUSH),
        when=_is_cubic_with_nopush,
    ),
    # 2 workers: the rest of it is placement
    Effect(
        id="nginx:worker_connections", worth=ramp(768, 1500), gain=Gain(small=0.010, large=0.012, php=0.004)
    ),
    Effect(
        id="nginx:worker_rlimit_nofile",
        worth=ramp(1024, 2500),
        gain=Gain(small=0.008, large=_STEP[1] - _WANDERING - 0.012, php=0.002),
    ),
    # 3 buffers
    Effect(id="nginx:client_body_buffer_size", worth=ramp(16384, 131072), gain=_part(_BUFFERS, 0.6)),
    Effect(id="nginx:large_client_header_buffers.size", worth=table({4096: 1.0}), gain=_part(_BUFFERS, 0.4)),
    # 4 kernel network
    Effect(
        id="sysctl:net.ipv4.tcp_wmem",
        worth=element(1, ramp(16384, 65536)),
        gain=Gain(small=0.002, large=_WMEM, php=0.004),
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_congestion_control",
        worth=table({"bbr": 1.0}),
        gain=Gain(small=-0.008, large=_BBR_WITH_NOPUSH + _NOPUSH, php=-0.004),
        when=_is_bbr_with_nopush,
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_congestion_control",
        worth=table({"bbr": 1.0}),
        gain=Gain(small=0.002, large=0.006, php=0.001),
        when=off("nginx:tcp_nopush"),
    ),
    Effect(id="sysctl:net.core.wmem_max", worth=ramp(212992, 4 << 20), gain=_kernel(0.25)),
    Effect(id="sysctl:net.core.wmem_default", worth=ramp(212992, 4 << 20), gain=_kernel(0.10)),
    Effect(id="sysctl:net.core.rmem_max", worth=ramp(212992, 4 << 20), gain=_kernel(0.05)),
    Effect(id="sysctl:net.ipv4.tcp_tw_reuse", worth=table({1: 1.0}), gain=_kernel(0.05)),
    Effect(id="sysctl:net.ipv4.tcp_fin_timeout", worth=linear(60, 15), gain=_kernel(0.05)),
    Effect(id="sysctl:net.core.somaxconn", worth=ramp(4096, 8192), gain=_kernel(0.15)),
    Effect(id="sysctl:net.ipv4.tcp_max_syn_backlog", worth=ramp(1024, 8192), gain=_kernel(0.10)),
    Effect(id="sysctl:net.core.default_qdisc", worth=table({"fq": 1.0}), gain=_kernel(0.25)),
    # 5 governor: see _clocks
    # 6 interrupts
    Effect(
        id="irq:nic.affinity",
        worth=table({"one": 1.0, 1: 1.0, "spread": -0.3, "big": -0.9, "workers": -0.8}),
        gain=Gain(small=0.010, large=_STEP[5], php=0.006),
    ),
    # 7 huge pages
    Effect(id="thp:enabled", worth=table({"always": 1.0, "never": -0.5}), gain=_part(_THP, 0.6)),
    Effect(
        id="thp:defrag",
        worth=table({"always": 1.0, "defer": 0.3, "defer+madvise": 0.3}),
        gain=_part(_THP, 0.4),
        when=differs("thp:enabled", "never"),
    ),
    # 8 compiler
    Effect(
        id="nginx:build",
        worth=table({"o3-cpu": 1.0, "o2": 0.25}),
        gain=Gain(small=0.045, large=_STEP[7], php=0.006),
    ),
)

_BEYOND: Final = (
    Effect(
        id="devfreq:dmc.governor",
        worth=table({"performance": 1.0, "powersave": -8.0}),
        gain=Gain(small=0.006, large=0.024, php=0.012),
    ),
    Effect(
        id="devfreq:dmc.upthreshold",
        worth=linear(40, 20),
        gain=Gain(small=0.004, large=0.016, php=0.008),
        when=equals("devfreq:dmc.governor", "dmc_ondemand"),
    ),
    Effect(id="cpuidle:deepest", worth=table({False: 1.0}), gain=Gain(small=0.006, large=0.004, php=0.003)),
    Effect(
        id="net:nic.rps_cpus",
        worth=table({"big": 1.0, "all": -0.6, "workers": 0.4}),
        gain=Gain(small=0.030, large=0.006, php=0.003),
    ),
    Effect(
        id="net:nic.rps_cpus",
        worth=table({"big": 1.0, "all": 0.8, "workers": 0.6}),
        gain=Gain(small=0.035, large=0.002),
        when=_has_card_irq_on_one,
    ),
    Effect(
        id="net:nic.rps_flow_cnt",
        worth=ramp(2048, 16384),
        gain=Gain(small=0.012, large=0.004),
        when=_steers,
    ),
    Effect(id="net:nic.threaded", worth=table({True: -1.0}), gain=Gain(small=0.025, large=0.010, php=0.004)),
    Effect(
        id="net:nic.qdisc",
        worth=table({"fq": 1.0, "pfifo_fast": 0.4}),
        gain=_kernel(0.25),
        when=differs("sysctl:net.core.default_qdisc", "fq"),
    ),
    Effect(
        id="pcie:aspm",
        worth=table({"performance": 0.03, "powersave": -1.0}),
        gain=Gain(small=0.18, large=0.25, php=0.03),
    ),
    Effect(id="nginx:multi_accept", worth=table({True: 1.0}), gain=Gain(small=0.002)),
    Effect(
        id="nginx:accept_mutex",
        worth=table({True: -1.0}),
        gain=Gain(small=0.015, large=0.006, php=0.002),
        when=off("nginx:listen.reuseport"),
    ),
    Effect(
        id="nginx:listen.reuseport",
        worth=table({True: 1.0}),
        gain=Gain(small=0.022, large=0.008),
        when=lambda values: workers_of(values) <= len(BIG_CPUS),
    ),
    Effect(
        id="nginx:listen.reuseport",
        worth=table({True: -1.0}),
        gain=Gain(small=0.010, large=0.018, php=0.003),
        when=lambda values: workers_of(values) > len(BIG_CPUS),
    ),
    Effect(
        id="nginx:sendfile_max_chunk",
        worth=ramp(524288, 65536),
        gain=Gain(large=-0.045),
        when=on("nginx:sendfile"),
    ),
    Effect(
        id="nginx:output_buffers.size",
        worth=ramp(32768, 131072),
        gain=Gain(large=0.080),
        when=off("nginx:sendfile"),
    ),
    Effect(
        id="nginx:output_buffers.number",
        worth=linear(2, 6),
        gain=Gain(large=0.012),
        when=off("nginx:sendfile"),
    ),
    Effect(id="nginx:tcp_nodelay", worth=table({False: -1.0}), gain=Gain(small=0.08, large=0.03, php=0.02)),
    Effect(
        id="nginx:postpone_output",
        worth=table({0: -1.0, 4096: 0.5, 16384: -1.5}),
        gain=Gain(small=0.006, large=0.004, php=0.008),
    ),
    Effect(
        id="nginx:keepalive_requests",
        worth=ramp(1000, 100_000),
        gain=Gain(small=0.028, large=0.006, php=0.003),
    ),
    Effect(id="nginx:aio", worth=table({"threads": -1.0}), gain=Gain(small=0.11, large=0.06, php=0.002)),
    Effect(
        id="nginx:thread_pool.threads",
        worth=ramp(2, 32),
        gain=Gain(small=0.03, large=0.02),
        when=equals("nginx:aio", "threads"),
    ),
    Effect(
        id="nginx:access_log.buffer",
        worth=ramp(8192, 65536),
        gain=Gain(small=math.log(1.09), large=0.014, php=0.006),
        when=on("nginx:access_log"),
    ),
    Effect(id="nginx:access_log", worth=table({False: 1.0}), gain=Gain(small=0.10, large=0.018, php=0.008)),
    Effect(
        id="nginx:open_file_cache",
        worth=ramp(50, 100),
        gain=Gain(small=math.log(1.22), large=0.022, php=0.004),
    ),
    Effect(
        id="nginx:open_file_cache_valid",
        worth=ramp(10, 60),
        gain=Gain(small=0.004, large=0.001),
        when=differs("nginx:open_file_cache", "off"),
    ),
    Effect(
        id="nginx:client_header_buffer_size",
        worth=ramp(1024, 8192),
        gain=Gain(small=-0.006, large=-0.002, php=-0.001),
    ),
    Effect(
        id="sysctl:net.core.netdev_budget",
        worth=peak(600, octaves=1.0),
        gain=Gain(small=0.006, large=0.004),
    ),
    Effect(
        id="sysctl:net.core.busy_read",
        worth=linear(0, 100),
        gain=Gain(small=-0.012, large=-0.010, php=-0.030),
    ),
    Effect(
        id="sysctl:net.core.busy_poll",
        worth=linear(0, 100),
        gain=Gain(small=-0.030, large=-0.024, php=-0.060),
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_notsent_lowat",
        worth=table({16384: -3.0, 65536: -0.8, 262144: 1.0, 1048576: 0.5}),
        gain=Gain(small=0.001, large=0.012),
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_autocorking",
        worth=table({False: -1.0}),
        gain=Gain(small=-0.003, large=0.006),
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_early_demux", worth=table({False: -1.0}), gain=Gain(small=0.018, large=0.008)
    ),
    Effect(
        id="sysctl:net.ipv4.ip_early_demux", worth=table({False: -1.0}), gain=Gain(small=0.012, large=0.006)
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_limit_output_bytes",
        worth=peak(4 << 20, octaves=2.0),
        gain=Gain(large=0.012),
    ),
    Effect(
        id="sysctl:net.ipv4.tcp_min_tso_segs",
        worth=peak(8, octaves=2.0),
        gain=Gain(small=0.001, large=0.007),
    ),
    # PHP
    Effect(id="fpm:pm", worth=table({"static": 1.0, "ondemand": -1.5}), gain=Gain(php=0.035)),
    Effect(id="fpm:max_children", worth=peak(20, octaves=2.0), gain=Gain(php=0.15)),
    Effect(id="fpm:listen.socket", worth=table({"tcp": -1.0}), gain=Gain(php=0.035)),
    Effect(id="fpm:max_requests", worth=table({500: -1.0, 5000: -0.1}), gain=Gain(php=0.02)),
    Effect(id="nginx:fastcgi_buffers.size", worth=ramp(4096, 16384), gain=Gain(php=0.008)),
    Effect(
        id="nginx:upstream.keepalive",
        worth=table({4: 1.0, 8: 1.0, 16: 0.7}),
        gain=Gain(php=0.02),
        when=on("nginx:fastcgi_keep_conn"),
    ),
)


def _clock_worth(values: Values, policy: str) -> float:
    """How much of the gain of full speed a cluster has: schedutil as found 0, performance 1."""
    mine = f"cpufreq:{policy}."
    governor = values.get(f"{mine}governor", "schedutil")
    if governor == "schedutil" and "cpufreq:all.governor" in values:
        governor = values["cpufreq:all.governor"]
    match governor:
        case "performance":
            return 1.0
        case "ondemand":
            return (
                -0.6
                + 1.0 * linear(95, 25, otherwise=0.2)(values.get(f"{mine}ondemand.up_threshold", "unset"))
                + (0.2 * linear(1, 10)(values.get(f"{mine}ondemand.sampling_down_factor", "unset")))
            )
        case "schedutil":
            return 0.3 - 0.9 * linear(0, 10_000, otherwise=1 / 3)(
                values.get(f"{mine}schedutil.rate_limit_us", "unset")
            )
        case "conservative":
            return -1.5
        case _:
            return -12.0


def clocks(values: Values) -> float:
    """The same over all three clusters, the large ones counting most."""
    return sum(share * _clock_worth(values, policy) for policy, share in _POLICIES.items())


def gain(values: Values, page: Page) -> float:
    """ln(requests/s) of one page with these values in force, less a constant that is the same for all values."""
    return (
        placement_gain(values, page)
        + clocks(values) * _GOVERNOR.of(page)
        + math.fsum(effect.of(values, page) for effect in _HAND_TUNED)
        + math.fsum(effect.of(values, page) for effect in _BEYOND)
    )


def spread(values: Values) -> float:
    """Standard deviation of ln(requests/s) from one start of nginx to the next: which core each worker got."""
    cpus = worker_cpus(values)
    little = len(set(cpus) - set(BIG_CPUS)) / 4
    own = 0.011 if unbound(values) else 0.001 + 0.003 * little
    crowded = 0.008 if len(cpus) % len(set(cpus)) else 0.0
    threaded = 0.006 if values.get("net:nic.threaded") is True else 0.0
    return math.sqrt(own**2 + crowded**2 + threaded**2)


def latency_sigma(values: Values, page: Page) -> float:
    """The shape of the latencies: standard deviation of their logarithm. The text's p99 is 3.8 times the mean."""
    sigma = 0.66
    sigma += 0.03 if unbound(values) else -0.02
    sigma += 0.05 * len(set(worker_cpus(values)) - set(BIG_CPUS)) / 4 - 0.05
    sigma += 0.03 if values.get("thp:defrag") == "always" and values.get("thp:enabled") != "never" else 0.0
    children = values.get("fpm:max_children")
    if page.is_php and isinstance(children, int) and children > 32:
        sigma += 0.4 * math.log2(children / 32)
    return sigma


def busy_w(values: Values) -> float:
    """Power of the whole board under full load, on a cool chip: 12 W as the text measured it, before and after."""
    return (
        12.0
        + 0.5 * clocks(values)
        + (0.5 if values.get("devfreq:dmc.governor") == "performance" else 0.0)
        + (0.3 if values.get("cpuidle:deepest") is False else 0.0)
        + 1.0 * linear(0, 100)(values.get("sysctl:net.core.busy_poll", 0))
        + 0.15 * max(0, len(set(worker_cpus(values)) & set(BIG_CPUS)) - 2)
        - 0.5
    )
