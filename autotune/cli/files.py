"""Definitions: plan a study, look at a search space, copy the shipped files out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from autotune.cli.night_options import HoursOption, UntilOption
from autotune.cli.output import JsonOption, examples, print_json, print_lines, print_page
from autotune.cli.places import StudyFile, complete_space_file, definition_path, study_file

SpaceFile: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A search space file (.toml), or the name of a shipped one.",
        autocompletion=complete_space_file,
    ),
]
Directory: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="Where to copy them; made when it isn't there.")
]

space = typer.Typer(
    no_args_is_help=True,
    help="Show or check a search space.",
    epilog=examples("autotune space show loopback", "autotune space check my_space.toml"),
)


def add_commands(app: typer.Typer) -> None:
    panel = "Studies and search spaces"
    app.command(
        "plan",
        rich_help_panel=panel,
        epilog=examples("autotune plan quickstart", "autotune plan studies/localhost.toml --until 07:00"),
    )(plan)
    space.command(
        "show", epilog=examples("autotune space show loopback", "autotune space show linux-host --json")
    )(show)
    space.command("check", epilog=examples("autotune space check search_spaces/my_space.toml"))(check)
    app.add_typer(space, name="space", rich_help_panel=panel)
    app.command("init", rich_help_panel=panel, epilog=examples("autotune init tuning", "autotune init ."))(
        init
    )


def plan(
    study: StudyFile, *, until: UntilOption = None, hours: HoursOption = None, json: JsonOption = False
) -> None:
    """Say what a night would do, and what it could show.

    Stages, samples, candidates, time, and the smallest difference. Touches no board.
    """
    from autotune.cli.deadline import deadline, utc_text
    from autotune.report.plan_page import plan_json, plan_of, plan_page
    from autotune.runner.clocks import clock_for

    question = study_file(study)
    now = datetime.fromtimestamp(clock_for(question, ()).now_s).astimezone()
    end = deadline(until, hours, now)
    summary = plan_of(question, None if end is None else (end - now).total_seconds())
    if json:
        found = {**plan_json(question, summary), "deadline": None if end is None else utc_text(end)}
        print_json(found, board=question.board)
    else:
        print_page(plan_page(question, summary, asked=study), board=question.board)


def show(file: SpaceFile, *, json: JsonOption = False) -> None:
    """Show what may vary, how far, and why.

    Range, scale, special values, condition and reason of every parameter; rules; derived settings.
    """
    from autotune.definitions.space_file import read_space
    from autotune.report.space_page import space_json, space_page

    found = read_space(definition_path(file, "search_spaces"))
    if json:
        print_json(space_json(found))
    else:
        print_page(space_page(found))


def check(file: SpaceFile, *, json: JsonOption = False) -> None:
    """Read a search space and say every mistake in it.

    All at once, with exit code 3; or that it is ok.
    """
    from autotune.definitions.space_file import read_space

    path = definition_path(file, "search_spaces")
    found = read_space(path)
    if json:
        print_json(
            {
                "file": str(path),
                "ok": True,
                "parameters": len(found.parameters),
                "rules": len(found.rules),
                "derived": len(found.derived),
            }
        )
    else:
        print_lines(
            f"{path}: ok, {len(found.parameters)} parameters, {len(found.rules)} rules,"
            f" {len(found.derived)} derived settings."
        )


def init(directory: Directory, *, json: JsonOption = False) -> None:
    """Copy the shipped studies and spaces out, to edit them."""
    from autotune.definitions.shipped import copy_shipped

    copies = copy_shipped(directory)
    if json:
        print_json({"directory": str(directory), "files": [str(path) for path in copies]})
        return
    print_lines(
        f"Copied {len(copies)} files, to change them there:",
        *(f"  {path}" for path in copies),
        f"Next: autotune plan {directory / 'quickstart.toml'}",
    )
