"""Pictures of what mattered: the model's shares with their spread, what values are worth, and what each step is worth by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune.analysis.importance import Dependence, Importance, ParameterImportance
from autotune.experiment.study import Study
from autotune.measurement.attribution import Attribution, Effect, StepAttribution
from autotune.report.changes import settings_by_id, shown
from autotune.report.drawing import Ink, Picture, Width, label, legend_below, picture, reach
from autotune.report.page import Table
from autotune.report.words import interval_text, percent_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 12
MOST_CURVES = 6
_FEWEST_LABELS, _MOST_LETTERS = 3, 12


def importance_picture(found: Importance) -> Picture | None:
    """The foremost parameters as bars, each with the limits that its share lies between."""
    foremost = found.parameters[:MOST_BARS]
    if not foremost:
        return None

    def draw(figure: Figure, width: Width) -> None:
        axes = figure.subplots()
        for at, one in enumerate(reversed(foremost)):
            ink = Ink.TRIAL if one.step is None else Ink.HAND_TUNED
            axes.barh(at, 100 * one.share, height=0.55, color=ink, alpha=0.45)
            reach(axes, (100 * one.share, at), 100 * one.low, 100 * one.high, ink, markersize=4)
        names = [label(group_name(one), 34 if width == "wide" else 24) for one in reversed(foremost)]
        axes.set_yticks(range(len(foremost)), names)
        axes.set_xlim(left=0)
        axes.set_xlabel("% of what the model explains")
        axes.plot(
            [], [], "o", color=Ink.HAND_TUNED, markersize=4, label="set by the hand-tuned sequence, too"
        )
        axes.plot([], [], "o", color=Ink.TRIAL, markersize=4, label="varied by the search alone")
        axes.grid(visible=False, axis="y")
        legend_below(figure, axes, columns=2 if width == "wide" else 1)

    return picture(
        "importance",
        "Which settings mattered to the model",
        "The largest shares: "
        + ", ".join(f"{group_name(one)} {100 * one.share:.0f} %" for one in foremost[:3])
        + ". Lines: where a share lies in nine cases of ten.",
        draw,
        heights=(0.3 * len(foremost) + 1.0, 0.34 * len(foremost) + 1.3),
        table=Table(
            title="Shares of the variance that the model explains",
            columns=("parameter", "share", "from", "to", "hand-tuned step"),
            rows=tuple(
                (
                    group_name(one),
                    *(f"{100 * value:.1f} %" for value in (one.share, one.low, one.high)),
                    "-" if one.step is None else str(one.step),
                )
                for one in found.parameters
            ),
            right=frozenset({"share", "from", "to", "hand-tuned step"}),
        ),
    )


def group_name(one: ParameterImportance) -> str:
    """nginx:sendfile and 4 beside it"""
    return one.id if len(one.members) == 1 else f"{one.id} +{len(one.members) - 1}"


def dependence_picture(study: Study, found: Importance) -> Picture | None:
    """What the values of the foremost parameters are worth to stock's own, all others anywhere in the space."""
    curves = found.dependences[:MOST_CURVES]
    if not curves:
        return None
    settings = settings_by_id(study)

    def words(curve: Dependence) -> list[str]:
        return [label(shown(settings, curve.id, value), _MOST_LETTERS) for value in curve.values]

    def draw(figure: Figure, width: Width) -> None:
        across = min(3 if width == "wide" else 2, len(curves))
        down = math.ceil(len(curves) / across)
        places = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
        for axes, curve in zip(places, curves, strict=False):
            _curve(axes, curve, words(curve), 34 if width == "wide" else 22)
        for axes in places[len(curves) :]:
            axes.set_axis_off()
        figure.supylabel("% over stock's value", color=Ink.QUIET, fontsize="medium")

    rows = tuple(
        (curve.id, text, percent_text(ratio), percent_text(low), percent_text(high), str(trials))
        for curve in curves
        for text, ratio, low, high, trials in zip(
            words(curve), curve.ratios, curve.lows, curve.highs, curve.trials, strict=True
        )
    )
    down = math.ceil(len(curves) / 3), math.ceil(len(curves) / 2)
    return picture(
        "dependence",
        "What their values are worth",
        "For each of the foremost parameters, its values against stock's own as the model sees it, with the limits it lies between"
        " in nine cases of ten. A model's view: what is installed was measured in the finals.",
        draw,
        heights=(1.9 * down[0] + 0.3, 1.7 * down[1] + 0.3),
        table=Table(
            title="What values are worth to stock's own",
            columns=("parameter", "value", "change", "from", "to", "trials near it"),
            rows=rows,
            right=frozenset({"change", "from", "to", "trials near it"}),
        ),
    )


