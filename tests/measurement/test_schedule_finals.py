"""What comes next from the finalists on, in a second night, and in a log of ten thousand events."""

from __future__ import annotations

import itertools
import time
from collections import Counter

from number_bench import (
    drive,
    night_begun,
    nothing_matters,
    number_study,
    stand_in_proposal,
    whole_night,
)
from schedule_nights import Blame, a_bench, how_it_ended, log_until, samples_of

from autotune.experiment.bench import AskRanking, AskSampler, Measure
from autotune.experiment.events import (
    Arm,
    Event,
    Failure,
    Gap,
    NightEnded,
    Proposal,
    Ranking,
    Sample,
    SampleKey,
    Stage,
)
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step
from autotune.space.configuration import Configuration

# --- finalists and finals


def test_finalists_meet_stock_in_fresh_pairs_that_are_spread_over_time() -> None:
    log = whole_night(number_study(finalists=3, finalist_pairs=4, candidates=12), a_bench())
    ranking = next(one for one in log if isinstance(one, Ranking) and one.purpose == "finalists")
    samples = samples_of(log, Stage.FINALISTS)
    assert len(ranking.trials) == 3
    pairs = [samples[index : index + 2] for index in range(0, len(samples), 2)]
    turns = [next(one.arm.number for one in pair if one.arm.kind == "trial") for pair in pairs]
    assert turns == list(ranking.trials) * 4
    for number in ranking.trials:
        firsts = [pair[0].arm.kind for pair, turn in zip(pairs, turns, strict=True) if turn == number]
        assert sorted(firsts) == ["stock", "stock", "trial", "trial"]
        assert all(first != second for first, second in itertools.pairwise(firsts))


def test_a_pair_that_lost_a_member_is_left_incomplete_and_the_night_goes_on() -> None:
    lost: list[SampleKey] = []

    def fails(order: Measure) -> Blame:
        if order.key.stage is Stage.FINALISTS and order.arm.kind == "trial" and order.key.block == 0:
            lost.append(order.key)
            return "environment"
        return ""

    log = whole_night(number_study(), a_bench(fails))
    assert len(lost) == 4
    assert len(samples_of(log, Stage.FINALISTS)) == 6
    assert how_it_ended(log).outcome == "complete"


def test_a_finalist_that_fails_by_its_own_fault_is_dropped_and_never_wins() -> None:
    first: list[int] = []

    def fails(order: Measure) -> Blame:
        if order.key.stage is Stage.FINALISTS and order.arm.kind == "trial" and order.key.block == 0:
            first.append(order.arm.number)
            return "configuration"
        return ""

    log = whole_night(number_study(), a_bench(fails))
    winner = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert len(first) == 1
    assert first[0] not in winner.trials


def test_when_nothing_beats_stock_automatic_is_stock_and_is_measured_all_the_same() -> None:
    bench = a_bench()
    bench.ratio = lambda configuration: 0.9 if len(configuration) else 1.0
    log = whole_night(number_study(), bench)
    assert [one.trials for one in log if isinstance(one, Ranking) and one.purpose == "winner"] == [()]
    automatic = [one for one in samples_of(log, Stage.FINALS) if one.arm.kind == "automatic"]
    assert len(automatic) == 12
    assert all(one.configuration == Configuration() for one in automatic)


def test_the_finals_are_rounds_of_three_arms_in_latin_squares() -> None:
    log = whole_night(number_study(finals_rounds=24), a_bench())
    samples = samples_of(log, Stage.FINALS)
    for block in range(24):
        mine = [one for one in samples if one.key.block == block]
        assert {one.arm.kind for one in mine} == {"stock", "hand-tuned", "automatic"}
    places = Counter((one.arm.kind, one.key.position) for one in samples)
    assert set(places.values()) == {8}


def test_without_a_hand_tuned_sequence_there_are_two_arms_and_no_series() -> None:
    log = whole_night(number_study(), a_bench(), night_begun(hand_tuned=False))
    arms = Counter(one.arm.kind for one in samples_of(log, Stage.FINALS))
    assert arms == {"stock": 12, "automatic": 12}
    assert Counter((one.arm.kind, one.key.position) for one in samples_of(log, Stage.FINALS)) == {
        (kind, position): 6 for kind in ("stock", "automatic") for position in (0, 1)
    }
    assert not samples_of(log, Stage.SERIES)


def test_a_hand_tuned_arm_that_fails_leaves_the_other_two_to_finish() -> None:
    log = whole_night(
        number_study(), a_bench(lambda order: "configuration" if order.arm.kind == "hand-tuned" else "")
    )
    arms = Counter(one.arm.kind for one in samples_of(log, Stage.FINALS))
    assert arms == {"stock": 12, "automatic": 12}
    assert sum(isinstance(one, Failure) for one in log) == 1
    assert how_it_ended(log).outcome == "complete"


