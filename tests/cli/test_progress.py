"""What whoever watches a night gets to see, and what the log file keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autotune.cli.progress import progress_line, watching
from autotune.errors import BoardUnfit, StorageError
from autotune.runner.notices import Progress, Said

SEARCHING = Progress(
    study="s",
    stage="search",
    sample=12,
    samples=50,
    current=1.021,
    current_pm=0.034,
    best=1.084,
    best_pm=None,
    failures=2,
    time_left_s=260.0,
    last="trial 9",
)


def test_a_line_has_the_place_the_ratios_with_their_uncertainty_and_the_time_left() -> None:
    assert progress_line(SEARCHING) == (
        "search 12/50  now 1.021x ±0.034  best 1.084x  2 failed  4 min left  trial 9"
    )


def test_what_is_not_known_yet_is_left_out() -> None:
    begun = Progress(
        study="s",
        stage="calibration",
        sample=1,
        samples=24,
        current=None,
        current_pm=None,
        best=None,
        best_pm=None,
        failures=0,
        time_left_s=None,
        last="",
    )
    assert progress_line(begun) == "calibration 1/24"


def test_plain_lines_go_to_stderr_and_to_the_log_with_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "deep" / "s.log"
    with watching(log, "lines", "local") as watch:
        watch(Said(level="warning", text="one\ntwo \x1b[31m"))
        watch(SEARCHING)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["warning: one", "warning: two \\x1b[31m", progress_line(SEARCHING)]
    kept = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert kept == shown.err.splitlines()


def test_a_detached_night_only_writes_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watching(tmp_path / "s.log", "nothing", "local") as watch:
        watch(Said(level="info", text="hello"))
    assert capsys.readouterr() == ("", "")
    assert "hello" in (tmp_path / "s.log").read_text()


def test_the_panel_shows_sentences_and_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watching(tmp_path / "s.log", "panel", "local") as watch:
        watch(Said(level="error", text="something [bold]odd[/bold] happened"))
        watch(SEARCHING)
    shown = capsys.readouterr().out
    assert "something [bold]odd[/bold] happened" in shown
    assert "search 12/50" in (tmp_path / "s.log").read_text()


def test_the_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with watching(tmp_path / "s.log", "nothing", "local") as watch:
            watch(Said(level="info", text=text))
    assert len((tmp_path / "s.log").read_text().splitlines()) == 2


def test_what_ended_the_night_is_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(BoardUnfit), watching(tmp_path / "s.log", "lines", "local"):
        raise BoardUnfit("it rained into the rack")
    assert "error: it rained into the rack" in (tmp_path / "s.log").read_text()


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as refused, watching(tmp_path / "file" / "s.log", "lines", "local"):
        pass
    assert "--storage" in refused.value.hint


def test_neither_a_full_disk_nor_a_broken_pipe_under_a_watcher_reaches_the_night(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody, watching(Path("/dev/full"), "lines", "local") as watch:
        monkeypatch.setattr("sys.stderr", nobody)
        watch(Said(level="info", text="hello"))
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # what is still buffered has somewhere to go


def test_a_terminal_that_is_gone_does_not_hide_what_ended_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    terminal = os.fdopen(theirs, "w")
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def night() -> None:
        with watching(tmp_path / "s.log", "panel", "local") as watch:
            watch(SEARCHING)
            os.close(ours)
            watch(Said(level="info", text="hello"))
            raise BoardUnfit("it rained into the rack")

    with pytest.raises(BoardUnfit):
        night()
    monkeypatch.undo()
    os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)  # what is still buffered has somewhere to go
    terminal.close()
