"""Where interrupts are taken: lines of /proc/interrupts by device and order, placed by hand or by topology.

Numbers change at a reboot, so a line is named by its device and its place among the device's lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.actuators.cpu_sets import (
    ONLINE_CPUS,
    big_cpus,
    mask_of,
    mask_reason,
    mask_text,
    mask_value,
    online_cpus,
    server_cpus,
)
from autotune.actuators.target import Sight, Target, found_text, no_use_over_loopback
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value

INTERRUPTS = "/proc/interrupts"
AS_FOUND = "as found"
STRATEGIES = ("one", "spread", "big", "workers")
_NUMBERED = re.compile(r"\s*(\d+):\s(.*)")
_TRIGGER = re.compile(r"(.*-)?(level|edge|fasteoi|simple|percpu)", re.IGNORECASE)
# A wrong or slow CPU for these can hang the disk, the console or the machine, and none of them serves a page faster.
_NEVER: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (
            r"nvme|ahci|ata\d|sata|scsi|sdhci|mmc|dw-?mci|mpt\dsas|megasas|.*-(req|request|requests)\b.*",
            "storage",
        ),
        (r"ufshcd|xhci|ehci|ohci|uhci|dwc[23]", "USB, which may carry the disk"),
        (r"ttyS?|serial|uart|.*\.serial|pl011", "a serial console"),
        (r"i2c|.*\.i2c|fe[a-f0-9]+\.i2c|spi|.*\.spi", "i2c or SPI, which feed the board its voltages"),
        (r".*(watchdog|wdt)", "the watchdog"),
        (r".*timer|rtc|hpet|.*arch_timer", "a timer"),
        (
            r"ACPI|.*pmu|.*thermal|tsadc|.*tsadc|mailbox|.*dma|.*iommu|.*smmu|DMAR|AER|PCIe PME",
            "the machine itself",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    """One interrupt: its number today, and who asked for it."""

    number: int
    actions: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/proc/irq/{self.number}/smp_affinity"

    @property
    def never(self) -> str:
        """What it belongs to, when it is one that is never touched; "" otherwise."""
        return next(
            (what for action in self.actions for pattern, what in _NEVER if pattern.match(action)), ""
        )

    def belongs_to(self, device: str) -> bool:
        """`eth0` has eth0, eth0-TxRx-3 and eth0:tx; not eth01."""
        return any(
            action == device or (action.startswith(device) and action[len(device)] in "-:@.")
            for action in self.actions
        )


def lines(text: str) -> tuple[Line, ...]:
    """The numbered interrupts of /proc/interrupts, for any number of CPUs, by number."""
    header, _, rest = text.partition("\n")
    cpus = len(header.split())
    found = []
    for row in rest.splitlines():
        match = _NUMBERED.match(row)
        if match is None:
            continue
        words = match[2].split()[cpus:]
        trigger = max((place for place, word in enumerate(words) if _TRIGGER.fullmatch(word)), default=-1)
        names = " ".join(words[trigger + 1 :] if trigger >= 0 else words[-1:])
        actions = tuple(name.strip() for name in names.split(",") if name.strip())
        found.append(Line(int(match[1]), actions))
    return tuple(sorted(found, key=lambda line: line.number))


def paths_to_read(setting: Setting, interface: str) -> tuple[str, ...]:
    if not interface:
        return ()
    device = interface if setting.instance == "nic" else setting.instance
    return (
        INTERRUPTS,
        "/proc/irq/*/smp_affinity",
        f"/sys/class/net/{device}/device/msi_irqs/*",
        f"/sys/bus/virtio/devices/*/net/{device}/ifindex",
        ONLINE_CPUS,
    )


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported with the reason: no such interrupt, one that is never touched, a load over loopback."""
    if not sight.interface:
        raise no_use_over_loopback(setting)
    device = sight.interface if setting.instance == "nic" else setting.instance
    mine = _lines_of(device, sight)
    if not mine:
        raise SettingUnsupported(f"/proc/interrupts has no line of {device}")
    if setting.part != "affinity":
        index = int(setting.part.partition(".")[0])
        if index >= len(mine):
            raise SettingUnsupported(f"{device} has {len(mine)} interrupts here, counted from 0")
        mine = mine[index : index + 1]
    for line in mine:
        if line.never:
            raise SettingUnsupported(
                f"interrupt {line.number} ({', '.join(line.actions)}) is never moved: {line.never}"
            )
        found_text(sight, line.path)
    paths = tuple(line.path for line in mine)

    def texts(value: Value) -> dict[str, str]:
        if value == AS_FOUND:
            return {}
        return {
            path: mask_text(mask) for path, mask in zip(paths, placed(value, len(paths), sight), strict=True)
        }

    def value(read: Mapping[str, str]) -> Value:
        masks = tuple(mask_value(read[path]) for path in paths if path in read)
        for word in STRATEGIES:
            if placed(word, len(masks), sight) == masks:
                return word
        return masks[0] if len(set(masks)) == 1 else AS_FOUND

    return Target(
        setting=setting,
        paths=paths,
        stock=AS_FOUND,
        texts=texts,
        value=value,
        reason=lambda wanted: mask_reason(sight, wanted),
    )


def placed(value: Value, count: int, sight: Sight) -> tuple[int, ...]:
    """The mask of each of `count` interrupts under a strategy; the same for all when `value` is a mask."""
    if isinstance(value, int):
        return (value,) * count
    match value:
        case "one":
            cpus: tuple[int, ...] = (min(online_cpus(sight)),)
        case "big":
            cpus = big_cpus(sight)
        case "workers":
            cpus = server_cpus(sight)
        case _:
            cpus = online_cpus(sight)
    return tuple(mask_of((cpus[place % len(cpus)],)) for place in range(count))


def _lines_of(device: str, sight: Sight) -> tuple[Line, ...]:
    """The device's lines; those of an interface also by its card's own interrupts, or by its virtio device."""
    every = lines(found_text(sight, INTERRUPTS))
    if named := tuple(line for line in every if line.belongs_to(device)):
        return named
    root = f"/sys/class/net/{device}/device/msi_irqs/"
    numbers = {path.removeprefix(root) for path in sight.readings if path.startswith(root)}
    if numbers - {"*"}:
        return tuple(line for line in every if str(line.number) in numbers)
    for path in sight.readings:
        virtio = re.fullmatch(rf"/sys/bus/virtio/devices/(virtio\d+)/net/{re.escape(device)}/ifindex", path)
        if virtio:
            return tuple(
                line
                for line in every
                if line.belongs_to(virtio[1]) and not any(one.endswith("-config") for one in line.actions)
            )
    return ()
