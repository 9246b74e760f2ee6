"""What a night had to keep in its spool is in the database before anything of that study is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json

from autotune.storage.spool import Kept, Spool
from autotune.storage.store import Store
from night_example import a_night, a_store, a_study

STUDY = a_study()
NIGHT = a_night(STUDY)


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture
def url(autotune: Autotune, tmp_path: Path) -> str:
    """A database without the night's last two events, which are in the spool."""
    made = a_store(tmp_path / "a.db", STUDY, NIGHT[:-2])
    with Store.open(made) as store, Spool(store, STUDY.name) as spool:
        for seq in (len(NIGHT) - 1, len(NIGHT)):
            spool.keep(Kept(seq=seq, event=NIGHT[seq - 1], raw="wrk said"))
    return made


def log_in(url: str) -> object:
    with Store.open(url) as store:
        return store.log(STUDY.name)


@pytest.mark.parametrize("command", [("compare",), ("show",), ("status",), ("export", "--to")])
def test_it_is_stored_and_said_by_whatever_tells_of_the_study(
    autotune: Autotune, url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    rest = (str(tmp_path / "out"),) if "--to" in command else ()
    done = autotune(command[0], STUDY.name, *command[1:], *rest, "--storage", url)
    assert done.exit_code == 0, done.stderr
    assert "stored 2 events that" in done.stderr
    assert log_in(url) == NIGHT
    again = autotune(
        command[0], STUDY.name, "--storage", url, *(("--to", str(tmp_path / "b")) if rest else ())
    )
    assert "stored" not in again.stderr


def test_json_stays_json(autotune: Autotune, url: str) -> None:
    assert only_json(autotune("status", STUDY.name, "--json", "--storage", url))["outcome"] == "complete"


def test_run_stores_it_first(autotune: Autotune, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = autotune("resume", STUDY.name, "--storage", url)
    assert done.exit_code == 0, done.stderr
    assert "stored 2 events that" in done.stderr
    assert "already complete" in done.stderr
    assert log_in(url) == NIGHT


def test_a_night_that_runs_sees_to_its_own(autotune: Autotune, url: str) -> None:
    with Store.open(url) as store, Spool(store, STUDY.name) as held:
        held.prepare()
        done = autotune("status", STUDY.name, "--storage", url)
        assert done.exit_code == 0
        assert "stored" not in done.stderr
    assert log_in(url) == NIGHT[:-2]


def test_what_cannot_be_stored_now_is_said_and_the_rest_is_told(
    autotune: Autotune, url: str, tmp_path: Path
) -> None:
    with Store.open(url) as store:
        path = Spool(store, STUDY.name).path
    path.write_bytes(b"not a line of ours\n" + path.read_bytes())
    done = autotune("status", STUDY.name, "--storage", url)
    assert done.exit_code == 0
    assert "line 1 of the spool" in done.stderr
