"""The morning summary: after every night however it ended, as a file, on stdout, and to the user's own command."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from front_door import Autotune, front_door, only_json

from autotune.cli import morning
from autotune.definitions.study_file import read_study
from autotune.errors import BoardBusy, BoardLeftChanged, BoardUnfit, BoardUnreachable, Interrupted
from autotune.experiment.events import NightEnded
from autotune.experiment.study import Study
from autotune.runner.nights import NightResult
from autotune.runner.notices import Watcher
from autotune.runner.sittings import boot_id, process_start
from autotune.storage.store import Store
from night_example import a_night, a_store, a_study
from synthetic_study import synthetic_study_file

Outcome: TypeAlias = Literal["complete", "already complete", "stopped", "refused", "systemic failure"]
Play: TypeAlias = Callable[..., None]


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with the study "invented", whose night has not begun."""
    return a_store(tmp_path / "a.db", a_study(), [])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Puts a night in the place of the real one that stores so many events of an invented one, and ends so."""

    def put(ends: Outcome | Exception, events: int | None = None) -> None:
        def play(study: Study, store: Store, *, watcher: Watcher, **_options: object) -> NightResult:
            if not store.log(study.name):
                for event in a_night(study)[:events]:
                    store.append(study.name, event)
            if isinstance(ends, Exception):
                raise ends
            if ends in ("refused", "systemic failure"):
                at = store.log(study.name)[-1].at
                store.append(study.name, NightEnded(night=1, at=at, outcome="refused", reason="too noisy"))
            return NightResult(study=study.name, outcome=ends, reason="a test")

        monkeypatch.setattr("autotune.runner.night.run_night", play)

    return put


@pytest.fixture
def command(tmp_path: Path) -> str:
    """One that keeps what it is handed: `mail`, and its environment."""
    script = tmp_path / "hook"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / 'mail').open('a').write(sys.stdin.read())\n"
        "(here / 'facts').write_text(chr(10).join(f'{a}={b}' for a, b in sorted(os.environ.items())))\n"
        "(here / 'calls').open('a').write(' '.join(sys.argv[1:]) + chr(10))\n"
    )
    script.chmod(0o755)
    return f"{shlex.quote(str(script))} -s 'last night'"


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []


def test_a_complete_night_is_told_answer_first_and_what_was_lost_after_it(
    autotune: Autotune, played: Play, url: str, tmp_path: Path
) -> None:
    played("complete")
    done = autotune("resume", "invented", "--storage", url)
    file = tmp_path / "invented.night-1.md"
    assert " ".join(done.stdout.split()).endswith(
        f"This summary is in {file}"
    )  # a long path has a line of its own
    lines = [line for line in file.read_text().splitlines() if line]
    assert lines[0] == "# invented, night 1"
    assert lines[1].startswith("**automatic is ")
    assert "How it ended: complete: a test" in lines[:6]
    assert "The board is as it was." in lines[:6]
    for title in ("Reasons for doubt", "Not counted", "Left out on this board", "Night 1", "Next"):
        assert any(line.startswith(f"## {title}") for line in lines)
    assert sum(line.startswith("| 1 | trial 5 | nginx") for line in lines) == 1
    assert done.stdout.splitlines()[0] == lines[1].strip("*")
    assert "The board is as it was." in done.stdout


def test_it_can_be_read_again(autotune: Autotune, played: Play, url: str, tmp_path: Path) -> None:
    words = ("summary", "invented", "--storage", url)
    assert autotune(*words).exit_code == 2
    played("complete")
    autotune("resume", "invented", "--storage", url)
    text = (tmp_path / "invented.night-1.md").read_text()
    assert autotune(*words).stdout == text
    assert only_json(autotune(*words, "--json"))["markdown"] == text
    assert "no night 7" in autotune(*words, "--night", "7").stderr
    unknown = autotune("summary", "nosuch", "--storage", url)
    assert unknown.exit_code == 8
    assert "there are: invented" in unknown.stderr


def test_one_that_the_deadline_cut_says_so_and_how_to_go_on(
    autotune: Autotune, played: Play, url: str, tmp_path: Path
) -> None:
    played("stopped", 20)
    done = autotune("resume", "invented", "--json", "--storage", url)
    assert only_json(done)["summary"] == str(tmp_path / "invented.night-1.md")
    text = (tmp_path / "invented.night-1.md").read_text()
    assert "**Night 1 of invented has no answer: it ended before its finals.**" in text
    assert "How it ended: stopped: a test" in text
    assert "- autotune resume invented" in text


@pytest.mark.parametrize(
    ("problem", "says", "exit_code"),
    [
        (BoardUnfit("no nginx here", hint="apt-get install nginx"), "The board is as it was.", 5),
        (BoardUnreachable("no line"), "Nothing proves from here", 4),
        (BoardLeftChanged("vm.swappiness was 60, is 1"), "THE BOARD IS NOT AS IT WAS", 6),
        (Interrupted("stopped by SIGTERM", signal_number=15), "The board is as it was.", 143),
        (
            Interrupted("stopped", signal_number=15, away="it is out of reach"),
            "Nothing proves from here",
            143,
        ),
        (ZeroDivisionError("division by zero"), "The board is as it was.", 1),
    ],
)
@pytest.mark.parametrize("events", [0, 20])
def test_one_that_an_error_ended_is_told_too(
    autotune: Autotune,
    played: Play,
    url: str,
    tmp_path: Path,
    command: str,
    problem: Exception,
    says: str,
    exit_code: int,
    events: int,
) -> None:
    played(problem, events)
    done = autotune("resume", "invented", "--storage", url, "--summary-command", command)
    assert done.exit_code == exit_code
    text = (tmp_path / "mail").read_text()
    assert text == (tmp_path / "invented.night-1.md").read_text()
    assert says in text
    assert str(problem) in text
    assert ("did not begin" if events == 0 else "has no answer") in text
    assert (done.stdout == "") == (events == 0)
    facts = (tmp_path / "facts").read_text().splitlines()
    assert f"AUTOTUNE_EXIT_CODE={exit_code}" in facts


def test_the_command_gets_the_summary_and_the_facts(
    autotune: Autotune,
    played: Play,
    url: str,
    tmp_path: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played("complete")
    monkeypatch.setenv("AUTOTUNE_SUMMARY_COMMAND", command)
    assert autotune("resume", "invented", "--storage", url).exit_code == 0
    assert calls(tmp_path) == ["-s last night"]
    assert (tmp_path / "mail").read_text() == (tmp_path / "invented.night-1.md").read_text()
    facts = (tmp_path / "facts").read_text()
    assert "AUTOTUNE_STUDY=invented\n" in facts
    assert "AUTOTUNE_OUTCOME=complete\n" in facts
    assert "AUTOTUNE_NIGHT=1\n" in facts
    assert "AUTOTUNE_ANSWER=automatic is " in facts
    assert f"AUTOTUNE_SUMMARY={tmp_path}/invented.night-1.md" in facts


def test_the_same_failure_every_minute_is_handed_over_once(
    autotune: Autotune, played: Play, url: str, tmp_path: Path, command: str
) -> None:
    words = ("resume", "invented", "--storage", url, "--summary-command", command)
    played(BoardUnreachable("no line"), 20)
    for _ in range(3):
        assert autotune(*words).exit_code == 4
    assert len(calls(tmp_path)) == 1
    played("stopped")
    assert autotune(*words).exit_code == 0
    assert len(calls(tmp_path)) == 2


def test_a_night_that_another_process_holds_is_not_told_by_who_came_too_late(
    autotune: Autotune, played: Play, url: str, tmp_path: Path, command: str
) -> None:
    played(BoardBusy("study invented is already running"), 20)
    words = ("resume", "invented", "--storage", url, "--summary-command", command)
    with subprocess.Popen(["sleep", "100"]) as other:
        with Store.open(url) as store:
            store.sit(
                "invented",
                pid=other.pid,
                host=socket.gethostname(),
                boot_id=boot_id(),
                started_at=process_start(other.pid),
            )
        late = autotune(*words)
        other.kill()
    assert (late.exit_code, late.stdout, calls(tmp_path)) == (4, "", [])
    assert "is already running" in late.stderr
    assert not (tmp_path / "invented.night-1.md").exists()
    assert autotune(*words).exit_code == 4
    assert len(calls(tmp_path)) == 1


def test_a_study_that_was_complete_already_is_not_told_again(
    autotune: Autotune, played: Play, url: str, tmp_path: Path, command: str
) -> None:
    played("already complete")
    assert autotune("resume", "invented", "--storage", url, "--summary-command", command).exit_code == 0
    assert calls(tmp_path) == []


@pytest.mark.parametrize(
    ("command_line", "said"),
    [
        ("/nonexistent/mailer", "/nonexistent/mailer can't be run: No such file or directory"),
        ("sh -c 'echo no mail server >&2; exit 3'", "sh failed with exit code 3: no mail server"),
        ("sh -c 'sleep 100 & exec sleep 100'", "sh was ended after 0 s"),
        ("sh -c 'while echo again >&2; do :; done'", "sh was ended after 0 s"),
    ],
)
def test_a_command_that_fails_or_hangs_is_told_and_changes_nothing(
    autotune: Autotune,
    played: Play,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    command_line: str,
    said: str,
) -> None:
    monkeypatch.setattr(morning, "COMMAND_WITHIN_S", 0.3)
    played("complete")
    began = time.monotonic()
    done = autotune("resume", "invented", "--storage", url, "--summary-command", command_line)
    assert done.exit_code == 0
    assert time.monotonic() - began < 30
    assert f"the summary's command {said}" in done.stderr


def test_of_a_command_that_says_much_the_end_is_told(autotune: Autotune, played: Play, url: str) -> None:
    played("complete")
    much = "sh -c 'yes x | head -c 3000000 | tr -d [:space:] >&2; echo the end >&2; exit 3'"
    done = autotune("resume", "invented", "--storage", url, "--summary-command", much)
    assert "xthe end" in done.stderr
    assert len(done.stderr) < 10_000


def test_what_a_command_leaves_running_is_not_waited_for(
    autotune: Autotune, played: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(morning, "COMMAND_WITHIN_S", 30.0)
    played("complete")
    began = time.monotonic()
    done = autotune("resume", "invented", "--storage", url, "--summary-command", "sh -c 'sleep 40 & exit 0'")
    assert (done.exit_code, "the summary's command" in done.stderr) == (0, False)
    assert time.monotonic() - began < 25


def test_a_command_that_reads_nothing_is_fine(autotune: Autotune, played: Play, url: str) -> None:
    played("complete")
    done = autotune("resume", "invented", "--storage", url, "--summary-command", "true")
    assert (done.exit_code, "the summary's command" in done.stderr) == (0, False)


def test_a_command_line_that_can_not_be_read_is_refused_in_the_evening(
    autotune: Autotune, played: Play, url: str
) -> None:
    played("complete")
    refused = autotune("resume", "invented", "--storage", url, "--summary-command", "mail -s 'open")
    assert refused.exit_code == 2
    assert "mail -s 'open" in refused.stderr


def test_a_study_can_not_bring_a_command(autotune: Autotune, tmp_path: Path) -> None:
    file = tmp_path / "theirs.toml"
    autotune("init", str(tmp_path / "x"))
    shipped = (tmp_path / "x" / "synthetic.toml").read_text()
    file.write_text(shipped + '\n[summary]\ncommand = ["sh", "-c", "echo gotcha"]\n')
    assert autotune("run", str(file)).exit_code == 3


def test_a_study_that_became_another_one_is_told_too(
    autotune: Autotune, tmp_path: Path, command: str
) -> None:
    file = synthetic_study_file(tmp_path)
    storage = ("--storage", f"sqlite:///{tmp_path}/b.db")
    with Store.open(storage[1]) as store:
        store.enter(read_study(file))
    file.write_text(file.read_text().replace("connections = 100", "connections = 200"))
    assert autotune("run", str(file), *storage, "--summary-command", command).exit_code == 3
    assert "connections" in (tmp_path / "mail").read_text()
    assert "Night 1 of numbers did not begin" in (tmp_path / "mail").read_text()


def test_outside_its_hours_a_night_is_not_begun(
    autotune: Autotune, played: Play, url: str, tmp_path: Path, command: str
) -> None:
    played("complete")
    now = datetime.now().astimezone()
    away = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    done = autotune("resume", "invented", "--storage", url, "--between", away, "--summary-command", command)
    assert done.exit_code == 0
    assert f"between {away} only" in done.stderr
    assert calls(tmp_path) == []
    with Store.open(url) as store:
        assert store.log("invented") == []
    told = only_json(autotune("resume", "invented", "--storage", url, "--between", away, "--json"))
    assert told["outcome"] == "outside its hours"
    refused = autotune("resume", "invented", "--storage", url, "--between", away, "--hours", "3")
    assert refused.exit_code == 2


def test_within_its_hours_they_are_the_deadline(
    autotune: Autotune, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    seen: list[float] = []

    def play(study: Study, _store: Store, *, deadline_s: float, **_options: object) -> NightResult:
        seen.append(deadline_s)
        return NightResult(study=study.name, outcome="stopped", reason="the deadline")

    monkeypatch.setattr("autotune.runner.night.run_night", play)
    now = datetime.now().astimezone()
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    assert autotune("resume", "invented", "--storage", url, "--between", hours).exit_code == 0
    assert seen[0] == pytest.approx(time.time() + 7200, abs=90)
