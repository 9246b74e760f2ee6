"""The imagined Rock 5B+ as found: its hardware, the words it takes, and every setting's value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from autotune.space.value import Value

CPUS: Final = 8
BIG_CPUS: Final = (4, 5, 6, 7)
MEMORY_BYTES: Final = 8 << 30
OPEN_FILES: Final = 1 << 20

POLICIES: Final = ("policy0", "policy4", "policy6")
_GOVERNORS: Final = ("conservative", "ondemand", "performance", "powersave", "schedutil", "userspace")

OFFERED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **{f"cpufreq:{name}.governor": _GOVERNORS for name in ("all", *POLICIES)},
        "devfreq:dmc.governor": ("dmc_ondemand", "performance", "powersave", "simple_ondemand", "userspace"),
        "sysctl:net.ipv4.tcp_congestion_control": ("reno", "cubic", "bbr"),
        "pcie:aspm": ("default", "performance", "powersave"),
        "nginx:build": ("distribution", "o2", "o3-cpu"),
    }
)

STOCK: Final[Mapping[str, Value]] = MappingProxyType(
    {
        **{f"cpufreq:{name}.governor": "schedutil" for name in ("all", *POLICIES)},
        **{
            f"cpufreq:{name}.{tunable}": "unset"
            for name in ("all", *POLICIES)
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
