"""Texts and pages as Markdown: for a file, a mail, a chat."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from autotune.report.page import Page, Paragraph, Table, printable

_LINK = re.compile(r"\](?=([(\[:]))\1")


def page_markdown(title: str, page: Page) -> str:
    """The whole page under this title, ending with a newline."""
    blocks = [f"# {plain(title)}"]
    for part in page.parts:
        blocks += _table_blocks(part) if isinstance(part, Table) else _paragraph_blocks(part)
    return "\n\n".join(blocks) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """Rows under their titles, numbers to the right; "" without any."""
    if not rows:
        return ""
    marks = "| " + " | ".join("---:" if title in right else "---" for title in columns) + " |"
    return "\n".join([_row(columns), marks, *(_row(row) for row in rows)])


def bullets(lines: Sequence[str] | Mapping[str, None]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)


def plain(text: str) -> str:
    """One line, nothing in it that Markdown or a terminal would take for more than text: no tag, no link, no picture."""
    return _LINK.sub(r"]\\\1", printable(" ".join(text.split())).replace("<", "&lt;"))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _table_blocks(part: Table) -> list[str]:
    if not part.rows and not part.note:
        return []
    title = f"## {plain(part.title)}" if part.title else ""
    return [one for one in (title, table(part.columns, part.rows, part.right), plain(part.note)) if one]


def _paragraph_blocks(part: Paragraph) -> list[str]:
    if not part.lines:
        return []
    if part.title:
        return [f"## {plain(part.title)}", bullets(part.lines)]
    mark = "**" if part.tone in ("headline", "warning") else ""
    return [f"{mark}{plain(line)}{mark}" for line in part.lines]
