"""What comes next, in every stage and after every kind of mishap."""

from __future__ import annotations

from collections import Counter

import pytest
from number_bench import (
    BOTH_ON,
    FakeClock,
    NumberBench,
    drive,
    night_begun,
    number_study,
    pause,
    whole_night,
)
from schedule_nights import Blame, a_bench, how_it_ended, log_until, samples_of

from autotune.errors import AutotuneError
from autotune.experiment.bench import AskPlan, AskSampler, Finished, Measure
from autotune.experiment.events import (
    Arm,
    Failure,
    NightEnded,
    Plan,
    Proposal,
    Ranking,
    Sample,
    Stage,
    Subsets,
    Void,
)
from autotune.measurement.schedule import next_step

# --- the whole night


def test_a_night_has_all_its_stages_in_order_and_exactly_the_planned_samples() -> None:
    log = whole_night(number_study(attribution_rounds=3), a_bench())
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
    assert how_it_ended(log).outcome == "complete"
    assert len({one.key.text for one in samples}) == len(samples)


def test_asking_twice_changes_nothing() -> None:
    study, log = number_study(), whole_night(number_study(), a_bench())
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
    log = log_until(study, a_bench(), lambda log: len(samples_of(log, Stage.SEARCH)) == 5)
    plan = next(one for one in log if isinstance(one, Plan))
    done = sum(one.arm.kind == "trial" for one in samples_of(log, Stage.SEARCH))
    log.append(plan.model_copy(update={"candidates": done, "finals_rounds": 15, "series_rounds": 0}))
    for _ in drive(study, a_bench(), log):
        pass
    assert sum(one.arm.kind == "trial" for one in samples_of(log, Stage.SEARCH)) == done
    assert len(samples_of(log, Stage.FINALS)) == 45
    assert not samples_of(log, Stage.SERIES)


# --- calibration


def test_calibration_is_pairs_of_stock_through_the_full_path() -> None:
    log = whole_night(number_study(), a_bench())
    keys = [(one.key.block, one.key.position) for one in samples_of(log, Stage.CALIBRATION)]
    assert keys == [(block, position) for block in range(6) for position in (0, 1)]
    assert all(
        one.arm.kind == "stock" and not len(one.configuration) for one in samples_of(log, Stage.CALIBRATION)
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
    assert len(samples_of(log, Stage.CALIBRATION)) == samples
    assert how_it_ended(log).outcome == "complete"


def test_a_board_too_loud_is_refused_unless_the_study_accepts_noise() -> None:
    log = whole_night(number_study(), a_bench(sigma=0.08))
    assert how_it_ended(log).outcome == "refused"
    assert "accept_noise" in how_it_ended(log).reason
    assert not samples_of(log, Stage.SEARCH)
    accepted = whole_night(number_study(accept_noise=True), a_bench(sigma=0.08))
    assert how_it_ended(accepted).outcome == "complete"


# --- search


def test_trial_0_is_stock_and_never_measured_and_trial_1_is_hand_tuned() -> None:
    log = whole_night(number_study(), a_bench())
    proposals = [one for one in log if isinstance(one, Proposal)]
    assert [one.number for one in proposals] == list(range(9))
    assert [one.origin for one in proposals[:2]] == ["stock", "hand-tuned"]
    trials = [one.arm.number for one in samples_of(log, Stage.SEARCH) if one.arm.kind == "trial"]
    assert trials == list(range(1, 9))
    assert (
        next(one for one in log if isinstance(one, Sample) and one.arm.number == 1).configuration == BOTH_ON
    )


def test_stock_is_measured_first_after_every_few_trials_and_last() -> None:
    log = whole_night(number_study(candidates=7), a_bench())
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in samples_of(log, Stage.SEARCH))
    assert kinds == "stttstttsts"


def test_a_search_that_ends_on_a_reference_needs_no_second_one() -> None:
    log = whole_night(number_study(candidates=6), a_bench())
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in samples_of(log, Stage.SEARCH))
    assert kinds == "sttts" + "ttts"


def test_a_gap_is_followed_by_a_reference() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(
        study,
        bench,
        lambda log: [one.arm.kind for one in samples_of(log, Stage.SEARCH)] == ["stock", "trial"],
    )
    assert not isinstance(next_step(study, log), Measure)
    log.append(pause(bench, 1, 600))
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.arm.kind == "stock"
    log.append(bench.measure(step).event)
    assert isinstance(next_step(study, log), AskSampler)


def test_a_long_pause_between_two_samples_is_a_gap_too_even_when_nobody_noted_it() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(
        study,
        bench,
        lambda log: [one.arm.kind for one in samples_of(log, Stage.SEARCH)] == ["stock", "trial"],
    )
    bench.clock.now_s += 300
    steps = drive(study, bench, log)
    while len(samples_of(log, Stage.SEARCH)) < 4:
        next(steps)
    assert [one.arm.kind for one in samples_of(log, Stage.SEARCH)] == ["stock", "trial", "trial", "stock"]


