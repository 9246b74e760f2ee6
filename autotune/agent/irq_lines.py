"""Whose interrupts may be moved: those of network cards. What a machine lives on is never touched, whoever asks.

A wrong or slow CPU for the disk's, the console's or a voltage regulator's interrupt can hang the machine. So a line must
be known to be a card's, and each of those who share it, too; a name that is denied wins over all of that.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Dict, List, Mapping, Pattern, Set, Tuple

from autotune.agent.faults import Fault

_PATH = re.compile(r"/proc/irq/(0|[1-9][0-9]{0,5})/smp_affinity")
_ROW = re.compile(r"\s*(\d+):\s(.*)")
_TRIGGER = re.compile(r"(.*-)?(level|edge|fasteoi|simple|percpu)", re.IGNORECASE)
_VIRTIO = re.compile(r"(virtio[0-9]+)(-.*)?")
# The memory balloon of a virtual machine: what tells of it, not what moves memory.
_BALLOON, _HARMLESS = "0x0005", ("-config", "-stats")
_OF_THE_MACHINE = 3  # 0 to 2 are a PC's timer, keyboard and cascade


def _word(pattern: str) -> Pattern[str]:
    """The pattern between anything but letters."""
    return re.compile(rf"(?<![a-z])({pattern})(?![a-z])")


# In small letters, anywhere in a name.
_NEVER: Tuple[Tuple[Pattern[str], str], ...] = tuple(
    (_word(pattern), what)
    for pattern, what in (
        (r"nvme|ahci|p?ata|sata|scsi|[a-z]*mmc|dw-mci|sdhci|sdio|sd[a-z]?|ufs(hcd)?|nand", "storage"),
        (r"[a-z]*raid[a-z]*|mpt[0-9]?sas|megasas|aacraid|hpsa|nvmet|lpfc|qla[0-9]+xxx", "storage"),
        (r"req(uests?)?", "storage"),
        (r"[xeou]hci|usb[0-9]*|dwc[23]|[a-z]*usb[0-9]*phy", "USB, which may carry the disk"),
        (r"tty[a-z]*|[a-z]*uart|serial|pl011", "a serial console"),
        (r"i2c|i3c|spi|spmi|[a-z]*smbus", "i2c or SPI, which feed the board its voltages"),
        (r"gpio[a-z]*|pinctrl|pmic|rk8[0-9]{2}|axp[0-9]+|tps[0-9]+", "pins or the power supply"),
        (r"watchdog|wdt", "the watchdog"),
        (r"[a-z]*timer[a-z]*|rtc[0-9]*|hpet[0-9]*", "a timer"),
        (r"[a-z]*dma[a-z]*|[a-z]*iommu|[a-z]*smmu|dmar[0-9]*", "a DMA engine"),
        (
            r"acpi|thermal|tsadc|pmu|mailbox|mbox|aer|aerdrv|pme|pciehp|dpc|i8042|edac|scmi",
            "the machine itself",
        ),
    )
)


def refusal(path: str, root: str = "") -> str:
    """Why the interrupt of this smp_affinity is not moved; "" when it may be, and for any other file."""
    match = _PATH.fullmatch(path)
    if match is None:
        return ""
    number = int(match[1])
    names = _names(number, root)
    said = f"interrupt {number} ({', '.join(names) or 'of nobody'})"
    if number < _OF_THE_MACHINE:
        return f"{said} is never moved: the machine itself"
    if what := _denied(names):
        return f"{said} is never moved: {what}"
    cards = _Cards(root)
    if not names or not all(cards.have(number, name) for name in names):
        return f"{said} is not known to be a network card's, so it is not moved"
    return ""


def check_mask(path: str, text: str, root: str = "") -> None:
    """Raises Fault for a mask of an interrupt that has no CPU, or one that is not online; `text` is in the kernel's form."""
    if not _PATH.fullmatch(path):
        return
    mask = int(text.replace(",", ""), 16)
    if not mask:
        raise Fault("refused", f"{path}: {text!r} names no CPU")
    if strangers := mask & ~_online(root):
        raise Fault("refused", f"{path}: {text!r} names CPUs that are not online ({strangers:#x})")


def given_up(originals: Mapping[str, object], root: str = "") -> Dict[str, str]:
    """The interrupts that are not put back, and why: gone with their card, or their number is another device's by now.

    Only a name that is never touched proves the latter; what merely can't be recognised any more is put back.
    """
    found: Dict[str, str] = {}
    for path in originals:
        match = _PATH.fullmatch(path)
        if match is None:
            continue
        names = _names(int(match[1]), root)
        if not os.path.exists(root + path):
            found[path] = f"interrupt {match[1]}: gone since, with its CPUs"
        elif what := _denied(names):
            found[path] = f"interrupt {match[1]}: {', '.join(names)} by now ({what}), left alone"
    return found


def _denied(names: List[str]) -> str:
    """What they belong to, when it is never touched; "" otherwise."""
    return next(
        (what for name in names for pattern, what in _NEVER if pattern.search(name.lower())),
        "",
    )


def _names(number: int, root: str) -> List[str]:
    """Who asked for the interrupt: the directories of /proc/irq/N (none for a name with a /), and the table's last column."""
    names: Set[str] = set()
    with contextlib.suppress(OSError):
        folder = f"{root}/proc/irq/{number}/"
        names.update(name for name in os.listdir(folder) if os.path.isdir(folder + name))
    return sorted(names | _tabled(number, root))


def _tabled(number: int, root: str) -> Set[str]:
    try:
        with open(root + "/proc/interrupts", encoding="utf-8", errors="replace") as file:
            cpus = len(file.readline().split())
            for row in file:
                match = _ROW.match(row)
                if match and int(match[1]) == number:
                    words = match[2].split()[cpus:]
                    break
            else:
                return set()
    except OSError:
        return set()
    trigger = max((at for at, word in enumerate(words) if _TRIGGER.fullmatch(word)), default=-1)
    said = " ".join(words[trigger + 1 :] if trigger >= 0 else words[-1:])
    return {name.strip() for name in said.split(",") if name.strip()}


class _Cards:
    """What network cards call their interrupts, as /sys has them now."""

    def __init__(self, root: str) -> None:
        self._virtio = root + "/sys/bus/virtio/devices/"
        self._names: Set[str] = set()
        self._numbers: Set[int] = set()
        nets = root + "/sys/class/net/"
        for interface in _listed(nets):
            device = nets + interface + "/device"
            if os.path.isdir(device):  # what has none is a tunnel, a bridge, a container's end
                self._names |= {interface, os.path.basename(os.path.realpath(device))}
                self._numbers.update(
                    int(name) for name in _listed(device + "/msi_irqs") if name.isdecimal() and name.isascii()
                )

    def have(self, number: int, name: str) -> bool:
        """Whether the one of this name among those who asked for an interrupt is a card, or harmless."""
        if number in self._numbers or any(
            name == one or (name.startswith(one) and name[len(one)] in "-:@.") for one in self._names
        ):
            return True
        virtio = _VIRTIO.fullmatch(name)
        if virtio is None:
            return False
        folder = self._virtio + virtio[1]
        if os.path.isdir(folder + "/net"):
            return True
        return virtio[2] in _HARMLESS and _text(folder + "/device") == _BALLOON


def _online(root: str) -> int:
    """The mask of the CPUs that are online; 0 when the kernel doesn't tell."""
    mask = 0
    for part in _text(root + "/sys/devices/system/cpu/online").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            for cpu in range(int(first), int(last or first) + 1):
                mask |= 1 << cpu
    return mask


def _listed(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return ""
