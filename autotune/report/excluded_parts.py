"""What gave no number or doesn't count, and why: counted by the gate that it did not pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.experiment.events import Event, Failure
from autotune.measurement.comparison import Comparison
from autotune.report.page import Table
from autotune.report.words import count_text, without_figures

_ARMS_SHOWN = 4
_NOTE = "A configuration to blame is not tried again; what the environment spoilt is taken again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """One attempt. `gate`: the one it did not pass, or the stage of the sample in which it failed."""

    arm: str
    gate: str
    blame: str
    reason: str


def lost_in(comparison: Comparison) -> tuple[Lost, ...]:
    """What a night's comparison could not count."""
    found = []
    for one in comparison.excluded:
        stage, _, rest = one.reason.partition(": ")
        gate, reason = ("void", one.reason) if one.blame == "void" else (one.gate or stage, rest)
        found.append(Lost(arm=one.arm, gate=gate, blame=one.blame, reason=reason))
    return tuple(found)


def lost_of(log: Sequence[Event]) -> tuple[Lost, ...]:
    """Every failure of a study."""
    return tuple(
        Lost(arm=one.arm.text, gate=one.gate or one.stage, blame=one.blame, reason=one.reason)
        for one in log
        if isinstance(one, Failure)
    )


def lost_table(title: str, lost: Sequence[Lost]) -> Table:
    """A row for each gate and kind of reason, the most frequent first."""
    return Table(
        title=title,
        columns=("n", "of", "gate", "blame", "reason"),
        rows=tuple(
            (
                str(len(alike)),
                _arms_text(alike),
                alike[0].gate,
                alike[0].blame,
                ("the last: " if len({one.reason for one in alike}) > 1 else "")
                + alike[-1].reason.removeprefix(f"{alike[0].gate}: "),
            )
            for alike in _alike(lost)
        ),
        right=frozenset({"n"}),
        note=_NOTE if any(one.blame == "environment" for one in lost) else "",
    )


def lost_json(lost: Iterable[Lost]) -> list[dict[str, Any]]:
    """The same as data; `reason` is the last one's."""
    return [
        {
            "count": len(alike),
            "arms": dict(Counter(one.arm for one in alike)),
            "gate": alike[0].gate,
            "blame": alike[0].blame,
            "reason": alike[-1].reason,
        }
        for alike in _alike(lost)
    ]


def _alike(lost: Iterable[Lost]) -> list[list[Lost]]:
    """Together what did not pass the same gate for the same reason but for its figures."""
    groups: dict[tuple[str, str, str], list[Lost]] = {}
    for one in lost:
        groups.setdefault((one.blame, one.gate, without_figures(one.reason)), []).append(one)
    return sorted(groups.values(), key=len, reverse=True)


def _arms_text(alike: Sequence[Lost]) -> str:
    """stock 2 times, trial 5: who it was, and how often where it was more than once."""
    counts = Counter(one.arm for one in alike).most_common()
    if len(counts) == 1:
        return counts[0][0]
    texts = [arm if count == 1 else f"{arm} {count} times" for arm, count in counts[:_ARMS_SHOWN]]
    more = len(counts) - _ARMS_SHOWN
    return ", ".join(texts) + (f" and {count_text(more, 'other')}" if more > 0 else "")
