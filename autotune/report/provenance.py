"""Where an exported configuration comes from: study, board, samples, intervals, doubts, what changes, how it goes in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autotune import __version__
from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.installer.boot_files import FAMILIES
from autotune.installer.exported import Exported
from autotune.measurement.comparison import Comparison
from autotune.report.changes import changes
from autotune.report.comparison_page import answer, doubt_lines, stamps
from autotune.report.distillation_parts import pare_down, pare_down_lines
from autotune.report.finals_parts import ratio_interval
from autotune.report.limit_parts import limit_lines
from autotune.report.nginx_snippet import comment
from autotune.report.words import interval_text, load_text, local_time_text, rate_text, verdict_text
from autotune.report.workload_parts import figure_name, figure_of, goal_text
from autotune.space.configuration import Configuration
from autotune.space.value import Value

PROVENANCE_FILE = "PROVENANCE.md"


class Exporting(NamedTuple):
    """`arm`: its name; `stock`: what is known of the board's own values; `by_hand`: what nothing here does; `notes`: where
    what is installed differs from what was measured.
    """

    arm: str
    configuration: Configuration
    stock: Mapping[str, Value]
    exported: Exported
    files: tuple[str, ...]
    by_hand: tuple[str, ...]
    notes: tuple[str, ...]


def provenance(
    study: Study, log: Sequence[Event], comparison: Comparison, begun: NightBegun, exporting: Exporting
) -> list[str]:
    """The lines of PROVENANCE.md."""
    made = changes(study, exporting.stock, exporting.configuration)
    load = "; ".join(comment(load_text(one)) for one in study.workloads)
    load += f"; server and generator {study.placement}"
    lines = [
        f"# {exporting.arm.capitalize()} configuration of study {comment(study.name)}",
        "",
        *map(_line, answer(study, comparison)),
        *(
            pare_down_lines(pare_down(study, log, comparison.night, begun.stock))
            if exporting.arm == "automatic"
            else ()
        ),
        "",
        *(f"**{line}**" for line in stamps(study, comparison)),
        f"- study {comment(study.name)}, fingerprint {study.fingerprint}",
        f"- night {begun.night} of {local_time_text(begun.at)}",
        f"- load: {load}",
        *(f"- {_line(name)}: {_line(text)}" for name, text in begun.board.items()),
        f"- written by autotune {__version__}; not installed by it",
        "",
        *_measured(study, comparison),
    ]
    if comparison.doubts:
        lines += [
            "## Reasons for doubt",
            "",
            *(f"- {_line(line)}" for line in doubt_lines(comparison.doubts)),
            "",
        ]
    if not made:
        return [*lines, f"The {exporting.arm} configuration is stock: there is nothing to install.", ""]
    return [
        *lines,
        "## What changes",
        "",
        "| setting | stock | now |",
        "|---|---|---|",
        *(
            f"| {one.id}{' (changes what is served)' if one.changes_service else ''}"
            f" | {_cell(one.was) or '?'} | {_cell(one.now)} |"
            for one in made
        ),
        "",
        *_going_in(exporting),
    ]


def _measured(study: Study, comparison: Comparison) -> list[str]:
    if not any(arm.n for arm in comparison.arms):
        return [
            "It has not been measured in finals yet: nothing here says what it is worth on this board.",
            "",
        ]
    return [
        "## Measured (finals: fresh, interleaved samples)",
        "",
        f"| arm | {figure_name(study)} | n |",
        "|---|---:|---:|",
        *(
            f"| {arm.name} | {rate_text(figure_of(study, arm))} | {arm.n} |"
            for arm in comparison.arms
            if arm.n
        ),
        "",
        "| pair | ratio [95 % interval] | n | verdict |",
        "|---|---|---:|---|",
        *(
            f"| {pair.a} / {pair.b} | {ratio_interval(pair)} | {pair.n} | {verdict_text(study, pair.verdict)} |"
            for pair in comparison.pairs
            if pair.n
        ),
        "",
        *_by_workload(study, comparison),
    ]


def _going_in(exporting: Exporting) -> list[str]:
    families = exporting.exported.families
    lines = (
        ["## Measured so, installed so", "", *(f"- {one}" for one in exporting.notes), ""]
        if exporting.notes
        else []
    )
    if families:
        lines += [
            "## In and out",
            "",
            "```sh",
            "./install --dry-run     # all that it would do, and every reason against it; changes nothing",
            "sudo ./install          # all of it or nothing; the originals are kept in /var/lib/autotune/installed",
            "sudo ./uninstall        # files byte for byte, live values where they are still these",
            "```",
            "",
            "It needs Python 3.9 on the board, and no autotune. Values hold at once and after every reboot.",
            "",
            "| family | kept by | why there |",
            "|---|---|---|",
            *(f"| {one.name} | {one.file} | {one.why} |" for one in FAMILIES if one.name in families),
            "",
        ]
    if exporting.by_hand:
        lines += [
            "## What install does not do",
            "",
            "It was part of what was measured:",
            "",
            *(f"- {one}" for one in exporting.by_hand),
            "",
        ]
    if told := [name for name in exporting.files if name.startswith(("files/", "nginx"))]:
        lines += [f"To read beforehand: {', '.join(told)}.", ""]
    return lines


def _by_workload(study: Study, comparison: Comparison) -> list[str]:
    """Each workload's own ratios, where there are several; the limits and the goals."""
    lines: list[str] = []
    if len(study.workloads) > 1:
        lines += ["| workload | pair | ratio [plain 95 % interval] | n |", "|---|---|---|---:|"]
        lines += [
            f"| {_cell(one.name)} | {pair.a} / {pair.b} | {interval_text(pair.ratio, pair.low, pair.high)} | {pair.n} |"
            for one in comparison.workloads
            for pair in one.pairs
        ]
        lines.append("")
    goals = [
        f"- goal of {_cell(one.goal.workload)}: {goal_text(one)}: {one.state} by {one.arm}"
        for one in comparison.goals
    ]
    told = [*(f"- limit {comment(line)}" for line in limit_lines(comparison)), *goals]
    return [*lines, *told, ""] if told else lines


def _line(text: str) -> str:
    """A line of Markdown that no text from a board can leave or fill with HTML."""
    return comment(text).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
