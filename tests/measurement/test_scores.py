"""Scores: drift taken out, luck held against them, repeats counted; and the rankings made of them."""

from __future__ import annotations

import math
import statistics

import pytest
from number_bench import (
    BACKLOG,
    FakeClock,
    NumberBench,
    drive,
    night_begun,
    nothing_matters,
    number_study,
    pause,
    truth,
    whole_night,
)

from autotune.experiment.bench import AskRanking, Measure
from autotune.experiment.events import Event, Proposal, Ranking, Sample, Stage, Void
from autotune.measurement.ranking import rank
from autotune.measurement.scores import trial_scores
from autotune.space.configuration import Configuration


def _search_only(log: list[Event]) -> list[Event]:
    first = next(index for index, one in enumerate(log) if isinstance(one, Ranking))
    return log[:first]


def _truth_of(log: list[Event]) -> dict[int, float]:
    return {one.number: math.log(truth(one.configuration)) for one in log if isinstance(one, Proposal)}


@pytest.mark.parametrize(("drift", "wave"), [(0.0, 0.0), (-10.0, 0.0), (0.0, 0.05)])
def test_scores_are_the_true_log_ratios_whatever_the_drift(drift: float, wave: float) -> None:
    study = number_study(candidates=40)
    log = _search_only(
        whole_night(study, NumberBench(FakeClock(), sigma=1e-6, drift_per_hour=drift, wave=wave))
    )
    scores = trial_scores(study, log)
    for number, true in _truth_of(log).items():
        assert scores[number].score == pytest.approx(true, abs=0.001)


def test_stock_is_trial_0_with_score_0_by_definition() -> None:
    study = number_study()
    scores = trial_scores(study, whole_night(study, NumberBench(FakeClock())))
    assert (scores[0].score, scores[0].shrunken, scores[0].failed) == (0.0, 0.0, False)


def test_a_level_does_not_reach_across_a_gap() -> None:
    study, bench = number_study(candidates=20, reference_every=4), NumberBench(FakeClock(), sigma=1e-6)
    log: list[Event] = [night_begun()]
    cooled = False
    for _ in drive(study, bench, log):
        trials = [one for one in log if isinstance(one, Sample) and one.arm.kind == "trial"]
        if not cooled and len(trials) == 10:
            cooled = True
            log.append(pause(bench, 1, 1800))
            bench.level *= 1.10  # cooler, so faster: a step that no interpolation may smear
    scores = trial_scores(study, _search_only(log))
    for number, true in _truth_of(log).items():
        assert scores[number].score == pytest.approx(true, abs=0.001)


def test_late_references_improve_earlier_scores() -> None:
    study = number_study(candidates=2, reference_every=2)
    log = _search_only(whole_night(study, NumberBench(FakeClock(), sigma=1e-6, drift_per_hour=20.0)))
    last_reference = max(
        index for index, one in enumerate(log) if isinstance(one, Sample) and one.arm.kind == "stock"
    )
    true = _truth_of(log)[2]
    before = trial_scores(study, log[:last_reference])[2].score
    after = trial_scores(study, log)[2].score
    assert abs(after - true) < abs(before - true) / 5


def test_the_best_of_many_equal_trials_is_shrunk_to_next_to_nothing() -> None:
    study = number_study(candidates=60)
    raw, shrunken = [], []
    for seed in range(8):
        bench = NumberBench(FakeClock(), ratio=nothing_matters, sigma=0.02, seed=seed)
        scores = trial_scores(study, _search_only(whole_night(study, bench)))
        best = max((one for one in scores.values() if one.number), key=lambda one: one.score)
        raw.append(best.score)
        shrunken.append(best.shrunken)
    assert statistics.mean(raw) > 0.04  # pure fiction
    assert statistics.mean(shrunken) < 0.02


def test_configurations_far_below_stock_do_not_make_luck_look_like_merit() -> None:
    study = number_study(candidates=60)

    def few_are_terrible(configuration: Configuration) -> float:
        backlog = configuration.mapping.get(BACKLOG.id, 4096)
        return 0.4 if isinstance(backlog, int) and backlog < 512 else 1.0

    shrunken, terrible = [], 0
    for seed in range(8):
        bench = NumberBench(FakeClock(), ratio=few_are_terrible, sigma=0.02, seed=seed)
        scores = trial_scores(study, _search_only(whole_night(study, bench)))
        terrible += sum(one.score < -0.5 for one in scores.values())
        shrunken.append(max(one.shrunken for one in scores.values() if one.number))
    assert terrible > 8 * 5
    assert statistics.mean(shrunken) < 0.02


def test_true_differences_larger_than_the_noise_survive_the_shrinking() -> None:
    study = number_study(candidates=60)
    log = _search_only(whole_night(study, NumberBench(FakeClock(), sigma=0.01)))
    scores, true = trial_scores(study, log), _truth_of(log)
    best = max(true, key=lambda number: true[number])
    assert scores[best].shrunken == pytest.approx(true[best], abs=0.03)


