"""The command `autotune`: the front door and what hangs on it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autotune import __version__
from autotune.cli import (
    applying,
    board,
    boards,
    builds,
    carrying,
    dashboard,
    files,
    learned,
    night,
    report,
    results,
    service,
    studies,
)
from autotune.cli.edge import Door, output_lost, show_error
from autotune.cli.output import colours, examples, print_lines
from autotune.cli.streams import let_go, open_missing
from autotune.errors import StorageError

app = typer.Typer(
    name="autotune",
    cls=Door,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # edge.py says it in one sentence
    rich_markup_mode="rich" if colours(sys.stdout) else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "autotune doctor                      what can be tuned here, and what a night needs",
        "autotune run quickstart              about ten minutes, then the comparison",
        "autotune run localhost --until 07:00",
        "autotune compare localhost           the answer, in the morning",
        "autotune report localhost            all of it as one HTML file",
        "autotune export localhost --to out/  the files to install",
    ),
)


def _version(value: bool) -> None:  # noqa: FBT001 - Typer calls it with the option's value
    if value:
        print_lines(f"autotune {__version__}")
        raise typer.Exit


@app.callback()
def front(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Tunes a web-serving Linux board overnight and tells the truth about it in the morning.

    Compares stock, hand-tuned and automatic configurations on a real nginx, and leaves the board as it was.
    """


night.add_commands(app)
studies.add_commands(app)
service.add_commands(app)
results.add_commands(app)
learned.add_commands(app)
report.add_commands(app)
carrying.add_commands(app)
dashboard.add_commands(app)
board.add_commands(app)
applying.add_commands(app)
boards.add_commands(app)
builds.add_commands(app)
files.add_commands(app)


def main() -> None:
    """Entry point of the command."""
    open_missing()
    try:
        app(prog_name="autotune")
    except SystemExit as leaving:
        if (lost := let_go()) and not leaving.code:
            show_error(output_lost(lost))
            leaving.code = StorageError.exit_code
        raise


if __name__ == "__main__":
    main()
