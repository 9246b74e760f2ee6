"""What a board is like, looked at from outside the product: kernel values, services, what is left of a night."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from virtual_board import VirtualBoard

# Run there by the board's own Python. Values by path; files and processes of ours in words; services by name.
_PROGRAM: Final = r"""
import glob, json, os, subprocess
values = {}
for pattern in ("/proc/sys/net/core/*", "/proc/sys/net/ipv4/*", "/proc/sys/vm/*", "/sys/kernel/mm/transparent_hugepage/*",
        "/sys/devices/system/cpu/cpufreq/policy*/scaling_*", "/sys/devices/system/cpu/cpufreq/policy*/*/*",
        "/sys/devices/system/cpu/cpufreq/*/*"):
    for path in sorted(glob.glob(pattern)):
        if os.path.isfile(path) and "/stats/" not in path and not path.endswith("_cur_freq"):
            try:
                with open(path, "rb") as file:
                    values[path] = file.read().decode("utf-8", "replace")
            except OSError:
                continue
left = [path for path in sorted(glob.glob("/run/autotune/*")) if not path.endswith("/lock")]
alive = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/comm" % name) as file:
            comm = file.read().strip()
        with open("/proc/%s/cmdline" % name, "rb") as file:
            line = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
        with open("/proc/%s/cgroup" % name) as file:
            group = file.read()
    except OSError:
        continue
    if comm == "autotune-guard" or " autotune-agent " in line or comm in ("wrk", "luajit"):
        alive.append("process %s (%s)" % (name, comm))
    elif comm == "nginx" and "/nginx.service" not in group:
        alive.append("process %s (an nginx that is no service's)" % name)
active = {}
for name in ("nginx", "irqbalance"):
    done = subprocess.run(["systemctl", "is-active", name], stdout=subprocess.PIPE)
    active[name] = done.stdout.decode().strip()
with open("/proc/sys/kernel/random/boot_id") as file:
    boot = file.read().strip()
kept = sorted(glob.glob("/var/lib/autotune/*"))
print(json.dumps({"boot": boot, "values": values, "left": left + alive, "kept": kept, "services": active}))
"""
# They count, or say how busy the board is.
_RESTLESS: Final = ("/proc/sys/vm/stat_refresh",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """`values` by path. `left`: what lives or lies about in memory; `kept`: a night's directories on the disk."""

    boot: str
    values: Mapping[str, str]
    left: tuple[str, ...]
    kept: tuple[str, ...]
    services: Mapping[str, str]


def look(board: VirtualBoard) -> Look:
    """Over a connection of its own."""
    packed = base64.b64encode(_PROGRAM.encode("ascii")).decode("ascii")
    done = board.ssh(f"python3 -c 'import base64; exec(base64.b64decode(\"{packed}\"))'", timeout=120)
    if done.returncode:
        raise RuntimeError(f"the board can't be looked at: {done.stderr.strip()[-300:]}")
    seen = json.loads(done.stdout.splitlines()[-1])
    values = {path: text for path, text in seen["values"].items() if path not in _RESTLESS}
    return Look(
        boot=seen["boot"],
        values=values,
        left=tuple(seen["left"]),
        kept=tuple(seen["kept"]),
        services=seen["services"],
    )


def same_at_each_boot(first: Look, second: Look) -> dict[str, str]:
    """What a board boots with: the values in which two boots, without a night before either, agree."""
    return {path: text for path, text in first.values.items() if second.values.get(path) == text}


def differences(seen: Look, stock: Mapping[str, str]) -> list[str]:
    """How the board is not as it boots, in words; its disk is not looked at."""
    found = [
        f"{path} boots with {text.strip()!r}, is {seen.values.get(path, '(absent)').strip()!r}"
        for path, text in stock.items()
        if seen.values.get(path) != text
    ]
    found += [f"{one} is left" for one in seen.left]
    found += [f"{name}.service is {state}" for name, state in seen.services.items() if state != "active"]
    return found
