"""status, list, compare, show and export over databases with nights made by night_example."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json

from autotune.cli.places import complete_study_file, complete_study_name
from night_example import BEST, REFUSED, a_night, a_store, a_study


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with one complete night of the study "invented"."""
    study = a_study()
    return a_store(tmp_path_factory.mktemp("finished") / "a.db", study, a_night(study))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database whose night "begun" has got into its search, with a deadline."""
    study = a_study("begun")
    log = a_night(study, until=25, deadline="2026-02-01T06:00:00+00:00")
    return a_store(tmp_path_factory.mktemp("half") / "b.db", study, log)


def test_status_without_a_name_is_the_latest_study_and_lists_all(autotune: Autotune, half: str) -> None:
    document = only_json(autotune("status", "--json", "--storage", half))
    assert document["study"] == "begun"
    assert document["stage"] == "search"
    assert document["samples"] > 12
    assert document["deadline"] == "2026-02-01T06:00:00+00:00"
    assert document["running"] is False
    assert [one["study"] for one in document["studies"]] == ["begun"]


def test_status_tells_how_to_go_on_with_an_interrupted_night(autotune: Autotune, half: str) -> None:
    assert "autotune resume begun" in autotune("status", "--storage", half).stdout


def test_status_of_a_complete_night_has_the_ratio_of_its_finals(autotune: Autotune, finished: str) -> None:
    document = only_json(autotune("status", "invented", "--json", "--storage", finished))
    assert document["outcome"] == "complete"
    assert document["best"] == pytest.approx(1.105, abs=0.02)
    assert "studies" not in document


def test_status_before_anything_was_run_says_what_to_run(autotune: Autotune) -> None:
    result = autotune("status")
    assert result.exit_code == 8
    assert "autotune run" in result.stderr


def test_list_names_every_study(autotune: Autotune, finished: str) -> None:
    assert "invented" in autotune("list", "--storage", finished).stdout
    assert [
        one["study"] for one in only_json(autotune("list", "--json", "--storage", finished))["studies"]
    ] == ["invented"]


def test_list_and_compare_tell_how_often_stock_looked_different_from_itself(
    autotune: Autotune, finished: str
) -> None:
    assert "false alarms in the 1 such stage" in autotune("list", "--storage", finished).stdout
    assert "false alarms in the 1 such stage" in autotune("compare", "invented", "--storage", finished).stdout
    for command in (("list",), ("compare", "invented")):
        document = only_json(autotune(*command, "--json", "--storage", finished))
        assert document["aa_record"]["stages"] == 1
        assert document["aa_record"]["false_alarms"] in (0, 1)


def test_compare_gives_the_shape_that_is_promised(autotune: Autotune, finished: str) -> None:
    document = only_json(autotune("compare", "invented", "--json", "--storage", finished))
    for arm in ("stock", "hand_tuned", "automatic"):
        assert document[arm]["n"] == 12
        assert document[arm]["requests_per_s"] > 9_000
    assert document["automatic"]["settings"]["nginx:output_buffers.size"] == "64k"
    assert document["automatic"]["settings"]["nginx:access_log"] == "off"
    assert document["automatic"]["changes_service"] == ["nginx:access_log"]
    assert document["hand_tuned"]["settings"] == {
        "nginx:output_buffers.number": "4",
        "sysctl:net.core.somaxconn": "8192",
    }
    assert document["stock"]["settings"]["sysctl:net.ipv4.tcp_rmem"] == "4096 131072 6291456"
    pairs = {(pair["a"], pair["b"]): pair for pair in document["pairs"]}
    assert set(pairs) == {("automatic", "hand_tuned"), ("automatic", "stock"), ("hand_tuned", "stock")}
    headline = pairs["automatic", "stock"]
    assert headline["verdict"] == "faster"
    assert headline["low"] < headline["ratio"] < headline["high"]
    assert headline["n"] == 12
    assert [step["state"] for step in document["steps"]] == ["already so", "partial", "full"]
    assert document["steps"][1]["missing"][0]["id"] == "compiler"


def test_compare_says_the_answer_first(autotune: Autotune, finished: str) -> None:
    text = autotune("compare", "invented", "--storage", finished).stdout
    first = text.splitlines()[0]
    assert first.startswith("automatic is 10.")
    assert "faster than stock (95 % interval +" in first
    assert "published: +5.4 %" in text
    assert "autotune export invented --to DIR" in text


def test_compare_before_the_finals_says_that_there_is_no_answer_yet(autotune: Autotune, half: str) -> None:
    result = autotune("compare", "begun", "--storage", half)
    assert result.exit_code == 0
    assert "no answer yet" in result.stdout.splitlines()[0]
    document = only_json(autotune("compare", "begun", "--json", "--storage", half))
    assert document["automatic"]["requests_per_s"] is None
    assert document["automatic"]["n"] == 0


def test_compare_when_nothing_beat_stock(autotune: Autotune, tmp_path: Path) -> None:
    study = a_study(winner=False)
    url = a_store(tmp_path / "c.db", study, a_night(study))
    document = only_json(autotune("compare", "invented", "--json", "--storage", url))
    pair = next(one for one in document["pairs"] if (one["a"], one["b"]) == ("automatic", "stock"))
    assert pair["verdict"] == "same configuration"
    assert document["automatic"]["settings"] == {}


def test_accepted_noise_is_stamped_on_every_form(autotune: Autotune, tmp_path: Path) -> None:
    study = a_study(accept_noise=True)
    url = a_store(tmp_path / "noisy.db", study, a_night(study))
    assert "ACCEPTED NOISE" in autotune("compare", "invented", "--storage", url).stdout
    document = only_json(autotune("compare", "invented", "--json", "--storage", url))
    assert document["stamps"][0].startswith("ACCEPTED NOISE")
    autotune("export", "invented", "--to", str(tmp_path / "out"), "--storage", url)
    assert "ACCEPTED NOISE" in (tmp_path / "out" / "PROVENANCE.md").read_text()


def test_a_night_that_never_was_cannot_be_compared(autotune: Autotune, finished: str) -> None:
    result = autotune("compare", "invented", "--night", "4", "--storage", finished)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no night 4" in result.stderr


@pytest.mark.parametrize("command", [("report",), ("export", "--to", "out"), ("importance",)])
def test_a_night_that_never_was_has_no_files(
    autotune: Autotune,
    finished: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = autotune(*command, "invented", "--night", "4", "--storage", finished)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "no night 4" in result.stderr
    assert "autotune show invented" in result.stderr  # not to resume: that makes no night 4


def test_a_name_that_is_no_text_is_an_unknown_study(autotune: Autotune, finished: str) -> None:
    for command in ("compare", "report", "importance", "status"):
        result = autotune(command, "inv\udcff", "--storage", finished)
        assert result.exit_code == 8
        assert "no study is called" in result.stderr


def test_an_unknown_study_is_told_with_the_known_ones(autotune: Autotune, finished: str) -> None:
    for command in ("compare", "show", "status", "stop", "resume"):
        result = autotune(command, "nobody", "--storage", finished)
        assert result.exit_code == 8
        assert "invented" in result.stderr


def test_show_lists_stages_failures_and_what_was_left_out(autotune: Autotune, finished: str) -> None:
    text = autotune("show", "invented", "--storage", finished).stdout
    assert "nginx says no: invented for a test" in text
    assert "this nginx was built without threads" in text
    document = only_json(autotune("show", "invented", "--json", "--storage", finished))
    stages = {row["stage"]: row for row in document["stages"]}
    assert stages["finals"]["samples"] == stages["finals"]["planned"] == 36
    assert stages["search"]["failed"] == 1
    assert document["trials"][BEST]["ratio"] == pytest.approx(1.105, abs=0.02)


def test_show_of_a_trial_has_its_samples_and_raw_output_on_request(autotune: Autotune, finished: str) -> None:
    without = autotune("show", "invented", str(BEST), "--storage", finished).stdout
    assert "Running 2s test" not in without
    assert "sysctl:net.core.somaxconn" in without
    assert "Running 2s test" in autotune("show", "invented", str(BEST), "--raw", "--storage", finished).stdout
    document = only_json(autotune("show", "invented", str(BEST), "--raw", "--json", "--storage", finished))
    assert all(sample["raw"].startswith("Running") for sample in document["samples"])


def test_show_of_a_failed_trial_says_why(autotune: Autotune, finished: str) -> None:
    document = only_json(autotune("show", "invented", str(REFUSED), "--json", "--storage", finished))
    assert document["failed"] is True
    assert document["samples"] == []
    assert document["failures"][0]["blame"] == "configuration"


def test_show_before_the_first_night_names_a_command_that_knows_the_study(
    autotune: Autotune, tmp_path: Path
) -> None:
    url = a_store(tmp_path / "c.db", a_study("new"), [])
    assert "autotune resume new" in autotune("show", "new", "--storage", url).stdout


def test_show_of_a_trial_that_is_not_there(autotune: Autotune, finished: str) -> None:
    assert autotune("show", "invented", "999", "--storage", finished).exit_code == 2
    assert autotune("show", "invented", "--raw", "--storage", finished).exit_code == 2


def test_export_writes_into_an_empty_directory_only(
    autotune: Autotune, finished: str, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    document = only_json(autotune("export", "invented", "--to", str(out), "--json", "--storage", finished))
    assert {Path(name) for name in document["files"]} == {path for path in out.rglob("*") if path.is_file()}
    assert (out / "install").stat().st_mode & 0o111
    again = autotune("export", "invented", "--to", str(out), "--storage", finished)
    assert again.exit_code == 2
    assert "not empty" in again.stderr


def test_export_needs_finals(autotune: Autotune, half: str, tmp_path: Path) -> None:
    result = autotune("export", "begun", "--to", str(tmp_path / "out"), "--storage", half)
    assert result.exit_code == 2
    assert "autotune resume begun" in result.stderr
    assert not (tmp_path / "out").exists()


def test_output_is_plain_when_it_is_not_a_terminal(autotune: Autotune, finished: str) -> None:
    for words in (("compare", "invented"), ("show", "invented"), ("status",), ("list",)):
        assert "\x1b" not in autotune(*words, "--storage", finished).output


def test_json_never_holds_what_json_has_not(autotune: Autotune, half: str) -> None:
    text = autotune("compare", "begun", "--json", "--storage", half).stdout
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_completion_offers_shipped_studies_and_stored_names(
    finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", finished)
    assert "quickstart" in complete_study_file("qui")
    assert complete_study_name("inv") == ["invented"]
    monkeypatch.setenv("AUTOTUNE_STORAGE", "sqlite:////nowhere/at/all.db")
    assert complete_study_name("") == []


def test_compare_of_several_studies_takes_no_night_and_names_each_once(
    autotune: Autotune, tmp_path: Path
) -> None:
    first, second = a_study("first"), a_study("second", winner=False)
    url = a_store(tmp_path / "several.db", first, a_night(first))
    a_store(tmp_path / "several.db", second, a_night(second))
    document = only_json(autotune("compare", "first", "second", "first", "--json", "--storage", url))
    assert [one["study"] for one in document["studies"]] == ["first", "second"]
    text = autotune("compare", "first", "second", "--storage", url).stdout
    assert text.startswith("first: automatic is 10.")
    refused = autotune("compare", "first", "second", "--night", "1", "--storage", url)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "autotune compare first --night 1" in refused.stderr


def test_a_report_for_a_pipe_goes_into_it_and_leaves_it(
    autotune: Autotune, finished: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
        result = autotune("report", "invented", "--format", "csv", "--to", str(pipe), "--storage", finished)
        assert result.exit_code == 0, result.output
        assert reader.read(5) == b"night"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_that_waits_beside_a_report_is_not_followed(
    autotune: Autotune, finished: str, tmp_path: Path
) -> None:
    precious, report = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("mine")
    (tmp_path / ".report.html.part").symlink_to(precious)
    assert autotune("report", "invented", "--to", str(report), "--storage", finished).exit_code == 0
    assert precious.read_text() == "mine"
    assert report.read_text().startswith("<!DOCTYPE html>")
    assert sorted(tmp_path.iterdir()) == [precious, report]


def test_a_report_for_a_link_goes_where_it_leads(autotune: Autotune, finished: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "latest.csv"
    link.symlink_to(tmp_path / "there" / "report.csv")
    result = autotune("report", "invented", "--format", "csv", "--to", str(link), "--storage", finished)
    assert result.exit_code == 0, result.output
    assert link.is_symlink()
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["report.csv"]
