"""The clock that a CPU really runs at, beside itself at another time: how often it can do a fixed piece of work per second.

What the kernel tells (scaling_cur_freq) is what it asked for: firmware, heat and silicon may give less. Counting cycles would
need a performance counter, which many boards and every guest lack. The work stays in the first-level cache, so its speed is the
clock's; other programs only ever make it slower, so the fastest of many goes counts.
"""

from __future__ import annotations

import os
import time
from typing import Dict, List, Sequence

from autotune.agent.heat import first_line, number

_CPUS = "/sys/devices/system/cpu"
_WORK = 2000
_WITHIN_S = 0.003
_KINDS_MOST = 4


def rates(prefer: Sequence[int]) -> Dict[str, float]:
    """`spin_cpuN`: pieces of work per second of one CPU of each kind, one of `prefer` where there is such.

    Takes 3 ms for each kind. The CPUs that this process may use are as before when it returns.
    """
    usable = os.sched_getaffinity(0)
    found: Dict[str, float] = {}
    try:
        for cpu in one_of_each_kind(usable, prefer):
            os.sched_setaffinity(0, {cpu})
            found[f"spin_cpu{cpu}"] = _rate()
    finally:
        os.sched_setaffinity(0, usable)
    return found


def one_of_each_kind(usable: "set[int]", prefer: Sequence[int]) -> List[int]:
    """CPUs whose clocks can differ: one of each clock policy, or of each capacity where policies are many or none."""
    by_policy = {cpu: _policy(cpu) for cpu in usable}
    if "" in by_policy.values() or len(set(by_policy.values())) > _KINDS_MOST:
        by_policy = {cpu: str(number(f"{_CPUS}/cpu{cpu}/cpu_capacity")) for cpu in usable}
    chosen: Dict[str, int] = {}
    for cpu in sorted(usable, key=lambda one: (one in prefer, one)):
        chosen[by_policy[cpu]] = cpu  # the last one stays: preferred, and away from CPU 0 and its interrupts
    return sorted(chosen.values())[:_KINDS_MOST]


def _policy(cpu: int) -> str:
    """The CPUs that share this one's clock; "" without cpufreq."""
    return first_line(f"{_CPUS}/cpu{cpu}/cpufreq/related_cpus")


def _rate() -> float:
    until = time.perf_counter() + _WITHIN_S
    best_s = float("inf")
    while True:
        began = time.perf_counter()
        for _ in range(_WORK):
            pass
        ended = time.perf_counter()
        best_s = min(best_s, ended - began)
        if ended >= until:
            return _WORK / best_s
