"""Every command on a synthetic study says that it is one; what needs a machine refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json

from autotune.cli.progress import watching
from autotune.experiment.events import Gap
from autotune.experiment.synthetic_boards import LABEL
from autotune.runner.notices import Said
from night_example import a_night, a_store, a_study
from synthetic_study import synthetic_study_file

SHOWN = ("status invented", "compare invented", "show invented", "show invented 1", "stop invented")


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a synthetic study and a measured one."""
    study = a_study(board="synthetic:rock5b")
    folder = tmp_path_factory.mktemp("far")
    a_store(folder / "far.db", study, a_night(study))
    measured = a_study("measured")
    return a_store(folder / "far.db", measured, a_night(measured, until=9))


@pytest.mark.parametrize("words", SHOWN)
def test_a_page_of_it_says_so_first_and_a_document_in_a_key(autotune: Autotune, url: str, words: str) -> None:
    page = autotune(*words.split(), "--storage", url)
    assert page.exit_code == 0, page.stderr
    assert page.stdout.splitlines()[0] == LABEL
    assert only_json(autotune(*words.split(), "--json", "--storage", url))["synthetic"] is True


@pytest.mark.parametrize("words", SHOWN)
def test_what_was_measured_says_nothing_of_it(autotune: Autotune, url: str, words: str) -> None:
    words = words.replace("invented", "measured")
    if words.startswith("show measured 1"):
        return
    page = autotune(*words.split(), "--storage", url)
    assert "synthetic" not in page.stdout.splitlines()[0]
    assert only_json(autotune(*words.split(), "--json", "--storage", url))["synthetic"] is False


def test_a_list_tells_one_from_the_other(autotune: Autotune, url: str) -> None:
    listed = autotune("list", "--storage", url).stdout
    assert "invented (synthetic)" in listed
    assert "measured (" not in listed
    found = only_json(autotune("list", "--json", "--storage", url))["studies"]
    assert {one["study"]: one["synthetic"] for one in found} == {"invented": True, "measured": False}


def test_the_latest_study_is_told_by_the_worlds_time_not_by_a_synthetic_boards(
    autotune: Autotune, tmp_path: Path
) -> None:
    numbers, measured = a_study(board="synthetic:rock5b"), a_study("measured")
    a_store(tmp_path / "two.db", numbers, [*a_night(numbers, until=1), _gap("2999-01-01T00:00:00+00:00")])
    now = datetime.now(UTC).isoformat()
    url = a_store(tmp_path / "two.db", measured, [*a_night(measured, until=1), _gap(now)])
    assert only_json(autotune("status", "--json", "--storage", url))["study"] == "measured"


def _gap(at: str) -> Gap:
    return Gap(night=1, at=at, seconds=1, reason="a test")


def test_its_plan_and_its_doctor_say_so_and_need_nothing_of_this_machine(
    autotune: Autotune, tmp_path: Path
) -> None:
    study = str(synthetic_study_file(tmp_path))
    for command in ("plan", "doctor"):
        assert autotune(command, study).stdout.splitlines()[0] == LABEL
    examined = only_json(autotune("doctor", study, "--json"))
    assert (examined["synthetic"], examined["ready"]) == (True, True)
    offered = [one for one in examined["parameters"] if one["available"]]
    assert offered
    assert all(one["reason"] for one in examined["parameters"] if not one["available"])
    assert only_json(autotune("plan", study, "--until", "07:00", "--json"))["synthetic"]


@pytest.mark.parametrize(
    "words",
    [
        "apply invented hand",
        "restore synthetic:rock5b",
        "doctor STUDY --report baseline.md",
        "build list --study STUDY",
    ],
)
def test_what_needs_a_machine_says_that_there_is_none(
    autotune: Autotune, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", url)
    monkeypatch.chdir(tmp_path)
    study = str(synthetic_study_file(tmp_path))
    refused = autotune(*(study if word == "STUDY" else word for word in words.split()))
    assert refused.exit_code == 2
    assert "synthetic:rock5b is made of numbers" in refused.stderr


def test_every_line_of_a_night_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "s.log"
    with watching(log, "lines", "synthetic:null") as watch:
        watch(Said(level="warning", text="one\ntwo"))
    assert capsys.readouterr().err.splitlines() == ["synthetic: warning: one", "synthetic: warning: two"]
    assert all(" synthetic: warning: " in line for line in log.read_text().splitlines())
