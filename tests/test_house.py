"""The house stays as it is planned: what stands at the top, how long a file may be, what the wheel holds, how scripts greet."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "autotune",
    "search_spaces",
    "studies",
    "tests",
    "scripts",
}
LONGEST_FILE = 450
LONGEST_TEST = 600
LONGEST_TABLE = 750
TABLES = ROOT / "autotune" / "space" / "catalogue"  # one record per setting, nothing to follow


def tracked() -> list[Path]:
    """Every file that a clone would have: what git tracks, or everything visible where there is no git."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
        return [path for path in paths if path.is_file()]
    hidden_or_made = {".venv", "__pycache__", "build", "dist"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden_or_made & set(path.parts)]


TRACKED = tracked()
SCRIPTS = sorted(path for path in TRACKED if path.parent == ROOT / "scripts" and not path.suffix)


def test_nothing_new_stands_at_the_top() -> None:
    visible = {path.relative_to(ROOT).parts[0] for path in TRACKED}
    assert {name for name in visible if not name.startswith(".")} <= TOP_LEVEL


def longest(path: Path) -> int:
    if path.is_relative_to(TABLES):
        return LONGEST_TABLE
    return LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST_FILE


def test_every_python_file_can_be_read_in_one_sitting() -> None:
    python = [path for path in TRACKED if path.suffix == ".py"] + SCRIPTS
    lengths = {path: len(path.read_text().splitlines()) for path in python}
    too_long = {
        str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > longest(path)
    }
    assert too_long == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in TRACKED
        if path.suffix == ".py"
        and path.is_relative_to(ROOT / "autotune")
        and path.stat().st_size
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert [str(path.relative_to(ROOT)) for path in TRACKED if path.stem in drawers] == []


def test_dependencies_name_no_place_to_fetch_them_from() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [metadata["project"]["dependencies"], *metadata["dependency-groups"].values()]
    assert [line for wanted in lists for line in wanted if "@" in line or "://" in line] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_script_says_what_it_does_before_it_does_anything(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0].startswith("#!")
    assert lines[1].startswith(("#", '"""'))
    assert script.stat().st_mode & 0o111, "a script can be run as it is"
    asked = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 0, asked.stderr
    assert script.name in asked.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_script_refuses_an_option_it_does_not_know(script: Path) -> None:
    asked = subprocess.run([script, "--nonsense"], capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode not in (0, -6, -11)
    assert "--nonsense" in asked.stderr
    assert "Traceback" not in asked.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_shipped_definitions(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("autotune_board-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for kind in ("search_spaces", "studies"):
        shipped = {path.name for path in TRACKED if path.parent == ROOT / kind}
        assert shipped, f"nothing in {kind}/ to ship"
        assert {f"autotune/shipped/{kind}/{name}" for name in shipped} <= held
    modules = {str(path.relative_to(ROOT)) for path in TRACKED if path.is_relative_to(ROOT / "autotune")}
    assert modules <= held
    assert "autotune/py.typed" in held
