"""The pictures of a night: its finals, its steps, its search, its hours, its heat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from autotune.experiment.events import Failure, Stage
from autotune.report.drawing import Ink, Picture, Width, dots, label, legend_below, picture, reach, ticks
from autotune.report.page import Table
from autotune.report.words import (
    count_text,
    duration_text,
    interval_text,
    objective_words,
    percent_text,
    rate_text,
    ratio_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from autotune.report.night_report import NightReport

ARM_INKS = {"stock": Ink.STOCK, "hand-tuned": Ink.HAND_TUNED, "automatic": Ink.AUTOMATIC}
ARM_MARKS = {"stock": "s", "hand-tuned": "^", "automatic": "o"}


def finals_picture(told: NightReport) -> Picture | None:
    """Every round of the finals: what each arm served, and the ratios of the pairs with their intervals."""
    rounds, pairs = told.rounds, [one for one in told.comparison.pairs if one.n]
    arms = [name for name in ARM_INKS if any(name in one for one in rounds.values())]
    if not rounds or not arms:
        return None
    figure_name = objective_words(told.study).figure

    def draw(figure: Figure, width: Width) -> None:
        wide = width == "wide"
        left, right = (
            figure.subplots(1, 2, width_ratios=(1.25, 1))
            if wide
            else figure.subplots(2, 1, height_ratios=(1.3, 1))
        )
        aside = {block: 0.5 * (at + 0.5) / len(rounds) - 0.25 for at, block in enumerate(rounds)}
        for block, values in rounds.items():
            places = [
                (at + aside[block], values[name].rate) for at, name in enumerate(arms) if name in values
            ]
            left.plot(*zip(*places, strict=True), color=Ink.GRID, linewidth=0.8, zorder=1)
        for at, name in enumerate(arms):
            seen = [(at + aside[block], one[name].rate) for block, one in rounds.items() if name in one]
            left.plot(
                *zip(*seen, strict=True), ARM_MARKS[name], color=ARM_INKS[name], alpha=0.8, markersize=4
            )
        left.set_xticks(range(len(arms)), arms)
        left.set_xlim(-0.4, len(arms) - 0.6)
        left.set_ylabel(figure_name)
        left.set_title("first round to last, joined")
        thousands(left)
        right.axvline(0, color=Ink.QUIET, linewidth=1)
        for at, pair in enumerate(reversed(pairs)):
            ratios = [
                100 * (math.exp(one[pair.a].objective - one[pair.b].objective) - 1)
                for one in rounds.values()
                if pair.a in one and pair.b in one
            ]
            ink = ARM_INKS[pair.a]
            right.plot(ratios, [at - 0.22] * len(ratios), "|", color=ink, alpha=0.6, markersize=7)
            reach(
                right,
                (percent(pair.ratio), at),
                percent(pair.low),
                percent(pair.high),
                ink,
                marker=ARM_MARKS[pair.a],
            )
        right.set_yticks(range(len(pairs)), [f"{one.a}\nover {one.b}" for one in reversed(pairs)])
        right.set_ylim(-0.6, len(pairs) - 0.4)
        right.set_xlabel("% more")
        right.set_title("ratios, 95 % intervals")

    answer = "; ".join(
        f"{one.a} over {one.b} {interval_text(one.ratio, one.low, one.high)}, {one.verdict}" for one in pairs
    )
    return picture(
        "finals",
        "The finals, round by round",
        f"{count_text(len(rounds), 'round')} of fresh samples of {', '.join(arms)}. {answer}.",
        draw,
        heights=(3.3, 5.6),
        table=Table(
            title="Finals, round by round",
            columns=("round", *arms),
            rows=tuple(
                (str(block + 1), *(rate_text(one[name].rate) if name in one else "-" for name in arms))
                for block, one in rounds.items()
            ),
            right=frozenset({"round", *arms}),
            note=f"In {figure_name}.",
        ),
    )


def steps_picture(told: NightReport) -> Picture | None:
    """The hand-tuned sequence climbing over stock, with automatic at its end, and what the text says of its own board."""
    steps = told.comparison.steps
    measured = {one.number: one for one in told.levels if one.ratio is not None}
    pair = told.comparison.pair("automatic", "stock")
    if not steps or not measured:
        return None
    published, product = [], 1.0
    for step in steps:
        if step.published is None:
            break
        product *= step.published
        published.append(product)
    names = [label(f"{one.number} {one.name}") for one in steps]

    def draw(figure: Figure, width: Width) -> None:
        axes = figure.subplots()
        row = {step.number: len(steps) - at for at, step in enumerate(steps)}
        last = 0.0
        places = [(0.0, len(steps) + 1.0)]
        axes.axvline(0, color=Ink.QUIET, linewidth=1)
        reach(axes, (0, len(steps) + 1), None, None, Ink.STOCK, marker="s", label="stock")
        for step in steps:
            level = measured.get(step.number)
            if level is None or level.ratio is None:
                places.append((last, row[step.number]))
                axes.plot(
                    [last],
                    [row[step.number]],
                    "o",
                    color=Ink.HAND_TUNED,
                    markerfacecolor="none",
                    markersize=4,
                )
                continue
            last = percent(level.ratio)
            places.append((last, row[step.number]))
            low, high = (
                (None, None)
                if level.low is None or level.high is None
                else (percent(level.low), percent(level.high))
            )
            reach(axes, (last, row[step.number]), low, high, Ink.HAND_TUNED, marker="^")
        axes.plot(
            *zip(*places, strict=True),
            color=Ink.HAND_TUNED,
            linewidth=1,
            alpha=0.6,
            label="hand-tuned, measured here",
        )
        if pair is not None and pair.n:
            reach(
                axes,
                (percent(pair.ratio), 0),
                percent(pair.low),
                percent(pair.high),
                Ink.AUTOMATIC,
                label="automatic, measured here (finals)",
            )
        if published:
            axes.plot(
                [percent(one) for one in published],
                [row[step.number] for step in steps[: len(published)]],
                "D:",
                color=Ink.STOCK,
                markerfacecolor="none",
                markersize=4.5,
                linewidth=1,
                label="published, on the text's board",
            )
        axes.set_yticks(range(len(steps) + 2), ["automatic", *reversed(names), "stock"])
        axes.set_ylim(-0.6, len(steps) + 1.6)
        axes.set_xlabel("% over stock, all steps so far")
        legend_below(figure, axes, columns=2 if width == "wide" else 1)

    rows = []
    for at, step in enumerate(steps):
        level = measured.get(step.number)
        rows.append(
            (
                str(step.number),
                step.name,
                step.state,
                "-" if level is None else level_text(level.ratio, level.low, level.high),
                "-" if level is None else str(level.n),
                f"published: {percent_text(published[at])}" if at < len(published) else "-",
            )
        )
    return picture(
        "steps",
        "The hand-tuned sequence, and automatic beside it",
        "Each step on top of those before it, as a gain over stock: measured here with 95 % intervals, and as published on"
        " another board, where stock was another, too. A hollow mark: the step changes nothing here.",
        draw,
        heights=(0.36 * (len(steps) + 2) + 1.0, 0.4 * (len(steps) + 2) + 1.6),
        table=Table(
            title="All steps so far over stock",
            columns=("step", "name", "here", "measured [95 % interval]", "n", "all steps so far, published"),
            rows=tuple(rows),
            right=frozenset({"step", "n"}),
        ),
    )


def history_picture(told: NightReport) -> Picture | None:
    """The search over the night: as it was measured with stock's level in it, and with that level's drift removed."""
    points = told.points
    trials = [one for one in points if one.trial != 0 and not math.isnan(one.ratio)]
    stock = [one for one in points if one.trial == 0]
    if not trials:
        return None
    best = max(trials, key=lambda one: one.ratio)
    pair = told.comparison.pair("automatic", "stock")
    hours = told.clock.place

    def draw(figure: Figure, width: Width) -> None:
        size = 3.4 if len(points) < 600 else 2.2
        upper, lower = figure.subplots(2, 1, sharex=True)
        dots(
            upper,
            [(hours(one.at_s), one.rate) for one in trials],
            Ink.TRIAL,
            size=size,
            label="a trial's sample",
        )
        upper.plot(
            [hours(one.at_s) for one in trials],
            [one.level for one in trials],
            color=Ink.STOCK,
            linewidth=1.2,
            label="stock's level",
        )
        dots(upper, [(hours(one.at_s), one.rate) for one in stock], Ink.STOCK, size=size + 0.6, label="stock")
        upper.set_ylabel(objective_words(told.study).figure)
        upper.set_title("as measured")
        thousands(upper)
        sound = [(hours(one.at_s), percent(one.ratio)) for one in trials if not one.suspect]
        suspect = [(hours(one.at_s), percent(one.ratio)) for one in trials if one.suspect]
        lower.axhline(0, color=Ink.STOCK, linewidth=1.2)
        dots(lower, sound, Ink.TRIAL, size=size)
        if suspect:
            dots(lower, suspect, Ink.BAD, size=size, label="while stock's level jumped")
        if pair is not None and pair.n:
            lower.axhline(
                percent(pair.ratio),
                color=Ink.AUTOMATIC,
                linewidth=1.2,
                linestyle="--",
                label="automatic, in the finals",
            )
        lower.set_ylabel("% over stock")
        lower.set_title("drift removed")
        lower.set_xlabel(told.clock.words)
        lower.set_xlim(*told.clock.whole)
        marks = [axes.get_legend_handles_labels() for axes in (upper, lower)]
        figure.legend(
            [one for mark, _ in marks for one in mark],
            [one for _, names in marks for one in names],
            loc="outside lower left",
            ncols=3 if width == "wide" else 2,
            handlelength=1.4,
        )

    return picture(
        "history",
        "The search, sample by sample",
        f"{count_text(len(trials), 'sample')} of trials and {len(stock):,} of stock between them. The luckiest single sample was"
        f" {percent_text(best.ratio)} over stock (trial {best.trial}): that is no result, the finals are.",
        draw,
        heights=(4.6, 5.4),
    )


def hours_picture(told: NightReport) -> Picture | None:
    """Which stage had which hours, where nothing was measured, and what failed when."""
    seen: dict[Stage, list[float]] = {}
    failed: dict[Stage, list[float]] = {}
    for event, at_s in told.attempts:
        (failed if isinstance(event, Failure) else seen).setdefault(event.key.stage, []).append(at_s)
    stages = [stage for stage in Stage if stage in seen or stage in failed]
    if not stages:
        return None
    hours = told.clock.place

    def draw(figure: Figure, width: Width) -> None:
        axes = figure.subplots()
        for at, stage in enumerate(reversed(stages)):
            good, bad = seen.get(stage, []), failed.get(stage, [])
            both = good + bad
            axes.barh(
                at, hours(max(both)) - hours(min(both)), left=hours(min(both)), height=0.62, color=Ink.BAND
            )
            ticks(axes, [hours(one) for one in good], at, Ink.AUTOMATIC)
            axes.plot([hours(one) for one in bad], [at] * len(bad), "x", color=Ink.BAD, markersize=5)
        for gap, at_s in told.gaps:
            axes.axvspan(
                hours(at_s - gap.seconds),
                hours(at_s),
                facecolor="none",
                edgecolor=Ink.BAD,
                hatch="///",
                linewidth=0,
            )
        axes.plot([], [], "|", color=Ink.AUTOMATIC, markersize=8, label="a sample")
        if failed:
            axes.plot(
                [], [], "x", color=Ink.BAD, markersize=5, linestyle="none", label="an attempt that failed"
            )
        axes.set_yticks(range(len(stages)), [str(one) for one in reversed(stages)])
        axes.set_ylim(-0.6, len(stages) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(*told.clock.whole)
        axes.set_xlabel(told.clock.words + (" (hatched: nothing was measured)" if told.gaps else ""))
        legend_below(figure, axes, columns=2 if width == "wide" else 1)

    rows = tuple(
        (
            str(stage),
            f"{len(seen.get(stage, [])):,}",
            f"{len(failed.get(stage, [])):,}",
            f"{hours(min(times)):.2f}",
            f"{hours(max(times)):.2f}",
            duration_text(max(times) - min(times)),
        )
        for stage in stages
        for times in [seen.get(stage, []) + failed.get(stage, [])]
    )
    return picture(
        "hours",
        "The night's hours",
        "When each stage took its samples: "
        + ", ".join(f"{row[0]} from {row[3]} to {row[4]}" for row in rows)
        + f" ({told.clock.words}).",
        draw,
        heights=(0.3 * len(stages) + 0.9, 0.36 * len(stages) + 1.1),
        table=Table(
            title=f"The night, stage by stage ({told.clock.words})",
            columns=("stage", "samples", "failed", "from", "to", "took"),
            rows=rows,
            right=frozenset({"samples", "failed", "from", "to"}),
        ),
    )


def percent(ratio: float) -> float:
    """1.25 is 25."""
    return 100 * (ratio - 1)


def level_text(ratio: float | None, low: float | None, high: float | None) -> str:
    if ratio is None:
        return "-"
    return ratio_text(ratio) if low is None or high is None else interval_text(ratio, low, high)


def thousands(axes: Axes) -> None:
    """12,000 along y."""
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
