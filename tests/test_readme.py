"""The README tells the truth: its commands exist, its paths exist, its definitions can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.space_file import read_space
from autotune.definitions.study_file import read_study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOML_BLOCKS = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
CONSOLE_LINES = [
    line[2:].split("#")[0].split()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def _help(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "autotune", *command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _commands() -> dict[str, str]:
    """Every command with the first line of its help, as `autotune --help` lists them."""
    text = _help().split("Commands:\n", 1)[1].split("Examples:", 1)[0]
    return dict(re.findall(r"^  (\S+)\s{2,}(\S.*)$", text, re.MULTILINE))


def commands_block() -> str:
    """What stands between the README's command marks."""
    rows = [f"| `autotune {name}` | {what} |" for name, what in _commands().items()]
    return "\n".join(["| command | |", "|---|---|", *rows])


def test_the_command_table_is_what_the_program_says_of_itself() -> None:
    shown = README.split("<!-- commands -->\n", 1)[1].split("\n<!-- /commands -->", 1)[0]
    assert shown == commands_block(), f"put this between the marks:\n{commands_block()}"


@pytest.mark.parametrize("line", CONSOLE_LINES, ids=" ".join)
def test_every_command_it_shows_can_be_typed(line: list[str]) -> None:
    match line:
        case ["autotune", *rest]:
            command = next(name for name in rest if not name.startswith("-"))
            options = {word.split("=")[0] for word in rest if word.startswith("--")}
            assert command in _commands()
            assert options <= set(re.findall(r"--[a-z-]+", _help(command)))
        case [script, *options] if script.startswith("scripts/"):
            assert (ROOT / script).is_file()
            text = (ROOT / script).read_text(encoding="utf-8")
            assert all(option in text for option in options if option.startswith("--"))
        case [".", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"no way to check {' '.join(line)!r}")


@pytest.mark.parametrize("block", TOML_BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_definition_it_shows_can_be_read(block: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.toml"
    file.write_text(block, encoding="utf-8")
    if "[workload]" in block:
        assert read_study(file).name in block
    elif "[[step]]" in block:
        assert read_sequence(file).steps
    else:
        assert read_space(file).parameters


def test_every_path_of_the_project_it_names_is_there() -> None:
    named = set(re.findall(r"(?<![\w/$])((?:scripts|studies|search_spaces|tests|autotune)/[\w.-]+)", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_link_inside_it_leads_to_a_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", README)) <= headings
