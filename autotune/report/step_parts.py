"""The hand-tuned sequence step by step: what is measured here, beside what its own text has published."""

from __future__ import annotations

import math
from typing import Any

from autotune.experiment.study import Study
from autotune.measurement.comparison import Comparison
from autotune.report.finals_parts import ratio_interval
from autotune.report.page import Table
from autotune.report.words import percent_text, ratio_text


def steps_table(study: Study, comparison: Comparison) -> Table:
    return Table(
        title="The hand-tuned sequence, each step over the one before",
        columns=("step", "name", "here", "measured [95 % interval]", "n", "published"),
        rows=tuple(
            (
                str(step.number),
                step.name,
                f"partial {step.applied} of {step.of}" if step.state == "partial" else step.state,
                ratio_interval(step),
                str(step.n) if step.n else "-",
                f"published: {percent_text(step.published)}" if step.published else "-",
            )
            for step in comparison.steps
        ),
        right=frozenset({"step", "n"}),
        note=_note(study, comparison),
    )


def published_whole(study: Study) -> float | None:
    """What the sequence's own text has for all its steps together, as a ratio; None: it has a figure for none of them."""
    figures = [step.published for step in study.hand_tuned.steps if step.published]
    return math.prod(figures) if figures else None


def published_json(study: Study) -> dict[str, Any] | None:
    """The text's own figures: where they are from, and what its steps come to."""
    whole = published_whole(study)
    return None if whole is None else {"source": study.hand_tuned.source, "all_steps": whole}


def _note(study: Study, comparison: Comparison) -> str:
    found, whole = comparison.all_steps, published_whole(study)
    lines = []
    if found is not None and found.ratio is not None:
        interval = ratio_interval(found)
        told = interval if interval != "-" else ratio_text(found.ratio)
        lines.append(f"All steps together over stock, in this series: {told}.")
    if whole is not None and comparison.steps:
        lines.append(
            f"Published: {percent_text(whole)} for all its steps, by {study.hand_tuned.source}; never measured here."
        )
    return " ".join(lines)