def test_samples_longer_than_two_minutes_are_no_gaps() -> None:
    bench = a_bench(sample_s=300.0)
    log = whole_night(number_study(candidates=6), bench)
    kinds = "".join("s" if one.arm.kind == "stock" else "t" for one in samples_of(log, Stage.SEARCH))
    assert kinds == "stttsttts"


def test_a_stored_proposal_without_a_sample_is_measured_under_its_own_number() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(study, bench, lambda log: isinstance(log[-1], Proposal) and log[-1].number == 3)
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.arm == Arm(kind="trial", number=3)


def test_an_environmental_failure_is_taken_again_three_times_and_then_given_up() -> None:
    bench = a_bench(lambda order: "environment" if order.arm.number == 4 else "")
    log = whole_night(number_study(), bench)
    failures = [one for one in log if isinstance(one, Failure)]
    assert [one.key.attempt for one in failures] == [0, 1, 2, 3]
    assert len({(one.key.block, one.key.position) for one in failures}) == 1
    ranking = next(one for one in log if isinstance(one, Ranking))
    assert 4 not in ranking.trials
    assert how_it_ended(log).outcome == "complete"


def test_a_sample_that_succeeds_when_taken_again_counts() -> None:
    bench = a_bench(lambda order: "environment" if order.arm.number == 4 and order.key.attempt < 3 else "")
    log = whole_night(number_study(), bench)
    assert [one.key.attempt for one in samples_of(log, Stage.SEARCH) if one.arm.number == 4] == [3]


def test_a_configuration_that_failed_is_never_tried_again_under_any_number() -> None:
    study = number_study()
    bench = a_bench(lambda order: "configuration" if order.arm.number == 2 else "")
    log = log_until(study, bench, lambda log: isinstance(log[-1], Failure))
    failed = log[-1]
    assert isinstance(failed, Failure)
    log.append(
        Proposal(night=1, number=3, at=bench.clock.at, origin="sampler", configuration=failed.configuration)
    )
    assert next_step(study, log) == AskSampler(night=1, number=4)


def test_after_three_failures_in_a_row_stock_has_to_show_that_the_board_works() -> None:
    study = number_study(reference_every=50)
    bench = a_bench(lambda order: "configuration" if order.arm.number in (2, 3, 4) else "")
    log = whole_night(study, bench)
    order = [
        ("f" if isinstance(one, Failure) else "s" if one.arm.kind == "stock" else "t")
        for one in log
        if isinstance(one, (Sample, Failure)) and one.key.stage is Stage.SEARCH
    ]
    assert "".join(order) == "stfffstttts"
    assert how_it_ended(log).outcome == "complete"


def test_when_stock_fails_after_three_failures_in_a_row_the_night_ends() -> None:
    def fails(order: Measure) -> Blame:
        return "configuration" if order.key.stage is Stage.SEARCH and order.key.block > 1 else ""

    bench = a_bench(fails)
    log = whole_night(number_study(reference_every=50), bench)
    assert how_it_ended(log).outcome == "systemic failure"
    assert bench.orders[-1].arm.kind == "stock"
    assert bench.orders[-1].key.attempt == 0


@pytest.mark.parametrize(
    "stage", [one for one in Stage if one is not Stage.DISTILLATION]
)  # which has no stock
@pytest.mark.parametrize("blame", ["configuration", "environment"])
def test_stock_that_fails_in_all_its_retakes_ends_the_night_in_any_stage(stage: Stage, blame: Blame) -> None:
    def fails(order: Measure) -> Blame:
        return blame if order.key.stage is stage and not len(order.configuration) else ""

    bench = a_bench(fails)
    log = whole_night(number_study(attribution_rounds=1), bench)
    assert how_it_ended(log).outcome == "systemic failure"
    assert [order.key.attempt for order in bench.orders[-4:]] == [0, 1, 2, 3]


# --- void


def test_a_voided_sample_is_taken_again_under_the_next_attempt() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(study, bench, lambda log: len(samples_of(log, Stage.SEARCH)) == 3)
    void = samples_of(log, Stage.SEARCH)[1]
    log.append(Void(key=void.key, at=bench.clock.at, reason="the clock was set"))
    step = next_step(study, log)
    assert isinstance(step, Measure)
    assert step.key == void.key.model_copy(update={"attempt": 1})
    assert (step.arm, step.configuration) == (void.arm, void.configuration)


def test_a_void_in_a_stage_that_is_over_does_not_turn_the_night_back() -> None:
    study, bench = number_study(), a_bench()
    log = log_until(study, bench, lambda log: len(samples_of(log, Stage.FINALS)) == 3)
    for stage in (Stage.CALIBRATION, Stage.SEARCH, Stage.FINALISTS):
        log.append(Void(key=samples_of(log, stage)[-1].key, at=bench.clock.at, reason="test"))
    for _ in drive(study, bench, log):
        pass
    assert how_it_ended(log).outcome == "complete"
    assert max(one.key.attempt for one in log if isinstance(one, Sample)) == 0
