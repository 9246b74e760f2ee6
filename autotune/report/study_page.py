"""A study's overview and one trial of it, as pages and as data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autotune.experiment.events import (
    Event,
    Failure,
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Sample,
    SampleKey,
    Stage,
    Void,
)
from autotune.experiment.study import Study
from autotune.report.changes import changes, changes_parts, last_night
from autotune.report.excluded_parts import lost_json, lost_of, lost_table
from autotune.report.gate_parts import gates_json, gates_table, gates_text, steps_json, steps_table
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import (
    count_text,
    duration_text,
    load_text,
    local_time_text,
    percent_text,
    rate_text,
    ratio_text,
)

if TYPE_CHECKING:
    from autotune.measurement.scores import TrialScore

_BEST_TRIALS = 10
_NUMBER = re.compile(r"\d+")


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
        "trials": [_trial_row(proposal, scores) for proposal in _proposals(log).values()],
        "failures": lost_json(lost_of(log)),
        "gates": gates_json(log, begun.night) if begun else [],
        "steps_of_stock": steps_json(log, begun.night) if begun else [],
        "dropped": [one.model_dump() for one in begun.dropped] if begun else [],
        "hand_tuned_outside": [one.model_dump() for one in begun.hand_tuned_outside] if begun else [],
        "doubts": [one.model_dump() for one in begun.doubts] if begun else [],
    }


def has_trial(log: Sequence[Event], number: int) -> bool:
    return number in _proposals(log)


def trial_page(study: Study, log: Sequence[Event], scores: Mapping[int, TrialScore], number: int) -> Page:
    """One trial: what it changes, its samples, failures, doubts and score."""
    proposal = _proposals(log)[number]
    begun = last_night(log, proposal.night)
    stock = begun.stock if begun else {}
    parts: list[Part] = [
        Paragraph(
            lines=(
                f"trial {number} of {study.name}: {_score_text(scores.get(number))}",
                f"proposed {local_time_text(proposal.at)} by {proposal.origin}",
            ),
            tone="headline",
        ),
        *changes_parts("It changes", changes(study, stock, proposal.configuration)),
        _samples_table(study, log, number),
        _doubts_table(log, number),
        Table(
            title="Failures",
            columns=("place", "gate", "blame", "reason"),
            rows=tuple(
                (event.key.text, event.gate or event.stage, event.blame, event.reason)
                for event in log
                if isinstance(event, Failure) and _is_trial(event, number)
            ),
        ),
    ]
    differing = [
        event for event in _samples(log, number) if event.effective != event.configuration.against(stock)
    ]
    if differing:
        parts.append(
            Paragraph(
                tone="warning",
                title="In force on the board, unlike asked for",
                lines=tuple(f"{one.id}: {one.now}" for one in changes(study, stock, differing[-1].effective)),
            )
        )
    parts.append(
        Paragraph(
            title="Next",
            lines=(f"autotune show {study.name} {number} --raw", f"autotune compare {study.name}"),
        )
    )
    return Page(parts=tuple(parts))


def _samples_table(study: Study, log: Sequence[Event], number: int) -> Table:
    """A row for each run: one of every workload in each sample, and their mean where there are several."""
    from autotune.measurement.by_workload import mean_requests_per_s

    several = len(study.workloads) > 1
    rows: list[tuple[str, ...]] = []
    for event in _samples(log, number):
        place, at = event.key.text, local_time_text(event.at)
        gates = gates_text(event.gates)
        if several:
            rows.append(
                (
                    *(place, at, "all (mean)", rate_text(mean_requests_per_s(study, event))),
                    *("-", "-", "-", gates),
                )
            )
        for name, run in event.measurements.items():
            figures = (
                rate_text(run.requests_per_s),
                f"{run.latency_p99_s * 1000:.2f} ms",
                str(run.errors.total),
                f"{run.server_cpu_s:.2f}",
            )
            rows.append((place, at, name, *figures, "" if several else gates))
    return Table(
        title="Samples",
        columns=("place", "at", "workload", "requests/s", "p99", "errors", "CPU s", "gates"),
        rows=tuple(rows),
        right=frozenset({"requests/s", "p99", "errors", "CPU s"}),
    )


def _doubts_table(log: Sequence[Event], number: int) -> Table:
    """The doubts of a trial's samples, those together that differ in their figures only."""
    alike: dict[tuple[str, str], list[str]] = {}
    for event in _samples(log, number):
        for doubt in event.doubts:
            alike.setdefault((doubt.code, _NUMBER.sub("#", doubt.text)), []).append(doubt.text)
    return Table(
        title="Doubts about its samples",
        columns=("n", "doubt"),
        rows=tuple(
            (str(len(texts)), ("the last: " if len(set(texts)) > 1 else "") + texts[-1])
            for texts in sorted(alike.values(), key=len, reverse=True)
        ),
        right=frozenset({"n"}),
    )


