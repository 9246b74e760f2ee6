"""Whatever a board, a log or a study says, a terminal only shows it; and there is one door through which all of it goes."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_inputs import EXAMPLES, TEXTS, steers_a_terminal
from hypothesis import given
from hypothesis import strategies as st

import autotune.cli
from autotune.cli import output
from autotune.cli.edge import show_bug, show_error
from autotune.cli.progress import NightLog, PlainLines, _panel
from autotune.errors import BoardUnfit, DefinitionError, Interrupted, Mistake
from autotune.report.page import Page, Paragraph, Table
from autotune.runner.notices import Progress, Said

ALL = "|".join(TEXTS)
ROOM = Path(autotune.cli.__file__).parent


class Terminal(io.StringIO):
    """What a person would look at."""

    def isatty(self) -> bool:
        return True


def page(text: str) -> Page:
    return Page(
        parts=(
            Paragraph(title=text, lines=(text,), tone="warning"),
            Table(title=text, columns=("a", "b"), rows=((text, text),), note=text),
        )
    )


SAID: dict[str, Callable[[str], None]] = {
    "chatter": output.say,
    "chatter in red": output.say_in_red,
    "lines": lambda text: output.print_lines(text, text),
    "a page": lambda text: output.print_page(page(text)),
    "JSON": lambda text: output.print_json({"a": text, "list": [text], text: 1}),
    "an error": lambda text: show_error(BoardUnfit(text, hint=text)),
    "many mistakes": lambda text: show_error(DefinitionError((Mistake(text, text, text, text, text),) * 2)),
    "an interruption": lambda text: show_error(Interrupted(text, signal_number=2)),
    "a bug": lambda text: show_bug(ValueError(text)),
    "a notice": lambda text: PlainLines("local")(Said(level="warning", text=text)),
}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Terminal]:
    """Puts a dumb terminal in the place of stdout and stderr; called within the test, for pytest puts its own there before."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def put() -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return put


@pytest.mark.parametrize("way", SAID)
def test_nothing_that_steers_a_terminal_reaches_one(way: str, terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    SAID[way](ALL)
    shown = screen.getvalue()
    assert "DROP" in shown
    assert not steers_a_terminal(shown)
    shown.encode()


def test_a_panel_shows_what_it_is_told(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    progress = Progress(
        study="s", stage="search", sample=1, samples=2, current=None, current_pm=None, best=None, best_pm=None,
        failures=0, time_left_s=None, last=ALL,
    )  # fmt: skip
    output.console().print(_panel(progress, "local"))
    PlainLines("local")(progress)
    assert "DROP" in screen.getvalue()
    assert not steers_a_terminal(screen.getvalue())


def test_the_log_file_can_be_shown_too() -> None:
    file = io.StringIO()
    NightLog(file, "local")(Said(level="info", text=ALL))
    assert not steers_a_terminal(file.getvalue())


@EXAMPLES
@given(st.dictionaries(st.text(), st.text() | st.sampled_from(TEXTS), max_size=4))
def test_a_document_says_the_same_after_it_was_made_harmless(document: dict[str, str]) -> None:
    shown = io.StringIO()
    before, sys.stdout = sys.stdout, shown
    try:
        output.print_json(document)
    finally:
        sys.stdout = before
    assert not steers_a_terminal(shown.getvalue())
    assert json.loads(shown.getvalue()) == document


@pytest.mark.parametrize("file", sorted(ROOM.glob("*.py")), ids=lambda file: file.name)
def test_nothing_else_in_the_room_prints(file: Path) -> None:
    """output.py is the door; the live panel is progress.py's own, and shown above."""
    if file.name in ("output.py", "streams.py"):
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if file.name == "progress.py" and name.endswith("console.print"):
            continue
        is_door = name == "print" or name.endswith(
            (".print", ".echo", ".secho", "stdout.write", "stderr.write")
        )
        assert not is_door, f"{node.lineno}: {name}"
