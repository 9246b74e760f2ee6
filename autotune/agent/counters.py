"""The kernel's counters, which only grow, and its levels. One flat name each, so that they can be stored as they are.

Counters: `tcpext.*`, `tcp.*`, `ip.*`; `softnet.processed|dropped|time_squeeze`; `cpuN.user_s|system_s|softirq_s|irq_s|iowait_s|steal_s|idle_s`;
`ctxt`, `intr`, `forks`; `vm.pgfault` and its like; `softirq.NET_RX` and its like; `wall_s` (a clock step shows as its difference from the run's length).
Levels: `load1`, `mem_available`, `mem_total`, `mem_free`, `mem_cached`, `time_wait`, `free_ports` (with a server's address).
Heat and clocks, of both kinds, are in heat.py.
"""

from __future__ import annotations

import time
from typing import Dict, Optional, Tuple

from autotune.agent import heat, sockets
from autotune.agent.heat import lines as _lines
from autotune.agent.processes import TICK_S

_CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_KEPT = {
    "TcpExt": "tcpext",
    "Tcp": "tcp",
    "Ip": "ip",
}
# Fields of /proc/net/snmp that are levels or constants.
_NOT_COUNTERS = {"RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn", "CurrEstab", "Forwarding", "DefaultTTL"}
_VMSTAT = ("pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout")


def counters() -> Dict[str, float]:
    """Every counter since boot. What this kernel lacks is absent."""
    found: Dict[str, float] = {"wall_s": time.time()}
    for path in ("/proc/net/netstat", "/proc/net/snmp"):
        found.update(_tables(path))
    found.update(_softnet())
    found.update(_stat())
    found.update(_vmstat())
    lines = _lines("/proc/softirqs")
    for line in lines[1:]:
        name, _, numbers = line.partition(":")
        found["softirq." + name.strip()] = float(sum(int(number) for number in numbers.split()))
    found.update(heat.clock_counters())
    return found


def difference(before: Dict[str, float], after: Dict[str, float]) -> Dict[str, float]:
    """What was counted in between, zeros left out: most of a hundred counters never move."""
    return {
        name: round(value - before[name], 6)
        for name, value in after.items()
        if name in before and value != before[name]
    }


def levels(server: Optional[Tuple[str, int]] = None) -> Dict[str, float]:
    """The levels now; `server` is the address and port that free ports are counted towards."""
    memory = _meminfo()
    found: Dict[str, float] = {
        "load1": float(_lines("/proc/loadavg")[0].split()[0]),
        "mem_available": float(memory.get("MemAvailable", 0)),
        "mem_total": float(memory.get("MemTotal", 0)),
        "mem_free": float(memory.get("MemFree", 0)),
        "mem_cached": float(memory.get("Cached", 0)),
    }
    for line in _lines("/proc/net/sockstat"):
        words = line.split()
        if words[0] == "TCP:":
            found["time_wait"] = float(words[words.index("tw") + 1])
    if server is not None:
        free = free_ports(*server)
        if free is not None:
            found["free_ports"] = float(free)
    found.update(heat.heat())
    found.update(heat.clocks())
    return found


def memory_bytes() -> Tuple[int, int]:
    """(available, total)."""
    found = _meminfo()
    return found.get("MemAvailable", 0), found.get("MemTotal", 0)


def _meminfo() -> Dict[str, int]:
    """In bytes."""
    found = {}
    for line in _lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        if name in ("MemAvailable", "MemTotal", "MemFree", "Cached"):
            found[name] = int(rest.split()[0]) * 1024
    return found


def free_ports(address: str, port: int) -> Optional[int]:
    """Local ports from which this server can still be reached: those of the range that no 4-tuple to it uses."""
    lines = _lines("/proc/sys/net/ipv4/ip_local_port_range")
    if not lines:
        return None
    low, high = (int(number) for number in lines[0].split())
    try:
        used = sockets.connections_to(address, port, any_state=True)
    except OSError:
        return None
    return max(0, high - low + 1 - used)


def _tables(path: str) -> Dict[str, float]:
    """Pairs of lines: names, then numbers."""
    found = {}
    lines = _lines(path)
    for names, numbers in zip(lines[::2], lines[1::2]):
        table = names.partition(":")[0]
        prefix = _KEPT.get(table)
        if prefix is None:
            continue
        for name, number in zip(names.split()[1:], numbers.split()[1:]):
            if name not in _NOT_COUNTERS:
                found[f"{prefix}.{name}"] = float(number)
    return found


def _softnet() -> Dict[str, float]:
    rows = [[int(word, 16) for word in line.split()[:3]] for line in _lines("/proc/net/softnet_stat")]
    if not rows:
        return {}
    processed, dropped, squeezed = (float(sum(column)) for column in zip(*rows))
    return {"softnet.processed": processed, "softnet.dropped": dropped, "softnet.time_squeeze": squeezed}


def _stat() -> Dict[str, float]:
    found: Dict[str, float] = {}
    for line in _lines("/proc/stat"):
        words = line.split()
        if words[0].startswith("cpu") and words[0] != "cpu":
            for field, ticks in zip(_CPU_FIELDS, words[1:]):
                found[f"{words[0]}.{field}_s"] = int(ticks) * TICK_S
        elif words[0] in ("ctxt", "intr"):
            found[words[0]] = float(words[1])
        elif words[0] == "processes":
            found["forks"] = float(words[1])
    return found


def _vmstat() -> Dict[str, float]:
    found = {}
    for line in _lines("/proc/vmstat"):
        name, _, count = line.partition(" ")
        if name in _VMSTAT:
            found["vm." + name] = float(count)
    return found
