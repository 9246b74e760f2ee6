"""What the kernel's words during a run mean for it. Wording from the kernel's sources, the file after each pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Meaning: TypeAlias = Literal["heat", "trouble", "doubt"]
"""heat: the CPUs were slowed down. trouble: the run says nothing of its configuration. doubt: it may say less."""

_MEANINGS: Final[tuple[tuple[Meaning, str], ...]] = (
    ("heat", r"temperature above threshold, cpu clock (is )?throttled"),  # arch/x86 thermal therm_throt.c
    ("heat", r"(under-?voltage|over-?current) (detected|condition)"),  # drivers/hwmon/raspberrypi-hwmon.c
    ("heat", r"critical temperature reached|thermal thermal_zone\d+: .*critical"),  # drivers/thermal
    ("trouble", r"(?<!tcp: )out of memory|oom-kill|oom_reaper|invoked oom-killer"),  # mm/oom_kill.c
    ("trouble", r"netdev watchdog|transmit queue \d+ timed out"),  # net/sched/sch_generic.c
    (
        "trouble",
        r"\blink (is )?down\b|reset(ting)? adapter|adapter reset|hardware (hang|reset)",
    ),  # drivers/net
    (
        "trouble",
        r"uncorrected|uncorrectable|machine check (exception|events logged)|\bmce: \[hardware error\]",
    ),  # mce
    (
        "trouble",
        r"soft lockup|hard lockup|rcu.*(detected stalls|self-detected stall)|blocked for more than \d+ sec",
    ),
    ("trouble", r"\bbug: |\boops\b|general protection fault|unable to handle|kernel panic"),
    ("trouble", r"clocksource: .*unstable|clock ?source .*is unstable"),  # kernel/time/clocksource.c
    (
        "doubt",
        r"possible syn flooding|tcp: out of memory|too many orphaned sockets",
    ),  # net/ipv4/tcp_input.c, tcp.c
    ("doubt", r"nf_conntrack: .*table full"),  # net/netfilter/nf_conntrack_core.c
    ("doubt", r"hardware error|corrected error|\bedac\b.*\bce\b"),
    ("doubt", r"i/o error|ext4-fs error|remounting filesystem read-only"),
    ("doubt", r"segfault at|page allocation failure"),
)
_PATTERNS: Final = tuple((meaning, re.compile(pattern, re.IGNORECASE)) for meaning, pattern in _MEANINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelWords:
    """A run's kernel messages by what they mean; the many that mean nothing for it are left out."""

    heat: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()
    doubt: tuple[str, ...] = ()


def read_words(lines: Sequence[str]) -> KernelWords:
    """The first meaning that fits a message is its own."""
    found: dict[Meaning, list[str]] = {"heat": [], "trouble": [], "doubt": []}
    for line in lines:
        meaning = next((one for one, pattern in _PATTERNS if pattern.search(line)), None)
        if meaning is not None:
            found[meaning].append(line)
    return KernelWords(
        heat=tuple(found["heat"]), trouble=tuple(found["trouble"]), doubt=tuple(found["doubt"])
    )
