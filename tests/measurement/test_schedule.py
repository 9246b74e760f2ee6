"""What comes next, in every stage and after every kind of mishap."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import pytest
from number_bench import (
    BOTH_ON,
    FakeClock,
    NumberBench,
    drive,
    night_begun,
    nothing_matters,
    number_study,
    pause,
    stand_in_proposal,
    whole_night,
)

from autotune.errors import AutotuneError
from autotune.experiment.bench import AskPlan, AskRanking, AskSampler, Finished, Measure
from autotune.experiment.events import (
    Arm,
    Event,
    Failure,
    Gap,
    NightEnded,
    Plan,
    Proposal,
    Ranking,
    Sample,
    SampleKey,
    Stage,
    Subsets,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step
from autotune.space.configuration import Configuration

Blame = Literal["", "configuration", "environment"]


def _bench(fails: Callable[[Measure], Blame] = lambda _: "", **more: float) -> NumberBench:
    bench = NumberBench(FakeClock(), fails=fails)
    for name, value in more.items():
        setattr(bench, name, value)
    return bench


def _samples(log: list[Event], stage: Stage, night: int = 1) -> list[Sample]:
    return [
        one for one in log if isinstance(one, Sample) and one.key.stage is stage and one.key.night == night
    ]


def _until(study: Study, bench: NumberBench, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    """The log of a night up to the first moment at which `wanted` holds."""
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        if wanted(log):
            return log
    raise AssertionError("never")


def _ended(log: list[Event]) -> NightEnded:
    last = log[-1]
    assert isinstance(last, NightEnded)
    return last


# --- the whole night


def test_a_night_has_all_its_stages_in_order_and_exactly_the_planned_samples() -> None:
    log = whole_night(number_study(attribution_rounds=3), _bench())
    samples = [one for one in log if isinstance(one, Sample)]
    subsets = next(one for one in log if isinstance(one, Subsets))
    stages = [one.key.stage for one in samples]
    assert stages == sorted(stages, key=list(Stage).index)
    references = 4  # at the start, after 3, after 6, at the end
    assert Counter(stages) == {
        Stage.CALIBRATION: 12,
        Stage.SEARCH: 8 + references,
        Stage.FINALISTS: 8,
        Stage.DISTILLATION: 8 * len(subsets.configurations),
        Stage.FINALS: 36,
        Stage.SERIES: 2 * 3,
        Stage.ATTRIBUTION: 3 * 4,  # two steps change something
    }
    assert _ended(log).outcome == "complete"
    assert len({one.key.text for one in samples}) == len(samples)


def test_asking_twice_changes_nothing() -> None:
    study, log = number_study(), whole_night(number_study(), _bench())
    before = list(log)
    assert next_step(study, log) == next_step(study, log)
    assert log == before


def test_without_a_night_there_is_no_next_step_but_a_clear_error() -> None:
    with pytest.raises(AutotuneError, match="no night"):
        next_step(number_study(), [])


def test_a_night_without_a_plan_asks_for_one_and_an_ended_one_stays_ended() -> None:
    assert next_step(number_study(), [night_begun()]) == AskPlan(night=1)
    ended = NightEnded(night=1, at="2025-01-01T23:00:00+00:00", outcome="refused", reason="loud")
    assert next_step(number_study(), [night_begun(), ended]) == Finished(
        night=1, outcome="refused", reason="loud"
    )


def test_the_latest_plan_of_the_night_rules() -> None:
    study = number_study()
    log = _until(study, _bench(), lambda log: len(_samples(log, Stage.SEARCH)) == 5)
    plan = next(one for one in log if isinstance(one, Plan))
    done = sum(one.arm.kind == "trial" for one in _samples(log, Stage.SEARCH))
    log.append(plan.model_copy(update={"candidates": done, "finals_rounds": 15, "series_rounds": 0}))
    for _ in drive(study, _bench(), log):
        pass
    assert sum(one.arm.kind == "trial" for one in _samples(log, Stage.SEARCH)) == done
    assert len(_samples(log, Stage.FINALS)) == 45
    assert not _samples(log, Stage.SERIES)


# --- calibration


def test_calibration_is_pairs_of_stock_through_the_full_path() -> None:
    log = whole_night(number_study(), _bench())
    keys = [(one.key.block, one.key.position) for one in _samples(log, Stage.CALIBRATION)]
    assert keys == [(block, position) for block in range(6) for position in (0, 1)]
    assert all(
        one.arm.kind == "stock" and not len(one.configuration) for one in _samples(log, Stage.CALIBRATION)
    )


class _Biased(NumberBench):
    """Favours the first of even pairs and the second of odd ones, as no drift would, in blocks below `until`."""

    until = 0

    def _disturbance(self, order: Measure) -> float:
        tilt = 0.02 if (order.key.block + order.key.position) % 2 == 0 else 0.0
        biased = order.key.stage is Stage.CALIBRATION and order.key.block < self.until
        return super()._disturbance(order) + (tilt if biased else 0.0)


@pytest.mark.parametrize(("until", "samples"), [(0, 12), (6, 24), (100, 24)])
def test_a_calibration_that_shows_a_difference_is_repeated_once_and_no_more(until: int, samples: int) -> None:
    bench = _Biased(FakeClock(), sigma=0.002)
    bench.until = until
    log = whole_night(number_study(), bench)
    assert len(_samples(log, Stage.CALIBRATION)) == samples
    assert _ended(log).outcome == "complete"


def test_a_board_too_loud_is_refused_unless_the_study_accepts_noise() -> None:
    log = whole_night(number_study(), _bench(sigma=0.08))
    assert _ended(log).outcome == "refused"
    assert "accept_noise" in _ended(log).reason
    assert not _samples(log, Stage.SEARCH)
    accepted = whole_night(number_study(accept_noise=True), _bench(sigma=0.08))
    assert _ended(accepted).outcome == "complete"


# --- search


def test_trial_0_is_stock_and_never_measured_and_trial_1_is_hand_tuned() -> None:
    log = whole_night(number_study(), _bench())
    proposals = [one for one in log if isinstance(one, Proposal)]
    assert [one.number for one in proposals] == list(range(9))
    assert [one.origin for one in proposals[:2]] == ["stock", "hand-tuned"]
    trials = [one.arm.number for one in _samples(log, Stage.SEARCH) if one.arm.kind == "trial"]
    assert trials == list(range(1, 9))
    assert (
        next(one for one in log if isinstance(one, Sample) and one.arm.number == 1).configuration == BOTH_ON
    )


def test_stock_is_measured_first_after_every_few_trials_and_last() -> None:
    log = whole_night(number_study(candidates=7), _bench())
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in _samples(log, Stage.SEARCH))
    assert kinds == "stttstttsts"


def test_a_search_that_ends_on_a_reference_needs_no_second_one() -> None:
    log = whole_night(number_study(candidates=6), _bench())
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in _samples(log, Stage.SEARCH))
    assert kinds == "sttts" + "ttts"


def test_a_gap_is_followed_by_a_reference() -> None:
    study, bench = number_study(), _bench()
    log = _until(
        study, bench, lambda log: [one.arm.kind for one in _samples(log, Stage.SEARCH)] == ["stock", "trial"]
    )
    assert not isinstance(next_step(study, log), Measure)
    log.append(pause(bench, 1, 600))
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.arm.kind == "stock"
    log.append(bench.measure(step).event)
    assert isinstance(next_step(study, log), AskSampler)


def test_a_long_pause_between_two_samples_is_a_gap_too_even_when_nobody_noted_it() -> None:
    study, bench = number_study(), _bench()
    log = _until(
        study, bench, lambda log: [one.arm.kind for one in _samples(log, Stage.SEARCH)] == ["stock", "trial"]
    )
    bench.clock.now_s += 300
    steps = drive(study, bench, log)
    while len(_samples(log, Stage.SEARCH)) < 4:
        next(steps)
    assert [one.arm.kind for one in _samples(log, Stage.SEARCH)] == ["stock", "trial", "trial", "stock"]


def test_samples_longer_than_two_minutes_are_no_gaps() -> None:
    bench = _bench(sample_s=300.0)
    log = whole_night(number_study(candidates=6), bench)
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in _samples(log, Stage.SEARCH))
    assert kinds == "stttsttts"


def test_a_stored_proposal_without_a_sample_is_measured_under_its_own_number() -> None:
    study, bench = number_study(), _bench()
    log = _until(study, bench, lambda log: isinstance(log[-1], Proposal) and log[-1].number == 3)
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.arm == Arm(kind="trial", number=3)


def test_an_environmental_failure_is_taken_again_three_times_and_then_given_up() -> None:
    bench = _bench(lambda order: "environment" if order.arm.number == 4 else "")
    log = whole_night(number_study(), bench)
    failures = [one for one in log if isinstance(one, Failure)]
    assert [one.key.attempt for one in failures] == [0, 1, 2, 3]
    assert len({(one.key.block, one.key.position) for one in failures}) == 1
    ranking = next(one for one in log if isinstance(one, Ranking))
    assert 4 not in ranking.trials
    assert _ended(log).outcome == "complete"


def test_a_sample_that_succeeds_when_taken_again_counts() -> None:
    bench = _bench(lambda order: "environment" if order.arm.number == 4 and order.key.attempt < 3 else "")
    log = whole_night(number_study(), bench)
    assert [one.key.attempt for one in _samples(log, Stage.SEARCH) if one.arm.number == 4] == [3]


def test_a_configuration_that_failed_is_never_tried_again_under_any_number() -> None:
    study = number_study()
    bench = _bench(lambda order: "configuration" if order.arm.number == 2 else "")
    log = _until(study, bench, lambda log: isinstance(log[-1], Failure))
    failed = log[-1]
    assert isinstance(failed, Failure)
    log.append(
        Proposal(night=1, number=3, at=bench.clock.at, origin="sampler", configuration=failed.configuration)
    )
    assert next_step(study, log) == AskSampler(night=1, number=4)


def test_after_three_failures_in_a_row_stock_has_to_show_that_the_board_works() -> None:
    study = number_study(reference_every=50)
    bench = _bench(lambda order: "configuration" if order.arm.number in (2, 3, 4) else "")
    log = whole_night(study, bench)
    order = [
        ("f" if isinstance(one, Failure) else "s" if one.arm.kind == "stock" else "t")
        for one in log
        if isinstance(one, (Sample, Failure)) and one.key.stage is Stage.SEARCH
    ]
    assert "".join(order) == "stfffstttts"
    assert _ended(log).outcome == "complete"


def test_when_stock_fails_after_three_failures_in_a_row_the_night_ends() -> None:
    def fails(order: Measure) -> Blame:
        return "configuration" if order.key.stage is Stage.SEARCH and order.key.block > 1 else ""

    bench = _bench(fails)
    log = whole_night(number_study(reference_every=50), bench)
    assert _ended(log).outcome == "systemic failure"
    assert bench.orders[-1].arm.kind == "stock"
    assert bench.orders[-1].key.attempt == 0


@pytest.mark.parametrize(
    "stage", [one for one in Stage if one is not Stage.DISTILLATION]
)  # which has no stock
@pytest.mark.parametrize("blame", ["configuration", "environment"])
def test_stock_that_fails_in_all_its_retakes_ends_the_night_in_any_stage(stage: Stage, blame: Blame) -> None:
    def fails(order: Measure) -> Blame:
        return blame if order.key.stage is stage and not len(order.configuration) else ""

    bench = _bench(fails)
    log = whole_night(number_study(attribution_rounds=1), bench)
    assert _ended(log).outcome == "systemic failure"
    assert [order.key.attempt for order in bench.orders[-4:]] == [0, 1, 2, 3]


# --- void


def test_a_voided_sample_is_taken_again_under_the_next_attempt() -> None:
    study, bench = number_study(), _bench()
    log = _until(study, bench, lambda log: len(_samples(log, Stage.SEARCH)) == 3)
    void = _samples(log, Stage.SEARCH)[1]
    log.append(Void(key=void.key, at=bench.clock.at, reason="the clock was set"))
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.key == void.key.model_copy(update={"attempt": 1})
    assert (step.arm, step.configuration) == (void.arm, void.configuration)


def test_a_void_in_a_stage_that_is_over_does_not_turn_the_night_back() -> None:
    study, bench = number_study(), _bench()
    log = _until(study, bench, lambda log: len(_samples(log, Stage.FINALS)) == 3)
    for stage in (Stage.CALIBRATION, Stage.SEARCH, Stage.FINALISTS):
        log.append(Void(key=_samples(log, stage)[-1].key, at=bench.clock.at, reason="test"))
    for _ in drive(study, bench, log):
        pass
    assert _ended(log).outcome == "complete"
    assert max(one.key.attempt for one in log if isinstance(one, Sample)) == 0


# --- finalists and finals


def test_finalists_meet_stock_in_fresh_pairs_that_are_spread_over_time() -> None:
    log = whole_night(number_study(finalists=3, finalist_pairs=4, candidates=12), _bench())
    ranking = next(one for one in log if isinstance(one, Ranking) and one.purpose == "finalists")
    samples = _samples(log, Stage.FINALISTS)
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

    log = whole_night(number_study(), _bench(fails))
    assert len(lost) == 4
    assert len(_samples(log, Stage.FINALISTS)) == 6
    assert _ended(log).outcome == "complete"


def test_a_finalist_that_fails_by_its_own_fault_is_dropped_and_never_wins() -> None:
    first: list[int] = []

    def fails(order: Measure) -> Blame:
        if order.key.stage is Stage.FINALISTS and order.arm.kind == "trial" and order.key.block == 0:
            first.append(order.arm.number)
            return "configuration"
        return ""

    log = whole_night(number_study(), _bench(fails))
    winner = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert len(first) == 1
    assert first[0] not in winner.trials


def test_when_nothing_beats_stock_automatic_is_stock_and_is_measured_all_the_same() -> None:
    bench = _bench()
    bench.ratio = lambda configuration: 0.9 if len(configuration) else 1.0
    log = whole_night(number_study(), bench)
    assert [one.trials for one in log if isinstance(one, Ranking) and one.purpose == "winner"] == [()]
    automatic = [one for one in _samples(log, Stage.FINALS) if one.arm.kind == "automatic"]
    assert len(automatic) == 12
    assert all(one.configuration == Configuration() for one in automatic)


def test_the_finals_are_rounds_of_three_arms_in_latin_squares() -> None:
    log = whole_night(number_study(finals_rounds=24), _bench())
    samples = _samples(log, Stage.FINALS)
    for block in range(24):
        mine = [one for one in samples if one.key.block == block]
        assert {one.arm.kind for one in mine} == {"stock", "hand-tuned", "automatic"}
    places = Counter((one.arm.kind, one.key.position) for one in samples)
    assert set(places.values()) == {8}


def test_without_a_hand_tuned_sequence_there_are_two_arms_and_no_series() -> None:
    log = whole_night(number_study(), _bench(), night_begun(hand_tuned=False))
    arms = Counter(one.arm.kind for one in _samples(log, Stage.FINALS))
    assert arms == {"stock": 12, "automatic": 12}
    assert Counter((one.arm.kind, one.key.position) for one in _samples(log, Stage.FINALS)) == {
        (kind, position): 6 for kind in ("stock", "automatic") for position in (0, 1)
    }
    assert not _samples(log, Stage.SERIES)


def test_a_hand_tuned_arm_that_fails_leaves_the_other_two_to_finish() -> None:
    log = whole_night(
        number_study(), _bench(lambda order: "configuration" if order.arm.kind == "hand-tuned" else "")
    )
    arms = Counter(one.arm.kind for one in _samples(log, Stage.FINALS))
    assert arms == {"stock": 12, "automatic": 12}
    assert sum(isinstance(one, Failure) for one in log) == 1
    assert _ended(log).outcome == "complete"


def test_one_broken_run_under_load_does_not_cost_an_arm_its_finals() -> None:
    broken: list[str] = []

    def once(order: Measure) -> Blame:
        if order.arm.kind == "hand-tuned" and order.key.stage is Stage.FINALS and not broken:
            broken.append(order.key.text)
            return "configuration"
        return ""

    bench = _bench(once)
    bench.own_fault = "gate"
    log = whole_night(number_study(), bench)
    arms = Counter(one.arm.kind for one in _samples(log, Stage.FINALS))
    assert arms == {"stock": 12, "hand-tuned": 12, "automatic": 12}
    assert broken


def test_an_arm_that_breaks_twice_in_one_place_of_the_finals_is_out() -> None:
    bench = _bench(lambda order: "configuration" if order.arm.kind == "hand-tuned" else "")
    bench.own_fault = "gate"
    log = whole_night(number_study(), bench)
    assert sum(isinstance(one, Failure) for one in log) == 2
    assert Counter(one.arm.kind for one in _samples(log, Stage.FINALS)) == {"stock": 12, "automatic": 12}


def test_the_series_measures_each_distinct_step_once_a_round_with_stock_as_step_0() -> None:
    log = whole_night(number_study(series_rounds=6), _bench())
    samples = _samples(log, Stage.SERIES)
    assert all(one.arm.kind == "step" for one in samples)
    rounds = [[one.arm.number for one in samples if one.key.block == block] for block in range(6)]
    assert all(sorted(one) == [0, 1, 3] for one in rounds)  # step 2 changes nothing here
    assert len({tuple(one) for one in rounds}) > 1


# --- several nights


def test_a_second_evening_goes_on_with_the_numbers_and_has_its_own_calibration_and_finals() -> None:
    study, bench = number_study(), _bench()
    log = whole_night(study, bench)
    bench.clock.now_s += 86_400
    log.append(night_begun(2, bench.clock.at))
    for _ in drive(study, bench, log):
        pass
    numbers = [one.number for one in log if isinstance(one, Proposal)]
    assert numbers == list(range(17))
    assert len(_samples(log, Stage.CALIBRATION, night=2)) == 12
    assert len(_samples(log, Stage.FINALS, night=2)) == 36


def test_a_proposal_that_a_dead_night_left_behind_is_the_first_of_the_next() -> None:
    study, bench = number_study(), _bench()
    log = _until(study, bench, lambda log: isinstance(log[-1], Proposal) and log[-1].number == 5)
    log.append(NightEnded(night=1, at=bench.clock.at, outcome="abandoned"))
    log.append(night_begun(2, bench.clock.at))
    for _ in drive(study, bench, log):
        pass
    trials = [one.arm.number for one in _samples(log, Stage.SEARCH, night=2) if one.arm.kind == "trial"]
    assert trials == list(range(5, 13))  # number 5 is one of the night's 8 candidates


def test_what_failed_in_one_night_stays_barred_in_the_next() -> None:
    study = number_study()
    bench = _bench(lambda order: "configuration" if order.arm.number == 2 else "")
    log = whole_night(study, bench)
    bench.fails = lambda _order: ""
    log.append(night_begun(2, bench.clock.at))
    failed = next(one for one in log if isinstance(one, Failure))
    for _ in drive(study, bench, log):
        pass
    assert not any(isinstance(one, Sample) and one.configuration == failed.configuration for one in log)


def test_a_null_night_of_equal_configurations_still_ends() -> None:
    bench = _bench()
    bench.ratio = nothing_matters
    assert _ended(whole_night(number_study(), bench)).outcome == "complete"


def test_a_decision_on_a_log_of_ten_thousand_events_takes_less_than_a_third_of_a_second() -> None:
    study = number_study(candidates=10_000, reference_every=50)
    bench = _bench()
    log = _until(study, bench, lambda log: len(_samples(log, Stage.SEARCH)) == 1)
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
    study, bench = number_study(), _bench()
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
