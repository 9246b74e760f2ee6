"""What the database holds: status and list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_page
from autotune.cli.places import StorageOption, complete_study_name, open_store, open_study
from autotune.experiment.synthetic_boards import is_synthetic

if TYPE_CHECKING:
    from autotune.cli.output import Json
    from autotune.report.page import Page
    from autotune.storage.store import StudySummary

OptionalStudyName: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Name of a study in the database.", autocompletion=complete_study_name
    ),
]


def add_commands(app: typer.Typer) -> None:
    panel = "The night"
    app.command(
        "status",
        rich_help_panel=panel,
        epilog=examples("autotune status", "autotune status localhost", "autotune status --json"),
    )(status)
    app.command("list", rich_help_panel=panel, epilog=examples("autotune list", "autotune list --json"))(
        list_studies
    )


def status(name: OptionalStudyName = None, *, storage: StorageOption = "", json: JsonOption = False) -> None:
    """Say where a study stands.

    Stage, samples, best so far, deadline. Without NAME: the study that runs, or the latest.
    """
    from autotune.errors import UsageError

    with open_study(storage, name) if name else open_store(storage) as store:
        names = (name,) if name else store.names()
        if not names:
            raise UsageError("the database holds no study yet", hint="Try: autotune run quickstart")
        found = [store.summary(one) for one in names]
        shown = store.shown
    chosen = max(found, key=_recency)
    if json:
        document: dict[str, Json] = {**_summary_json(chosen), "storage": shown}
        if not name:
            document["studies"] = [_summary_json(one) for one in found]
        print_json(document)
        return
    print_page(_page(chosen, [one.name for one in found if one is not chosen]), board=chosen.board)


def _recency(one: StudySummary) -> tuple[bool, str]:
    """Running ones first, then the latest. The clock of a synthetic board says nothing about when that was."""
    return _is_running(one), one.created if is_synthetic(one.board) else one.last_at or one.created


def list_studies(*, storage: StorageOption = "", json: JsonOption = False) -> None:
    """List the studies of the database."""
    from autotune.report.calibration_parts import record_lines
    from autotune.report.page import Page, Paragraph, Table
    from autotune.report.words import local_time_text

    with open_store(storage) as store:
        found = [store.summary(one) for one in store.names()]
        record = store.aa_record()
        shown = store.shown
    if json:
        print_json(
            {
                "storage": shown,
                "studies": [_summary_json(one) for one in found],
                "aa_record": {"stages": record.stages, "false_alarms": record.false_alarms},
            }
        )
        return
    studies = Table(
        title="",
        columns=("study", "nights", "stage", "samples", "failed", "trials", "best", "last event", "state"),
        rows=tuple(
            (
                f"{one.name} (synthetic)" if is_synthetic(one.board) else one.name,
                str(one.night),
                one.stage,
                f"{one.samples:,}",
                f"{one.failures:,}",
                f"{one.trials:,}",
                _best_text(one),
                local_time_text(one.last_at) if one.last_at else "-",
                _state(one),
            )
            for one in found
        ),
        right=frozenset({"nights", "samples", "failed", "trials"}),
    )
    lines = (
        (f"{len(found)} in {shown}", *(f"stock against itself: {line}" for line in record_lines(record)))
        if found
        else ("No study yet. Try: autotune run quickstart",)
    )
    print_page(Page(parts=(studies, Paragraph(lines=lines, tone="quiet"))))


def _page(one: StudySummary, others: Sequence[str]) -> Page:
    from autotune.report.page import Page, Paragraph, Part, Table
    from autotune.report.words import local_time_text

    rows = [
        ("state", _state(one)),
        ("stage", one.stage),
        ("samples", f"{one.night_samples:,}, and {one.night_failures:,} failed"),
        ("trials", f"{one.night_trials:,}"),
        *_in_all(one),
        ("best", _best_text(one)),
        ("deadline", local_time_text(one.deadline) if one.deadline else "none"),
        ("last event", local_time_text(one.last_at) if one.last_at else "none"),
    ]
    if _is_running(one):
        lines = [f"autotune stop {one.name}"]
    elif one.outcome == "complete" or (one.carried and not is_synthetic(one.board)):
        lines = [f"autotune compare {one.name}", f"autotune show {one.name}"]
    else:
        lines = [f"autotune resume {one.name}", f"autotune show {one.name}"]
    parts: list[Part] = [
        Table(title=f"{one.name}, night {one.night}{_aim(one)}", columns=("", "is"), rows=tuple(rows)),
        Paragraph(title="Next", lines=tuple(lines)),
    ]
    if others:
        parts.append(Paragraph(lines=(f"Also here: {', '.join(others)}",), tone="quiet"))
    return Page(parts=tuple(parts))


def _in_all(one: StudySummary) -> list[tuple[str, str]]:
    """What the nights before had, too; nothing in the first one."""
    if one.night < 2:
        return []
    counts = f"{one.samples:,} samples, {one.failures:,} failed, {one.trials:,} trials"
    return [(f"all {one.night} nights", counts)]


def _aim(one: StudySummary) -> str:
    return ", a baseline" if one.purpose == "baseline" else ""


def _is_running(one: StudySummary) -> bool:
    if one.sitting is None:
        return False
    from autotune.runner.sittings import is_alive

    return is_alive(one.sitting)


def _state(one: StudySummary) -> str:
    if _is_running(one) and one.sitting is not None:
        return f"running: process {one.sitting.pid} on {one.sitting.host}"
    if one.carried:
        return f"{one.outcome or 'not finished'} (from a bundle)"
    if one.outcome:
        return one.outcome
    if one.sitting is not None:
        return f"its process died: autotune resume {one.name}"
    return "not begun" if one.night == 0 else f"interrupted: autotune resume {one.name}"


def _best_text(one: StudySummary) -> str:
    from autotune.report.words import ratio_text

    if one.best is None:
        return "-"
    if one.best_is_final:
        return f"{ratio_text(one.best)} of stock"
    trial = "" if one.best_trial is None else f", trial {one.best_trial}"
    return f"{ratio_text(one.best)} of stock so far{trial}"


def _summary_json(one: StudySummary) -> dict[str, Json]:
    return {
        "study": one.name,
        "synthetic": is_synthetic(one.board),
        "stage": one.stage,
        "night": one.night,
        "purpose": one.purpose,
        "samples": one.samples,
        "failures": one.failures,
        "trials": one.trials,
        "of_night": {
            "samples": one.night_samples,
            "failures": one.night_failures,
            "trials": one.night_trials,
        },
        "best": one.best,
        "best_trial": one.best_trial,
        "best_is_final": one.best_is_final,
        "deadline": one.deadline,
        "outcome": one.outcome or None,
        "from_bundle": one.carried,
        "running": _is_running(one),
        "pid": one.sitting.pid if one.sitting is not None and _is_running(one) else None,
        "last_at": one.last_at or None,
    }