def test_a_failed_configuration_is_listed_as_failed_and_an_unmeasured_trial_is_not_listed() -> None:
    study = number_study()

    def fails(order: Measure) -> str:
        return {2: "configuration", 3: "environment"}.get(order.arm.number, "")

    bench = NumberBench(FakeClock(), fails=fails)  # type: ignore[arg-type]  # a Literal behind a plain str
    scores = trial_scores(study, whole_night(study, bench))
    assert scores[2].failed
    assert math.isnan(scores[2].score)
    assert scores[2].n == 0
    assert 3 not in scores


def test_fresh_pairs_are_repeats_that_count() -> None:
    study = number_study(finalists=2, finalist_pairs=4)
    log = whole_night(study, NumberBench(FakeClock()))
    finalists = next(one for one in log if isinstance(one, Ranking)).trials
    scores = trial_scores(study, log)
    assert {number: scores[number].n for number in finalists} == dict.fromkeys(finalists, 5)
    other = next(number for number in scores if number and number not in finalists)
    assert scores[finalists[0]].error < scores[other].error


def test_a_voided_sample_does_not_score() -> None:
    study = number_study()
    log = _search_only(whole_night(study, NumberBench(FakeClock())))
    key = next(one.key for one in log if isinstance(one, Sample) and one.arm.number == 4)
    assert 4 in trial_scores(study, log)
    assert 4 not in trial_scores(study, [*log, Void(key=key, at=log[-1].at, reason="test")])


class _Moody(NumberBench):
    """The first finalist is very fast in its first pair and slow in all others."""

    def _disturbance(self, order: Measure) -> float:
        quiet = super()._disturbance(order)
        first = order.key.stage is Stage.FINALISTS and order.arm.kind == "trial" and order.key.block == 0
        return quiet + (0.9 if first else 0.0)


def test_a_finalist_whose_repeats_differ_wildly_is_unstable_and_cannot_win() -> None:
    study = number_study(finalists=3, finalist_pairs=4, candidates=12)
    log = whole_night(study, _Moody(FakeClock(), sigma=0.005))
    moody = next(one for one in log if isinstance(one, Ranking)).trials[0]
    winner = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert trial_scores(study, log)[moody].unstable
    assert moody not in winner.trials
    assert winner.trials


# --- rankings


def test_finalists_are_the_best_and_only_those_above_stock() -> None:
    study = number_study(candidates=30, finalists=6)
    log = _search_only(whole_night(study, NumberBench(FakeClock(), sigma=0.002)))
    ranking = rank(study, log, AskRanking(night=1, purpose="finalists"), at="now")
    true = _truth_of(log)
    assert len(ranking.trials) == 6
    assert min(true[number] for number in ranking.trials) > 0
    assert true[ranking.trials[0]] == pytest.approx(max(true.values()), abs=0.01)
    assert list(ranking.scores) == sorted(ranking.scores, reverse=True)


def test_when_all_is_worse_than_stock_the_best_one_is_still_looked_at() -> None:
    study = number_study(candidates=10)
    bench = NumberBench(FakeClock(), ratio=lambda c: 0.8 if len(c) else 1.0, sigma=0.005)
    log = _search_only(whole_night(study, bench))
    assert len(rank(study, log, AskRanking(night=1, purpose="finalists"), at="now").trials) == 1


def test_one_configuration_under_two_numbers_is_one_finalist_and_stock_is_none() -> None:
    study, bench = number_study(candidates=6, finalists=6), NumberBench(FakeClock(), sigma=0.001)
    log: list[Event] = [night_begun()]
    fast = Configuration.of({BACKLOG.id: 8192})
    stock_again = Configuration.of({BACKLOG.id: 4096})
    for _ in drive(study, bench, log):
        last = log[-1]
        if isinstance(last, Proposal) and last.number > 1:
            log[-1] = last.model_copy(update={"configuration": stock_again if last.number == 2 else fast})
    ranking = next(one for one in log if isinstance(one, Ranking))
    assert ranking.trials[0] == 1
    assert len(ranking.trials) == 2
    assert 2 not in ranking.trials


def test_the_winner_is_chosen_from_fresh_pairs_alone() -> None:
    study = number_study(finalists=3, finalist_pairs=4, candidates=12)

    class Reversed(NumberBench):
        """All are equal, but the later a finalist was ranked, the better its fresh pairs."""

        def _disturbance(self, order: Measure) -> float:
            fresh = order.key.stage is Stage.FINALISTS and order.arm.kind == "trial"
            return super()._disturbance(order) + (0.03 * (order.key.block % 3) if fresh else 0.0)

    bench = Reversed(FakeClock(), ratio=lambda c: 1.1 if len(c) else 1.0, sigma=0.002)
    log = whole_night(study, bench)
    finalists = next(one for one in log if isinstance(one, Ranking))
    winner = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert winner.trials[0] == finalists.trials[2]
    assert winner.scores[0] == pytest.approx(math.log(1.1) + 0.06, abs=0.01)


def test_before_the_first_night_no_trial_has_a_score() -> None:
    assert trial_scores(number_study(), []) == {}
