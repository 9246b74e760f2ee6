"""What hand-tuned and automatic change against stock, beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotune.report.changes import Change, changes
from autotune.report.page import Paragraph, Part, Table

if TYPE_CHECKING:
    from autotune.report.night_report import NightReport

_SAME = "as stock"


def changes_of(told: NightReport) -> dict[str, tuple[Change, ...]]:
    """By arm, of those that the night has: what it changes against stock."""
    return {
        arm.name: changes(told.study, told.begun.stock, arm.configuration)
        for arm in told.comparison.arms
        if arm.name != "stock" and arm.n
    }


def changes_side_by_side(told: NightReport) -> tuple[Part, ...]:
    """One table of everything that is changed by either, and another of what changes the service itself."""
    made = changes_of(told)
    if not made:
        return ()
    every = {one.id: one for several in made.values() for one in several}
    columns = ("setting", "stock", *made)
    if not every:
        return (Paragraph(lines=("Nothing: neither differs from stock on this board.",)),)

    def rows(serving: bool) -> tuple[tuple[str, ...], ...]:  # noqa: FBT001 - two halves of one table
        return tuple(
            (
                id_,
                one.was or "?",
                *(next((it.now for it in several if it.id == id_), _SAME) for several in made.values()),
            )
            for id_, one in sorted(every.items())
            if one.changes_service is serving
        )

    return (
        Table(title="Settings that differ from stock", columns=columns, rows=rows(False)),
        Table(title="These change WHAT IS SERVED, not only how fast", columns=columns, rows=rows(True)),
    )
