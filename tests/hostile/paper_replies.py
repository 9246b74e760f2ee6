"""One sound reply of each kind, as JSON has it."""

from __future__ import annotations

from hostile_inputs import Json

_URL: Json = {
    "url": "http://127.0.0.2:8088/a",
    "status": 200,
    "length": 900,
    "wire_bytes": 1000,
    "sha256": "0" * 64,
}
_EFFECT: Json = {"path": "/proc/sys/net/core/somaxconn", "requested": "1", "effective": "1", "error": ""}
_READING: Json = {"text": "4096\n", "error": "", "writable": True}
_LEFT: Json = {"path": "/proc/sys/vm/swappiness", "original": "60", "now": "1", "command": "echo 60 > x"}
_RUN: Json = {
    "exit_code": 0,
    "stdout": "m {}\n",
    "stderr": "",
    "wall_s": 2.0,
    "cpu_s": 0.5,
    "timed_out": False,
}
_READ: Json = {
    "files": {
        "/proc/sys/net/core/somaxconn": _READING,
        "/sys/x": {"text": None, "error": "gone", "writable": False},
    },
    "nginx_files": {"/etc/nginx/nginx.conf": {"text": "events {}\n", "error": "", "writable": True}},
    "nginx_names": {"/etc/nginx/nginx.conf": "/etc/nginx/nginx.conf"},
    "nginx_problem": "",
}
_BUILT: Json = {
    "key": "0" * 64,
    "name": "o3",
    "asked": "apt",
    "cflags": ["-O3"],
    "ldflags": [],
    "configure": [],
    "without": [],
    "source": "nginx 1.22.1-9",
    "compiler": "cc 12",
    "version": "nginx version: nginx/1.22.1",
    "made": "2026-01-01T00:00:00Z",
    "size_bytes": 1,
    "seconds": 60.0,
}
_WATCHED: Json = {
    "counters": {"ctxt": 7.0},
    "before": {"load1": 0.1},
    "after": {"load1": 0.2},
    "peaks": {"temp_soc_c": 50.0},
    "server_cpu_s": 1.0,
    "workers_before": [101],
    "workers_after": [101],
    "error_log": "",
    "busiest": ["cron 0.1 s"],
    "strangers": "",
    "kernel_log": ["hello"],
    "power_w": 4.0,
    "power_source": "rapl",
}
REPLIES: dict[str, Json] = {
    "facts": {
        "protocol": 2,
        "python": "3.11.2",
        "uid": 0,
        "hostname": "rock",
        "kernel": "6.1.0",
        "machine": "aarch64",
        "boot_id": "b",
        "netns": "4026531840",
        "cpus": [0, 1],
        "capacity": {"0": 530, "1": 1024},
        "cores": [[0], [1]],
        "memory_bytes": 8 << 30,
        "open_files_limit": 1 << 20,
        "run_dir": "/run/autotune",
        "run_is_tmpfs": True,
        "state_dir": "/var/lib/autotune",
        "state_free_bytes": 10 << 30,
        "programs": {"nginx": {"path": "/usr/sbin/nginx", "version": "nginx version: nginx/1.22.1"}},
        "model": "Radxa ROCK 5B+",
    },
    "clock": {"clock_s": 1.8e9},
    "readings": _READ,
    "nginx_files": _READ,
    "begun": {
        "token": "0" * 16,
        "conf_path": "/run/autotune/0000000000000000/nginx.conf",
        "www_dir": "/var/lib/autotune/0000000000000000/www",
        "log_dir": "/var/lib/autotune/0000000000000000/log",
        "undone": ["process 7 (nginx)"],
    },
    "switched": {
        "effects": [_EFFECT],
        "foreign": [],
        "step": "",
        "reason": "",
        "blame": "",
        "urls": [_URL],
        "master_pid": 100,
        "worker_pids": [101],
        "error_log": "",
        "timings_ms": {"total": 40.0},
        "guardian_restarted": False,
    },
    "fetched": {"effects": [], "urls": [_URL]},
    "checked": {"effects": [_EFFECT], "urls": []},
    "load_seen": {"warmup": _RUN, "measured": _RUN, "connections_held": 100, **_WATCHED},
    "watched": {"seen": _WATCHED},
    "routes": {
        "addresses": ["192.168.1.10"],
        "routes": [{"to": "192.168.1.20", "source": "192.168.1.10", "interface": "end0", "problem": ""}],
    },
    "counted": {"counters": {"ctxt": 7.0}, "levels": {"load1": 0.1}},
    "ended": {"restored": ["/proc/sys/vm/swappiness"], "left": [_LEFT]},
    "status": {"held_by": "", "journal": "open", "begun": {"study": "s", "night": 1}, "changed": [_LEFT]},
    "builds": {"builds": [_BUILT], "problem": ""},
    "error_words": {"kind": "refused", "message": "no", "hint": ""},
}
