"""Every page about every odd study: truthful, and no error where there is only little to tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from front_door import Autotune, front_door

from odd_studies import EACH_ODD_STUDY, OddStudy, odd_store

_PAGES = ("compare", "show", "status")


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd_store(tmp_path_factory.mktemp("odd"))


@EACH_ODD_STUDY
@pytest.mark.parametrize("command", _PAGES)
def test_each_page_is_there_in_both_forms(
    odd: OddStudy, command: str, autotune: Autotune, stored: str
) -> None:
    result = autotune(command, odd.name, "--storage", stored)
    assert (result.exit_code, result.stderr) == (0, "")
    assert odd.name in result.stdout
    assert "nan" not in result.stdout.split()
    told = autotune(command, odd.name, "--json", "--storage", stored)
    document = json.loads(told.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert (told.exit_code, document["study"]) == (0, odd.name)
