"""Watts, where the board has a meter: x86's energy counters (RAPL), or a power sensor of hwmon. Nothing where it has none.

RAPL counts microjoules and wraps around (Documentation/power/powercap); hwmon tells microwatts, or millivolts and
milliamperes (Documentation/hwmon/sysfs-interface), at this moment: it is read once a second.
"""

from __future__ import annotations

import re
import time
from typing import List, Optional, Tuple

from autotune.agent.allowed import check_readable
from autotune.agent.faults import Fault
from autotune.agent.heat import first_line, listing, number

_POWERCAP, _HWMON = "/sys/class/powercap", "/sys/class/hwmon"
_PACKAGE = re.compile(r"intel-rapl:[0-9]+")
_CHANNEL = re.compile(r"power([0-9]+)_input|in([0-9]+)_input")
# Those whose purpose is to measure power. A supply's sensor (tcpm_source_psy) tells what was negotiated, not what flows.
_METERS = re.compile(r"ina[0-9]+|ltc2[0-9]+|isl28022|pac19[0-9]+|power_meter")
SOURCE = re.compile(r"|auto|rapl|hwmon:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[1-9][0-9]?)?")


class Meter:
    """A run's watts: made before it, looked at once a second, asked after it. `source` says which, "" for none."""

    def __init__(self, wanted: str) -> None:
        self.source = ""
        self._energy: List[Tuple[str, float]] = []
        self._sensors: List[Tuple[str, str]] = []
        self._seen_w: List[float] = []
        if wanted in ("auto", "rapl"):
            self._energy = _packages()
            self.source = "rapl" if self._energy else ""
        if not self._energy and wanted.startswith(("auto", "hwmon")):
            _, _, rest = wanted.partition(":")
            name, _, channel = rest.partition(":")
            self.source, self._sensors = _sensors(name, channel)
        self._began_s = time.monotonic()
        self._began_uj = [number(path) for path, _ in self._energy]
        self.look()

    def look(self) -> None:
        """Reads a sensor of the moment."""
        watts = [_watts(one) for one in self._sensors]
        told = [one for one in watts if one is not None]
        if told:
            self._seen_w.append(sum(told))

    def mean_w(self) -> Optional[float]:
        """The mean since this was made; None when nothing was told."""
        self.look()
        if self._energy:
            return self._mean_of_energy()
        return sum(self._seen_w) / len(self._seen_w) if self._seen_w else None

    def _mean_of_energy(self) -> Optional[float]:
        total_uj = 0.0
        for (path, range_uj), was in zip(self._energy, self._began_uj):
            now = number(path)
            if now is None or was is None or (now < was and not range_uj):
                return None
            total_uj += now - was if now >= was else now - was + range_uj
        elapsed_s = time.monotonic() - self._began_s
        return total_uj / 1e6 / elapsed_s if elapsed_s > 0 else None


def _packages() -> List[Tuple[str, float]]:
    """Every package's counter that may be read, and how far it counts. Its parts (core, uncore, dram) are in it."""
    found = []
    for zone in listing(_POWERCAP):
        path = f"{_POWERCAP}/{zone}/energy_uj"
        if _PACKAGE.fullmatch(zone) and first_line(f"{_POWERCAP}/{zone}/name").startswith("package"):
            if not _is_allowed(path) or number(path) is None:
                return []
            found.append((path, number(f"{_POWERCAP}/{zone}/max_energy_range_uj") or 0.0))
    return found


def _sensors(name: str, channel: str) -> Tuple[str, List[Tuple[str, str]]]:
    """The hwmon device of this name, and its channels as (path of microwatts, "") or (millivolts, milliamperes)."""
    for device in listing(_HWMON):
        at = f"{_HWMON}/{device}"
        kind = first_line(at + "/name")
        if kind != name if name else not _METERS.fullmatch(kind):
            continue
        powers, volts = [], []
        for file in listing(at):
            found = _CHANNEL.fullmatch(file)
            which = found and (found[1] or found[2])
            if not found or (channel and which != channel) or not _is_allowed(f"{at}/{file}"):
                continue
            if found[1]:
                powers.append((f"{at}/{file}", ""))
            elif number(f"{at}/curr{which}_input") is not None:
                volts.append((f"{at}/{file}", f"{at}/curr{which}_input"))
        if powers or volts:
            return f"hwmon:{kind}" + (f":{channel}" if channel else ""), powers or volts
    return "", []


def _watts(sensor: Tuple[str, str]) -> Optional[float]:
    first = number(sensor[0])
    second = number(sensor[1]) if sensor[1] else 1.0
    return None if first is None or second is None else first * second / 1e6


def _is_allowed(path: str) -> bool:
    try:
        check_readable(path)
    except Fault:
        return False
    return True
