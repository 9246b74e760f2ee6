"""The same page on a terminal: rich tables, every word still there, nothing taken for markup."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable

import pytest

from autotune.cli.output import print_json, print_page
from autotune.report.page import Page, Paragraph, Table

PAGE = Page(
    parts=(
        Paragraph(lines=("an [bold]answer[/bold]",), tone="headline"),
        Paragraph(lines=()),
        Table(
            title="a [title]",
            columns=("ratio [interval]", "n"),
            rows=(("1.041x [1.029, 1.054]", "24\x1b[2J"),),
            right=frozenset({"n"}),
            note="a [note]",
        ),
    )
)


class Terminal(io.StringIO):
    """What a person would look at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Puts a terminal in the place of stdout; called within the test, because pytest puts its own there before."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def put() -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        return screen

    return put


def test_every_word_of_the_page_is_on_the_terminal(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    print_page(PAGE)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert shown != screen.getvalue()
    for text in ("[bold]answer[/bold]", "a [title]", "ratio [interval]", "[1.029, 1.054]", "a [note]"):
        assert text in shown


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 200])
def test_no_number_is_cut_short_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: Callable[[], Terminal], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    titles = ("arm", "requests/s", "n", "worst run", "p10", "range", "p99", "per server CPU second")
    cells = ("stock", "7,820", "12", "4,257", "5,962", "87.1 %", "4.53 ms", "32,547")
    screen = terminal()
    print_page(
        Page(parts=(Table(title="Finals", columns=titles, rows=(cells,), right=frozenset(titles[1:])),))
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert re.findall(r"\S+(?: %| ms)?", shown.splitlines()[-1]) == list(cells)


def test_a_value_cannot_steer_the_terminal(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    print_page(PAGE)
    assert "\x1b[2J" not in screen.getvalue()


def test_colours_are_left_out_on_request(
    monkeypatch: pytest.MonkeyPatch, terminal: Callable[[], Terminal]
) -> None:
    page = Page(parts=(Paragraph(lines=("careful",), tone="warning"),))
    screen = terminal()
    print_page(page)
    assert "\x1b[33m" in screen.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal()
    print_page(page)
    assert "\x1b[33m" not in screen.getvalue()


def test_json_for_a_person_is_indented_and_has_no_nan(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    print_json({"a": float("nan"), "b": [float("inf"), {"c": 1.5}]})
    assert json.loads(screen.getvalue()) == {"a": None, "b": [None, {"c": 1.5}]}
    assert '\n  "a": null' in screen.getvalue()
