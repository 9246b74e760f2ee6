"""A short night on a synthetic board through the command line: killed, resumed, told and written out, with no board anywhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from synthetic_study import synthetic_study_file

Autotune = Callable[..., Result]
_HALFWAY = 40
LABEL = "synthetic: every number was computed, not measured"


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    """One command line, with a state directory of its own and no program to be found: no nginx, no wrk."""
    from autotune.cli.app import app

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    return lambda *words: CliRunner().invoke(app, list(words), prog_name="autotune")


def document(told: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def _killed_halfway(study: Path, database: Path) -> None:
    """Runs the night as a process of its own and kills it once it has stored some of its samples."""
    with (study.parent / "said").open("w+") as said:
        night = subprocess.Popen(
            [sys.executable, "-m", "autotune", "run", str(study)],
            env=dict(os.environ),
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        while _events(database) < _HALFWAY and night.poll() is None:
            time.sleep(0.005)
        night.send_signal(signal.SIGKILL)
        assert night.wait(10) == -signal.SIGKILL
        said.seek(0)
        assert all(line.startswith("synthetic: ") for line in said)


def _events(database: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            return int(reader.execute("select count(*) from autotune_events").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def test_a_night_of_numbers_from_the_first_command_to_the_files(autotune: Autotune, tmp_path: Path) -> None:
    study = synthetic_study_file(tmp_path)
    _killed_halfway(study, tmp_path / "state" / "autotune" / "autotune.db")

    halfway = document(autotune("status", "numbers", "--json"))
    assert (halfway["synthetic"], halfway["outcome"], halfway["running"]) == (True, None, False)

    last = autotune("resume", "numbers", "--json")
    assert last.exit_code == 0, last.stderr
    night = document(last)
    assert (night["synthetic"], night["outcome"]) == (True, "complete")
    assert all(line.startswith("synthetic: ") for line in last.stderr.splitlines())

    compared = autotune("compare", "numbers").stdout
    assert compared.splitlines()[0] == LABEL
    assert "automatic / stock" in compared
    assert document(autotune("compare", "numbers", "--json")) == {"synthetic": True, **night["comparison"]}

    directory = tmp_path / "files"
    exported = autotune("export", "numbers", "--to", str(directory))
    assert exported.stdout.splitlines()[0] == LABEL
    assert (directory / "PROVENANCE.md").exists()
    assert not (directory / "install").exists()
    for file in (one for one in directory.rglob("*") if one.is_file()):
        assert LABEL in file.read_text().splitlines()[0]

    refused = autotune("apply", "numbers", "auto")
    assert refused.exit_code == 2
    assert "made of numbers" in refused.stderr


def test_it_goes_on_without_its_terminal(autotune: Autotune, tmp_path: Path) -> None:
    begun = document(autotune("run", str(synthetic_study_file(tmp_path)), "--detach", "--json"))
    assert begun["synthetic"]
    until = time.monotonic() + 60
    status = document(autotune("status", "numbers", "--json"))
    while (status["outcome"] is None or status["running"]) and time.monotonic() < until:
        time.sleep(0.1)
        status = document(autotune("status", "numbers", "--json"))
    assert status["outcome"] == "complete"
    lines = Path(begun["log"]).read_text().splitlines()
    told = list(itertools.takewhile(lambda line: line != LABEL, lines))  # then comes the comparison
    assert told
    assert all(" synthetic: " in line for line in told)
