"""autotune service: what it writes, and what it refuses to write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json

from autotune.cli import service
from autotune.storage.store import Store
from synthetic_study import synthetic_study_file


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture
def study(tmp_path: Path) -> str:
    return str(synthetic_study_file(tmp_path))


def test_it_writes_the_three_files_and_says_what_to_type_next(
    autotune: Autotune, tmp_path: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNE_SSH_CONFIG", "/home/me/ssh config")
    monkeypatch.chdir(tmp_path)
    to = tmp_path / "units"
    done = autotune(
        "service", "install", "numbers.toml", "--at", "21:30", "--until", "06:15", "--to", str(to)
    )
    assert done.exit_code == 0, done.stderr
    unit = (to / "autotune-numbers.service").read_text()
    assert f"run {study} --between 21:30-06:15\n" in unit
    assert f"WorkingDirectory={tmp_path}\n" in unit
    assert "OnCalendar=*-*-* 21:30:00\n" in (to / "autotune-numbers.timer").read_text()
    environment = (to / "numbers.env").read_text()
    assert 'AUTOTUNE_SSH_CONFIG="/home/me/ssh config"\n' in environment
    assert f'AUTOTUNE_STORAGE="sqlite:///{tmp_path}/state/autotune/autotune.db"\n' in environment
    said = done.stdout
    # systemd starts no timer whose unit it does not know
    assert (
        0
        < said.index(f"enable {to}/autotune-numbers.service")
        < said.index(f"enable --now {to}/autotune-numbers.timer")
    )
    assert all(str(file) in done.stdout for file in to.iterdir())


def test_what_may_hold_a_password_is_its_owners_alone(autotune: Autotune, tmp_path: Path, study: str) -> None:
    words = ("--storage", f"sqlite:///{tmp_path}/b.db", "--summary-command", "curl -d @- https://x/token")
    for _ in range(2):
        assert autotune("service", "install", study, "--to", str(tmp_path), *words).exit_code == 0
    file = tmp_path / "numbers.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert 'AUTOTUNE_SUMMARY_COMMAND="curl -d @- https://x/token"' in file.read_text()
    assert "token" not in (tmp_path / "autotune-numbers.service").read_text()


def test_in_json_it_says_where_they_are(autotune: Autotune, tmp_path: Path, study: str) -> None:
    told = only_json(autotune("service", "install", study, "--to", str(tmp_path), "--json"))
    assert (told["begins"], told["ends"], told["synthetic"]) == ("22:00", "07:00", True)
    assert Path(told["unit"]).exists()
    assert Path(told["timer"]).exists()


def test_a_mistake_in_the_study_is_told_now_and_not_at_ten(
    autotune: Autotune, tmp_path: Path, study: str
) -> None:
    Path(study).write_text(Path(study).read_text() + "\nnonsense = 3\n")
    assert autotune("service", "install", study, "--to", str(tmp_path / "u")).exit_code == 3
    assert not (tmp_path / "u").exists()


def test_so_is_a_study_that_is_another_one_in_the_database(
    autotune: Autotune, tmp_path: Path, study: str
) -> None:
    storage = ("--storage", f"sqlite:///{tmp_path}/b.db")
    assert autotune("service", "install", study, "--to", str(tmp_path / "u"), *storage).exit_code == 0
    Path(study).write_text(Path(study).read_text().replace("connections = 100", "connections = 200"))
    refused = autotune("service", "install", study, "--to", str(tmp_path / "u"), *storage)
    assert refused.exit_code == 3
    assert "connections" in refused.stderr
    with Store.open(storage[1], create=False) as store:
        assert store.names() == ("numbers",)


@pytest.mark.parametrize("words", ["--at 25:00", "--at 7", "--until 22:00", "--at 07:00-08:00"])
def test_hours_that_are_none_are_refused(autotune: Autotune, tmp_path: Path, study: str, words: str) -> None:
    refused = autotune("service", "install", study, "--to", str(tmp_path / "u"), *words.split())
    assert refused.exit_code == 2
    assert "22:00-07:00" in refused.stderr


def test_a_file_that_is_not_ours_is_never_written_over(
    autotune: Autotune, tmp_path: Path, study: str
) -> None:
    theirs = tmp_path / "autotune-numbers.timer"
    theirs.write_text("[Timer]\n")
    refused = autotune("service", "install", study, "--to", str(tmp_path))
    assert refused.exit_code == 2
    assert str(theirs) in refused.stderr
    assert theirs.read_text() == "[Timer]\n"
    assert not (tmp_path / "autotune-numbers.service").exists(), "all or nothing"


def test_a_name_that_no_unit_can_carry_is_refused(autotune: Autotune, tmp_path: Path, study: str) -> None:
    odd = tmp_path / "two\nlines"
    odd.mkdir()
    refused = autotune("service", "install", study, "--to", str(odd))
    assert refused.exit_code == 2
    assert "control character" in refused.stderr
    assert list(odd.iterdir()) == []


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "a\\", "a "])
def test_so_is_a_place_that_systemd_would_read_otherwise(
    autotune: Autotune, tmp_path: Path, study: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here = tmp_path / name
    here.mkdir()
    monkeypatch.chdir(here)
    refused = autotune("service", "install", study, "--to", ".")
    assert refused.exit_code == 2
    assert "can't stand in a unit" in refused.stderr
    assert list(here.iterdir()) == []


def test_a_summary_s_command_that_can_not_be_read_is_refused_now_and_not_at_seven(
    autotune: Autotune, tmp_path: Path, study: str
) -> None:
    words = ("--to", str(tmp_path / "u"), "--summary-command", "mail -s 'open")
    assert autotune("service", "install", study, *words).exit_code == 2
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize("command", [("service", "remove", "numbers"), ("status",)])
def test_a_user_without_a_home_is_told_so(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1 << 30)
    monkeypatch.setattr(os, "getuid", lambda: 1 << 30)
    refused = autotune(*command)
    assert refused.exit_code == 8
    assert "has no home directory" in refused.stderr
    assert "HOME=" in refused.stderr


def test_without_systemd_it_says_what_does_the_same(
    autotune: Autotune, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_BOOTED", tmp_path / "nowhere")
    refused = autotune("service", "install", study)
    assert refused.exit_code == 2
    assert "--detach" in refused.stderr
    assert "--to DIR" in refused.stderr


def test_what_was_never_installed_can_not_be_removed(
    autotune: Autotune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = autotune("service", "remove", "numbers")
    assert refused.exit_code == 2
    assert str(tmp_path / "systemd/user/autotune-numbers.service") in refused.stderr
