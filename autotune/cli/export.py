"""The files that keep a configuration for good: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from autotune.cli.output import Json, JsonOption, examples, print_json, print_lines
from autotune.cli.places import StorageOption, StudyName, open_study

Which: TypeAlias = Annotated[
    str, typer.Argument(metavar="[auto|hand]", help="The automatic configuration, or the hand-tuned one.")
]
ToOption: TypeAlias = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="A new or empty directory for the files.")
]
NightOption: TypeAlias = Annotated[
    int | None, typer.Option("--night", metavar="N", min=1, help="This night instead of the last one.")
]


def add_commands(app: typer.Typer, panel: str) -> None:
    app.command(
        "export",
        rich_help_panel=panel,
        epilog=examples(
            "autotune export quickstart --to tuned",
            "autotune export localhost hand --to /tmp/hand --night 1",
            "autotune export localhost --to /tmp/tuned --json",
        ),
    )(export)


def export(
    name: StudyName,
    which: Which = "auto",
    *,
    to: ToOption,
    night: NightOption = None,
    storage: StorageOption = "",
    json: JsonOption = False,
) -> None:
    """Write the files that keep a configuration for good.

    With `install` and `uninstall`, which need no autotune on the board. Nothing is installed; PROVENANCE.md says the rest.
    """
    from autotune.report.export import export_files, write_files

    with open_study(storage, name) as store:
        study, log = store.study(name), store.log(name)
    files = export_files(study, log, which, night)
    written = write_files(to, files)
    if json:
        document: dict[str, Json] = {
            "study": name,
            "directory": str(to),
            "files": [str(path) for path in written],
        }
        print_json(document, board=study.board)
        return
    shown = [path for path, place in zip(written, files, strict=True) if not place.startswith("program/")]
    install = ("On the board: ./install --dry-run, then sudo ./install; ./uninstall takes it back.",)
    print_lines(
        f"Written into {to}; nothing is installed:",
        *(f"  {path}" for path in shown),
        *(install if "install" in files else ()),
        f"Where it comes from, and what it changes: {to / 'PROVENANCE.md'}",
        board=study.board,
    )