def trial_json(
    study: Study,
    log: Sequence[Event],
    scores: Mapping[int, TrialScore],
    number: int,
    raw: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The same as data; `raw` holds the load generator's own output by sample place."""
    from autotune.measurement.by_workload import mean_requests_per_s

    proposal = _proposals(log)[number]
    begun = last_night(log, proposal.night)
    stock = begun.stock if begun else {}
    samples = []
    for event in _samples(log, number):
        one: dict[str, Any] = {
            "key": event.key.text,
            "at": event.at,
            "effective": {change.id: change.now for change in changes(study, stock, event.effective)},
            "requests_per_s": mean_requests_per_s(study, event),
            "measurements": {name: run.model_dump() for name, run in event.measurements.items()},
            "fixed_rate": {name: run.model_dump() for name, run in event.fixed_rate.items()},
            "gates": [gate.model_dump() for gate in event.gates],
            "switch_s": event.switch_s,
            "doubts": [doubt.model_dump() for doubt in event.doubts],
        }
        if raw is not None:
            one["raw"] = raw.get(event.key.text, "")
        samples.append(one)
    return {
        "study": study.name,
        **_trial_row(proposal, scores),
        "settings": {change.id: change.now for change in changes(study, stock, proposal.configuration)},
        "samples": samples,
        "failures": [
            {
                "key": event.key.text,
                "stage": event.stage,
                "gate": event.gate or None,
                "blame": event.blame,
                "reason": event.reason,
                "gates": [gate.model_dump() for gate in event.gates],
                **({} if raw is None else {"raw": raw.get(event.key.text, "")}),
            }
            for event in log
            if isinstance(event, Failure) and _is_trial(event, number)
        ],
    }


def trial_keys(log: Sequence[Event], number: int) -> tuple[SampleKey, ...]:
    """The places of everything that was measured, or failed, of this trial."""
    return tuple(
        event.key for event in log if isinstance(event, (Sample, Failure)) and _is_trial(event, number)
    )


def _proposals(log: Sequence[Event]) -> dict[int, Proposal]:
    return {event.number: event for event in log if isinstance(event, Proposal)}


def _is_trial(event: Sample | Failure, number: int) -> bool:
    return event.arm.kind == "trial" and event.arm.number == number


def _samples(log: Sequence[Event], number: int) -> list[Sample]:
    return [event for event in log if isinstance(event, Sample) and _is_trial(event, number)]


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


def _trial_row(proposal: Proposal, scores: Mapping[int, TrialScore]) -> dict[str, Any]:
    score = scores.get(proposal.number)
    known = score is not None and not score.failed and score.n > 0
    return {
        "trial": proposal.number,
        "night": proposal.night,
        "origin": proposal.origin,
        "at": proposal.at,
        "ratio": math.exp(score.score) if score is not None and known else None,
        "shrunken_ratio": math.exp(score.shrunken) if score is not None and known else None,
        "n": score.n if score is not None else 0,
        "failed": score is not None and score.failed,
        "unstable": score is not None and score.unstable,
        "suspect": score is not None and score.suspect,
        "breaks_limit": score is not None and score.excess > 0,
    }


def _score_text(score: TrialScore | None) -> str:
    if score is None:
        return "not measured yet"
    if score.failed:
        return "failed: its configuration is not tried again"
    ratio = math.exp(score.score)
    text = f"{ratio_text(ratio)} of stock ({percent_text(ratio)}, n = {score.n}, search samples: no verdict)"
    text += ", unstable" if score.unstable else ""
    text += ", breaks a limit of the study, so it can't win" if score.excess > 0 else ""
    return text + (", taken while stock's own level jumped" if score.suspect else "")


def _best_table(log: Sequence[Event], scores: Mapping[int, TrialScore]) -> Table:
    proposals = _proposals(log)
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