def test_one_broken_run_under_load_does_not_cost_an_arm_its_finals() -> None:
    broken: list[str] = []

    def once(order: Measure) -> Blame:
        if order.arm.kind == "hand-tuned" and order.key.stage is Stage.FINALS and not broken:
            broken.append(order.key.text)
            return "configuration"
        return ""

    bench = a_bench(once)
    bench.own_fault = "gate"
    log = whole_night(number_study(), bench)
    arms = Counter(one.arm.kind for one in samples_of(log, Stage.FINALS))
    assert arms == {"stock": 12, "hand-tuned": 12, "automatic": 12}
    assert broken


def test_an_arm_that_breaks_twice_in_one_place_of_the_finals_is_out() -> None:
    bench = a_bench(lambda order: "configuration" if order.arm.kind == "hand-tuned" else "")
    bench.own_fault = "gate"
    log = whole_night(number_study(), bench)
    assert sum(isinstance(one, Failure) for one in log) == 2
    assert Counter(one.arm.kind for one in samples_of(log, Stage.FINALS)) == {"stock": 12, "automatic": 12}


def test_the_series_measures_each_distinct_step_once_a_round_with_stock_as_step_0() -> None:
    log = whole_night(number_study(series_rounds=6), a_bench())
    samples = samples_of(log, Stage.SERIES)
    assert all(one.arm.kind == "step" for one in samples)
    rounds = [[one.arm.number for one in samples if one.key.block == block] for block in range(6)]
    assert all(sorted(one) == [0, 1, 3] for one in rounds)  # step 2 changes nothing here
    assert len({tuple(one) for one in rounds}) > 1


# --- several nights


def test_a_second_evening_goes_on_with_the_numbers_and_has_its_own_calibration_and_finals() -> None:
    study, bench = number_study(), a_bench()
    log = whole_night(study, bench)
    bench.clock.now_s += 86_400
    log.append(night_begun(2, bench.clock.at))
    for _ in drive(study, bench, log):
        pass
    numbers = [one.number for one in log if isinstance(one, Proposal)]
    assert numbers == list(range(17))
    assert len(samples_of(log, Stage.CALIBRATION, night=2)) == 12
    assert len(samples_of(log, Stage.FINALS, night=2)) == 36


def test_a_proposal_that_a_dead_night_left_behind_is_the_first_of_the_next() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(study, bench, lambda log: isinstance(log[-1], Proposal) and log[-1].number == 5)
    log.append(NightEnded(night=1, at=bench.clock.at, outcome="abandoned"))
    log.append(night_begun(2, bench.clock.at))
    for _ in drive(study, bench, log):
        pass
    trials = [one.arm.number for one in samples_of(log, Stage.SEARCH, night=2) if one.arm.kind == "trial"]
    assert trials == list(range(5, 13))  # number 5 is one of the night's 8 candidates


def test_what_failed_in_one_night_stays_barred_in_the_next() -> None:
    study = number_study()
    bench = a_bench(lambda order: "configuration" if order.arm.number == 2 else "")
    log = whole_night(study, bench)
    bench.fails = lambda _order: ""
    log.append(night_begun(2, bench.clock.at))
    failed = next(one for one in log if isinstance(one, Failure))
    for _ in drive(study, bench, log):
        pass
    assert not any(isinstance(one, Sample) and one.configuration == failed.configuration for one in log)


def test_a_null_night_of_equal_configurations_still_ends() -> None:
    bench = a_bench()
    bench.ratio = nothing_matters
    assert how_it_ended(whole_night(number_study(), bench)).outcome == "complete"


def test_a_decision_on_a_log_of_ten_thousand_events_takes_less_than_a_third_of_a_second() -> None:
    study = number_study(candidates=10_000, reference_every=50)
    bench = a_bench()
    log = log_until(study, bench, lambda log: len(samples_of(log, Stage.SEARCH)) == 1)
    number, block = 0, 1
    while len(log) < 10_000:
        log.append(stand_in_proposal(study, log, AskSampler(night=1, number=number), bench.clock.at))
        if number:
            arm = Arm(kind="trial", number=number)
            key = SampleKey(night=1, stage=Stage.SEARCH, block=block, position=0)
            proposal = log[-1]
            assert isinstance(proposal, Proposal)
            log.append(bench.measure(Measure(key=key, arm=arm, configuration=proposal.configuration)).event)
            block += 1
        number += 1
    best_s = min(_timed(study, log) for _ in range(5))
    assert best_s < 0.3


def _timed(study: Study, log: list[Event]) -> float:
    began = time.perf_counter()
    next_step(study, log)
    return time.perf_counter() - began


def test_a_ranking_is_asked_for_where_the_search_is_over_and_again_after_the_pairs() -> None:
    study, bench = number_study(), a_bench()
    asked: list[tuple[str, Stage | None]] = []
    log: list[Event] = [night_begun()]
    last: Stage | None = None
    for step in drive(study, bench, log):
        if isinstance(step, Measure):
            last = step.key.stage
        if isinstance(step, AskRanking):
            asked.append((step.purpose, last))
    assert asked == [("finalists", Stage.SEARCH), ("winner", Stage.FINALISTS)]
    assert not any(isinstance(one, Gap) for one in log)
