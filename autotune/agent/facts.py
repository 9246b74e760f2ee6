"""What this machine is: the answer to hello. Changes nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Dict, List

from autotune.agent import services
from autotune.agent.allowed import PROGRAMS, find_program
from autotune.agent.board_model import model
from autotune.agent.counters import memory_bytes
from autotune.agent.heat import first_line
from autotune.agent.places import Places
from autotune.agent.protocol import PROTOCOL, HelloReply, Program
from autotune.agent.restore import boot_id, netns

_VERSION_ARGUMENT = {"nginx": "-V", "wrk": "-v", "luajit": "-v", "php-fpm": "-nv"}
_VERSION_CAP = 8192
_VERSION_LINES = {"nginx": 40, "wrk": 1, "luajit": 1, "php-fpm": 1}


def facts(places: Places) -> HelloReply:
    system = os.uname()
    return {
        "protocol": PROTOCOL,
        "python": sys.version.split()[0],
        "uid": places.uid,
        "hostname": system.nodename,
        "kernel": system.release,
        "machine": system.machine,
        "boot_id": boot_id(),
        "netns": netns(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "capacity": _capacity(),
        "cores": _cores(),
        "memory_bytes": memory_bytes()[1],
        "open_files_limit": _open_files_limit(),
        "run_dir": places.run_dir,
        "run_is_tmpfs": _file_system(places.run_dir) in ("tmpfs", "ramfs"),
        "state_dir": places.state_dir,
        "state_free_bytes": _free_bytes(places.state_dir),
        "programs": programs(),
        "model": model(),
    }


def _capacity() -> Dict[str, int]:
    """How fast each CPU is beside the fastest (1024), as the scheduler reckons."""
    found: Dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity", encoding="ascii") as file:
                found[str(cpu)] = int(file.read())
        except (OSError, ValueError):
            return {}
    return found


def _cores() -> List[List[int]]:
    """The CPUs by the core that they are threads of; each alone where the kernel doesn't tell."""
    found: Dict[str, List[int]] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        at = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = first_line(at + "/core_cpus_list") or first_line(at + "/thread_siblings_list")
        found.setdefault(siblings or f"cpu {cpu}", []).append(cpu)
    return list(found.values())


def _open_files_limit() -> int:
    """setrlimit(2): only CAP_SYS_RESOURCE (bit 24) raises a hard limit, and fs.nr_open is above them all."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        ceiling = int(file.read())
    if hard == resource.RLIM_INFINITY:
        return ceiling
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        capabilities = next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)
    return ceiling if capabilities >> 24 & 1 else hard


def programs() -> Dict[str, Program]:
    """Every program the agent may run, with its version text; path "" for one that isn't installed."""
    return {name: _program(name) for name in PROGRAMS}


def live_program(installed: Program) -> Program:
    """The nginx that runs on this machine, with its own version text; the installed one without such."""
    path = services.live_nginx()
    return installed if path in ("", installed["path"]) else _asked("nginx", path)


def _program(name: str) -> Program:
    path = find_program(name)
    return _asked(name, path) if path else {"path": "", "version": ""}


def _asked(name: str, path: str) -> Program:
    try:
        done = subprocess.run(
            [path, _VERSION_ARGUMENT[name]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return {"path": path, "version": f"(no version to be had: {problem})"}
    lines = done.stdout[:_VERSION_CAP].decode("utf-8", "replace").splitlines()
    return {"path": path, "version": "\n".join(lines[: _VERSION_LINES[name]]).strip()}


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _free_bytes(path: str) -> int:
    seen = os.statvfs(_existing(path))
    return seen.f_bavail * seen.f_frsize


def _file_system(path: str) -> str:
    """The type of the file system that holds a path, or would hold it."""
    real = os.path.realpath(_existing(path))
    best, kind = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            point = words[4].replace("\\040", " ")
            if (real + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
                best, kind = point, words[words.index("-") + 1]
    return kind
