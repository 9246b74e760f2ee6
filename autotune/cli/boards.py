"""A board at the other end of a cable: board install, check, remove, fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import JsonOption, examples, print_json, print_lines, print_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.report.page import Page

_HERE = "ssh://radxa@rock5b"

Address: TypeAlias = Annotated[str, typer.Argument(metavar="BOARD", help="local, or ssh://user@host:port.")]
User: TypeAlias = Annotated[
    str, typer.Option("--user", metavar="NAME", help="For whom. Default: the user that logs in there.")
]


def add_commands(app: typer.Typer) -> None:
    boards = typer.Typer(
        no_args_is_help=True,
        help="A board over ssh: install, check, remove, fingerprint.",
        epilog=examples(f"autotune board check {_HERE}", f"autotune board install {_HERE}"),
    )
    boards.command("install", epilog=examples(f"autotune board install {_HERE}"))(install)
    boards.command("check", epilog=examples(f"autotune board check {_HERE}"))(check)
    boards.command("remove", epilog=examples(f"autotune board remove {_HERE}"))(remove)
    boards.command("fingerprint", epilog=examples(f"autotune board fingerprint {_HERE}"))(fingerprint)
    app.add_typer(boards, name="board", rich_help_panel="The board")


def install(board: Address, *, user: User = "", json: JsonOption = False) -> None:
    """Put the agent there, root's own, with the one sudo rule it needs.

    Needs root there once: root's login, a sudo that asks for nothing, or a terminal to type its password at.
    """
    from autotune.board import installing
    from autotune.board.address import read_address

    done = installing.install(read_address(board), user)
    _tell(f"Installed on {board}", done.said, f"Undone by: autotune board remove {board}", json=json)


def remove(board: Address, *, json: JsonOption = False) -> None:
    """Take the agent and its sudo rule away again."""
    from autotune.board import installing
    from autotune.board.address import read_address

    _tell(f"Removed from {board}", installing.remove(read_address(board)).said, "", json=json)


def check(board: Address, *, json: JsonOption = False) -> None:
    """Say whether the board answers, and how the agent starts there. Changes nothing."""
    from autotune.board import installing
    from autotune.board.address import read_address

    found = installing.check(read_address(board))
    facts = found.facts
    if json:
        print_json(
            {
                "board": board,
                "how": found.how,
                "installed": found.installed,
                "root": facts.uid == 0,
                "warnings": list(found.warnings),
                "next": installing.next_for(read_address(board), found),
                "python": facts.python,
                "host": facts.hostname,
                "model": facts.model,
                "fingerprint": installing.fingerprint(facts),
            }
        )
        return
    lines = [
        f"{facts.hostname}, {facts.model}, kernel {facts.kernel}, Python {facts.python}",
        found.how,
        *found.warnings,
    ]
    if facts.uid != 0:
        lines.append("kernel settings are out of its reach: nginx's directives remain")
    after = installing.next_for(read_address(board), found)
    print_page(_page(f"{board} answers", lines, f"Next: {after}" if after else ""))


def fingerprint(board: Address, *, json: JsonOption = False) -> None:
    """Print what a board is known by: equal as long as its hardware, kernel and nginx are."""
    from autotune.board import installing
    from autotune.board.address import read_address

    facts = installing.check(read_address(board)).facts
    if json:
        print_json({"board": board, "fingerprint": installing.fingerprint(facts)})
    else:
        print_lines(installing.fingerprint(facts))


def _tell(title: str, said: Sequence[str], after: str, *, json: bool) -> None:
    if json:
        print_json({"done": list(said)})
    else:
        print_page(_page(title, said, after))


def _page(title: str, lines: Sequence[str], after: str) -> Page:
    from autotune.report.page import Page, Paragraph

    return Page(
        parts=(
            Paragraph(title=title, lines=tuple(lines)),
            Paragraph(lines=(after,) if after else (), tone="quiet"),
        )
    )
