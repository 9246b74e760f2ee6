"""The imagined Rock 5B+'s workers: where they run, and what that is worth.

The small cores (0-3) carry the card's interrupts, so workers there are slow and in the way; four on the large cores serve most.
"""

from __future__ import annotations

import math
from typing import Final

from autotune.synthetic.effects import Gain, Page, Values
from autotune.synthetic.rock5b_stock import BIG_CPUS, CPUS


def workers_of(values: Values) -> int:
    wanted = values.get("nginx:worker_processes")
    return wanted if isinstance(wanted, int) else CPUS


def worker_cpus(values: Values) -> tuple[int, ...]:
    """The CPU of each worker. Unbound, the scheduler fills the large cores first; bound, worker i takes the i-th CPU."""
    bound = values.get("nginx:worker_cpu_affinity")
    if isinstance(bound, int) and not isinstance(bound, bool):
        allowed = tuple(cpu for cpu in range(CPUS) if bound >> cpu & 1) or tuple(range(CPUS))
    elif bound == "auto":
        allowed = tuple(range(CPUS))
    else:
        allowed = (*BIG_CPUS, *(cpu for cpu in range(CPUS) if cpu not in BIG_CPUS))
    return tuple(allowed[place % len(allowed)] for place in range(workers_of(values)))


def unbound(values: Values) -> bool:
    return values.get("nginx:worker_cpu_affinity", "off") == "off"


_LITTLE_SPEED: Final = 0.42
_IN_THE_WAY: Final = 0.4424  # all four small cores busy with workers and with the card's interrupts
WANDERING: Final = 0.085  # what unbound workers lose by being moved about
# How much of the work is nginx's own, and not the card's or PHP's.
_WORKERS_SHARE: Final = Gain(small=0.8, large=0.6, php=0.06)


def _room(values: Values) -> float:
    """ln of what the workers' cores can do, against four workers on the four large ones; unbound workers wander."""
    cpus = worker_cpus(values)
    used = set(cpus)
    little = len(used - set(BIG_CPUS))
    able = (len(used) - little) + _LITTLE_SPEED * little
    # Connections are shared out by worker: two on one core and one on the next is as slow as the fuller core.
    crowded = math.ceil(len(cpus) / len(used)) * len(used) / len(cpus) - 1
    taking_turns = 0.012 * (math.ceil(len(cpus) / len(used)) - 1)
    return math.log(able / len(BIG_CPUS)) - _IN_THE_WAY * little / 4 - 0.25 * crowded - taking_turns


def placement_gain(values: Values, page: Page) -> float:
    """What the workers' number and places are worth, as a change of ln(requests/s)."""
    wandering = WANDERING if unbound(values) else 0.0
    return _WORKERS_SHARE.of(page) * _room(values) - wandering * Gain(small=1.1, large=1, php=0.2).of(page)


def spread(values: Values) -> float:
    """Standard deviation of ln(requests/s) from one start of nginx to the next: which core each worker got."""
    cpus = worker_cpus(values)
    little = len(set(cpus) - set(BIG_CPUS)) / 4
    own = 0.011 if unbound(values) else 0.001 + 0.003 * little
    crowded = 0.008 if len(cpus) % len(set(cpus)) else 0.0
    threaded = 0.006 if values.get("net:nic.threaded") is True else 0.0
    return math.sqrt(own**2 + crowded**2 + threaded**2)
