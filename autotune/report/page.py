"""A page of results: tables and paragraphs as data, and the same page as plain text.

Made once here, shown twice: with colours on a terminal (cli), as plain text everywhere else.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["plain", "headline", "good", "warning", "quiet"]

_INDENT = "  "
_GAP = "  "
_NARROWEST = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts under column titles. Columns whose title is in `right` are numbers and stand to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Lines of text under an optional title; an empty paragraph is left out."""

    lines: tuple[str, ...]
    title: str = ""
    tone: Tone = "plain"


Part: TypeAlias = Table | Paragraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Parts from top to bottom."""

    parts: tuple[Part, ...]

    def text(self, width: int = 110) -> str:
        """The whole page as plain text, ending with a newline."""
        blocks = [block for part in self.parts if (block := _part_text(part, width))]
        return "\n\n".join(blocks) + "\n"


def printable(text: str) -> str:
    """The text with control characters made visible, so that no value can steer a terminal."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _part_text(part: Part, width: int) -> str:
    if isinstance(part, Table):
        return printable(_table_text(part, width)) if part.rows or part.note else ""
    if not part.lines:
        return ""
    indent = _INDENT if part.title else ""
    lines = [part.title] if part.title else []
    for line in part.lines:
        lines += textwrap.wrap(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=indent + _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return printable("\n".join(lines))


def _table_text(table: Table, width: int) -> str:
    rows = table.rows
    widths = [
        max([len(title), *(len(row[column]) for row in rows)]) for column, title in enumerate(table.columns)
    ]
    room = width - len(_INDENT) - len(_GAP) * (len(widths) - 1)
    # The widest column gives way first, down to what can still be read; short ones are never folded.
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[max(range(len(widths)), key=lambda column: (widths[column], column))] -= 1
    lines = [table.title] if table.title else []
    if rows:
        lines += _row_lines(table, table.columns, widths)
        lines.append(_INDENT + _GAP.join("-" * one for one in widths))
        for row in rows:
            lines += _row_lines(table, row, widths)
    if table.note:
        lines += textwrap.wrap(table.note, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return "\n".join(lines)


def _row_lines(table: Table, row: tuple[str, ...], widths: list[int]) -> list[str]:
    """One row, on as many lines as its longest cell needs."""
    cells = [
        textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for number in range(max(len(cell) for cell in cells)):
        words = [
            (cell[number] if number < len(cell) else "").rjust(width)
            if title in table.right
            else (cell[number] if number < len(cell) else "").ljust(width)
            for cell, width, title in zip(cells, widths, table.columns, strict=True)
        ]
        lines.append((_INDENT + _GAP.join(words)).rstrip())
    return lines
