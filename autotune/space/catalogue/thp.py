"""Transparent huge pages: the two files of /sys/kernel/mm/transparent_hugepage that matter."""

from __future__ import annotations

from autotune.space.setting import Kind, Setting

_SOURCE = "Linux, Documentation/admin-guide/mm/transhuge.rst"

SETTINGS = (
    Setting(
        id="thp:enabled",
        kind=Kind.CHOICE,
        choices=("always", "madvise", "never"),
        bites="for memory mapped from then on",
        why="Huge pages save address translation for programs with much memory; nginx has little.",
        effect="~/~/~",
        source=_SOURCE,
    ),
    Setting(
        id="thp:defrag",
        kind=Kind.CHOICE,
        choices=("always", "defer", "defer+madvise", "madvise", "never"),
        bites="for memory mapped from then on",
        why="Whether a process waits while the kernel makes room for a huge page; `always` can cost latency.",
        effect="~/~/~",
        source=_SOURCE,
    ),
)
