"""What one nginx build can do, and what it does when its configuration says nothing: both depend on the version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autotune.board.facts import BoardFacts
from autotune.space.value import Value

_KIB = 1024

# Compiled-in values, from each directive's page at nginx.org; those that changed are in `NginxBuild.default`.
_DEFAULTS: dict[str, Value] = {
    "nginx:worker_processes": 1,
    "nginx:worker_cpu_affinity": "off",
    "nginx:worker_priority": 0,
    "nginx:worker_rlimit_nofile": "unset",
    "nginx:timer_resolution": "unset",
    "nginx:pcre_jit": False,
    "nginx:thread_pool.threads": 32,
    "nginx:thread_pool.max_queue": 65_536,
    "nginx:worker_connections": 512,
    "nginx:multi_accept": False,
    "nginx:accept_mutex": False,
    "nginx:accept_mutex_delay": 500,
    "nginx:listen.backlog": 511,
    "nginx:listen.reuseport": False,
    "nginx:listen.deferred": False,
    "nginx:listen.fastopen": "off",
    "nginx:listen.sndbuf": "unset",
    "nginx:listen.rcvbuf": "unset",
    "nginx:sendfile": False,
    "nginx:sendfile_max_chunk": 2 * _KIB * _KIB,
    "nginx:tcp_nopush": False,
    "nginx:tcp_nodelay": True,
    "nginx:aio": "off",
    "nginx:directio": "off",
    "nginx:read_ahead": 0,
    "nginx:output_buffers.number": 2,
    "nginx:output_buffers.size": 32 * _KIB,
    "nginx:postpone_output": 1460,
    "nginx:open_file_cache": "off",
    "nginx:open_file_cache.inactive": 60,
    "nginx:open_file_cache_valid": 60,
    "nginx:open_file_cache_min_uses": 1,
    "nginx:open_file_cache_errors": False,
    "nginx:keepalive_timeout": 75,
    "nginx:keepalive_requests": 1000,
    "nginx:keepalive_time": 3600,
    "nginx:reset_timedout_connection": False,
    "nginx:send_timeout": 60,
    "nginx:lingering_close": "on",
    "nginx:client_header_buffer_size": _KIB,
    "nginx:large_client_header_buffers.number": 4,
    "nginx:large_client_header_buffers.size": 8 * _KIB,
    "nginx:client_body_buffer_size": 8 * _KIB,  # two memory pages
    "nginx:client_max_body_size": _KIB * _KIB,
    "nginx:connection_pool_size": 512,  # 64-bit
    "nginx:request_pool_size": 4 * _KIB,
    "nginx:access_log": True,
    "nginx:access_log.buffer": "unset",
    "nginx:access_log.flush": "unset",
    "nginx:gzip": False,
    "nginx:gzip_comp_level": 1,
    "nginx:etag": True,
    "nginx:server_tokens": True,
    "nginx:fastcgi_buffers.number": 8,
    "nginx:fastcgi_buffers.size": 4 * _KIB,  # a memory page
    "nginx:fastcgi_buffer_size": 4 * _KIB,  # a memory page
    "nginx:fastcgi_busy_buffers_size": "auto",
    "nginx:fastcgi_keep_conn": False,
    "nginx:upstream.keepalive": "off",
}

# The value before the version in which it changed to the one above.
_EARLIER: dict[str, tuple[tuple[int, int, int], Value]] = {
    "nginx:keepalive_requests": ((1, 19, 10), 100),
    "nginx:sendfile_max_chunk": ((1, 21, 4), 0),
    "nginx:accept_mutex": ((1, 11, 3), True),
    "nginx:output_buffers.number": ((1, 9, 5), 1),
}

_SINCE: dict[str, tuple[int, int, int]] = {
    "nginx:keepalive_time": (1, 19, 10),
    "nginx:listen.reuseport": (1, 9, 1),
    "nginx:listen.fastopen": (1, 5, 8),
    "nginx:thread_pool.threads": (1, 7, 11),
    "nginx:thread_pool.max_queue": (1, 7, 11),
}

_PHP_ONLY = frozenset(id_ for id_ in _DEFAULTS if id_.startswith(("nginx:fastcgi_", "nginx:upstream.")))

_NEEDS_ROOT = {
    "nginx:worker_priority": "only root may raise a priority",
    "nginx:worker_rlimit_nofile": "only root may raise the limit on open files",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxBuild:
    """The nginx on a board: version, configure arguments ("" when it didn't say), and whether root starts it."""

    version: tuple[int, int, int]
    arguments: str
    is_root: bool

    @classmethod
    def of(cls, facts: BoardFacts) -> NginxBuild:
        text = facts.nginx.version if facts.nginx else ""
        _, found, arguments = text.partition("configure arguments:")
        return cls(
            version=facts.nginx_version, arguments=arguments.strip() if found else "", is_root=facts.uid == 0
        )

    @property
    def prefix(self) -> str:
        """The directory that relative paths of modules start from."""
        found = re.search(r"--prefix=(\S+)", self.arguments)
        return found[1] if found else "/usr/local/nginx"

    @property
    def aio_words(self) -> tuple[str, ...]:
        """What `aio` may say in this build."""
        words = ["off"]
        if self._may_have("--with-threads"):
            words.append("threads")
        if self._may_have("--with-file-aio"):
            words.append("on")
        return tuple(words)

    def default(self, id_: str) -> Value:
        """What this nginx does when its configuration says nothing. Raises KeyError for an unknown setting."""
        changed = _EARLIER.get(id_)
        if changed and self.version < changed[0]:
            return changed[1]
        return _DEFAULTS[id_]

    def reason_missing(self, id_: str) -> str:
        """Why this build, started by this user, can't take the setting; empty when it can."""
        if id_ not in _DEFAULTS:
            return "this program doesn't know the directive's stock value"
        if since := _SINCE.get(id_):
            needed = ".".join(str(part) for part in since)
            if self.version < since:
                return f"needs nginx {needed} or newer"
        if id_ in _NEEDS_ROOT and not self.is_root:
            return f"{_NEEDS_ROOT[id_]}: run as root or through sudo"
        if id_ == "nginx:aio" and len(self.aio_words) == 1:
            return "this nginx was built without --with-threads and --with-file-aio"
        if id_.startswith("nginx:thread_pool") and "threads" not in self.aio_words:
            return "this nginx was built without --with-threads"
        if id_ == "nginx:pcre_jit" and "--without-pcre" in self.arguments.split():
            return "this nginx was built without regular expressions"
        if id_.startswith("nginx:gzip") and "--without-http_gzip_module" in self.arguments:
            return "this nginx was built without gzip"
        if id_.startswith("nginx:access_log") and "--without-http_log_module" in self.arguments:
            return "this nginx was built without a log"
        if id_ in _PHP_ONLY and "--without-http_fastcgi_module" in self.arguments:
            return "this nginx was built without FastCGI"
        if id_ == "nginx:upstream.keepalive" and "--without-http_upstream_keepalive_module" in self.arguments:
            return "this nginx was built without kept-alive upstreams"
        return ""

    def _may_have(self, argument: str) -> bool:
        return not self.arguments or argument in self.arguments.split()
