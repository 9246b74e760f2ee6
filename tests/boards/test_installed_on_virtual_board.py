"""An export installed on a virtual Rock 5B+: every family that it has, over a real reboot, and taken back over another.

Only with `scripts/test --boards`.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import virtual_board
from virtual_board import HOST, VirtualBoard

from autotune.installer.exported import FORMAT
from autotune.report.export import write_files
from autotune.report.program import program_files

pytestmark = pytest.mark.boards

_CPUFREQ = "/sys/devices/system/cpu/cpufreq"
_SETTLED_WITHIN_S = 240
_FILES = """
cd /etc
find . -xdev ! -name machine-id ! -name resolv.conf -printf '%p %y %m %U %G %l\\n' | sort
find . -xdev -type f ! -name machine-id ! -name resolv.conf | sort | xargs sha256sum
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    if why := virtual_board.why_no_board():
        pytest.skip(why)
    made = virtual_board.start(tmp_path / "board")
    try:
        yield made
    finally:
        (virtual_board.known(tmp_path / "board") or made).stop()


def said(board: VirtualBoard, command: str, *, code: int = 0) -> str:
    done = board.ssh(command, timeout=300)
    assert done.returncode == code, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout + (done.stderr if code else "")


def settings(nic: str) -> dict[str, Any]:
    """Something of every family that this board has."""
    edits = (
        {"context": "http", "name": "sendfile", "words": "off", "rest": True},
        {"context": "events", "name": "worker_connections", "words": "2048"},
        {"context": "listen", "name": "backlog", "words": "8192"},
    )
    values: Mapping[str, object] = {
        "sysctl:net.core.somaxconn": 8192,
        "sysctl:net.ipv4.tcp_rmem": "4096 262144 8388608",
        "thp:enabled": "always",
        "block:vda.read_ahead_kb": 512,
        "cpufreq:all.governor": "ondemand",
        "cpufreq:all.ondemand.up_threshold": 63,
        "cpufreq:policy4.max_freq": "1800000",
        "irq:nic.affinity": "spread",
        "net:nic.rps_cpus": "big",
        "net:nic.gro": False,
    }
    return {
        "format": FORMAT,
        "study": "virtual",
        "fingerprint": "0123456789abcdef",
        "arm": "automatic",
        "board": {"model": "Radxa ROCK 5B+", "machine": "aarch64", "cpus": "8"},
        "nic": nic,
        "kernel": [{"id": id_, "value": value} for id_, value in values.items()],
        "config": "/etc/nginx/nginx.conf",
        "nginx": [{"first": "", "nested": False, "rest": False, **one} for one in edits],
        "pool": [],
    }


def paths(nic: str) -> dict[str, str]:
    """Where these are on this board, and what is to be there."""
    return {
        "/proc/sys/net/core/somaxconn": "8192",
        "/proc/sys/net/ipv4/tcp_rmem": "4096\t262144\t8388608",
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
        "/sys/block/vda/queue/read_ahead_kb": "512",
        **{f"{_CPUFREQ}/policy{one}/scaling_governor": "ondemand" for one in (0, 4, 6)},
        f"{_CPUFREQ}/ondemand/up_threshold": "63",
        f"{_CPUFREQ}/policy4/scaling_max_freq": "1800000",
        f"/sys/class/net/{nic}/queues/rx-0/rps_cpus": "f0",
    }


def reading(board: VirtualBoard, nic: str) -> dict[str, str]:
    """A fresh one, by the board's own cat."""
    names = [*paths(nic), f"{_CPUFREQ}/policy4/scaling_min_freq"]
    text = said(board, "; ".join(f"cat {one} 2>/dev/null || echo -" for one in names))
    found = dict(zip(names, text.splitlines(), strict=True))
    found["gro"] = said(board, f"ethtool -k {nic} | grep generic-receive-offload || true").strip()
    return found


def placed(board: VirtualBoard, nic: str) -> list[str]:
    """The CPUs of the card's interrupts, in their order."""
    virtio = said(board, f"basename $(readlink -f /sys/class/net/{nic}/device)").strip()
    command = f"grep -E '{virtio}-(in|out)' /proc/interrupts | cut -d: -f1 | while read n; do cat /proc/irq/$n/smp_affinity; done"
    return [one.lstrip("0") for one in said(board, command).split()]


def bring(board: VirtualBoard, folder: Path) -> None:
    packed = subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True).stdout
    command = (
        "ssh",
        "-F",
        board.ssh_config,
        f"root@{HOST}",
        "mkdir -p /opt/out && tar -C /opt/out -x --touch",
    )
    subprocess.run(command, input=packed, check=True, timeout=120, stdout=subprocess.DEVNULL)


def settled(board: VirtualBoard) -> None:
    """The unit has done its work."""
    until = time.monotonic() + _SETTLED_WITHIN_S
    while (state := board.ssh("systemctl is-active autotune-settings").stdout.strip()) != "active":
        assert state in ("activating", "inactive"), said(board, "journalctl -u autotune-settings --no-pager")
        assert time.monotonic() < until, state
        time.sleep(1)


def test_it_holds_over_a_reboot_and_is_gone_after_it_was_taken_back(
    board: VirtualBoard, tmp_path: Path
) -> None:
    nic = said(board, "ls /sys/class/net | grep -v -x lo | head -1").strip()
    folder = tmp_path / "out"
    write_files(folder, {**program_files(), "settings.json": json.dumps(settings(nic))})
    bring(board, folder)
    files, values, cpus = said(board, _FILES), reading(board, nic), placed(board, nic)

    if said(board, "systemctl is-active irqbalance || true").strip() == "active":
        assert "irqbalance runs here" in said(board, "/opt/out/install --dry-run", code=5)
        said(board, "systemctl disable --now irqbalance")
        files, values, cpus = said(board, _FILES), reading(board, nic), placed(board, nic)
    shown = said(board, "/opt/out/install --dry-run")
    assert "cpufreq:all.ondemand.up_threshold: once its governor rules" in shown
    assert (said(board, _FILES), reading(board, nic)) == (files, values)

    print(said(board, "/opt/out/install"))
    wanted = {path: reading(board, nic)[path] for path in paths(nic)}
    assert wanted == paths(nic)
    spread = placed(board, nic)
    assert spread == [f"{1 << place:x}" for place in range(len(spread))]
    assert "This is installed already" in said(board, "/opt/out/install")

    board.reboot()
    settled(board)
    assert {path: reading(board, nic)[path] for path in paths(nic)} == wanted
    assert placed(board, nic) == spread
    assert "511" not in said(board, "ss -Hltn 'sport = :80'").split()

    said(board, "rm -r /opt/out")
    print(said(board, "/var/lib/autotune/installed/uninstall"))
    assert reading(board, nic) == values
    assert placed(board, nic) == cpus
    assert said(board, _FILES) == files

    board.reboot()
    assert reading(board, nic) == values
    assert said(board, _FILES) == files
    assert said(board, "ls -A /var/lib/autotune 2>/dev/null || true") == ""