def _curve(axes: Axes, curve: Dependence, words: Sequence[str], room: int) -> None:
    places = range(len(curve.values))
    low, middle, high = (
        [100 * (one - 1) for one in several] for several in (curve.lows, curve.ratios, curve.highs)
    )
    axes.axhline(0, color=Ink.STOCK, linewidth=1)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in curve.values):
        axes.fill_between(places, low, high, color=Ink.AUTOMATIC, alpha=0.2, linewidth=0)
        axes.plot(places, middle, color=Ink.AUTOMATIC, marker=".", markersize=4)
    else:
        for place, one in zip(places, zip(low, high, strict=True), strict=True):
            axes.plot([place, place], one, color=Ink.AUTOMATIC, linewidth=2.2)
        axes.plot(places, middle, "o", color=Ink.AUTOMATIC, markersize=4)
    every = max(1, math.ceil((len(words) - 1) / (_FEWEST_LABELS - 1))) if len(words) > 4 else 1
    axes.set_xticks(places[::every], words[::every], fontsize="small")
    axes.margins(x=0.12)
    axes.set_title(label(curve.id, room), fontsize="small")


def attribution_picture(found: Attribution) -> Picture | None:
    """What each hand-tuned step brings by itself: alone, as the last of all, and on average over all orders."""
    steps = [one for one in found.steps if one.share.ratio is not None]
    if not steps:
        return None
    ways: tuple[tuple[str, str, float], ...] = (
        ("only", "this step alone, over stock", 0.22),
        ("without", "as the last of all", 0.0),
        ("share", "on average over all orders", -0.22),
    )
    inks, marks = (Ink.STOCK, Ink.TRIAL, Ink.HAND_TUNED), ("s", "D", "^")

    def draw(figure: Figure, width: Width) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=Ink.QUIET, linewidth=1)
        for (way, name, aside), ink, mark in zip(ways, inks, marks, strict=True):
            for at, step in enumerate(reversed(steps)):
                effect = _effect(step, way)
                if effect.ratio is not None:
                    ends = (
                        (None, None)
                        if effect.low is None or effect.high is None
                        else (effect.low, effect.high)
                    )
                    low, high = (None if end is None else 100 * (end - 1) for end in ends)
                    reach(
                        axes,
                        (100 * (effect.ratio - 1), at + aside),
                        low,
                        high,
                        ink,
                        marker=mark,
                        markersize=4,
                    )
            axes.plot([], [], mark, color=ink, markersize=4, label=name)
        axes.set_yticks(range(len(steps)), [label(f"{one.number} {one.name}") for one in reversed(steps)])
        axes.set_ylim(-0.6, len(steps) - 0.4)
        axes.set_xlabel("% more")
        legend_below(figure, axes, columns=3 if width == "wide" else 1)

    return picture(
        "attribution",
        "What each step is worth, whatever its place",
        "The order of the steps flatters the early ones. "
        + " ".join(f"{one.number} {one.name}: {_said(one)}." for one in steps),
        draw,
        heights=(0.42 * len(steps) + 1.0, 0.46 * len(steps) + 1.5),
    )


def _effect(step: StepAttribution, way: str) -> Effect:
    return {"only": step.only, "without": step.without, "share": step.share}[way]


def _said(step: StepAttribution) -> str:
    share = step.share
    if share.ratio is None or share.low is None or share.high is None:
        return step.verdict
    return f"{step.verdict}, {interval_text(share.ratio, share.low, share.high)}"
