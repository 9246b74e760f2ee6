"""The parameters that scripts/bench-switch goes back and forth between."""

from __future__ import annotations

from typing import Final

from autotune.experiment.study import ServedFile
from autotune.space.value import Value

PARAMETERS: Final = 40
PHP_PARAMETERS: Final = 60

# Each switch goes from one column to the other. Kernel values that a network namespace has of its own come first.
VALUES: Final[dict[str, tuple[Value, Value]]] = {
    "sysctl:net.core.somaxconn": (8_192, 16_384),
    "sysctl:net.core.optmem_max": (65_536, 262_144),
    "sysctl:net.ipv4.tcp_rmem": ((4_096, 65_536, 8_388_608), (8_192, 262_144, 16_777_216)),
    "sysctl:net.ipv4.tcp_wmem": ((4_096, 65_536, 8_388_608), (8_192, 262_144, 16_777_216)),
    "sysctl:net.ipv4.tcp_max_syn_backlog": (4_096, 8_192),
    "sysctl:net.ipv4.tcp_tw_reuse": (0, 1),
    "sysctl:net.ipv4.tcp_fin_timeout": (20, 30),
    "sysctl:net.ipv4.tcp_notsent_lowat": (131_072, 1_048_576),
    "sysctl:net.ipv4.tcp_min_tso_segs": (1, 4),
    "sysctl:net.ipv4.tcp_tso_win_divisor": (2, 8),
    "sysctl:net.ipv4.tcp_autocorking": (False, True),
    "sysctl:net.ipv4.tcp_slow_start_after_idle": (False, True),
    "sysctl:net.ipv4.tcp_no_metrics_save": (True, False),
    "sysctl:net.ipv4.tcp_early_demux": (False, True),
    "sysctl:net.ipv4.ip_early_demux": (False, True),
    "sysctl:net.ipv4.tcp_moderate_rcvbuf": (False, True),
    "sysctl:net.ipv4.tcp_mtu_probing": (1, 0),
    "sysctl:net.ipv4.tcp_synack_retries": (3, 4),
    "sysctl:net.ipv4.tcp_keepalive_time": (600, 1_200),
    "sysctl:net.ipv4.tcp_comp_sack_nr": (20, 60),
    "sysctl:net.ipv4.tcp_ecn": (0, 1),
    "sysctl:net.ipv4.tcp_sack": (False, True),
    "nginx:worker_connections": (1_024, 2_048),
    "nginx:worker_rlimit_nofile": (8_192, 16_384),
    "nginx:sendfile": (False, True),
    "nginx:sendfile_max_chunk": (524_288, 1_048_576),
    "nginx:tcp_nopush": (False, True),
    "nginx:tcp_nodelay": (False, True),
    "nginx:output_buffers.number": (1, 4),
    "nginx:output_buffers.size": (65_536, 131_072),
    "nginx:postpone_output": (0, 2_920),
    "nginx:open_file_cache": (1_000, 2_000),
    "nginx:open_file_cache_valid": (30, 120),
    "nginx:keepalive_timeout": (30, 120),
    "nginx:keepalive_requests": (10_000, 100_000),
    "nginx:reset_timedout_connection": (True, False),
    "nginx:client_header_buffer_size": (2_048, 4_096),
    "nginx:access_log.buffer": (65_536, 131_072),
    "nginx:open_file_cache_min_uses": (2, 3),
    "nginx:send_timeout": (30, 90),
    # Spares, for boards that lack some of the above.
    "nginx:lingering_close": ("off", "always"),
    "nginx:client_body_buffer_size": (32_768, 65_536),
    "nginx:large_client_header_buffers.number": (2, 8),
    "nginx:keepalive_time": (600, 1_800),
    "nginx:open_file_cache_errors": (True, False),
    "sysctl:net.ipv4.tcp_migrate_req": (True, False),
}

# The same of php-fpm and of nginx's way to it; "fpm:pm" alone decides which of the pool's others are written at all.
PHP_VALUES: Final[dict[str, tuple[Value, Value]]] = {
    "fpm:max_children": (16, 24),
    "fpm:start_servers": (6, 8),
    "fpm:min_spare_servers": (4, 5),
    "fpm:max_spare_servers": (10, 12),
    "fpm:max_spawn_rate": (16, 64),
    "fpm:max_requests": (10_000, 20_000),
    "fpm:listen.backlog": (1_024, 4_096),
    "fpm:listen.socket": ("tcp", "unix"),
    "fpm:opcache.revalidate_freq": (10, 60),
    "fpm:opcache.jit": ("tracing", "function"),
    "fpm:opcache.jit_buffer_size": (32 << 20, 16 << 20),
    "fpm:opcache.memory_consumption": (64 << 20, 256 << 20),
    "fpm:opcache.interned_strings_buffer": (16 << 20, 4 << 20),
    "fpm:opcache.max_accelerated_files": (4_000, 20_000),
    "fpm:realpath_cache_size": (1 << 20, 8 << 20),
    "fpm:realpath_cache_ttl": (60, 600),
    "fpm:output_buffering": (0, 16_384),
    "nginx:fastcgi_buffers.number": (16, 32),
    "nginx:fastcgi_buffers.size": (8_192, 16_384),
    "nginx:fastcgi_buffer_size": (8_192, 16_384),
    "nginx:fastcgi_keep_conn": (True, False),
    "nginx:upstream.keepalive": (2, 4),
}
PHP_PAGE: Final = ServedFile(path="/page.php", size_bytes=20_000)
