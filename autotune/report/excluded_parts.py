"""What gave no number or doesn't count, and why: counted by the gate that it did not pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.measurement.comparison import Comparison, Excluded
from autotune.report.page import Paragraph
from autotune.report.words import count_text

_BLAMED: Mapping[str, str] = {
    "configuration": "the configuration's own fault, not tried again",
    "environment": "the surroundings' fault, taken again",
    "void": "declared void",
}
_ARMS_SHOWN = 4


def excluded_paragraph(comparison: Comparison) -> Paragraph:
    return Paragraph(title="Not counted", lines=excluded_lines(comparison))


def excluded_lines(comparison: Comparison) -> tuple[str, ...]:
    """One line for each gate, or for each reason where it was no gate; the most frequent first."""
    lines = []
    for several in _groups(comparison):
        first = several[0]
        told = f"{first.gate}; the last: {several[-1].reason}" if first.gate else first.reason
        lines.append(f"{len(several)} x {_arms_text(several)} ({_BLAMED[first.blame]}): {told}")
    return tuple(lines)


def excluded_json(comparison: Comparison) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "count": len(several),
            "gate": several[0].gate or None,
            "blame": several[0].blame,
            "arms": dict(Counter(one.arm for one in several)),
            "reason": several[-1].reason,
        }
        for several in _groups(comparison)
    ]


def _groups(comparison: Comparison) -> list[list[Excluded]]:
    groups: dict[tuple[str, str], list[Excluded]] = {}
    for one in comparison.excluded:
        groups.setdefault((one.blame, one.gate or one.reason), []).append(one)
    return sorted(groups.values(), key=len, reverse=True)


def _arms_text(several: Sequence[Excluded]) -> str:
    """stock 2, trial 5: who it was, and how often where it was more than once."""
    counts = Counter(one.arm for one in several).most_common()
    texts = [arm if count == 1 else f"{arm} {count} times" for arm, count in counts[:_ARMS_SHOWN]]
    if len(several) == counts[0][1]:
        return counts[0][0]
    more = len(counts) - _ARMS_SHOWN
    return ", ".join(texts) + (f" and {count_text(more, 'other')}" if more > 0 else "")
