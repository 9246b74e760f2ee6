"""The board: doctor and restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_lines, print_page, say
from autotune.cli.places import complete_study_file, study_file

if TYPE_CHECKING:
    from autotune.experiment.study import Study
    from autotune.report.page import Page
    from autotune.runner.doctor import Examination

# What doctor looks at when no study is named: the study that this very machine could run tonight.
_USUAL_STUDY = "localhost"

OptionalStudyFile: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="[STUDY]",
        help="A study file (.toml), the name of a shipped study, or a board: ssh://user@host:port.",
        autocompletion=complete_study_file,
    ),
]
ReportOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Measure stock on every workload and write the board's baseline into this new Markdown file.",
    ),
]
OptionalBoard: TypeAlias = Annotated[
    str, typer.Argument(metavar="[BOARD]", help="Which board to restore: local, or ssh://user@host:port.")
]


def add_commands(app: typer.Typer) -> None:
    panel = "The board"
    app.command(
        "doctor",
        rich_help_panel=panel,
        epilog=examples(
            "autotune doctor",
            "autotune doctor studies/quickstart.toml",
            "autotune doctor ssh://radxa@rock5b",
            "autotune doctor --json",
            "autotune doctor quickstart --report baseline.md",
        ),
    )(doctor)
    app.command(
        "restore",
        rich_help_panel=panel,
        epilog=examples(
            "autotune restore", "sudo autotune restore --json", "autotune restore ssh://radxa@rock5b"
        ),
    )(restore)


def doctor(
    study: OptionalStudyFile = _USUAL_STUDY, *, report: ReportOption = None, json: JsonOption = False
) -> None:
    """Say what can be tuned here, and what a night lacks.

    What this board is, which parameters of the space can be tuned on it, which not and why, what a night needs, each
    with the next command. Changes nothing; with --report it measures stock, which takes the board for some minutes,
    and puts it back.
    """
    from autotune.runner.doctor import examine

    question = _question(study)
    if report is not None:
        _report(question, report, json=json)
        return
    found = examine(question)
    if not json:
        print_page(_page(found, study), board=question.board)
        return
    print_json(
        {
            "study": study,
            "board": dict(found.board),
            "parameters": [
                {"id": one.id, "available": one.available, "reason": one.reason, "stock": one.stock}
                for one in found.parameters
            ],
            "needs": [
                {
                    "what": one.what,
                    "ok": one.ok,
                    "detail": one.detail,
                    "next": "" if one.ok else one.next,
                    "fatal": one.fatal,
                }
                for one in found.needs
            ],
            "ready": all(one.ok for one in found.needs if one.fatal),
        },
        board=question.board,
    )


def _question(name: str) -> Study:
    """The study that is asked about; of a board's address, what this machine would hold tonight, there."""
    from autotune.board.address import is_address, read_address

    if not is_address(name):
        return study_file(name)
    return study_file(_USUAL_STUDY).model_copy(update={"board": read_address(name).text})


def _report(study: Study, file: Path, *, json: bool) -> None:
    from autotune.runner.baseline_report import baseline_report

    baseline = baseline_report(study, file, say=say)
    if not json:
        print_lines(f"The board is as it was; its baseline is in {file}.")
        return
    print_json(
        {
            "study": study.name,
            "report": str(file),
            "workloads": {
                name: [
                    {
                        "requests_per_s": None if run.measurement is None else run.measurement.requests_per_s,
                        "latency_p99_s": None if run.measurement is None else run.measurement.latency_p99_s,
                        "reason": run.reason,
                    }
                    for run in runs
                ]
                for name, runs in baseline.runs.items()
            },
        }
    )


def restore(board: OptionalBoard = "local", *, json: JsonOption = False) -> None:
    """Put back what a dead tuner has left changed.

    Needs no database, and may be run from any machine that reaches the board. Harmless at any time; refuses while a
    tuner is at work.
    """
    from autotune.runner.restoring import restore as put_back

    ended = put_back(board)
    if json:
        print_json({"board": board, "restored": list(ended.restored), "left": []})
        return
    if not ended.restored:
        print_lines("Nothing was left changed; the board is as it was.")
        return
    print_lines("Put back:", *(f"  {one}" for one in ended.restored))


def _page(found: Examination, study: str) -> Page:
    from autotune.report.page import Page, Paragraph, Table
    from autotune.report.words import count_text

    lacking = [one for one in found.needs if not one.ok and one.fatal]
    poorer = [one for one in found.needs if not one.ok and not one.fatal]
    usable = [one for one in found.parameters if one.available]
    dropped = [one for one in found.parameters if not one.available]
    if lacking:
        answer = f"A night of {study} can't begin yet: {', '.join(one.what for one in lacking)}."
    else:
        answer = f"A night of {study} can begin."
    if poorer:
        answer += f" It would be poorer for: {', '.join(one.what for one in poorer)}."
    return Page(
        parts=(
            Paragraph(lines=(answer,), tone="warning" if lacking else "headline"),
            Table(title="This board", columns=("", "is"), rows=found.board),
            Table(
                title="What a night needs",
                columns=("need", "", "found", "next"),
                rows=tuple(
                    (
                        one.what,
                        "ok" if one.ok else "LACKING" if one.fatal else "poorer",
                        one.detail,
                        "-" if one.ok else one.next,
                    )
                    for one in found.needs
                ),
            ),
            Table(
                title=f"Can be tuned here: {count_text(len(usable), 'setting')}",
                columns=("setting", "stock"),
                rows=tuple((one.id, one.stock or "-") for one in usable),
            ),
            Table(
                title=f"Left out here: {count_text(len(dropped), 'setting')}",
                columns=("setting", "stock", "why"),
                rows=tuple((one.id, one.stock or "-", one.reason) for one in dropped),
            ),
            Paragraph(
                title="Next",
                lines=tuple(one.next for one in lacking if one.next) or _after(study),
            ),
        )
    )


def _after(asked: str) -> tuple[str, ...]:
    """What comes after a look at a board that can carry a night: of an address, a study that names it."""
    from autotune.board.address import is_address

    if not is_address(asked):
        return f"autotune plan {asked}", f"autotune run {asked}"
    return (
        "autotune init studies",
        f'board = "{asked}" into the study of your choice there, and look again: autotune doctor studies/NAME.toml',
    )
