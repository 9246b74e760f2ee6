"""The proof itself: it goes on where it was cut, counts anew for other code, and says so when something doesn't hold."""

from __future__ import annotations

import math
import statistics
from functools import partial
from pathlib import Path

import protocol_cache
import pytest
from protocol_cache import Cache, Chunk, chunks_of, code_hash, make
from protocol_finals import FinalsSeen, finals, promised
from protocol_naive import naive, true_gain
from protocol_night import begun_for, study_of
from protocol_null import IDS, NullSeen
from protocol_verdict import Demand, Seen, demands, document, table

from autotune.experiment.study import Budget
from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.synthetic.boards import plain_board
from autotune.synthetic.noise import Disturbance


class Square(Record):
    """A result."""

    of: int


def square(marks: Path, seed: int) -> Square:
    """Leaves a mark where it was called, for it is called in another process."""
    (marks / f"{seed}").write_text("made")
    return Square(of=seed * seed)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Cache(protocol_cache.measuring_code())


def squares(marks: Path, seeds: int) -> list[Chunk[Square]]:
    marks.mkdir(exist_ok=True)
    return chunks_of("squares", partial(square, marks), Square, seeds=seeds, size=2)


def test_what_was_counted_is_not_counted_again(kept: Cache, tmp_path: Path) -> None:
    first, again = squares(tmp_path / "first", 3), squares(tmp_path / "again", 5)
    assert make(first, kept, lambda _: None) == 2
    assert make(again[:1], kept, lambda _: None) == 0
    make(again, kept, lambda _: None)
    assert sorted(one.name for one in (tmp_path / "again").iterdir()) == ["2", "3", "4"]
    assert [one.of for one in kept.results(again)["squares"]] == [0, 1, 4, 9, 16]


def test_a_chunk_of_other_seeds_is_another_chunk(kept: Cache, tmp_path: Path) -> None:
    make(squares(tmp_path / "marks", 3), kept, lambda _: None)
    assert len(kept.results(squares(tmp_path / "marks", 4))["squares"]) == 2


def test_other_code_is_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_cache, "ROOT", tmp_path)
    (tmp_path / "room").mkdir()
    code = tmp_path / "room" / "module.py"
    code.write_text("ONE = 1\n")
    before = code_hash([tmp_path / "room"])
    assert before == code_hash([tmp_path / "room"])
    code.write_text("ONE = 2\n")
    assert before != code_hash([tmp_path / "room"])


def everything(*, claims: int = 3, covered: int = 95, seen: int = 80, short: bool = False) -> Seen:
    """100 of everything."""
    return Seen(
        null={"null 0.01": [NullSeen(claimed=seed < claims, erred=seed < 5) for seed in range(100)]},
        coverage={
            "coverage normal": [
                FinalsSeen(plain=seed < covered, told=True, told_all=True, seen=True) for seed in range(100)
            ]
        },
        power={
            "power 0.01": [
                FinalsSeen(plain=True, told=True, told_all=True, seen=seed < seen) for seed in range(100)
            ]
        },
        naive={},
        distilled=[],
        real=[],
        short=short,
    )


def failed(seen: Seen) -> list[str]:
    return [one.what for one in demands(seen) if not one.kept]


def test_figures_within_their_bounds_hold() -> None:
    assert failed(everything()) == []


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (everything(claims=8), "claim a difference"),
        (everything(covered=92), "holds the truth"),
        (everything(seen=74), "promised difference"),
        (everything(seen=91), "promised difference"),
    ],
    ids=["too many claims", "too little coverage", "too little power", "a promise too modest"],
)
def test_figures_out_of_their_bounds_fail(wrong: Seen, word: str) -> None:
    (one,) = failed(wrong)
    assert word in one
    assert "FAILED" in table(wrong)
    assert document(wrong, code="x")["failed"] == [one]


def test_the_short_form_leaves_room_for_chance_and_says_how_much() -> None:
    wide = next(one for one in demands(everything(claims=8, short=True)) if "claim" in one.what)
    assert wide.kept
    assert wide.high == pytest.approx(0.07 + 2.5 * math.sqrt(0.07 * 0.93 / 100))
    assert f"at most {wide.high:.1%}" in str(wide)
    assert failed(everything(claims=20, short=True)) != []


def test_a_demand_says_what_it_is_about() -> None:
    text = str(Demand(what="something", share=0.5, n=10, low=0.0, high=0.4))
    assert text.split() == ["FAILED", "something", "50.0%", "of", "10", "at", "most", "40.0%"]


def test_finals_see_what_is_there_and_hold_the_truth() -> None:
    seen = [finals(0.10, 0.02, Disturbance(cv=0.01), seed) for seed in range(3)]
    assert all(one.seen for one in seen)
    assert any(one.plain for one in seen)


def test_a_promise_grows_with_the_noise() -> None:
    assert promised(0.01) < promised(0.03) < promised(0.05)


def test_the_naive_night_overstates_what_is_nothing_at_all() -> None:
    disturbance = Disturbance(cv=0.03)
    board = plain_board(disturbance=disturbance)
    study = study_of("synthetic.toml", IDS, seed=0, budget=Budget())
    said = [naive(board, study, begun_for(board, study), seed, 40, 0.0) for seed in range(3)]
    assert [one.true for one in said] == [0, 0, 0]
    assert statistics.mean(one.bias for one in said) > 0.02
    assert true_gain(board, study, Configuration()) == 0
