"""run, resume and stop, with a night that is played from a log instead of held on a board."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from front_door import Autotune, front_door, only_json

from autotune.cli.detached import start_detached
from autotune.errors import AutotuneError, Interrupted
from autotune.experiment.study import Study
from autotune.runner.nights import NightResult
from autotune.runner.notices import Said, Watcher
from autotune.runner.sittings import boot_id, process_start
from autotune.storage.store import Store
from night_example import a_night, a_store, a_study

Outcome = Literal["complete", "already complete", "stopped", "refused", "systemic failure"]


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with the study "invented", whose night has not begun."""
    return a_store(tmp_path / "db" / "a.db", a_study(), [])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome, str], list[dict[str, object]]]:
    """Puts a night that stores made-up events in the place of the real one; gives what it was called with."""

    def put(outcome: Outcome, reason: str = "") -> list[dict[str, object]]:
        calls: list[dict[str, object]] = []

        def play(study: Study, store: Store, *, watcher: Watcher, **options: object) -> NightResult:
            calls.append(options)
            watcher(Said(level="info", text="played by a test"))
            for event in a_night(study):
                store.append(study.name, event)
            return NightResult(study=study.name, outcome=outcome, reason=reason, restored=("/proc/x",))

        monkeypatch.setattr("autotune.runner.night.run_night", play)
        return calls

    return put


def test_run_ends_with_the_comparison_and_keeps_a_log_beside_the_database(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str, tmp_path: Path
) -> None:
    played("complete")
    result = autotune("resume", "invented", "--storage", url)
    assert result.exit_code == 0
    assert "faster than stock" in result.stdout.splitlines()[0]
    assert "played by a test" in result.stderr
    log = tmp_path / "db" / "invented.log"
    assert str(log) in result.stderr
    assert "played by a test" in log.read_text()


