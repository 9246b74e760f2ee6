"""What a night taught about settings: the model's importance and the measured attribution, as parts of a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotune.analysis.importance import Importance, importance_of
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.measurement.attribution import Attribution, attribution_of
from autotune.measurement.logbook import read_log
from autotune.report.attribution_parts import attribution_json, attribution_parts
from autotune.report.changes import settings_by_id, shown
from autotune.report.learned_pictures import group_name
from autotune.report.page import Paragraph, Part, Table
from autotune.report.pictures import level_text
from autotune.report.words import count_text, percent_text

_FOREMOST = 8
MOST_CONFIGURATIONS = 300
"""A model of 195 takes 5 to 9 s of one core, one of 1,000 over a minute: a report of any night is to be there in 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the trials say to a model, and what the hand-tuned steps showed by themselves."""

    study: Study
    importance: Importance
    attribution: Attribution


def learned_of(study: Study, log: Sequence[Event], night: int) -> Learned:
    """Of a night that has begun. Fits models where that takes seconds."""
    return Learned(
        study=study,
        importance=importance_of(study, log, night, most=MOST_CONFIGURATIONS),
        attribution=attribution_of(study, read_log(log), night),
    )


def learned_parts(learned: Learned) -> tuple[Part, ...]:
    """Sentences and tables: the model's view in words, its foremost parameters, the steps as it sees them."""
    found = learned.importance
    return (
        Paragraph(lines=model_lines(found)),
        Table(
            title="Foremost parameters, as the model sees them",
            columns=("parameter", "share", "nine cases of ten", "hand-tuned step"),
            rows=tuple(
                (
                    group_name(one),
                    f"{100 * one.share:.0f} %",
                    f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
                    "-" if one.step is None else str(one.step),
                )
                for one in found.parameters[:_FOREMOST]
            ),
            right=frozenset({"share", "hand-tuned step"}),
        ),
        model_of_steps_table(learned),
        *attribution_parts(learned.attribution),
    )


def model_lines(found: Importance) -> tuple[str, ...]:
    """How much the model knows, in plain words; why there is none."""
    if not found.parameters:
        return (f"No model says which settings mattered: {found.reason}.",) if found.reason else ()
    fit = 0.0 if found.r2 is None else found.r2
    lines = [
        (
            f"A {found.model} of {count_text(found.configurations, 'configuration')} foretells {100 * fit:.0f} % of the differences"
            " between configurations that it had not seen (held-out R2). What it says is a model's view, not a measurement."
        )
    ]
    lines += [
        f"{one.a} and {one.b} depend on each other ({100 * one.strength:.0f} % of the variance)."
        for one in found.interactions
    ]
    lines += [f"Doubt: {one.text}" + (f" Next: {one.next}" if one.next else "") for one in found.doubts]
    return tuple(lines)


def model_of_steps_table(learned: Learned) -> Table:
    """Beside each step of the sequence: what was measured, the model's share of its parameters, and automatic's own values."""
    settings = settings_by_id(learned.study)
    rows = []
    for step in learned.importance.steps:
        values = [
            f"{one.id} {shown(settings, one.id, one.automatic)}"
            for one in step.values
            if one.automatic is not None and one.automatic != one.hand_tuned
        ]
        rows.append(
            (
                f"{step.number} {step.name}",
                f"published: {percent_text(step.published)}" if step.published else "-",
                level_text(step.ratio, step.low, step.high),
                "-" if step.share is None else f"{100 * step.share:.0f} %",
                ", ".join(values) or ("as hand-tuned" if step.values else "-"),
            )
        )
    return Table(
        title="The steps beside the model",
        columns=(
            "step",
            "published",
            "measured, over the step before",
            "model's share",
            "automatic has instead",
        ),
        rows=tuple(rows),
        right=frozenset({"model's share"}),
    )


def learned_json(learned: Learned) -> dict[str, Any]:
    return {
        "importance": dataclasses.asdict(learned.importance)
        | {"doubts": [one.model_dump() for one in learned.importance.doubts]},
        "attribution": attribution_json(learned.attribution),
    }
