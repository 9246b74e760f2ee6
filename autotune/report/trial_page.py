"""One trial of a study, as a page and as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autotune.experiment.events import (
    Event,
    Failure,
    Proposal,
    Sample,
    SampleKey,
)
from autotune.experiment.study import Study
from autotune.report.changes import changes, changes_parts, last_night
from autotune.report.gate_parts import gates_text
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import (
    local_time_text,
    percent_text,
    rate_text,
    ratio_text,
    without_figures,
)

if TYPE_CHECKING:
    from autotune.measurement.scores import TrialScore


def has_trial(log: Sequence[Event], number: int) -> bool:
    return number in proposals_of(log)


def trial_page(study: Study, log: Sequence[Event], scores: Mapping[int, TrialScore], number: int) -> Page:
    """One trial: what it changes, its samples, failures, doubts and score."""
    proposal = proposals_of(log)[number]
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
            alike.setdefault((doubt.code, without_figures(doubt.text)), []).append(doubt.text)
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

    proposal = proposals_of(log)[number]
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
        **trial_row(proposal, scores),
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


def proposals_of(log: Sequence[Event]) -> dict[int, Proposal]:
    """Every trial's proposal, by its number."""
    return {event.number: event for event in log if isinstance(event, Proposal)}


def _is_trial(event: Sample | Failure, number: int) -> bool:
    return event.arm.kind == "trial" and event.arm.number == number


def _samples(log: Sequence[Event], number: int) -> list[Sample]:
    return [event for event in log if isinstance(event, Sample) and _is_trial(event, number)]


def trial_row(proposal: Proposal, scores: Mapping[int, TrialScore]) -> dict[str, Any]:
    """What the search says of a trial, as data."""
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
