"""The front door itself: help, version, and how errors look."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from front_door import Autotune, front_door

from autotune import __version__
from autotune.errors import BoardBusy, DefinitionError, Mistake

COMMANDS = (
    ("run",),
    ("resume",),
    ("baseline",),
    ("stop",),
    ("status",),
    ("list",),
    ("compare",),
    ("summary",),
    ("report",),
    ("importance",),
    ("show",),
    ("export",),
    ("bundle",),
    ("unbundle",),
    ("dashboard",),
    ("apply",),
    ("doctor",),
    ("restore",),
    ("plan",),
    ("service",),
    ("service", "install"),
    ("service", "remove"),
    ("board",),
    ("board", "install"),
    ("board", "check"),
    ("board", "remove"),
    ("board", "fingerprint"),
    ("build",),
    ("build", "list"),
    ("build", "make"),
    ("build", "remove"),
    ("space",),
    ("space", "show"),
    ("space", "check"),
    ("init",),
)


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_of_it(autotune: Autotune, command: tuple[str, ...]) -> None:
    result = autotune(*command, "--help")
    assert result.exit_code == 0
    _, examples = result.stdout.split("Examples:")
    assert f"autotune {' '.join(command)}" in examples


def test_the_list_of_commands_here_is_complete(autotune: Autotune) -> None:
    listed = autotune("--help").stdout.split("Commands:")[1].split("Examples:")[0]
    names = set(re.findall(r"^  (\w+)  ", listed, flags=re.MULTILINE))
    assert names == {command[0] for command in COMMANDS}


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from autotune.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'matplotlib', 'jinja2', 'pydantic', 'sqlalchemy', 'optuna', 'scipy', 'numpy', 'crossplane', 'alembic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version(autotune: Autotune) -> None:
    assert autotune("--version").stdout == f"autotune {__version__}\n"


def test_an_unknown_command_is_a_usage_error(autotune: Autotune) -> None:
    result = autotune("fly")
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_error_is_one_message_with_the_next_thing_to_do_and_its_own_exit_code(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_board: str) -> None:
        raise BoardBusy("process 7 on elsewhere holds this board", hint="wait for it")

    monkeypatch.setattr("autotune.runner.restoring.restore", busy)
    result = autotune("restore", "--json")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr == "error: process 7 on elsewhere holds this board\n  wait for it\n"


def test_every_mistake_of_a_definition_is_told(autotune: Autotune, monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes = tuple(
        Mistake(file="a.toml", key=f"key{number}", value="1", problem="is odd", accepted="2")
        for number in range(3)
    )

    def wrong(_path: object) -> None:
        raise DefinitionError(mistakes)

    monkeypatch.setattr("autotune.definitions.study_file.read_study", wrong)
    result = autotune("plan", "a.toml")
    assert result.exit_code == 3
    assert [line.strip() for line in result.stderr.splitlines()] == [
        "error: 3 mistakes:",
        *(f"a.toml: key{number} = 1: is odd. Accepted: 2." for number in range(3)),
    ]


def test_a_value_in_a_message_cannot_steer_the_terminal(autotune: Autotune) -> None:
    result = autotune("plan", "no\x1b[2Jsuch")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "\\x1b" in result.stderr


def test_our_own_bug_is_called_one_and_its_traceback_goes_to_a_file(
    autotune: Autotune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_board: str) -> None:
        raise ZeroDivisionError("by a test")

    monkeypatch.setattr("autotune.runner.restoring.restore", broken)
    result = autotune("restore")
    assert result.exit_code == 1
    assert result.stderr.startswith("this is a bug in autotune: ZeroDivisionError: by a test\n")
    assert "Traceback" not in result.stderr
    (file,) = (tmp_path / "state" / "autotune" / "bugs").iterdir()
    assert "Traceback" in file.read_text()
    assert str(file) in result.stderr


def test_a_bug_is_told_even_where_no_file_can_be_written(
    autotune: Autotune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_board: str) -> None:
        raise ZeroDivisionError("by a test")

    (tmp_path / "state").write_text("in the way")
    monkeypatch.setattr("autotune.runner.restoring.restore", broken)
    result = autotune("restore")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_ctrl_c_ends_with_130_and_no_traceback(autotune: Autotune, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_board: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autotune.runner.restoring.restore", interrupted)
    result = autotune("restore")
    assert result.exit_code == 130
    assert "Traceback" not in result.output
