"""What reaches the user's screen: pages, one JSON document, chatter, and colours only on a terminal.

All of it leaves through here, and nothing that steers a terminal does: a board's name, a kernel message or a log line may
hold anything. Nothing else in this room prints (tests/hostile/test_terminal.py).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TextIO, TypeAlias

import typer

from autotune.experiment.synthetic_boards import LABEL, is_synthetic

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.report.page import Page, Paragraph, Table

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")
]

Json: TypeAlias = "str | int | float | bool | Mapping[str, Json] | Sequence[Json] | None"


def examples(*lines: str) -> str:
    """The epilog of a command's help: example command lines, never re-wrapped."""
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in lines)


def colours(stream: TextIO | None) -> bool:
    """Whether this stream is a terminal that may show colours (https://no-color.org); None: it was closed."""
    return (
        stream is not None
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def say(text: str) -> None:
    """A line of chatter on stderr; nothing where its terminal or pipe is gone."""
    _chatter(_visible(text))


def say_in_red(text: str) -> None:
    """The same in red, where that can be shown."""
    red, plain = ("\x1b[31m", "\x1b[0m") if colours(sys.stderr) else ("", "")
    _chatter(f"{red}{_visible(text)}{plain}")


def _chatter(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _visible(text: str) -> str:
    from autotune.report.page import printable

    return printable(text)


def console() -> Console:
    """A rich console on stdout; it follows NO_COLOR by itself."""
    from rich.console import Console

    return Console(highlight=False)


def print_json(document: Mapping[str, Json], *, board: str = "") -> None:
    """One JSON document on stdout: one line for programs, indented for a person at a terminal. `board` as in `json_text`."""
    print(json_text(document, board=board, indent=2 if sys.stdout.isatty() else None))


def json_text(document: Mapping[str, Json], *, board: str = "", indent: int | None = None) -> str:
    """The document as text that steers no terminal.

    `board`: whose figures these are; the document then says whether they are synthetic.
    """
    if board:
        document = {"synthetic": is_synthetic(board), **document}
    return _escaped(json.dumps(_finite(document), indent=indent, ensure_ascii=False, allow_nan=False))


def _escaped(text: str) -> str:
    """The same JSON: what json.dumps leaves as it is, though it steers a terminal or is no text at all, by its number."""
    return "".join(
        char if char == "\n" or char.isprintable() else json.dumps(char, ensure_ascii=True)[1:-1]
        for char in text
    )


def _finite(value: Json) -> Json:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(one) for one in value]
    return value


def print_lines(*lines: str, board: str = "") -> None:
    """Lines on stdout; when `board` is synthetic, they say so first."""
    print(_visible("\n".join([LABEL, *lines] if is_synthetic(board) else lines)))


def print_page(page: Page, *, board: str = "") -> None:
    """The page on stdout: rich tables on a terminal, plain text elsewhere.

    `board`: whose figures these are; the page then says first when they are synthetic.
    """
    if is_synthetic(board):
        page = _labelled(page)
    if not sys.stdout.isatty():
        sys.stdout.write(page.text())
        return
    from autotune.report.page import Table

    screen = console()
    first = True
    for part in page.parts:
        if not (part.rows or part.note if isinstance(part, Table) else part.lines):
            continue
        if not first:
            screen.print()
        first = False
        if isinstance(part, Table):
            _print_table(screen, part)
        else:
            _print_paragraph(screen, part)


def _labelled(page: Page) -> Page:
    from autotune.report.page import Page, Paragraph

    return Page(parts=(Paragraph(lines=(LABEL,), tone="warning"), *page.parts))


def _print_table(screen: Console, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from autotune.report.page import printable

    if table.title:
        screen.print(Text(printable(table.title), style="bold"))
    if table.rows:
        shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
        for number, title in enumerate(table.columns):
            longest = max(len(row[number]) for row in table.rows)
            shown.add_column(
                Text(title),
                justify="right" if title in table.right else "left",
                overflow="fold",
                # Only short cells stay whole: a column of sentences would leave its neighbours a word's width. Titles
                # may always wrap.
                min_width=longest if longest <= screen.width // (3 if number == 0 else 4) else None,
            )
        for row in table.rows:
            shown.add_row(*(Text(printable(cell)) for cell in row))
        # A table that is wider all the same is the terminal's to wrap: a number cut short is another number.
        screen.print(shown, crop=False)
    if table.note:
        screen.print(Text(printable(table.note), style="dim"))


def _print_paragraph(screen: Console, paragraph: Paragraph) -> None:
    from rich.text import Text

    from autotune.report.page import printable

    style = {"plain": "", "headline": "bold", "good": "green", "warning": "yellow", "quiet": "dim"}[
        paragraph.tone
    ]
    if paragraph.title:
        screen.print(Text(printable(paragraph.title), style="bold"))
    for line in paragraph.lines:
        indent = "  " if paragraph.title else ""
        screen.print(Text(indent + printable(line), style=style))
