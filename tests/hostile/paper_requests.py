"""One sound request of each kind, as JSON has it."""

from __future__ import annotations

from hostile_inputs import Json

SOMAXCONN = "/proc/sys/net/core/somaxconn"
NIGHT: Json = {
    "study": "s",
    "night": 1,
    "holder": "h",
    "lease_s": 60,
    "files": [{"name": "a/b.html", "content_base64": "YWJj"}],
    "services": [],
    "kept": False,
}
URL: Json = {
    "url": "http://127.0.0.2:8088/a",
    "address": "127.0.0.2",
    "status": 200,
    "length": 3,
    "sha256": "",
    "loose": False,
}
SWITCH: Json = {
    "writes": [{"path": SOMAXCONN, "text": "4096"}],
    "server": {
        "conf": "daemon off;",
        "conf_path": "",
        "edits": [],
        "build": "",
        "workers": 1,
        "listen": [{"address": "127.0.0.2", "port": 8088}],
        "cpus": [],
        "urls": [URL],
        "php": {"conf": "[global]", "listen": "127.0.0.1:9000", "cpus": []},
    },
}
LOAD: Json = {
    "urls": [{"url": "http://127.0.0.2:8088/a", "weight": 1}],
    "address": "127.0.0.2",
    "seed": 1,
    "threads": 2,
    "connections": 4,
    "warmup_s": 1,
    "duration_s": 2,
    "marker": "abcd",
    "power": "",
    "cpus": [],
    "rate_per_s": 0,
}
BUILD: Json = {
    "action": "make",
    "name": "o3",
    "source": "apt",
    "sha256": "",
    "cflags": ["-O3"],
    "ldflags": [],
    "configure": [],
    "without": [],
}
