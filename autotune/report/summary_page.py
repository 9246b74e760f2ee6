"""The morning summary: the answer, how the night ended, whether the board is as it was, what was lost, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autotune.board.address import restore_command
from autotune.experiment.events import Event, Failure, Gap, NightBegun, Sample, Void
from autotune.experiment.study import Study
from autotune.measurement.calibration import AARecord
from autotune.measurement.comparison import Comparison, compare
from autotune.report.changes import last_night
from autotune.report.comparison_page import answer, comparison_page
from autotune.report.excluded_parts import lost_of, lost_table
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import count_text, duration_text, local_time_text

BoardState: TypeAlias = Literal["restored", "left changed", "not proven"]
_BOARD: dict[BoardState, str] = {
    "restored": "The board is as it was.",
    "left changed": "THE BOARD IS NOT AS IT WAS; what could not be put back stands above.",
    "not proven": "Nothing proves from here that the board is as it was: see to it with the command below.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a sitting ended. `night`: its number, also when it could not begin. `outcome`: complete, stopped, refused,
    systemic failure, or failed (by an error). `reason` and `hint` as they were told.
    """

    night: int
    outcome: str
    reason: str
    board: BoardState
    hint: str = ""
    restored: int = 0


def summary_page(study: Study, log: Sequence[Event], ending: Ending, record: AARecord | None = None) -> Page:
    """All of it on one page. `record`: the A/A stages of every study in the database."""
    begun = last_night(log, ending.night)
    parts: list[Part] = [Paragraph(lines=(headline(study, log, ending),), tone="headline")]
    after: Part = _next(study, ending)
    if begun is not None:
        comparison = compare(study, log, ending.night)
        if has_figures(comparison):
            # Its headline is this page's, and what it says last comes last here, too. It has the failures: "not counted".
            *parts, whole = comparison_page(study, log, comparison, record).parts
            after = whole if ending.outcome == "complete" else after
        else:
            parts.append(lost_table("Failures of this night", lost_of(_of_night(log, begun.night))))
        parts += [
            _night_table(log, begun),
            Table(
                title=f"Left out on this board: {count_text(len(begun.dropped), 'parameter')}",
                columns=("parameter", "why"),
                rows=tuple((one.id, one.reason) for one in begun.dropped),
            ),
        ]
    return Page(parts=(parts[0], *_ending_parts(ending), *parts[1:], after))


def headline(study: Study, log: Sequence[Event], ending: Ending) -> str:
    """The answer in one or two sentences, or why there is none."""
    if last_night(log, ending.night) is None:
        return f"Night {ending.night} of {study.name} did not begin, so there is nothing to tell."
    comparison = compare(study, log, ending.night)
    if has_figures(comparison):
        return " ".join(answer(study, comparison))
    return f"Night {ending.night} of {study.name} has no answer: it ended before its finals."


def has_figures(comparison: Comparison) -> bool:
    """Whether anything was measured that a comparison can show."""
    return any(arm.n for arm in comparison.arms) or any(step.n for step in comparison.steps)


def _ending_parts(ending: Ending) -> tuple[Part, ...]:
    said = f"How it ended: {ending.outcome}" + (f": {ending.reason}" if ending.reason else "")
    back = ending.board == "restored"
    undone = f" {count_text(ending.restored, 'setting')} put back at the end." if ending.restored else ""
    return (
        Paragraph(lines=tuple(said.splitlines())),
        Paragraph(lines=(_BOARD[ending.board] + undone,), tone="good" if back else "warning"),
    )


def _night_table(log: Sequence[Event], begun: NightBegun) -> Table:
    mine = _of_night(log, begun.night)
    gaps = [event for event in mine if isinstance(event, Gap)]
    void = sum(isinstance(event, Void) for event in mine)
    rows = [
        ("began", local_time_text(begun.at)),
        ("until", local_time_text(begun.deadline) if begun.deadline else "as long as it takes"),
        ("last event", local_time_text(mine[-1].at)),
        ("samples", f"{sum(isinstance(event, Sample) for event in mine):,}, of which {void} void"),
        ("failed", f"{sum(isinstance(event, Failure) for event in mine):,}"),
        ("gaps", _gaps_text(gaps)),
    ]
    return Table(title=f"Night {begun.night}", columns=("", "is"), rows=tuple(rows))


def _gaps_text(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return "none"
    reasons = ", ".join(dict.fromkeys(gap.reason for gap in gaps))
    return f"{len(gaps)}, {duration_text(sum(gap.seconds for gap in gaps))} in all: {reasons}"


def _of_night(log: Sequence[Event], night: int) -> list[Event]:
    """The night's own events."""
    return [
        event
        for event in log
        if (event.key.night if isinstance(event, (Sample, Failure, Void)) else event.night) == night
    ]


def _next(study: Study, ending: Ending) -> Paragraph:
    lines = [ending.hint] if ending.hint else []
    if ending.board != "restored" and not study.is_synthetic:
        lines.append(restore_command(study.board))
    lines += [f"autotune resume {study.name}", f"autotune show {study.name}"]
    return Paragraph(title="Next", lines=tuple(lines))
