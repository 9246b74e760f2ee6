"""The device tree of the virtual board: QEMU's own, with the clocks, capacities and thermal zones of a Rock 5B+.

Three clusters with their own frequency tables (cpufreq-dt makes the policies of them), four thermal zones whose sensors
are words of memory that a test may set, and cooling devices that really throttle. No clock changes its speed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LITTLE_MHZ: Final = (408, 600, 816, 1008, 1200, 1416, 1608, 1800)
BIG_MHZ: Final = (*LITTLE_MHZ, 2016, 2208, 2400)
SENSORS: Final = 0x7FFF0000
"""Physical address of the first sensor's page: the last 64 KiB of a 1 GiB guest, whose memory begins at 1 GiB."""
SENSOR_STEP: Final = 0x1000
SENSOR_WORD: Final = 0x200
VALID: Final = 0x10000
"""Bit 16: the reading counts. Bits 0 to 9: tenths of a degree (bcm2711's sensor with the zone's coefficients)."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """CPUs that share a clock. `capacity` beside the big cores' 1024, as dmips per MHz."""

    cpus: tuple[int, ...]
    mhz: tuple[int, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class Zone:
    """A thermal zone, and the first CPU of the policy that it throttles, if any."""

    name: str
    cools: int | None


CLUSTERS: Final = (
    Cluster((0, 1, 2, 3), LITTLE_MHZ, 530),
    Cluster((4, 5), BIG_MHZ, 1024),
    Cluster((6, 7), BIG_MHZ, 1024),
)
ZONES: Final = (
    Zone("soc-thermal", None),
    Zone("littlecore-thermal", 0),
    Zone("bigcore0-thermal", 4),
    Zone("bigcore1-thermal", 6),
)
CPUS: Final = sum(len(cluster.cpus) for cluster in CLUSTERS)
_PASSIVE_C, _CRITICAL_C = 85, 115


def board_tree(source: str) -> str:
    """QEMU's device tree source with everything added. Raises ValueError when it isn't laid out as expected."""
    text = source.replace('model = "linux,dummy-virt";', 'model = "Radxa ROCK 5B+";').replace(
        'compatible = "linux,dummy-virt";',
        'compatible = "radxa,rock-5b-plus", "rockchip,rk3588", "linux,dummy-virt";',
    )
    for number, cluster in enumerate(CLUSTERS):
        for cpu in cluster.cpus:
            text, hits = re.subn(rf"\n\t\tcpu@{cpu:x} \{{\n", _cpu(cpu, number, cluster), text)
            if hits != 1:
                raise ValueError(f"{hits} nodes cpu@{cpu:x} in QEMU's device tree, expected 1")
    added = [*(_clock(number, cluster) for number, cluster in enumerate(CLUSTERS)), _reserved()]
    added += [_sensor(number) for number in range(len(ZONES))]
    added += ["thermal-zones {", *(_zone(number, zone) for number, zone in enumerate(ZONES)), "};"]
    end = text.rindex("};")
    return "\n".join((text[:end], *added, text[end:]))


def _cpu(cpu: int, number: int, cluster: Cluster) -> str:
    return (
        f"\n\t\tcpu{cpu}: cpu@{cpu:x} {{\n\t\t\tclocks = <&clock{number}>; operating-points-v2 = <&points{number}>;"
        f" #cooling-cells = <2>; capacity-dmips-mhz = <{cluster.capacity}>;\n"
    )


def _clock(number: int, cluster: Cluster) -> str:
    points = "\n".join(
        f"opp-{mhz}000000 {{ opp-hz = /bits/ 64 <{mhz}000000>; clock-latency-ns = <40000>; }};"
        for mhz in cluster.mhz
    )
    return f"""
clock{number}: cpu-clock-{number} {{
    compatible = "fixed-clock"; #clock-cells = <0>; clock-frequency = <{cluster.mhz[-1]}000000>;
}};
points{number}: opp-table-{number} {{
    compatible = "operating-points-v2"; opp-shared;
    {points}
}};"""


def _reserved() -> str:
    return f"""
reserved-memory {{
    #address-cells = <2>; #size-cells = <2>; ranges;
    sensors@{SENSORS:x} {{ reg = <0 {SENSORS:#x} 0 0x10000>; no-map; }};
}};"""


def _sensor(number: int) -> str:
    at = SENSORS + number * SENSOR_STEP
    return f"""
monitor@{at:x} {{
    compatible = "brcm,bcm2711-avs-monitor", "syscon", "simple-mfd"; reg = <0 {at:#x} 0 {SENSOR_STEP:#x}>;
    sensor{number}: thermal {{ compatible = "brcm,bcm2711-thermal"; #thermal-sensor-cells = <0>; }};
}};"""


def _zone(number: int, zone: Zone) -> str:
    cooling = ""
    if zone.cools is not None:
        cooling = (
            f"cooling-maps {{ map0 {{ trip = <&passive{number}>; "
            f"cooling-device = <&cpu{zone.cools} 0xffffffff 0xffffffff>; }}; }};"
        )
    return f"""
{zone.name} {{
    polling-delay-passive = <100>; polling-delay = <1000>; coefficients = <100 0>; thermal-sensors = <&sensor{number}>;
    trips {{
        passive{number}: passive {{ temperature = <{_PASSIVE_C}000>; hysteresis = <2000>; type = "passive"; }};
        critical{number}: critical {{ temperature = <{_CRITICAL_C}000>; hysteresis = <0>; type = "critical"; }};
    }};
    {cooling}
}};"""
