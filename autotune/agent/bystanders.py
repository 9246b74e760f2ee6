"""CPU time that is neither the server's, nor the generator's, nor ours: who else ran, and for how long.

From two looks at all processes. What ended in between is in its parent's account of reaped children. Kernel threads don't
count: under load they work for it. So do we and those who started us, for their own part.
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Set, Tuple

from autotune.agent import processes
from autotune.agent.processes import TICK_S

_KERNEL = 2  # kthreadd
_NAMED = 3
_LEAST_NAMED_S = 0.02


class Seen(NamedTuple):
    """One process: its own CPU seconds, and those of the children that it has reaped."""

    name: str
    parent: int
    own_s: float
    reaped_s: float


class Others(NamedTuple):
    """CPU seconds of other programs, and the busiest of them in words ("apt-get (pid 812) 0.52 s")."""

    cpu_s: float
    busiest: List[str]
    agent_s: float
    kernel_s: float


Look = Dict[Tuple[int, int], Seen]
"""By process id and start time: a number that was used again is another process."""


def look() -> Look:
    """All processes now."""
    found: Look = {}
    for pid in processes.all_pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read().decode("ascii", "replace")
        except OSError:
            continue
        name, _, rest = text[text.index("(") + 1 :].rpartition(")")
        fields = rest.split()
        own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        found[pid, int(fields[19])] = Seen(name, int(fields[1]), own * TICK_S, reaped * TICK_S)
    return found


def others(before: Look, after: Look) -> Others:
    """What ran between two looks."""
    me = os.getpid()
    parents = {key[0]: seen.parent for look in (before, after) for key, seen in look.items()}
    ours = {pid for pid in parents if _descends(pid, me, parents)}
    above = _ancestors(me, parents)
    total_s, kernel_s, agent_s = 0.0, 0.0, 0.0
    gains: Dict[int, float] = {}
    for key in {**before, **after}:
        pid = key[0]
        was = before.get(key, Seen("", 0, 0.0, 0.0))
        now = after.get(key)
        own_s = (now.own_s if now else 0.0) - was.own_s
        reaped_s = (now.reaped_s if now else 0.0) - was.reaped_s
        if _KERNEL in (pid, parents[pid]):
            kernel_s += own_s
        elif pid == me:
            agent_s += own_s
        elif pid not in ours:
            gain_s = reaped_s + (0.0 if pid in above else own_s)
            total_s += gain_s
            # What has ended is in its parent's account with all that it ever ran, of which only this gain is new.
            account = pid if now else was.parent
            gains[account] = gains.get(account, 0.0) + gain_s
    named = [
        (gains[pid], f"{seen.name} (pid {pid}) {gains[pid]:.2f} s")
        for (pid, _), seen in after.items()
        if gains.get(pid, 0.0) >= _LEAST_NAMED_S
    ]
    busiest = [words for _, words in sorted(named, reverse=True)[:_NAMED]]
    return Others(max(0.0, total_s), busiest, agent_s, kernel_s)


def _descends(pid: int, root: int, parents: Dict[int, int]) -> bool:
    passed: Set[int] = set()
    while pid in parents and pid not in passed:
        if pid == root:
            return True
        passed.add(pid)
        pid = parents[pid]
    return False


def _ancestors(pid: int, parents: Dict[int, int]) -> Set[int]:
    """Those who started us: the controller, sudo, a shell. Not init, which reaps everybody's orphans."""
    found: Set[int] = set()
    pid = parents.get(pid, 0)
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found
