"""An RK3588 board of paper (three clusters, the vendor's memory clock, one 2.5 Gbit/s card), and a PC without clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paper_board import FACTS, STUDY, readings

from autotune.actuators.discovery import Discovery, discover
from autotune.board.facts import BoardFacts
from autotune.board.records import Reading
from autotune.experiment.study import Placement, Study
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Setting

ROCK = replace(
    FACTS,
    machine="aarch64",
    model="Radxa ROCK 5B+",
    cpus=tuple(range(8)),
    capacity={**dict.fromkeys(range(4), 530), **dict.fromkeys(range(4, 8), 1024)},
)
CARD = "enP4p65s0"
PINNED = STUDY.model_copy(update={"placement": Placement.PINNED})
_CPUFREQ = "/sys/devices/system/cpu/cpufreq"
_OFFERED = "conservative ondemand userspace powersave performance schedutil \n"


def _policy(number: int, cpus: str, frequencies: str) -> dict[str, str]:
    listed = frequencies.split()
    return {
        f"{_CPUFREQ}/policy{number}/{file}": f"{text}\n"
        for file, text in {
            "related_cpus": cpus,
            "scaling_governor": "ondemand",
            "scaling_available_governors": _OFFERED,
            "scaling_available_frequencies": frequencies,
            "scaling_min_freq": listed[0],
            "scaling_max_freq": listed[-1],
            "ondemand/up_threshold": "80",
            "ondemand/sampling_rate": "10000",
            "ondemand/sampling_down_factor": "1",
            "ondemand/io_is_busy": "0",
        }.items()
    }


INTERRUPTS = """           CPU0       CPU1       CPU2       CPU3       CPU4       CPU5       CPU6       CPU7
 13:    1293031    1020221     928110     937110    3020116    2991120    2880112    2770113     GICv3  26 Level     arch_timer
 22:          0          0          0          0          0          0          0          0     GICv3 105 Level     rockchip_usb2phy
 34:      10211          0          0          0          0          0          0          0     GICv3 349 Level     fd880000.i2c
 38:       5022          0          0          0          0          0          0          0     GICv3 237 Level     mmc0
 41:          0          0          0          0          0          0          0          0     GICv3 147 Level     feaf0000.watchdog
 47:        312          0          0          0          0          0          0          0     GICv3 365 Level     ttyFIQ0, debug
123:      40221          0          0          0          0          0          0          0   ITS-MSI 524288 Edge      nvme0q0
140:   91202211          0          0          0          0          0          0          0   ITS-MSI 570949632 Edge      enP4p65s0-0
141:          0          0          0          0          0          0          0          0   ITS-MSI 570949633 Edge      enP4p65s0-16
IPI0:    100101     100201     100301     100401     100501     100601     100701     100801       Rescheduling interrupts
Err:          0
"""
FILES = {
    "/sys/devices/system/cpu/online": "0-7\n",
    **_policy(0, "0 1 2 3", "408000 1008000 1800000"),
    **_policy(4, "4 5", "408000 1200000 1800000 2256000"),
    **_policy(6, "6 7", "408000 1200000 1800000 2304000"),
    "/sys/class/devfreq/dmc/governor": "dmc_ondemand\n",
    "/sys/class/devfreq/dmc/available_governors": "dmc_ondemand userspace powersave performance simple_ondemand\n",
    "/sys/class/devfreq/dmc/upthreshold": "40\n",
    "/sys/class/devfreq/dmc/downdifferential": "20\n",
    "/sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0\n",
    "/sys/class/thermal/cooling_device0/cur_state": "0\n",
    "/sys/class/thermal/cooling_device4/type": "pwm-fan\n",
    "/sys/class/thermal/cooling_device4/cur_state": "3\n",
    "/proc/interrupts": INTERRUPTS,
    **{f"/proc/irq/{number}/smp_affinity": "ff\n" for number in (13, 34, 38, 41, 47, 123)},
    "/proc/irq/140/smp_affinity": "01\n",
    "/proc/irq/141/smp_affinity": "01\n",
    **{f"/sys/class/net/{CARD}/queues/rx-{queue}/rps_cpus": "00\n" for queue in range(4)},
    **{f"/sys/class/net/{CARD}/queues/rx-{queue}/rps_flow_cnt": "0\n" for queue in range(4)},
    f"/sys/class/net/{CARD}/queues/tx-0/xps_cpus": "0f\n",
    f"/sys/class/net/{CARD}/queues/tx-1/xps_cpus": "f0\n",
    f"/sys/class/net/{CARD}/threaded": "0\n",
    f"tc:{CARD}/root": "default mq\n",
    f"ethtool:{CARD}/rx-usecs": "30\n",
    f"ethtool:{CARD}/gro": "on\n",
    "/sys/module/pcie_aspm/parameters/policy": "default performance [powersave] powersupersave \n",
    **{
        f"/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}/disable": "0\n"
        for cpu in range(8)
        for state in (0, 1)
    },
    "/proc/self/mountinfo": (
        "22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
        "30 22 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n"
    ),
    "/sys/block/nvme0n1/dev": "259:0\n",
    "/sys/block/nvme0n1/nvme0n1p2/dev": "259:2\n",
    "/sys/block/nvme0n1/queue/read_ahead_kb": "128\n",
    "/sys/block/mmcblk0/queue/read_ahead_kb": "128\n",
}


def rock(
    *ids: str,
    files: Mapping[str, str | None] | None = None,
    interface: str = CARD,
    study: Study = PINNED,
    facts: BoardFacts = ROCK,
) -> Discovery:
    """What the rock of paper offers of these settings; `files` lie over its own, None takes one away."""
    texts = {path: text for path, text in {**FILES, **(files or {})}.items() if text is not None}
    return discover(_settings(ids), readings(files=texts), facts, study, interface)


def bare(*ids: str, files: Mapping[str, str] | None = None, interface: str = "") -> Discovery:
    """What a virtual machine without clocks, idle states or a card of its own offers."""
    seen: dict[str, Reading] = readings(files=files)
    return discover(_settings(ids), seen, FACTS, STUDY, interface)


def _settings(ids: tuple[str, ...]) -> tuple[Setting, ...]:
    return tuple(CATALOGUE[id_] for id_ in ids)
