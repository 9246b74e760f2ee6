"""The report of a night: one HTML file, or the same as Markdown, CSV or JSON."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_lines, say
from autotune.cli.places import StorageOption, StudyName, open_study
from autotune.cli.results import NightOption

if TYPE_CHECKING:
    from autotune.report.learned_parts import Learned
    from autotune.report.night_report import NightReport


class ReportForm(StrEnum):
    HTML = "html"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


FormOption: TypeAlias = Annotated[
    ReportForm,
    typer.Option(
        "--format",
        help="html: the page. md: a final report to edit and hand in. csv: a row for each run. json: all of it as data.",
    ),
]
ToOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FILE",
        help="Where to write; - is stdout. Default: html into NAME-night-N.html in this directory, the others to stdout.",
        show_default=False,
    ),
]


def add_commands(app: typer.Typer) -> None:
    app.command(
        "report",
        rich_help_panel="Results",
        epilog=examples(
            "autotune report quickstart",
            "autotune report localhost --night 1 --to monday.html",
            "autotune report localhost --format md --to REPORT.md",
            "autotune report localhost --format csv > samples.csv",
        ),
    )(report)


def report(
    name: StudyName,
    *,
    form: FormOption = ReportForm.HTML,
    night: NightOption = None,
    to: ToOption = "",
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Write the report of a night: one file that opens anywhere.

    The answer, the doubts, pictures of the night, every sample with its gates and raw output. It needs no network and
    no server; a file of the same name is replaced. --json is --format json.
    """
    told = _told(name, night, storage)
    form = ReportForm.JSON if json else form
    if form is ReportForm.JSON and to in ("", "-"):
        from autotune.report.data_forms import report_json

        print_json(report_json(told, _learned(told)), board=told.study.board)
        return
    text = _text(told, form)
    if to == "-" or (not to and form is not ReportForm.HTML):
        _to_stdout(text)
        return
    file = Path(to or f"{told.study.name}-night-{told.night}.html")
    _write(file, text)
    print_lines(str(file))
    if form is ReportForm.HTML:
        say(f"{len(text.encode()) / 1e6:.1f} MB; open it with a browser")


def _told(name: str, night: int | None, storage: str) -> NightReport:
    from autotune.errors import UsageError
    from autotune.report.night_report import night_report

    with open_study(storage, name) as store:
        study, log, record = store.study(name), store.log(name), store.aa_record()
        raw = store.raw_texts(name)
    told = night_report(study, log, night, raw=raw, record=record)
    if told is None:
        if night:
            raise UsageError(
                f"{name} has no night {night}", hint=f"See which there are: autotune show {name}"
            )
        raise UsageError(f"no night of {name} has begun yet", hint=f"Try: autotune resume {name}")
    return told


def _learned(told: NightReport) -> Learned:
    from autotune.report.learned_parts import learned_of

    return learned_of(told.study, told.log, told.night)


def _text(told: NightReport, form: ReportForm) -> str:
    match form:
        case ReportForm.HTML:
            from autotune.report.html import report_html

            return report_html(told, _learned(told))
        case ReportForm.MARKDOWN:
            from autotune.report.final_report import report_markdown

            return report_markdown(told, _learned(told))
        case ReportForm.CSV:
            from autotune.report.data_forms import samples_csv

            return samples_csv(told)
        case ReportForm.JSON:
            from autotune.cli.output import json_text
            from autotune.report.data_forms import report_json

            return json_text(report_json(told, _learned(told)), board=told.study.board) + "\n"


def _to_stdout(text: str) -> None:
    print_lines(text.removesuffix("\n"))


def _write(file: Path, text: str) -> None:
    """Whole or not at all: a full disk leaves the file that was there.

    Only a plain file is replaced: a device or a pipe is written to, and a link stays and leads to the report.
    """
    from autotune.errors import UsageError

    try:
        target = Path(os.path.realpath(file))  # of a circle of links no error comes before the write
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        _replace(target, text)
    except OSError as problem:
        raise UsageError(
            f"{file} can't be written: {problem.strerror}", hint="Another place: --to FILE"
        ) from problem


def _replace(target: Path, text: str) -> None:
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("x", encoding="utf-8") as file:  # never through a link that somebody left there
            file.write(text)
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
