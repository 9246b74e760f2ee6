"""How a night's time is shared out, and what gives way."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from number_bench import FakeClock, NumberBench, drive, night_begun, number_study, whole_night

from autotune.experiment.events import Event, Plan, Sample, Stage, Subsets
from autotune.experiment.study import LatencyCheck, Limit, Study
from autotune.measurement.planning import (
    estimated_sample_s,
    expected_samples,
    plan_night,
    plan_summary,
    shortened,
    smallest_visible_difference,
)


def _plan(study: Study, hours: float | None, sample_s: float = 21.0, trials: int | None = None) -> Plan:
    deadline_s = None if hours is None else 1000 + hours * 3600
    return plan_night(
        study, [night_begun()], at="now", now_s=1000, deadline_s=deadline_s, sample_s=sample_s, trials=trials
    )


def _total(study: Study, plan: Plan) -> int:
    return sum(expected_samples(study, [night_begun(), plan]).values())


def test_without_a_deadline_the_budget_is_the_plan_and_sixty_candidates_the_default() -> None:
    assert _plan(number_study(candidates=17), None).candidates == 17
    assert _plan(number_study(candidates=None), None).candidates == 60


def test_nine_hours_at_21_seconds_hold_about_1500_samples_and_the_search_gets_what_is_left() -> None:
    study = number_study(candidates=None, reference_every=4, finals_rounds=24, series_rounds=6)
    plan = _plan(study, 9)
    assert _total(study, plan) == pytest.approx(9 * 3600 / 21 * 0.95, abs=6)
    assert plan.finals_rounds == 24
    assert plan.candidates > 950


def test_hours_in_the_budget_are_a_deadline() -> None:
    study = number_study(candidates=None, hours=2.0)
    assert _plan(study, None) == _plan(study, 2)


@settings(max_examples=300, deadline=None, derandomize=True)
@example(1.0, 58.0, 6, 12, 0)  # fits, but for the reserve
@example(1.0, 61.5, 6, 12, 0)  # doesn't
@given(
    st.floats(0.01, 12),
    st.floats(2, 60),
    st.integers(6, 30),
    st.sampled_from([12, 24, 60]),
    st.integers(0, 10),
)
def test_a_plan_fits_its_time_or_says_that_it_does_not(
    hours: float, sample_s: float, pairs: int, finals: int, series: int
) -> None:
    study = number_study(candidates=None, calibration_pairs=pairs, finals_rounds=finals, series_rounds=series)
    plan = _plan(study, hours, sample_s)
    assert plan.finals_rounds >= 12
    assert plan.finals_rounds % 3 == 0
    assert plan.calibration_pairs >= 6
    assert plan.candidates >= 1
    left_s = (1000 + hours * 3600) - 1000
    fits = _total(study, plan) * sample_s <= left_s
    assert fits != ("late" in plan.reason)
    keeps_reserve = _total(study, plan) * sample_s <= left_s * 0.95
    assert keeps_reserve == ("late" not in plan.reason and "re-takes" not in plan.reason)


def test_a_plan_names_only_the_cuts_that_cut_something() -> None:
    reason = _plan(number_study(candidates=None, series_rounds=0, calibration_pairs=6), 0.3).reason
    assert "series" not in reason
    assert "calibration" not in reason


def test_the_finals_are_the_last_to_give_way() -> None:
    study = number_study(candidates=None, finals_rounds=24, series_rounds=6, calibration_pairs=12)
    shares = [_plan(study, hours) for hours in (2.0, 1.0, 0.8, 0.6, 0.3)]
    cut = [plan.finals_rounds < 24 for plan in shares]
    assert cut == sorted(cut)
    for plan in shares:
        assert plan.finals_rounds == 24 or plan.series_rounds == 0


def test_trials_on_the_command_line_rule_over_the_budget() -> None:
    assert _plan(number_study(candidates=50), 9, trials=5).candidates == 5
    assert _plan(number_study(candidates=50), None, trials=70).candidates == 70


def test_what_was_planned_is_what_an_undisturbed_night_takes() -> None:
    study = number_study(finalists=2, candidates=14, distillation_pairs=0)
    log = whole_night(study, NumberBench(FakeClock()))
    taken = {stage: sum(isinstance(one, Sample) and one.key.stage is stage for one in log) for stage in Stage}
    assert expected_samples(study, log[:2]) == taken


def test_the_quickstart_arithmetic_of_the_issue_comes_to_about_nine_minutes() -> None:
    study = number_study(
        calibration_pairs=12, candidates=40, reference_every=4, finals_rounds=24, series_rounds=6, finalists=1
    )
    summary = plan_summary(study, sample_s=3.0)
    by_stage = {one.stage: one.samples for one in summary.stages}
    assert (by_stage[Stage.CALIBRATION], by_stage[Stage.SEARCH], by_stage[Stage.FINALS]) == (24, 51, 72)
    assert summary.total_s == pytest.approx(sum(one.seconds for one in summary.stages))
    assert 8 * 60 < summary.total_s < 10 * 60


def test_open_loop_runs_make_the_samples_of_their_stages_longer_and_the_search_smaller() -> None:
    plain = number_study(candidates=None, hours=1.0)
    paced = plain.model_copy(update={"latency": LatencyCheck(share=0.75)})
    limited = paced.model_copy(
        update={"limits": (Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True),)}
    )
    shares = [
        {one.stage: one for one in plan_summary(study, sample_s=3.0).stages}
        for study in (plain, paced, limited)
    ]
    assert [one[Stage.FINALS].sample_s for one in shares] == [3.0, 5.0, 5.0]
    assert [one[Stage.FINALISTS].sample_s for one in shares] == [3.0, 3.0, 5.0]
    assert [one[Stage.DISTILLATION].sample_s for one in shares] == [3.0, 3.0, 5.0]
    assert all(one[Stage.SEARCH].sample_s == 3.0 for one in shares)
    searched = [one[Stage.SEARCH].samples for one in shares]
    assert searched == sorted(searched, reverse=True)
    for one in shares:
        assert sum(share.seconds for share in one.values()) <= 3600 * 0.95


def test_distillation_gives_way_before_the_search_gets_small_and_long_before_the_finals() -> None:
    study = number_study(candidates=None, distillation_pairs=12, finals_rounds=24, series_rounds=6)
    plans = [_plan(study, hours) for hours in (9.0, 2.0, 1.2, 0.9)]
    assert [plan.distillation_pairs for plan in plans] == sorted(
        (plan.distillation_pairs for plan in plans), reverse=True
    )
    assert plans[0].distillation_pairs == 12
    assert plans[-1].distillation_pairs == 0
    assert plans[-1].finals_rounds == 24


def test_as_many_subsets_are_planned_as_there_can_be_until_they_are_known() -> None:
    study = number_study(candidates=20, distillation_pairs=12)
    log = whole_night(study, NumberBench(FakeClock()))
    assert expected_samples(study, log[:2])[Stage.DISTILLATION] == 2 * 2 * 12  # three parameters: two subsets
    subsets = next(one for one in log if isinstance(one, Subsets))
    known = expected_samples(study, log)[Stage.DISTILLATION]
    assert known == 2 * 12 * len(subsets.configurations)


def test_before_the_finals_distillation_gives_way_after_the_series_and_never_once_it_is_over() -> None:
    study = number_study(distillation_pairs=12, finals_rounds=24, series_rounds=0, candidates=20)
    log = _running(study, NumberBench(FakeClock()), Stage.DISTILLATION, 4)
    plan = _shortened(study, log, 72 + 4)
    assert plan is not None
    assert (plan.distillation_pairs, plan.finals_rounds) == (0, 24)
    later = _running(study, NumberBench(FakeClock()), Stage.FINALS, 6)
    plan = _shortened(study, later, 50)
    assert plan is not None
    assert plan.distillation_pairs == 12
    assert plan.finals_rounds < 24


def test_a_night_with_open_loop_runs_knows_how_long_they_take_and_ends_in_time() -> None:
    study = number_study(candidates=60, finals_rounds=24).model_copy(
        update={"latency": LatencyCheck(share=0.75, duration_s=0.5)}  # they will take 2 s all the same
    )
    bench = NumberBench(FakeClock())
    deadline_s = 560.0
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        plan = shortened(study, log, at=bench.clock.at, now_s=bench.clock.now_s, deadline_s=deadline_s)
        if plan is not None:
            log.append(plan)
    assert bench.clock.now_s <= deadline_s


def test_a_sample_is_estimated_as_warm_up_run_and_overhead() -> None:
    assert estimated_sample_s(number_study(), overhead_s=0.5) == 3.0


# --- time runs short


def _running(study: Study, bench: NumberBench, stage: Stage, samples: int) -> list[Event]:
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        if sum(isinstance(one, Sample) and one.key.stage is stage for one in log) == samples:
            return log
    raise AssertionError("never")


def _shortened(study: Study, log: list[Event], samples_left: float, sample_s: float = 3.0) -> Plan | None:
    return shortened(study, log, at="now", now_s=0.0, deadline_s=samples_left * sample_s)


def test_with_time_enough_or_no_deadline_nothing_changes() -> None:
    study = number_study()
    log = _running(study, NumberBench(FakeClock()), Stage.SEARCH, 3)
    assert _shortened(study, log, 1000) is None
    assert shortened(study, log, at="now", now_s=0, deadline_s=None) is None


def test_in_the_search_candidates_give_way_but_never_those_already_proposed() -> None:
    study = number_study(candidates=30, distillation_pairs=0)
    log = _running(study, NumberBench(FakeClock()), Stage.SEARCH, 5)  # 4 proposed beside stock
    later = 8 + 36 + 6
    plan = _shortened(study, log, later + 15)
    assert plan is not None
    assert 4 <= plan.candidates < 30
    assert (plan.finals_rounds, plan.series_rounds) == (12, 2)
    tight = _shortened(study, log, later - 1)
    assert tight is not None
    assert tight.candidates in (3, 4)
    assert tight.series_rounds < 2


def test_in_the_finals_the_series_gives_way_and_then_rounds_down_to_twelve() -> None:
    study = number_study(finals_rounds=24, series_rounds=4)
    log = _running(study, NumberBench(FakeClock()), Stage.FINALS, 6)
    plan = _shortened(study, log, 66 + 7)
    assert plan is not None
    assert (plan.finals_rounds, plan.series_rounds) == (24, 1)
    plan = _shortened(study, log, 42)
    assert plan is not None
    assert (plan.finals_rounds, plan.series_rounds) == (15, 0)


def test_when_even_twelve_rounds_do_not_fit_the_plan_says_so_once() -> None:
    study = number_study(finals_rounds=24)
    log = _running(study, NumberBench(FakeClock()), Stage.FINALS, 3)
    plan = _shortened(study, log, 10)
    assert plan is not None
    assert plan.finals_rounds == 12
    assert "even the least" in plan.reason
    assert _shortened(study, [*log, plan], 10) is None


def test_a_shortened_night_ends_in_time() -> None:
    study, bench = number_study(candidates=60, finals_rounds=24, series_rounds=6), NumberBench(FakeClock())
    deadline_s = 180 * bench.sample_s
    log: list[Event] = [night_begun()]
    for _ in drive(study, bench, log):
        plan = shortened(study, log, at=bench.clock.at, now_s=bench.clock.now_s, deadline_s=deadline_s)
        if plan is not None:
            log.append(plan)
    assert bench.clock.now_s <= deadline_s
    assert bench.clock.now_s > 0.85 * deadline_s
    assert sum(isinstance(one, Plan) for one in log) < 6


# --- what can be seen


def test_the_smallest_visible_difference_follows_the_usual_formula() -> None:
    holm = ((2.3940 + 0.8416) / (1.9600 + 0.8416)) ** 2
    usual = 0.05 * math.sqrt(15.7 * 1.2 * holm / 60)
    assert math.log1p(smallest_visible_difference(0.05, 60)) == pytest.approx(usual, rel=0.2)


@given(st.floats(0.001, 0.2), st.integers(12, 200))
def test_more_noise_shows_less_and_nothing_within_one_percent_is_ever_promised(
    sigma: float, pairs: int
) -> None:
    assert smallest_visible_difference(sigma * 1.5, pairs) > smallest_visible_difference(sigma, pairs)
    assert smallest_visible_difference(sigma, 4 * pairs) < smallest_visible_difference(sigma, pairs)
    assert smallest_visible_difference(sigma, pairs) > 0.01


def test_fewer_than_six_pairs_promise_nothing() -> None:
    assert smallest_visible_difference(0.01, 5) == math.inf
