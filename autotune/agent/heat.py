"""Heat and clocks as the kernel tells them: zones, cooling devices, clock policies, time at each clock, throttle events.

Levels: `temp_ZONE_c`; `cooling_NAME` (0: this device does nothing); `khz_cpuN`; `max_khz_policyN`, the highest clock that is
allowed now; `steady_policyN`, 1 where the governor is to hold that clock and 0 where it may choose a lower one.
Counters: `freq.policyN.KHZ` seconds at that clock; `throttle.core`, `throttle.package`, events on x86.
"""

from __future__ import annotations

import math
import os
import re
from typing import Dict, List, Optional

_THERMAL = "/sys/class/thermal"
_CPUS = "/sys/devices/system/cpu"
_POLICIES = _CPUS + "/cpufreq"
_NAME = re.compile(r"[^a-z0-9]+")
_IN_STATE_S = 0.01  # Documentation/cpu-freq/cpufreq-stats.rst: "usertime" units of 10 ms


def heat() -> Dict[str, float]:
    """Temperatures and cooling devices now: all that is worth another look while a load runs."""
    found: Dict[str, float] = {}
    for zone in listing(_THERMAL):
        path = f"{_THERMAL}/{zone}"
        if zone.startswith("thermal_zone"):
            value, start, end, scale = number(path + "/temp"), "temp_", "_c", 1000
        elif zone.startswith("cooling_device"):
            value, start, end, scale = number(path + "/cur_state"), "cooling_", "", 1
        else:
            continue
        if value is not None:
            kind = _NAME.sub("_", first_line(path + "/type").lower()).strip("_") or zone
            found[_unused(found, start + kind, end)] = value / scale
    return found


def clocks() -> Dict[str, float]:
    """The clocks that the kernel believes in, and what each policy allows."""
    found: Dict[str, float] = {}
    for cpu in _numbered(_CPUS, "cpu"):
        value = number(f"{_CPUS}/{cpu}/cpufreq/scaling_cur_freq")
        if value is not None:
            found[f"khz_{cpu}"] = value
    for policy in _numbered(_POLICIES, "policy"):
        at = f"{_POLICIES}/{policy}"
        highest = number(at + "/scaling_max_freq")
        if highest is None:
            continue
        holds = (
            first_line(at + "/scaling_governor") == "performance"
            or number(at + "/scaling_min_freq") == highest
        )
        found[f"max_khz_{policy}"] = highest
        found[f"steady_{policy}"] = float(holds)
    return found


def clock_counters() -> Dict[str, float]:
    """Seconds at each clock, and throttle events, since boot."""
    found: Dict[str, float] = {}
    for policy in _numbered(_POLICIES, "policy"):
        for line in lines(f"{_POLICIES}/{policy}/stats/time_in_state"):
            khz, _, ticks = line.partition(" ")
            if khz.isdigit() and ticks.strip().isdigit():
                found[f"freq.{policy}.{khz}"] = int(ticks) * _IN_STATE_S
    for part in ("core", "package"):
        counts = [
            number(f"{_CPUS}/{cpu}/thermal_throttle/{part}_throttle_count") for cpu in _numbered(_CPUS, "cpu")
        ]
        told = [one for one in counts if one is not None]
        if told:
            found["throttle." + part] = sum(told)
    return found


def _numbered(path: str, name: str) -> List[str]:
    """cpu0, cpu1, … of a directory that also holds cpufreq and cpuidle."""
    return [one for one in listing(path) if one.startswith(name) and one[len(name) :].isdigit()]


def _unused(found: Dict[str, float], name: str, end: str) -> str:
    """Zones of one type get numbers: temp_soc_c, temp_soc_2_c."""
    if name + end not in found:
        return name + end
    count = 2
    while f"{name}_{count}{end}" in found:
        count += 1
    return f"{name}_{count}{end}"


def number(path: str) -> Optional[float]:
    """The number in a file; None when it isn't there or says no number (a zone that is off)."""
    try:
        found = float(first_line(path))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def first_line(path: str) -> str:
    found = lines(path)
    return found[0].strip() if found else ""


def listing(path: str) -> List[str]:
    """The names in a directory, sorted; none when it isn't there."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def lines(path: str) -> List[str]:
    """The lines of a kernel file; none when it isn't there or can't be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
