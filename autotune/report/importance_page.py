"""Which settings mattered: a model's view beside Optuna's, and beside the expert's sequence as it was measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autotune.analysis.importance import (
    Dependence,
    Importance,
    ParameterImportance,
    StepImportance,
)
from autotune.experiment.study import Study
from autotune.report.changes import settings_by_id, shown
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import count_text, interval_text, percent_text, share_text
from autotune.space.value import Value

if TYPE_CHECKING:
    from autotune.search.evaluators import EvaluatorShares

ROWS = 15
"""So many parameters are listed; the others carry what is left."""
TOLD_FROM = 0.005
"""Members of a group with less are only in the JSON form."""
_MOST_OF_IT = 0.8


def importance_page(study: Study, found: Importance, others: Sequence[EvaluatorShares]) -> Page:
    """The answer first, then how far to believe it, what it rests on, and the expert's steps."""
    parts: list[Part] = [
        Paragraph(lines=answer(found), tone="headline"),
        Paragraph(lines=fit_sentence(found)),
        Table(
            title="Reasons for doubt",
            columns=("doubt", "next"),
            rows=tuple((one.text, one.next.replace("NAME", study.name) or "-") for one in found.doubts),
        ),
        importance_table(found, others),
        *(dependence_table(study, one) for one in found.dependences),
        interaction_table(found),
        importance_steps_table(found),
        step_values_table(study, found),
        Paragraph(title="Next", lines=_next(study, found)),
    ]
    return Page(parts=tuple(parts))


def importance_json(study: Study, found: Importance, others: Sequence[EvaluatorShares]) -> dict[str, Any]:
    """The same as data. Values are texts as they are shown; shares from 0 to 1."""
    settings = settings_by_id(study)

    def text(id_: str, value: Value | None) -> str | None:
        return None if value is None else shown(settings, id_, value)

    return {
        "study": study.name,
        "night": found.night,
        "answer": " ".join(answer(found)),
        "parameters": [dataclasses.asdict(one) for one in found.parameters],
        "reason": found.reason,
        "model": found.model,
        "r2": found.r2,
        "configurations": found.configurations,
        "steps": [
            {
                **dataclasses.asdict(step),
                "values": [
                    {
                        "id": one.id,
                        "hand_tuned": text(one.id, one.hand_tuned),
                        "automatic": text(one.id, one.automatic),
                    }
                    for one in step.values
                ],
            }
            for step in found.steps
        ],
        "dependences": [
            {**dataclasses.asdict(one), "values": [text(one.id, value) for value in one.values]}
            for one in found.dependences
        ],
        "interactions": [dataclasses.asdict(one) for one in found.interactions],
        "evaluators": [
            {"key": one.key, "name": one.name, "shares": dict(one.shares), "reason": one.reason}
            for one in others
        ],
        "doubts": [one.model_dump() for one in found.doubts],
    }


def answer(found: Importance) -> tuple[str, ...]:
    """The few parameters that carry most of it, or why there are none."""
    if not found.parameters:
        return (f"No ranking of parameters: {found.reason}.",)
    total = math.fsum(one.share for one in found.parameters)
    named: list[ParameterImportance] = []
    for one in found.parameters[:5]:
        named.append(one)
        if total <= 0 or math.fsum(two.share for two in named) >= _MOST_OF_IT * total:
            break
    texts = [f"{_name(one)} ({share_text(one.share)})" for one in named]
    return (f"What mattered most, of what the model explains: {', '.join(texts)}.",)


def fit_sentence(found: Importance) -> tuple[str, ...]:
    """How far the model is to be believed, in a sentence; nothing where there is none."""
    if found.r2 is None:
        return ()
    return (
        (
            f"The model, a {found.model}, knows {count_text(found.configurations, 'configuration')}. Of the differences"
            f" between configurations that it had not seen it foretold {max(found.r2, 0):.0%} (held-out R2 {found.r2:.2f})."
        ),
    )


def importance_table(found: Importance, others: Sequence[EvaluatorShares]) -> Table:
    """Ours with its limits, and Optuna's evaluators beside it. A group's members stand below it."""
    speaking = [one for one in others if one.shares]
    rows: list[tuple[str, ...]] = []
    for one in found.parameters[:ROWS]:
        rows.append(_row(one, _name(one), speaking))
        parts = [part for part in one.parts if part.share >= TOLD_FROM]
        rows += [_row(part, f"- {part.id}", speaking) for part in parts]
    shares = ("share [90 % limits]", *(one.name for one in speaking))
    return Table(
        title="How much of the model's variance goes with each parameter, alone or in company",
        columns=("parameter", shares[0], "step", *shares[1:]),
        rows=tuple(rows),
        right=frozenset(shares),
        note=" ".join(_importance_notes(found, others)),
    )


