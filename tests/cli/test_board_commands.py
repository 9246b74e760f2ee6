"""apply and doctor --report at the front door: what they say, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json
from paper_board import FACTS

from autotune.board.installing import Checked
from autotune.errors import BoardBusy
from autotune.experiment.study import Study
from autotune.runner.applying import Chosen, Kept
from autotune.runner.doctor import Examination
from night_example import a_night, a_store, a_study


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    study = a_study()
    return a_store(tmp_path_factory.mktemp("finished") / "a.db", study, a_night(study))


def _puts(study: Study, chosen: Chosen) -> Kept:
    del study
    return Kept(
        chosen=chosen,
        effective=chosen.configuration.against(chosen.night.stock),
        urls=("http://127.0.0.5:8088/1k",),
        doubts=(),
    )


def test_apply_says_what_is_in_place_and_how_to_undo_it(
    autotune: Autotune, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotune.runner.applying.apply", _puts)
    told = autotune("apply", "invented", "hand", "--storage", finished)
    assert told.exit_code == 0
    assert "The hand-tuned configuration of invented is in place." in told.stdout
    assert "undo: autotune restore" in told.stdout
    assert "http://127.0.0.5:8088/1k" in told.stdout
    document = only_json(autotune("apply", "invented", "auto", "--json", "--storage", finished))
    assert (document["arm"], document["kept"], document["undo"]) == ("automatic", True, "autotune restore")
    assert document["changes"]


@pytest.mark.parametrize(("which", "hint"), [("stock", "autotune restore"), ("nothing", "auto, hand")])
def test_apply_refuses_what_is_no_configuration(
    autotune: Autotune, finished: str, which: str, hint: str
) -> None:
    told = autotune("apply", "invented", which, "--storage", finished)
    assert told.exit_code == 2
    assert hint in told.stderr


def test_apply_leaves_with_4_while_something_is_kept(
    autotune: Autotune, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(study: Study, chosen: Chosen) -> Kept:
        raise BoardBusy("the board is not as it was: kept", hint="autotune restore")

    monkeypatch.setattr("autotune.runner.applying.apply", busy)
    told = autotune("apply", "invented", "auto", "--storage", finished)
    assert told.exit_code == 4
    assert "autotune restore" in told.stderr


def test_a_report_is_asked_for_a_new_file_before_anything_is_measured(
    autotune: Autotune, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("mine")
    told = autotune("doctor", "quickstart", "--report", str(tmp_path / "a.md"))
    assert told.exit_code == 2
    assert "nothing was measured" in told.stderr
    assert (tmp_path / "a.md").read_text() == "mine"


def test_a_look_at_an_address_leads_to_a_study_that_names_it(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "autotune.runner.doctor.examine", lambda _study: Examination(board=(), parameters=(), needs=())
    )
    told = autotune("doctor", "ssh://root@rock5b")
    assert told.exit_code == 0, told.stderr
    assert "autotune init studies" in told.stdout
    assert 'board = "ssh://root@rock5b"' in told.stdout
    assert "autotune plan ssh" not in told.stdout


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_address_where_a_study_is_wanted_is_called_a_board(autotune: Autotune, command: str) -> None:
    told = autotune(command, "ssh://root@rock5b")
    assert told.exit_code == 2
    assert "ssh://root@rock5b is a board" in told.stderr
    assert "autotune init DIR" in told.stderr


def test_a_check_names_the_next_command_as_one(autotune: Autotune, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Checked(
        facts=replace(FACTS, uid=1000), installed=False, why_not_root="sudo: a password is required"
    )
    root = Checked(facts=FACTS, installed=False)
    monkeypatch.setattr(
        "autotune.board.installing.check", lambda board: alone if board.user == "me" else root
    )
    told = autotune("board", "check", "ssh://me@rock5b").stdout
    assert "as the user alone (sudo: a password is required)" in told
    assert told.splitlines()[-1] == "Next: autotune board install ssh://me@rock5b"
    assert "Next" not in autotune("board", "check", "ssh://root@rock5b").stdout
