"""Half of the sampler's candidates are drawn near the likely best.

Figures on which it was decided, TPE alone against half near, the same seeds for both. Best true value among 60 candidates,
11 parameters, regret in ln(requests/s), 16 seeds each: `some_truth` without noise 0.026 | 0.003, at 3 % noise 0.014 | 0.006; a
truth with a category that looks better at first 0.039 | 0.013 and 0.020 | 0.015. More than 0.1 below the best in 12 | 2 of
these 64 nights. On the imagined Rock 5B+ (75 parameters, 200 trial samples, 1 % noise), the winner's true ln ratio over 9
seeds that played no part in the choice: 0.274 | 0.312 (difference 0.038, standard error 0.010), better in 8 of 9, where the
optimum is 0.42. Beginning with what the space has of a hand-tuned configuration that isn't all in it made no difference that
8 seeds could show (-0.011, standard error 0.009), so it isn't done.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
from search_examples import STOCK, a_night, a_plan, a_study, go_on, some_truth

from autotune.experiment.bench import AskSampler
from autotune.experiment.events import Event, Proposal
from autotune.experiment.study import Study
from autotune.measurement.scores import TrialScore, trial_scores
from autotune.search.searcher import propose

BEST = 0.25


def night_of(seed: int, upto: int = 60) -> list[Event]:
    study = a_study(seed=seed)
    return go_on(study, [a_night(study), a_plan(upto)], upto)


def true_values(log: list[Event]) -> list[float]:
    return [some_truth(one.configuration.over(STOCK)) for one in log if isinstance(one, Proposal)]


def test_a_search_is_not_stuck_with_the_wrong_category() -> None:
    stuck = [seed for seed in range(6) if max(true_values(night_of(seed))) < BEST - 0.1]
    assert not stuck


def test_every_second_candidate_shares_most_of_its_values_with_the_best_before_it() -> None:
    log = night_of(3, upto=40)
    proposals = [one for one in log if isinstance(one, Proposal)]
    values, true = [one.configuration.over(STOCK) for one in proposals], true_values(log)

    def shared(number: int) -> float:
        best = max(range(number), key=lambda one: true[one])
        return sum(values[number][id_] == values[best][id_] for id_ in STOCK) / len(STOCK)

    sampled = [one.number for one in proposals if one.origin == "sampler"]
    near = [shared(number) for number in sampled if number % 2 == 0]
    others = [shared(number) for number in sampled if number % 2]
    assert statistics.median(near) >= 0.5
    assert statistics.median(near) > statistics.median(others)


@pytest.mark.parametrize(("unstable", "is_near"), [(False, True), (True, False)])
def test_nothing_is_drawn_near_what_is_too_unstable_to_win(*, unstable: bool, is_near: bool) -> None:
    study, log, lucky = a_study(seed=3), night_of(3, upto=20), 11

    def scores(study: Study, log: Sequence[Event]) -> dict[int, TrialScore]:
        seen = trial_scores(study, log)
        return {**seen, lucky: replace(seen[lucky], score=0.9, shrunken=0.9, unstable=unstable)}

    proposal = propose(study, log, AskSampler(night=1, number=20), at="now", scores=scores)
    values = proposal.configuration.over(STOCK)
    others = next(one for one in log if isinstance(one, Proposal) and one.number == lucky).configuration.over(
        STOCK
    )
    assert (sum(values[id_] == others[id_] for id_ in STOCK) >= len(STOCK) / 2) is is_near
