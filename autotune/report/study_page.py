"""A study's overview, as a page and as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autotune.experiment.events import (
    Event,
    Failure,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Sample,
    Stage,
    Void,
)
from autotune.experiment.study import Study
from autotune.report.changes import last_night
from autotune.report.excluded_parts import lost_json, lost_of, lost_table
from autotune.report.gate_parts import gates_json, gates_table, steps_json, steps_table
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.trial_page import proposals_of, trial_row
from autotune.report.words import (
    count_text,
    duration_text,
    load_text,
    local_time_text,
    ratio_text,
)

if TYPE_CHECKING:
    from autotune.measurement.scores import TrialScore

_BEST_TRIALS = 10


def study_page(study: Study, log: Sequence[Event], scores: Mapping[int, TrialScore]) -> Page:
    """The nights with their stages, the best trials, failures with reasons, and what was left out and why."""
    begun = last_night(log)
    parts: list[Part] = [
        Paragraph(
            lines=(
                f"{study.name}: {study.title}" if study.title else study.name,
                f"board {study.board}, fingerprint {study.fingerprint}",
                *(load_text(one) for one in study.workloads),
            ),
            tone="headline",
        )
    ]
    if begun is None:
        parts.append(Paragraph(lines=(f"No night has begun yet. Begin one: autotune resume {study.name}",)))
        return Page(parts=tuple(parts))
    parts.append(_nights_table(log))
    parts.append(
        Table(
            title="Stages",
            columns=("night", "stage", "samples", "failed", "void", "taken again", "planned"),
            rows=tuple(
                (
                    str(row["night"]),
                    row["stage"],
                    str(row["samples"]),
                    str(row["failed"]),
                    str(row["void"]),
                    str(row["taken_again"]),
                    "-" if row["planned"] is None else str(row["planned"]),
                )
                for row in _stages(study, log)
            ),
            right=frozenset({"samples", "failed", "void", "taken again", "planned"}),
        )
    )
    parts.append(_best_table(log, scores))
    parts.append(lost_table("Failures", lost_of(log)))
    parts.append(gates_table(log, begun.night))
    parts.append(steps_table(log, begun.night))
    parts.append(
        Table(
            title=f"Left out on this board: {count_text(len(begun.dropped), 'parameter')}",
            columns=("parameter", "why"),
            rows=tuple((one.id, one.reason) for one in begun.dropped),
        )
    )
    parts.append(
        Table(
            title="Hand-tuned values outside the space (measured exactly, never sampled)",
            columns=("setting", "why"),
            rows=tuple((one.id, one.reason) for one in begun.hand_tuned_outside),
        )
    )
    parts.append(
        Table(
            title="Reasons for doubt",
            columns=("doubt", "next"),
            rows=tuple((one.text, one.next or "-") for one in begun.doubts),
        )
    )
    parts.append(
        Paragraph(title="Next", lines=(f"autotune compare {study.name}", f"autotune show {study.name} TRIAL"))
    )
    return Page(parts=tuple(parts))


def study_json(study: Study, log: Sequence[Event], scores: Mapping[int, TrialScore]) -> dict[str, Any]:
    """The same as data."""
    begun = last_night(log)
    return {
        "study": study.name,
        "title": study.title,
        "fingerprint": study.fingerprint,
        "nights": [
            {
                "night": event.night,
                "at": event.at,
                "deadline": event.deadline,
                "purpose": event.purpose,
                "outcome": _outcome(log, event),
            }
            for event in log
            if isinstance(event, NightBegun)
        ],
        "stages": _stages(study, log),
        "trials": [trial_row(proposal, scores) for proposal in proposals_of(log).values()],
        "failures": lost_json(lost_of(log)),
        "gates": gates_json(log, begun.night) if begun else [],
        "steps_of_stock": steps_json(log, begun.night) if begun else [],
        "dropped": [one.model_dump() for one in begun.dropped] if begun else [],
        "hand_tuned_outside": [one.model_dump() for one in begun.hand_tuned_outside] if begun else [],
        "doubts": [one.model_dump() for one in begun.doubts] if begun else [],
    }


def _stages(study: Study, log: Sequence[Event]) -> list[dict[str, Any]]:
    """Counts per night and stage; what is planned is known once the night has a plan."""
    from autotune.measurement.planning import expected_samples

    void = {event.key for event in log if isinstance(event, Void)}
    rows = []
    for begun in (event for event in log if isinstance(event, NightBegun)):
        tonight = _until_night(log, begun.night + 1)
        is_planned = any(isinstance(event, Plan) and event.night == begun.night for event in tonight)
        planned = expected_samples(study, tonight) if is_planned else {}
        for stage in Stage:
            mine = [
                event
                for event in log
                if isinstance(event, (Sample, Failure))
                and event.key.night == begun.night
                and event.key.stage is stage
            ]
            taken = [event for event in mine if isinstance(event, Sample)]
            rows.append(
                {
                    "night": begun.night,
                    "stage": str(stage),
                    "samples": sum(1 for event in taken if event.key not in void),
                    "failed": len(mine) - len(taken),
                    "void": sum(1 for event in taken if event.key in void),
                    "taken_again": sum(1 for event in mine if event.key.attempt),
                    "planned": planned.get(stage),
                }
            )
    return rows


def _until_night(log: Sequence[Event], night: int) -> Sequence[Event]:
    """The log before that night began; all of it when it hasn't."""
    begins = (at for at, event in enumerate(log) if isinstance(event, NightBegun) and event.night == night)
    return log[: next(begins, len(log))]


def _outcome(log: Sequence[Event], begun: NightBegun) -> str:
    ended = next(
        (event for event in log if isinstance(event, NightEnded) and event.night == begun.night), None
    )
    if ended is None:
        return "open"
    return f"{ended.outcome}: {ended.reason}" if ended.reason else ended.outcome


def _nights_table(log: Sequence[Event]) -> Table:
    rows = []
    for begun in (event for event in log if isinstance(event, NightBegun)):
        gaps = [event for event in log if isinstance(event, Gap) and event.night == begun.night]
        away = f"{len(gaps)}, {duration_text(sum(gap.seconds for gap in gaps))}" if gaps else "-"
        until = local_time_text(begun.deadline) if begun.deadline else "-"
        began = local_time_text(begun.at)
        rows.append((str(begun.night), begun.purpose, began, until, away, _outcome(log, begun)))
    columns = ("night", "for", "began", "until", "gaps", "outcome")
    return Table(title="Nights", columns=columns, rows=tuple(rows))


def _best_table(log: Sequence[Event], scores: Mapping[int, TrialScore]) -> Table:
    proposals = proposals_of(log)
    ranked = sorted(
        (one for one in scores.values() if not one.failed and one.number in proposals),
        key=lambda one: (-one.shrunken, -one.score, one.number),
    )[:_BEST_TRIALS]
    return Table(
        title=f"Best of {count_text(len(proposals), 'trial')} in the search",
        columns=("trial", "raw", "shrunken", "n", "settings changed", "from"),
        rows=tuple(
            (
                str(one.number),
                ratio_text(math.exp(one.score)),
                ratio_text(math.exp(one.shrunken)),
                str(one.n),
                str(len(proposals[one.number].configuration)),
                proposals[one.number].origin
                + (", unstable" if one.unstable else "")
                + (", stock's level jumped" if one.suspect else "")
                + (", breaks a limit" if one.excess > 0 else ""),
            )
            for one in ranked
        ),
        right=frozenset({"trial", "raw", "shrunken", "n", "settings changed"}),
        note="Search samples pick candidates; only the finals give a verdict." if ranked else "",
    )
