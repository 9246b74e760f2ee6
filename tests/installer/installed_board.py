"""A machine to install on: /etc copied on write, a /run and /var/lib of its own, Debian's nginx serving on port 80."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.installer.exported import FORMAT
from autotune.report.export import write_files
from autotune.report.program import program_files
from conftest import BoardNamespace

STATE = "/var/lib/autotune/installed"
EXPORT = "/run/out"
SOMAXCONN = "/proc/sys/net/core/somaxconn"
RMEM = "/proc/sys/net/ipv4/tcp_rmem"
_PREPARE = """
set -e
mkdir -p /run/over/up /run/over/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/over/up,workdir=/run/over/work overlay /etc
mkdir -p /etc/sysctl.d
"""
_LOOK = """
cd /
for path in $(find /etc/nginx /etc/sysctl.d /etc/tmpfiles.d /etc/udev/rules.d /etc/php ! -type d 2>/dev/null | sort); do
    stat -c '%n %F %a %u %g %N' "$path"
    sha256sum "$path" 2>/dev/null || true
done
find /etc -xdev -type d | sort
cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/tcp_rmem /proc/sys/net/ipv4/tcp_fin_timeout
ls -A /var/lib
"""
KERNEL: tuple[dict[str, Any], ...] = (
    {"id": "sysctl:net.core.somaxconn", "value": 16384},
    {"id": "sysctl:net.ipv4.tcp_rmem", "value": "4096 262144 8388608"},
)
NGINX: tuple[dict[str, Any], ...] = tuple(
    {"first": "", "nested": False, "rest": False, **one}
    for one in (
        {"context": "http", "name": "sendfile", "words": "off", "rest": True},
        {"context": "events", "name": "worker_connections", "words": "4096"},
        {"context": "main", "name": "worker_rlimit_nofile", "words": "16384"},
        {"context": "listen", "name": "backlog", "words": "8192"},
        {"context": "listen", "name": "reuseport", "words": "on"},
        {"context": "http", "name": "open_file_cache", "words": "max=1000 inactive=60s"},
    )
)


@dataclass(frozen=True, slots=True)
class InstalledBoard:
    """The export lies in its own /run, where a user who is not root can look into it, too."""

    machine: BoardNamespace

    @property
    def folder(self) -> Path:
        """The same, seen from outside."""
        return Path(f"/proc/{self.machine.pid}/root{EXPORT}")

    def export(self, **changes: object) -> None:
        """An export of these settings, as `autotune export` writes one."""
        settings = {
            "format": FORMAT,
            "study": "tried",
            "fingerprint": "0123456789abcdef",
            "arm": "automatic",
            "board": {},
            "nic": "",
            "kernel": KERNEL,
            "config": "/etc/nginx/nginx.conf",
            "nginx": NGINX,
            "pool": (),
            **changes,
        }
        if not (self.folder / "install").exists():
            write_files(self.folder, program_files())
        (self.folder / "settings.json").write_text(json.dumps(settings))

    def install(self, *words: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
        return self.machine.run(f"{EXPORT}/install", *words, uid=uid)

    def uninstall(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(f"{EXPORT}/uninstall", *words)

    def look(self) -> str:
        """Every byte, owner and mode that an installation could have touched."""
        return self.machine.run("sh", "-c", _LOOK).stdout

    def nginx_answers(self) -> str:
        return self.machine.run(
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1/"
        ).stdout

    def backlogs(self) -> set[str]:
        return {
            line.split()[2] for line in self.machine.run("ss", "-Hltn").stdout.splitlines() if ":80 " in line
        }

    def values(self) -> Mapping[str, str]:
        return {path: self.machine.read(path) for path in (SOMAXCONN, RMEM)}


def prepared(machine: BoardNamespace) -> InstalledBoard:
    """One whose nginx runs."""
    for argv in (("sh", "-c", _PREPARE), ("nginx",)):
        done = machine.run(*argv)
        assert done.returncode == 0, done.stderr
    return InstalledBoard(machine)
