"""What each setting of the imagined Rock 5B+ is worth. Invented, except where a source is named.

Under static 100 KB the eight hand-tuned steps gain what the text they are from says they gained (`PUBLISHED`). Most settings do
nothing, as on a real board; some only do together.
"""

from __future__ import annotations

import math
from typing import Final

from autotune.synthetic.effects import (
    Effect,
    Gain,
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
from autotune.synthetic.rock5b_stock import BIG_CPUS
from autotune.synthetic.rock5b_workers import WANDERING, workers_of

PUBLISHED: Final = (1.256, 1.109, 1.054, 1.059, 1.025, 1.023, 1.015, 1.030)
_STEP: Final = tuple(math.log(ratio) for ratio in PUBLISHED)


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
GOVERNOR: Final = Gain(small=0.035, large=_STEP[4], php=0.05)
_THP: Final = Gain(small=0.010, large=_STEP[6], php=0.012)


def _part(gain: Gain, share: float) -> Gain:
    return Gain(small=share * gain.small, large=share * gain.large, php=share * gain.php)


def _kernel(share: float) -> Gain:
    """A share of what step 4 gains beside the send buffer."""
    return _part(Gain(small=0.03, large=_KERNEL_REST, php=0.006), share)


HAND_TUNED: Final = (
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
        gain=Gain(small=0.008, large=_STEP[1] - WANDERING - 0.012, php=0.002),
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

BEYOND: Final = (
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
