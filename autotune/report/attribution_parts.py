"""What each hand-tuned step is worth, whatever its place in the sequence: the table, and the same in words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from autotune.measurement.attribution import Attribution, Effect, StepAttribution
from autotune.report.page import Paragraph, Part, Table
from autotune.report.words import count_text, interval_text, percent_text, ratio_text

_TITLE = "What each step is worth here, whatever its place in the sequence"


def attribution_parts(found: Attribution) -> tuple[Part, ...]:
    """The measured attribution; in one line why there is none. Nothing where the study has no steps."""
    if not found.steps:
        return ()
    if found.reason:
        return (Paragraph(title=_TITLE, lines=(f"Not measured: {found.reason}.",)),)
    measured = _effective(found)
    return (
        Table(
            title=_TITLE,
            columns=("step", "only this one", "the last of all", "share [95 % interval]", "n", "published"),
            rows=tuple(
                (
                    f"{step.number} {step.name}",
                    effect_text(step.only),
                    effect_text(step.without),
                    effect_text(step.share),
                    str(step.share.n) if step.share.n else "-",
                    percent_text(step.published) if step.published else "-",
                )
                for step in measured
            ),
            right=frozenset({"n", "published"}),
            note=_note(found),
        ),
        Paragraph(lines=tuple(step_words(step) for step in measured)),
    )


def _effective(found: Attribution) -> list[StepAttribution]:
    return [step for step in found.steps if step.state not in ("already so", "not available")]


def attribution_json(found: Attribution) -> dict[str, Any]:
    """The same as data. What is endless (nothing could have shown) is null, as what was not measured is."""
    document = dataclasses.asdict(found)
    for step in document["steps"]:
        visible = step["smallest_visible_difference"]
        if visible is not None and not math.isfinite(visible):
            step["smallest_visible_difference"] = None
    return document


def effect_text(effect: Effect) -> str:
    """1.041x [1.029, 1.054]; without the interval where too few rounds have none; a dash for nothing."""
    if effect.ratio is None:
        return "-"
    if effect.low is None or effect.high is None:
        return ratio_text(effect.ratio)
    return interval_text(effect.ratio, effect.low, effect.high)


def step_words(step: StepAttribution) -> str:
    """One step in a sentence or two."""
    name = f"{step.number} {step.name}"
    if step.verdict == "not measured" or step.share.ratio is None:
        return f"{name}: not measured" + (f" ({step.reason})" if step.reason else "")
    share = percent_text(step.share.ratio)
    match step.verdict:
        case "helps":
            said = f"{name} helps here: {share}"
        case "harms":
            said = f"{name} harms here: {share}"
        case _:
            said = f"{name}: nothing to be seen here ({_what_would_have(step)})"
    return said + _dependence(step) + (f"; {step.reason}" if step.reason else "")


def _what_would_have(step: StepAttribution) -> str:
    visible = step.smallest_visible_difference
    if visible is None:
        return "it changes nothing"
    if math.isinf(visible):
        return f"{count_text(step.share.n, 'round')} can show nothing"
    return f"about {visible * 100:.1f} % would have shown"


def _dependence(step: StepAttribution) -> str:
    """Whether it matters how many of the others are there, where the two intervals are apart."""
    only, last = step.only, step.without
    if only.low is None or only.high is None or last.low is None or last.high is None:
        return ""
    if only.low > last.high:
        return ", less where the others are in force already"
    return ", more where the others are in force already" if only.high < last.low else ""


def _note(found: Attribution) -> str:
    """How the figures were come by, and what they miss."""
    where = "of their own" if len(_effective(found)) > 1 else "of the series, which has this step alone"
    total = f" All steps together: {effect_text(found.total)}." if found.total.ratio is not None else ""
    return (
        f"In {count_text(found.rounds, 'round')} {where}. Only this one: over stock. The last of all: all steps over all"
        f" but this one. Share: on average over all orders.{total}{_missed(found.rest)}"
    )


def _missed(rest: Effect) -> str:
    """What of the total belongs to no share."""
    if rest.ratio is None or math.isclose(rest.ratio, 1.0):
        return ""
    said = f" Of that the shares leave {effect_text(rest)} to no single step"
    if rest.low is not None and rest.high is not None and (rest.low > 1 or rest.high < 1):
        return said + ": three or more of them depend on each other."
    return said + "."
