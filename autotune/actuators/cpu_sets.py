"""Sets of CPUs as the kernel writes them, and the placements that follow from a board's topology."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autotune.actuators.target import Sight, text_of
from autotune.board.reading import MOST_CPUS
from autotune.space.value import Value

ONLINE_CPUS = "/sys/devices/system/cpu/online"
_WORD_BITS = 32
_MASK = re.compile("[0-9a-fA-F]{1,2048}")


def mask_of(cpus: Iterable[int]) -> int:
    return sum(1 << cpu for cpu in set(cpus))


def mask_text(mask: int) -> str:
    """Hexadecimal with a comma after every 32 CPUs, as /proc/irq and rps_cpus take it: "ff" or "f,00000000"."""
    digits = f"{mask:x}"
    width = _WORD_BITS // 4
    head = len(digits) % width
    groups = [digits[:head]] if head else []
    return ",".join([*groups, *(digits[at : at + width] for at in range(head, len(digits), width))])


def mask_value(text: str) -> int:
    """The mask in such a text, however it is padded. Raises ValueError."""
    digits = text.strip().replace(",", "")
    if not _MASK.fullmatch(digits):
        raise ValueError(f"no mask of CPUs: {digits[:40]!r}")
    return int(digits, 16)


def cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of "0-3,6" or "0 1 2 3" (cpufreq's way). Raises ValueError."""
    cpus: list[int] = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < MOST_CPUS:
            raise ValueError(f"no CPUs: {part[:40]!r}")
        cpus += range(low, high + 1)
    return tuple(cpus)


def online_cpus(sight: Sight) -> tuple[int, ...]:
    """The CPUs that are online, whatever the agent may use; its own when the kernel doesn't tell."""
    try:
        return cpu_list(text_of(sight, ONLINE_CPUS)) or sight.facts.cpus
    except ValueError:
        return sight.facts.cpus


def big_cpus(sight: Sight) -> tuple[int, ...]:
    """Those of the fastest kind; all where all are alike."""
    return sight.facts.big_cpus(online_cpus(sight))


def server_cpus(sight: Sight) -> tuple[int, ...]:
    """Where nginx's workers run."""
    return sight.placement.server or online_cpus(sight)


def mask_reason(sight: Sight, value: Value) -> str:
    """Why this board can't take a CPU mask; empty for words, and for masks of its own CPUs."""
    if not isinstance(value, int) or isinstance(value, bool):
        return ""
    if not value:
        return "a mask without any CPU"
    strangers = value & ~mask_of(online_cpus(sight))
    return f"{value:#x} names CPUs that this board lacks" if strangers else ""
