"""Which of a winner's changes are nominated to be all that is shipped."""

from __future__ import annotations

import functools
import itertools
import statistics

import analysis_examples as example
import pytest
from analysis_examples import BACKLOG, CACHE, FILES, QUEUE, VALID, Truth, changes, night, stock_of

from autotune.analysis.subsets import nominate
from autotune.experiment.events import Proposal, Subsets

USEFUL = {"nginx:switch_0": 0.10, "nginx:switch_1": 0.06, "nginx:switch_2": 0.04, CACHE: 0.06}
HARMFUL = {"nginx:switch_3": -0.05}
FEW_MATTER = Truth({**USEFUL, **HARMFUL}, ("nginx:switch_4", "nginx:switch_5", 0.05))


@functools.cache
def nominated(
    *, trials: int = 120, sigma: float = 0.02, seed: int = 0, truth: Truth = FEW_MATTER
) -> Nominated:
    study = example.study(seed=seed)
    log, ask = night(study, truth, trials=trials, sigma=sigma, seed=seed)
    return Nominated(seed, set(changes(study, log, ask)), nominate(study, log, ask, "later"))


class Nominated:
    """What came of one night: the winner's changes, and the subsets."""

    def __init__(self, seed: int, changes: set[str], subsets: Subsets) -> None:
        self.study = example.study(seed=seed)
        self.stock = stock_of(self.study)
        self.changes = changes
        self.subsets = subsets

    @property
    def ids(self) -> list[set[str]]:
        """Of each subset, what differs from stock and is no derived value."""
        return [
            {id_ for id_ in one.against(self.stock) if id_ in self.study.space.ids}
            for one in self.subsets.configurations
        ]


@pytest.mark.parametrize("seed", range(4))
def test_subsets_are_nested_smaller_than_the_winner_and_at_most_four(seed: int) -> None:
    found = nominated(seed=seed)
    chain = [*found.ids, found.changes]
    assert 1 <= len(found.ids) <= 4
    assert all(smaller < larger for smaller, larger in itertools.pairwise(chain))
    assert found.ids[0], "stock is no subset"


@pytest.mark.parametrize("seed", range(4))
def test_rules_conditions_and_derived_values_hold_in_every_subset(seed: int) -> None:
    found = nominated(seed=seed)
    for configuration in found.subsets.configurations:
        values = configuration.over(found.stock)
        assert found.study.space.broken_rules(configuration, found.stock, {}) == ()
        assert values[FILES] == 2 * int(str(values[BACKLOG]))
        assert CACHE in configuration.mapping or VALID not in configuration.mapping


def test_what_is_useful_outlives_what_is_useless_in_most_nights() -> None:
    kept_useful: list[float] = []
    kept_useless: list[float] = []
    for seed in range(8):
        found = nominated(seed=seed)
        useful = {*USEFUL, "nginx:switch_4", "nginx:switch_5"} & found.changes
        useless = found.changes - useful
        middle = found.ids[min(1, len(found.ids) - 1)]
        kept_useful.append(len(middle & useful) / len(useful))
        kept_useless.append(len(middle & useless) / len(useless))
    assert statistics.median(kept_useful) == 1
    assert statistics.median(kept_useless) < 0.3


def test_what_harms_is_the_first_to_go() -> None:
    seen = [found for seed in range(8) if HARMFUL.keys() <= (found := nominated(seed=seed)).changes]
    gone = sum("nginx:switch_3" not in found.ids[-1] for found in seen)
    assert gone >= 0.8 * len(seen)


def test_two_settings_that_help_only_together_stay_together() -> None:
    together = Truth({}, ("nginx:switch_4", "nginx:switch_5", 0.15))
    found = [nominated(seed=seed, truth=together) for seed in range(3)]
    pair = {"nginx:switch_4", "nginx:switch_5"}
    both = [one for one in found if pair <= one.changes]
    assert both
    assert sum(pair <= one.ids[0] for one in both) >= 0.8 * len(both)


def test_the_same_night_gives_the_same_subsets() -> None:
    assert nominated(seed=3).subsets == nominated.__wrapped__(seed=3).subsets


def test_too_few_trials_are_said_to_be_too_few() -> None:
    found = nominated(trials=12)
    assert "too few for a model" in found.subsets.reason
    assert found.ids


def test_a_model_that_foretells_nothing_is_not_believed() -> None:
    found = nominated(trials=60, sigma=0.2)
    assert "each change judged alone: the better model" in found.subsets.reason
    assert found.ids


def test_a_useful_model_says_how_good_it_is() -> None:
    reason = nominated().subsets.reason
    assert "of what it hasn't seen" in reason
    assert "sparse linear model" in reason or "forest" in reason


def test_a_winner_of_one_change_has_no_subset() -> None:
    study = example.study()
    log, ask = night(study, FEW_MATTER, trials=40, sigma=0.02, seed=1)
    one_change = study.space.complete({"nginx:switch_0": True}, stock_of(study), {})
    alone = [
        event.model_copy(update={"configuration": one_change})
        if isinstance(event, Proposal) and event.number == ask.trial
        else event
        for event in log
    ]
    assert nominate(study, alone, ask, "later").configurations == ()


def test_a_backlog_leaves_with_the_queue_that_it_needs() -> None:
    """The rule backlog <= queue: where the winner raised both, no subset may keep the backlog alone."""
    tried = 0
    for seed in range(8):
        found = nominated(seed=seed)
        if not {BACKLOG, QUEUE} <= found.changes:
            continue
        tried += 1
        for configuration in found.subsets.configurations:
            values = configuration.over(found.stock)
            assert int(str(values[BACKLOG])) <= int(str(values[QUEUE]))
    assert tried
