"""What a night taught about settings: the model's importance and the measured attribution, as parts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotune.analysis.importance import Importance, importance_of
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.measurement.attribution import Attribution, attribution_of
from autotune.measurement.logbook import read_log
from autotune.report.attribution_parts import attribution_json, attribution_parts
from autotune.report.importance_page import (
    answer,
    fit_sentence,
    importance_json,
    importance_steps_table,
    importance_table,
    interaction_table,
    step_values_table,
)
from autotune.report.page import Paragraph, Part, Table

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
    """Sentences and tables: the model's view with its doubts, its parameters, the steps as it sees them, the steps by themselves."""
    found = learned.importance
    return (
        model_words(found),
        importance_table(found, ()),
        *model_tables(learned),
        *attribution_parts(learned.attribution),
    )


def model_words(found: Importance) -> Paragraph:
    """What mattered most to the model, how much it knows, and why not to believe it."""
    doubts = [f"Doubt: {one.text}" + (f" Next: {one.next}" if one.next else "") for one in found.doubts]
    return Paragraph(lines=(*answer(found), *fit_sentence(found), *doubts))


def model_tables(learned: Learned) -> tuple[Table, ...]:
    """What depends on each other, and the hand-tuned steps beside the model."""
    found = learned.importance
    return (interaction_table(found), importance_steps_table(found), step_values_table(learned.study, found))


def learned_json(learned: Learned) -> dict[str, Any]:
    return {
        "importance": importance_json(learned.study, learned.importance, ()),
        "attribution": attribution_json(learned.attribution),
    }
