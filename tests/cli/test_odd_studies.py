"""Every page about every odd study: truthful, and no error where there is only little to tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json

from autotune.experiment.events import NightBegun, Sample
from odd_studies import EACH_ODD_STUDY, OddStudy, odd_store, odd_study

_PAGES = ("compare", "show", "status", "importance")


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


@EACH_ODD_STUDY
def test_there_are_files_to_install_exactly_where_finals_have_an_answer(
    odd: OddStudy, autotune: Autotune, stored: str, tmp_path: Path
) -> None:
    result = autotune("export", odd.name, "--to", str(tmp_path / "out"), "--storage", stored)
    assert result.exit_code == (0 if odd.finals else 2), result.output
    assert odd.finals or f"autotune resume {odd.name}" in result.stderr
    assert (tmp_path / "out").exists() == odd.finals


@EACH_ODD_STUDY
def test_a_comparison_has_a_headline_exactly_where_finals_have_an_answer(
    odd: OddStudy, autotune: Autotune, stored: str
) -> None:
    document = only_json(autotune("compare", odd.name, "--json", "--storage", stored))
    assert any(pair["b"] == "stock" and pair["a"] == "automatic" for pair in document["pairs"]) == odd.finals
    without = "no answer" in document["answer"] or "no automatic configuration yet" in document["answer"]
    assert without is not odd.finals
    assert len(document["nights"]) == odd.nights


def test_status_tells_of_the_last_night_and_of_all(autotune: Autotune, stored: str) -> None:
    odd = odd_study("second-night-begun")
    log = odd.log()
    second = next(at for at, event in enumerate(log) if isinstance(event, NightBegun) and event.night == 2)
    samples = [isinstance(event, Sample) for event in log]
    document = only_json(autotune("status", odd.name, "--json", "--storage", stored))
    assert (document["samples"], document["of_night"]["samples"]) == (sum(samples), sum(samples[second:]))
    text = autotune("status", odd.name, "--storage", stored).stdout
    assert f"{sum(samples[second:])}, and 0 failed" in text
    assert f"all 2 nights  {sum(samples)} samples" in text


def test_status_calls_no_figure_of_the_search_a_result(autotune: Autotune, stored: str) -> None:
    for name, is_final in (
        ("in-search", False),
        ("one-sample-of-finals", False),
        ("half-of-the-finals", True),
        ("tuned-then-baseline", True),
    ):
        document = only_json(autotune("status", name, "--json", "--storage", stored))
        assert document["best_is_final"] is is_final, name
        text = autotune("status", name, "--storage", stored).stdout
        assert ("so far" in text) is not is_final, name


def test_a_page_of_one_of_several_nights_says_which(autotune: Autotune, stored: str) -> None:
    text = autotune("compare", "second-night-begun", "--storage", stored).stdout
    assert "this page is of night 1" in text
    assert "not over" in text
    assert "Nights" not in autotune("compare", "no-series", "--storage", stored).stdout


def test_a_night_that_ended_without_an_answer_says_how(autotune: Autotune, stored: str) -> None:
    for name, word in (("refused", "refused"), ("all-failures", "systemic failure")):
        first = autotune("compare", name, "--storage", stored).stdout.splitlines()[0]
        assert f"has no answer: it ended before its finals ({word})" in first
        assert "goes on where it stopped" not in autotune("compare", name, "--storage", stored).stdout


def test_half_of_the_finals_is_no_last_word(autotune: Autotune, stored: str) -> None:
    lines = autotune("compare", "half-of-the-finals", "--storage", stored).stdout.splitlines()
    assert lines[0] == "So far, after 5 of 12 rounds of the finals:"
    assert "it is undecided" in lines[2]
    assert "needs 6 rounds" in " ".join(lines[2:4])


def test_where_every_candidate_failed_automatic_is_said_to_be_stock(autotune: Autotune, stored: str) -> None:
    text = autotune("compare", "no-successful-trial", "--storage", stored).stdout
    assert "None of 8 candidates was shown to be better than stock (8 failed by their own fault)" in text
    assert "every candidate that was tried (8) failed by its own fault" in " ".join(text.split())


@EACH_ODD_STUDY
def test_so_little_ranks_no_parameter_and_says_why(odd: OddStudy, autotune: Autotune, stored: str) -> None:
    document = only_json(autotune("importance", odd.name, "--json", "--storage", stored))
    assert document["parameters"] == []
    assert document["reason"]
    assert len(document["evaluators"]) == 4
    assert all(one["shares"] or one["reason"] for one in document["evaluators"])


def test_a_night_that_never_was_has_no_importance(autotune: Autotune, stored: str) -> None:
    odd = odd_study("half-of-the-finals")
    result = autotune("importance", odd.name, "--night", "9", "--storage", stored)
    assert result.exit_code == 2
    assert "no night 9" in result.stderr