def dependence_table(study: Study, one: Dependence) -> Table:
    """What each value of a parameter is worth."""
    settings = settings_by_id(study)
    return Table(
        title=f"{one.id}: each value against stock's, all else evenly over the space",
        columns=("value", "ratio [90 % limits]", "trials near it"),
        rows=tuple(
            (shown(settings, one.id, value), interval_text(ratio, low, high), str(count))
            for value, ratio, low, high, count in zip(
                one.values, one.ratios, one.lows, one.highs, one.trials, strict=True
            )
        ),
        right=frozenset({"ratio [90 % limits]", "trials near it"}),
    )


def interaction_table(found: Importance) -> Table:
    """The strongest pairs that act together."""
    return Table(
        title="Parameters whose effects depend on each other",
        columns=("one", "the other", "share that only both explain"),
        rows=tuple((one.a, one.b, share_text(one.strength)) for one in found.interactions[:5]),
        right=frozenset({"share that only both explain"}),
    )


def importance_steps_table(found: Importance) -> Table:
    """The expert's steps: what was published, what was measured here, what the model thinks of their parameters."""
    return Table(
        title="The hand-tuned sequence beside the model",
        columns=("step", "name", "here", "published", "measured [95 % interval]", "n", "model's share"),
        rows=tuple(
            (
                str(step.number),
                step.name,
                step.state,
                f"published: {percent_text(step.published)}" if step.published else "-",
                _measured(step),
                str(step.n) if step.n else "-",
                share_text(step.share) if step.share is not None else "-",
            )
            for step in found.steps
        ),
        right=frozenset({"step", "n", "model's share"}),
    )


def step_values_table(study: Study, found: Importance) -> Table:
    """What each step sets, and what automatic has there."""
    settings = settings_by_id(study)
    return Table(
        title="What the steps set, and what automatic has there",
        columns=("step", "setting", "hand-tuned", "automatic"),
        rows=tuple(
            (
                str(step.number),
                one.id,
                shown(settings, one.id, one.hand_tuned),
                "-" if one.automatic is None else shown(settings, one.id, one.automatic),
            )
            for step in found.steps
            for one in step.values
        ),
        right=frozenset({"step"}),
    )


def _row(one: ParameterImportance, name: str, speaking: Sequence[EvaluatorShares]) -> tuple[str, ...]:
    limits = f"{share_text(one.share)} [{one.low * 100:.1f}, {one.high * 100:.1f}]"
    return (
        name,
        limits,
        str(one.step) if one.step is not None else "-",
        *(_theirs(one, other) for other in speaking),
    )


def _theirs(one: ParameterImportance, other: EvaluatorShares) -> str:
    known = [other.shares[id_] for id_ in one.members if id_ in other.shares]
    return share_text(math.fsum(known)) if known else "-"


def _name(one: ParameterImportance) -> str:
    return one.id if len(one.members) == 1 else f"{one.id} and {len(one.members) - 1} with it"


def _importance_notes(found: Importance, others: Sequence[EvaluatorShares]) -> list[str]:
    if not found.parameters:
        return []
    notes = ["What acts together counts with each, so shares may add up to more than 100 %."]
    if rest := found.parameters[ROWS:]:
        most = max(one.share for one in rest)
        notes.append(f"{count_text(len(rest), 'further one')} with at most {share_text(most)} each.")
    notes += [f"{one.name}: {one.reason}." for one in others if one.reason]
    if any(one.shares for one in others):
        notes.append("Optuna's judge the trials as they lie, with all of the search's concentration.")
    return notes


def _measured(step: StepImportance) -> str:
    if step.ratio is None or step.low is None or step.high is None:
        return "-"
    return interval_text(step.ratio, step.low, step.high)


def _next(study: Study, found: Importance) -> tuple[str, ...]:
    if not found.steps and not found.configurations:
        return (f"autotune resume {study.name}",)
    return (
        f"autotune compare {study.name}     what is faster, and how sure",
        f"autotune show {study.name} TRIAL  one trial with its samples",
    )