def test_run_takes_a_shipped_study_by_name_and_remembers_it(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def nothing(study: Study, _store: Store, **_options: object) -> NightResult:
        seen.append(study.name)
        return NightResult(study=study.name, outcome="stopped", reason="by a test")

    monkeypatch.setattr("autotune.runner.night.run_night", nothing)
    result = autotune("run", "quickstart")
    assert result.exit_code == 0
    assert seen == ["quickstart"]
    assert "autotune resume quickstart" in result.stderr
    with Store.open(f"sqlite:///{tmp_path}/state/autotune/autotune.db", create=False) as store:
        assert store.names() == ("quickstart",)


def test_run_in_json_has_the_outcome_and_the_comparison(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str
) -> None:
    played("complete")
    document = only_json(autotune("resume", "invented", "--json", "--storage", url))
    assert document["outcome"] == "complete"
    assert document["restored"] == ["/proc/x"]
    assert document["comparison"]["automatic"]["n"] == 12


def test_what_limits_the_night_reaches_it(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str
) -> None:
    calls = played("complete")
    autotune("resume", "invented", "--hours", "2", "--trials", "5", "--new-night", "--storage", url)
    assert calls[0]["trials"] == 5
    assert calls[0]["new_night"] is True
    assert calls[0]["deadline_s"] == pytest.approx(time.time() + 7200, abs=60)


def test_what_a_night_is_for_is_the_commands_to_say(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str
) -> None:
    calls = played("stopped")
    storage = ("--storage", url)
    assert autotune("run", "quickstart", "--trials", "3", *storage).exit_code == 0
    assert (
        autotune("baseline", "mixed", "--rounds", "9", "--attribution", "6", "--json", *storage).exit_code
        == 0
    )
    assert autotune("resume", "invented", *storage).exit_code == 0
    told = [(call["purpose"], call["trials"], call["rounds"], call["attribution"]) for call in calls]
    assert told == [("tune", 3, None, None), ("baseline", None, 9, 6), (None, None, None, None)]


@pytest.mark.parametrize("outcome", ["refused", "systemic failure"])
def test_a_night_that_could_not_be_held_ends_with_5_and_the_next_command(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str, outcome: Outcome
) -> None:
    played(outcome, "too noisy")
    result = autotune("resume", "invented", "--storage", url)
    assert result.exit_code == 5
    assert "too noisy" in result.stderr
    assert "autotune show invented" in result.stderr


def test_a_night_ended_by_a_signal_has_its_exit_code(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    def interrupted(*_words: object, **_options: object) -> NightResult:
        raise Interrupted("stopped by SIGTERM", signal_number=15, hint="the same command again goes on")

    monkeypatch.setattr("autotune.runner.night.run_night", interrupted)
    result = autotune("resume", "invented", "--storage", url)
    assert result.exit_code == 143
    assert "stopped by SIGTERM; the board is restored\n" in result.stderr
    assert "the same command again goes on" in result.stderr


def test_both_limits_of_time_are_refused_before_anything_begins(
    autotune: Autotune, played: Callable[..., list[dict[str, object]]], url: str
) -> None:
    calls = played("complete")
    result = autotune("resume", "invented", "--until", "07:00", "--hours", "3", "--storage", url)
    assert (result.exit_code, calls) == (2, [])


def test_a_study_file_that_changed_is_refused(autotune: Autotune, tmp_path: Path) -> None:
    autotune("init", str(tmp_path / "mine"))
    file = tmp_path / "mine" / "quickstart.toml"
    url = f"sqlite:///{tmp_path}/c.db"
    with Store.open(url) as store:
        from autotune.definitions.study_file import read_study

        store.enter(read_study(file))
    file.write_text(file.read_text().replace("connections = 32", "connections = 48"))
    result = autotune("run", str(file), "--storage", url)
    assert result.exit_code == 3
    assert "connections" in result.stderr


def test_stop_says_when_nothing_runs(autotune: Autotune, url: str) -> None:
    result = autotune("stop", "invented", "--storage", url)
    assert result.exit_code == 0
    assert "Nothing is running" in result.stdout
    assert only_json(autotune("stop", "invented", "--json", "--storage", url)) == {
        "synthetic": False,
        "study": "invented",
        "was_running": False,
        "running": False,
    }


def test_stop_waits_for_the_night_to_leave(autotune: Autotune, url: str) -> None:
    with Store.open(url) as store:
        sit(store)

        def leave() -> None:
            while not store.stop_requested("invented"):
                time.sleep(0.02)
            store.leave("invented")

        thread = threading.Thread(target=leave)
        thread.start()
        result = autotune("stop", "invented", "--storage", url)
        thread.join()
    assert "has ended" in result.stdout


def test_stop_that_waits_no_longer_says_that_it_was_asked(autotune: Autotune, url: str) -> None:
    with Store.open(url) as store:
        sit(store)
        result = autotune("stop", "invented", "--wait", "0", "--storage", url)
        assert store.stop_requested("invented")
    assert "has been asked to stop" in result.stdout


def test_detach_refuses_while_the_study_is_running(autotune: Autotune, url: str) -> None:
    with Store.open(url) as store:
        sit(store)
        result = autotune("resume", "invented", "--detach", "--storage", url)
    assert result.exit_code == 4
    assert str(os.getpid()) in result.stderr


def test_a_detached_night_that_fails_at_once_is_told_here(autotune: Autotune, tmp_path: Path) -> None:
    url = a_store(tmp_path / "far.db", a_study(board="nowhere"), [])
    result = autotune("resume", "invented", "--detach", "--storage", url)
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert str(tmp_path / "invented.log") in result.stderr


def test_a_detached_command_is_in_a_session_of_its_own_and_writes_to_the_log(tmp_path: Path) -> None:
    url = a_store(tmp_path / "a.db", a_study(), [])
    log = tmp_path / "deep" / "a.log"
    pid = start_detached(["list"], log, storage=url)
    assert pid != os.getpid()
    assert "invented" in log.read_text()


def test_a_detached_command_keeps_the_exit_code_of_its_failure(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("an older night\n")
    with pytest.raises(AutotuneError) as failed:
        start_detached(["show", "nobody"], log, storage=a_store(tmp_path / "a.db", a_study(), []))
    assert failed.value.exit_code == 8
    assert "nobody" in failed.value.message
    assert "an older night" not in failed.value.message


def sit(store: Store) -> None:
    """This very process runs the study, as far as anyone can tell."""
    store.sit(
        "invented",
        pid=os.getpid(),
        host=socket.gethostname(),
        boot_id=boot_id(),
        started_at=process_start(os.getpid()),
    )
