"""Buses and disks: PCI Express power saving, and how far a disk reads ahead. Effects are guesses."""

from __future__ import annotations

from autotune.space.setting import Kind, Setting

SETTINGS = (
    Setting(
        id="pcie:aspm",
        kind=Kind.CHOICE,
        choices=("default", "performance", "powersave", "powersupersave"),
        bites="at once",
        loopback="what saves power is the link to the network card",
        why="Whether the link to the network card may sleep between packets; vendors like it asleep.",
        effect="++/++/++",
        source="Linux, Documentation/admin-guide/kernel-parameters.txt (pcie_aspm)",
    ),
    Setting(
        id="block:site.read_ahead_kb",
        instances=r"[a-z0-9][A-Za-z0-9_\-]{0,39}",
        kind=Kind.INTEGER,
        low=0,
        high=16_384,
        unit="KiB",
        bites="with the next read from disk",
        expert=True,
        why="How much more is read from disk than was asked for; nothing is, once the site is in the page cache.",
        effect="0/0/0",
        source="Linux, Documentation/ABI/stable/sysfs-block",
    ),
)
