"""The truth about the imagined Rock 5B+: how fast, how noisy, how late and how hot it is with any values in force.

The load comes over a network card that carries it all, so that the card's settings count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from autotune.space.value import Value
from autotune.synthetic.effects import Page, Values, linear
from autotune.synthetic.rock5b_effects import BEYOND, GOVERNOR, HAND_TUNED
from autotune.synthetic.rock5b_stock import BIG_CPUS, CPUS
from autotune.synthetic.rock5b_workers import placement_gain, unbound, worker_cpus

# Requests/s of the text's stock (sendfile off) for 1 KB, 100 KB and PHP.
CAPSTONE_RATES: Final = (45_231.0, 8_942.0, 1_823.0)
# CPU seconds per request of the same: its CPUs were 45, 78 and 92 % busy.
CAPSTONE_CPU_S: Final = (0.45 * CPUS / 45_231, 0.78 * CPUS / 8_942, 0.92 * CPUS / 1_823)
CAPSTONE: Final[Mapping[str, Value]] = MappingProxyType(
    {"nginx:sendfile": False, "nginx:worker_connections": 768}
)

# What each cluster counts for the whole.
_CLUSTERS: Final = {"policy0": 0.2, "policy4": 0.4, "policy6": 0.4}


def _clock_worth(values: Values, policy: str) -> float:
    """How much of the gain of full speed a cluster has: schedutil as found 0, performance 1."""
    mine = f"cpufreq:{policy}."
    governor = values.get(f"{mine}governor", "schedutil")
    if governor == "schedutil" and "cpufreq:all.governor" in values:
        governor = values["cpufreq:all.governor"]
    match governor:
        case "performance":
            return 1.0
        case "ondemand":
            return (
                -0.6
                + 1.0 * linear(95, 25, otherwise=0.2)(values.get(f"{mine}ondemand.up_threshold", "unset"))
                + (0.2 * linear(1, 10)(values.get(f"{mine}ondemand.sampling_down_factor", "unset")))
            )
        case "schedutil":
            return 0.3 - 0.9 * linear(0, 10_000, otherwise=1 / 3)(
                values.get(f"{mine}schedutil.rate_limit_us", "unset")
            )
        case "conservative":
            return -1.5
        case _:
            return -12.0


def clocks(values: Values) -> float:
    """The same over all three clusters, the large ones counting most."""
    return sum(share * _clock_worth(values, policy) for policy, share in _CLUSTERS.items())


def gain(values: Values, page: Page) -> float:
    """ln(requests/s) of one page with these values in force, less a constant that is the same for all values."""
    return (
        placement_gain(values, page)
        + clocks(values) * GOVERNOR.of(page)
        + math.fsum(effect.of(values, page) for effect in HAND_TUNED)
        + math.fsum(effect.of(values, page) for effect in BEYOND)
    )


def latency_sigma(values: Values, page: Page) -> float:
    """The shape of the latencies: standard deviation of their logarithm. The text's p99 is 3.8 times the mean."""
    sigma = 0.66
    sigma += 0.03 if unbound(values) else -0.02
    sigma += 0.05 * len(set(worker_cpus(values)) - set(BIG_CPUS)) / 4 - 0.05
    sigma += 0.03 if values.get("thp:defrag") == "always" and values.get("thp:enabled") != "never" else 0.0
    children = values.get("fpm:max_children")
    if page.is_php and isinstance(children, int) and children > 32:
        sigma += 0.4 * math.log2(children / 32)
    return sigma


def busy_w(values: Values) -> float:
    """Power of the whole board under full load, on a cool chip: 12 W as the text measured it, before and after."""
    return (
        12.0
        + 0.5 * clocks(values)
        + (0.5 if values.get("devfreq:dmc.governor") == "performance" else 0.0)
        + (0.3 if values.get("cpuidle:deepest") is False else 0.0)
        + 1.0 * linear(0, 100)(values.get("sysctl:net.core.busy_poll", 0))
        + 0.15 * max(0, len(set(worker_cpus(values)) & set(BIG_CPUS)) - 2)
        - 0.5
    )
