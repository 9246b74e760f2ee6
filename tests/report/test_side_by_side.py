"""Several studies, boards and nights beside each other: no ratio between them, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.report.side_by_side import beside_each_other, side_by_side_json, side_by_side_page
from night_example import a_night, a_study
from odd_studies import ODD_STUDIES, odd_study


def told(*studies: tuple[Study, list[Event]]) -> str:
    return side_by_side_page(beside_each_other(studies)).text(300)


def codes(*studies: tuple[Study, list[Event]]) -> list[str]:
    document = side_by_side_json(beside_each_other(studies))
    return [one["code"] for one in document["reservations"]]


def on_board(log: list[Event], host: str) -> list[Event]:
    """The same night as another board would have told it."""
    return [
        event.model_copy(update={"board": {**event.board, "host": host}})
        if isinstance(event, NightBegun)
        else event
        for event in log
    ]


def one(name: str, host: str = "rock-a", **changes: Any) -> tuple[Study, list[Event]]:
    study = a_study(name, **changes)
    return study, on_board(a_night(study, meters=True), host)


def test_every_ratio_is_that_of_the_study_alone() -> None:
    first, second = one("first"), one("second", winner=False)
    document = side_by_side_json(beside_each_other([first, second]))
    alone = [side_by_side_json(beside_each_other([study]))["studies"][0] for study in (first, second)]
    assert document["studies"] == alone
    rows = told(first, second).partition("Ratios, each from the paired samples of its own night")[2]
    for study in alone:
        for pair in study["pairs"]:
            assert f"{pair['ratio']:.3f}x [{pair['low']:.3f}, {pair['high']:.3f}]" in rows


def test_two_boards_are_never_held_against_each_other() -> None:
    first, second = one("first", "rock-a"), one("second", "rock-b")
    assert codes(first, second) == ["other boards"]
    text = told(first, second)
    assert "different boards" in text
    assert "rock-a): first; local (rock-b): second" in text
    assert "No ratio is drawn between figures of different nights or boards" in text


def test_nights_of_one_board_and_load_are_told_to_be_nights_apart() -> None:
    odd = odd_study("two-nights")
    both = (odd.study, odd.log())
    assert codes(both) == ["other nights"]
    text = told(both)
    assert "only the paired samples of one night make a verdict" in text
    assert "two-nights (night 1): automatic is" in text
    assert "two-nights (night 2): automatic is" in text


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"board": "synthetic:rock5b"}, "synthetic"),
        ({"load": "local"}, "other loads"),
        ({"stock": "capstone"}, "other stocks"),
        ({"accept_noise": True}, "accepted noise"),
    ],
)
def test_whatever_was_not_the_same_is_said(changes: dict[str, Any], code: str) -> None:
    assert code not in codes(one("first"), one("second"))
    assert code in codes(one("first"), one("second", **changes))


def test_figures_that_were_computed_are_called_so_before_any_answer() -> None:
    text = told(one("real"), one("numbers", board="synthetic:rock5b"))
    assert text.splitlines()[0] == "synthetic: every number was computed, not measured: numbers"
    assert told(one("real"), one("too")).startswith("real: automatic is")


def test_the_boards_own_software_and_stock_are_compared_between_its_nights() -> None:
    study, log = one("second")
    begun = log[0]
    assert isinstance(begun, NightBegun)
    updated = {
        "board": {**begun.board, "kernel": "6.2.0-other"},
        "stock": {**begun.stock, "sysctl:net.core.somaxconn": 128},
    }
    text = told(one("first"), (study, [begun.model_copy(update=updated), *log[1:]]))
    assert "kernel 6.2.0-other" in text
    assert "stock itself was not the same (sysctl:net.core.somaxconn 4096 or 128)" in text


def test_what_each_automatic_changed_stands_in_one_matrix() -> None:
    document = side_by_side_json(beside_each_other([one("first"), one("second", winner=False)]))
    rows = {row["id"]: row for row in document["settings"]}
    assert rows["nginx:output_buffers.size"]["automatic"] == {"first": "64k", "second": "as stock (32k)"}
    assert [id_ for id_, row in rows.items() if row["changes_service"]] == ["nginx:access_log"]


def test_figures_have_power_and_waiting_where_they_were_metered() -> None:
    table = told(one("first")).partition("Figures (medians of the finals)")[2].partition("\n\n")[0]
    header, _, stock, *_ = table.strip().splitlines()
    for column in ("worst run", "p99 at the fixed rate", "CPU per request", "requests per joule"):
        assert column in header
    assert "-" not in stock.replace("hand-tuned", "").split()


def test_odd_studies_stand_beside_each_other_too() -> None:
    every = beside_each_other([(odd.study, odd.log()) for odd in ODD_STUDIES])
    text = side_by_side_page(every).text()
    for odd in ODD_STUDIES:
        assert odd.name in text
    json.dumps(side_by_side_json(every))
