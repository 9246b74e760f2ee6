"""What `scripts/bench-importance` measures against, and how it counts."""

from __future__ import annotations

import functools

import pytest
from importance_boards import FEWEST, MOST, KnownBoard
from importance_figures import OPTUNAS, OURS, Said, SearchFigures, broken, document, table

from autotune.space.configuration import Configuration


@functools.cache
def known() -> KnownBoard:
    return KnownBoard(1000)


def test_a_board_has_some_thirty_settings_and_children_with_their_parents() -> None:
    assert 0.8 * FEWEST <= len(known().ids) <= MOST
    children = [one for one in known().study.space.parameters if one.when is not None]
    assert children
    assert all(set(one.when.ids) <= set(known().ids) for one in children if one.when is not None)


def test_a_child_does_nothing_where_its_parent_does_not_let_it() -> None:
    board, study = known().board, known().study
    stock = board.stock_of(study)
    child = next(
        one
        for one in study.space.parameters
        if one.when is not None and not study.space.is_active(one, stock)
    )
    value = next(one for one in (*child.choices, *(child.specials), 30) if one != stock[child.id])
    alone = Configuration.of({child.id: value})
    assert board.objective(alone, study) == board.objective(Configuration(), study)


def test_the_same_seed_is_the_same_board() -> None:
    again = KnownBoard(1000)
    assert again.ids == known().ids
    assert again.study.fingerprint == known().study.fingerprint
    changed = Configuration.of(
        {id_: True for id_ in again.ids if again.study.space.parameter(id_).choices == (False, True)}
    )
    assert again.board.objective(changed, again.study) == known().board.objective(changed, known().study)


def _figures(ours: float, others: float) -> SearchFigures:
    said = {name: Said(spearman=others, top8_recall=0.5, inside=None, inside_top8=None) for name in OPTUNAS}
    said[OURS] = Said(spearman=ours, top8_recall=0.75, inside=0.9, inside_top8=0.8)
    return SearchFigures(seed=1, cv=0.03, r2=0.7, said=said)


def test_ours_must_be_ahead_of_all_three() -> None:
    assert broken([_figures(0.6, 0.3)]) == []
    assert len(broken([_figures(0.3, 0.3)])) == len(OPTUNAS)
    assert "ahead of all three" in table([_figures(0.6, 0.3)])
    assert "BROKEN: spearman at 3 % noise: fanova" in table([_figures(0.2, 0.3)])


@pytest.mark.parametrize("key", ["spearman", "top8_recall", "coverage"])
def test_the_document_is_by_noise_and_evaluator(key: str) -> None:
    figures = document([_figures(0.6, 0.3)], 0)[key]
    assert isinstance(figures, dict)
    assert list(figures) == ["3 %"]
    assert set(figures["3 %"]) == {OURS, *OPTUNAS}
