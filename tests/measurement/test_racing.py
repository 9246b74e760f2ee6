"""Repeats in the search: who gets them, when, how many, and what follows from them."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter

import pytest
from number_bench import (
    FakeClock,
    NumberBench,
    answer,
    drive,
    night_begun,
    nothing_matters,
    number_study,
    truth,
    whole_night,
)

from autotune.experiment.bench import AskSampler, Finished, Measure
from autotune.experiment.events import Event, Failure, NightEnded, Proposal, Ranking, Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step
from autotune.measurement.scores import trial_scores


def searched(log: list[Event], night: int = 1) -> list[Sample]:
    return [
        one
        for one in log
        if isinstance(one, Sample) and one.key.stage is Stage.SEARCH and one.key.night == night
    ]


def times_measured(log: list[Event]) -> Counter[int]:
    return Counter(one.arm.number for one in searched(log) if one.arm.kind == "trial")


def proposed(log: list[Event]) -> dict[int, float]:
    """The true ln ratio to stock of every trial."""
    return {
        one.number: math.log(truth(one.configuration))
        for one in log
        if isinstance(one, Proposal) and one.number
    }


def search_only(study: Study, bench: NumberBench) -> list[Event]:
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        if isinstance(log[-1], Ranking):
            return log
    raise AssertionError("no ranking")


def a_night(*, repeats: int = 4, candidates: int = 40, sigma: float = 0.02, seed: int = 1) -> list[Event]:
    study = number_study(repeats=repeats, candidates=candidates, accept_noise=True, seed=seed)
    return search_only(study, NumberBench(FakeClock(), sigma=sigma, seed=seed))


def test_with_repeats_1_every_trial_has_one_sample() -> None:
    assert set(times_measured(a_night(repeats=1)).values()) == {1}


def test_no_trial_has_more_samples_than_allowed_and_all_together_no_more_than_their_share() -> None:
    for seed in range(5):
        times = times_measured(a_night(repeats=3, candidates=40, sigma=0.05, seed=seed))
        assert max(times.values()) == 3
        assert sum(times.values()) - len(times) == 10  # a quarter of the candidates


def test_promising_trials_are_measured_again_and_hopeless_ones_are_not() -> None:
    again, once = [], []
    for seed in range(6):
        log = a_night(sigma=0.01, seed=seed)
        times, true = times_measured(log), proposed(log)
        best = max(true.values())
        again += [true[number] - best for number, count in times.items() if count > 1]
        once += [true[number] - best for number, count in times.items() if count == 1]
    assert statistics.mean(again) > statistics.mean(once) + 0.03
    assert min(again) > -0.10  # 10 sigma: far outside what a lucky first sample could make promising
    assert min(once) < -0.15


def test_repeats_are_never_back_to_back_stock_and_others_lie_between() -> None:
    log = a_night(sigma=0.03, candidates=60)
    places: dict[int, list[int]] = {}
    samples = searched(log)
    for place, one in enumerate(samples):
        if one.arm.kind == "trial":
            places.setdefault(one.arm.number, []).append(place)
    several = [mine for mine in places.values() if len(mine) > 1]
    assert len(several) > 3
    for first, second in (pair for mine in several for pair in itertools.pairwise(mine)):
        between = samples[first + 1 : second]
        assert len(between) >= 4
        assert any(one.arm.kind == "stock" for one in between)


def test_repeats_are_spread_over_the_whole_search() -> None:
    samples = searched(a_night(sigma=0.03, candidates=80))
    seen: set[int] = set()
    repeats = []
    for place, one in enumerate(samples):
        if one.arm.kind == "trial":
            if one.arm.number in seen:
                repeats.append(place / len(samples))
            seen.add(one.arm.number)
    assert min(repeats) < 0.35
    assert max(repeats) > 0.9
    assert sum(place < 0.6 for place in repeats) >= 6


def test_the_incumbent_itself_is_confirmed() -> None:
    confirmed = 0
    for seed in range(8):
        log = a_night(sigma=0.03, candidates=60, seed=seed)
        ranking = log[-1]
        assert isinstance(ranking, Ranking)
        confirmed += times_measured(log)[ranking.trials[0]] >= 3
    assert confirmed >= 6


def test_the_first_of_the_finalists_over_states_itself_less_with_repeats() -> None:
    def lie(repeats: int) -> float:
        lies = []
        for seed in range(12):
            study = number_study(repeats=repeats, candidates=60, accept_noise=True, seed=seed)
            bench = NumberBench(FakeClock(), ratio=nothing_matters, sigma=0.04, seed=seed)
            log = search_only(study, bench)
            ranking = log[-1]
            assert isinstance(ranking, Ranking)
            lies.append(trial_scores(study, log)[ranking.trials[0]].score)
        return statistics.mean(lies)

    assert lie(4) < 0.7 * lie(1)


def test_the_score_of_a_repeated_trial_is_the_mean_of_its_samples() -> None:
    study = number_study(repeats=4, candidates=40)
    log = search_only(study, NumberBench(FakeClock(), sigma=1e-6, drift_per_hour=-5.0))
    scores, true, times = trial_scores(study, log), proposed(log), times_measured(log)
    several = [number for number, count in times.items() if count > 1]
    assert several
    for number in several:
        assert scores[number].n == times[number]
        assert scores[number].score == pytest.approx(true[number], abs=0.001)


def test_a_proposal_is_measured_before_any_repeat() -> None:
    study, bench = number_study(repeats=4, candidates=30), NumberBench(FakeClock(), sigma=0.03)
    log: list[Event] = [night_begun()]
    for step in drive(study, bench, log):
        if isinstance(step, AskSampler) and step.number > 0:
            proposal, following = log[-1], next_step(study, log)
            assert isinstance(proposal, Proposal)
            assert isinstance(following, Measure)
            assert following.arm.kind == "stock" or following.arm.number == proposal.number


def test_a_trial_whose_repeats_in_the_search_differ_wildly_is_no_finalist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = number_study(repeats=4, candidates=40)
    log = search_only(study, NumberBench(FakeClock(), sigma=0.005))
    leader = log[-1]
    assert isinstance(leader, Ranking)
    moody = leader.trials[0]

    class Moody(NumberBench):
        def _disturbance(self, order: Measure) -> float:
            odd = order.arm.number == moody and order.key.block % 2
            return super()._disturbance(order) + (0.5 if odd else 0.0)

    log = search_only(study, Moody(FakeClock(), sigma=0.005))
    ranking = log[-1]
    assert isinstance(ranking, Ranking)
    assert times_measured(log)[moody] > 1
    assert trial_scores(study, log)[moody].unstable
    assert moody not in ranking.trials


def test_a_repeat_that_breaks_once_under_load_is_taken_again_and_one_that_breaks_twice_bars_its_trial() -> (
    None
):
    study = number_study(repeats=4, candidates=30)
    measured: set[int] = set()
    for most, failed in ((1, False), (2, True)):
        broken: list[int] = []

        def breaks(order: Measure, broken: list[int] = broken, most: int = most) -> str:
            repeat = order.arm.kind == "trial" and order.arm.number in measured
            if repeat and len(broken) < most and order.arm.number == (broken or [order.arm.number])[0]:
                broken.append(order.arm.number)
                return "configuration"
            return ""

        measured.clear()
        bench = NumberBench(FakeClock(), sigma=0.02, own_fault="gate")
        bench.fails = breaks  # type: ignore[assignment]  # a Literal behind a plain str
        log: list[Event] = [night_begun()]
        while not isinstance(log[-1], Ranking):
            event = answer(study, log, next_step(study, log), bench)
            log.append(event)
            if isinstance(event, Sample) and event.key.stage is Stage.SEARCH and event.arm.kind == "trial":
                measured.add(event.arm.number)
        assert len(broken) == most
        assert trial_scores(study, log)[broken[0]].failed is failed


def test_a_second_night_counts_its_own_candidates_and_may_repeat_the_best_of_the_first() -> None:
    study, bench = number_study(repeats=4, candidates=24), NumberBench(FakeClock(), sigma=0.03)
    log = whole_night(study, bench)
    bench.clock.now_s += 86_400
    log.append(night_begun(2, bench.clock.at))
    for _ in drive(study, bench, log):
        pass
    assert isinstance(log[-1], NightEnded)
    first, second = (
        {one.arm.number for one in searched(log, night) if one.arm.kind == "trial"} for night in (1, 2)
    )
    assert len(second - first) == 24
    assert first & second


def test_a_search_whose_trials_all_fail_ends_all_the_same() -> None:
    study = number_study(repeats=4, candidates=12)
    bench = NumberBench(FakeClock(), fails=lambda order: "configuration" if len(order.configuration) else "")
    log: list[Event] = [night_begun()]
    steps = list(drive(study, bench, log))
    assert isinstance(steps[-1], Finished)
    assert not times_measured(log)
    assert sum(isinstance(one, Failure) for one in log) >= 12
