"""The comparison: the headline from the finals alone, the steps' gains, what was excluded, and every doubt."""

from __future__ import annotations

import math

import pytest
from number_bench import (
    BOTH_ON,
    FakeClock,
    NumberBench,
    drive,
    night_begun,
    number_study,
    pause,
    truth,
    whole_night,
)

from autotune.experiment.bench import Finished, Measure
from autotune.experiment.events import Doubt, Event, NightEnded, Proposal, Ranking, Sample, Stage, Void
from autotune.experiment.study import Study
from autotune.measurement.comparison import Comparison, PairVerdict, compare
from autotune.measurement.planning import plan_night
from autotune.measurement.references import reference_steps
from autotune.measurement.schedule import next_step
from autotune.measurement.verdicts import Verdict
from autotune.space.configuration import Configuration


def _night(study: Study, **truths: object) -> list[Event]:
    bench = NumberBench(FakeClock(), sigma=0.005)
    for name, value in truths.items():
        setattr(bench, name, value)
    return whole_night(study, bench)


def _pair(comparison: Comparison, a: str, b: str) -> PairVerdict:
    found = comparison.pair(a, b)
    assert found is not None
    return found


def _codes(comparison: Comparison) -> list[str]:
    return [one.code for one in comparison.doubts]


def test_the_pairs_are_the_three_fixed_ones_in_their_order_with_true_ratios() -> None:
    study = number_study(candidates=30)
    comparison = compare(study, _night(study))
    assert [(one.a, one.b) for one in comparison.pairs] == [
        ("automatic", "hand-tuned"),
        ("automatic", "stock"),
        ("hand-tuned", "stock"),
    ]
    automatic = comparison.arm("automatic")
    assert automatic is not None
    best = truth(automatic.configuration)
    assert _pair(comparison, "automatic", "stock").ratio == pytest.approx(best, rel=0.01)
    assert _pair(comparison, "hand-tuned", "stock").ratio == pytest.approx(truth(BOTH_ON), rel=0.01)
    assert _pair(comparison, "hand-tuned", "stock").verdict is Verdict.FASTER
    assert comparison.complete
    assert comparison.doubts == ()


def test_the_arms_are_told_with_their_worst_run_and_spread() -> None:
    study = number_study()
    log = _night(study)
    stock = compare(study, log).arm("stock")
    rates = sorted(
        one.rate
        for one in log
        if isinstance(one, Sample) and one.key.stage is Stage.FINALS and one.arm.kind == "stock"
    )
    assert stock is not None
    assert stock.n == 12
    assert stock.worst == rates[0]
    assert stock.requests_per_s == pytest.approx((rates[5] + rates[6]) / 2)
    assert rates[0] < stock.p10 < rates[2]
    assert stock.relative_range == pytest.approx((rates[-1] - rates[0]) / (sum(rates) / 12))


def test_samples_of_the_search_have_no_say_in_the_headline() -> None:
    study = number_study()
    log = _night(study)
    loud = [
        one.model_copy(update={"objective": math.log(1e6)})
        if isinstance(one, Sample) and one.key.stage in (Stage.SEARCH, Stage.FINALISTS)
        else one
        for one in log
    ]
    assert compare(study, loud).pairs == compare(study, log).pairs


def test_when_automatic_is_stock_the_pair_is_the_same_configuration_and_leaves_the_family() -> None:
    study = number_study()
    log = _night(study, ratio=lambda c: 0.9 if len(c) else 1.0)
    comparison = compare(study, log)
    same = _pair(comparison, "automatic", "stock")
    assert same.verdict is Verdict.SAME
    assert same.level == 0.05
    assert same.n == 12  # measured all the same
    assert _pair(comparison, "hand-tuned", "stock").verdict is Verdict.SLOWER
    assert {
        _pair(comparison, "automatic", "hand-tuned").level,
        _pair(comparison, "hand-tuned", "stock").level,
    } == {
        0.025,
        0.05,
    }


def test_arms_that_came_to_the_same_effective_values_are_one_configuration() -> None:
    study = number_study()
    log = [
        one.model_copy(update={"effective": Configuration()})
        if isinstance(one, Sample) and one.arm.kind in ("hand-tuned", "stock")
        else one
        for one in _night(study)
    ]
    assert _pair(compare(study, log), "hand-tuned", "stock").verdict is Verdict.SAME


def test_a_round_with_a_lost_member_is_left_out_of_that_members_pairs_only() -> None:
    study = number_study()

    def fails(order: Measure) -> str:
        lost = order.key.stage is Stage.FINALS and order.key.block == 4 and order.arm.kind == "automatic"
        return "environment" if lost else ""

    comparison = compare(study, _night(study, fails=fails))
    assert _pair(comparison, "automatic", "stock").n == 11
    assert _pair(comparison, "hand-tuned", "stock").n == 12
    assert len(comparison.excluded) == 4
    assert {one.blame for one in comparison.excluded} == {"environment"}
    assert "incomplete rounds" in _codes(comparison)
    (few,) = (one for one in comparison.doubts if one.code == "few rounds")
    assert "--new-night" in few.next, "this night is over and does not go on"


def test_each_steps_gain_is_over_the_distinct_step_before_it() -> None:
    study = number_study(series_rounds=8)
    steps = compare(study, _night(study)).steps
    assert [one.number for one in steps] == [1, 2, 3]
    assert steps[0].ratio == pytest.approx(1.20, rel=0.01)
    assert steps[0].published == 1.256
    assert (steps[1].state, steps[1].ratio, steps[1].n) == ("already so", None, 0)
    assert steps[2].ratio == pytest.approx(1.25 / 1.20, rel=0.01)
    low, high = steps[2].low, steps[2].high
    assert low is not None
    assert high is not None
    assert low < 1.25 / 1.20 < high
    assert steps[2].n == 8


def test_before_the_finals_the_arms_are_known_and_nothing_is_claimed() -> None:
    study = number_study()
    log = _night(study)
    first_final = next(
        index for index, one in enumerate(log) if isinstance(one, Sample) and one.key.stage is Stage.FINALS
    )
    comparison = compare(study, log[:first_final])
    assert [arm.name for arm in comparison.arms] == ["stock", "hand-tuned", "automatic"]
    assert all(arm.n == 0 and math.isnan(arm.requests_per_s) for arm in comparison.arms)
    winner = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert comparison.arms[2].trial == winner.trials[0]
    assert comparison.pairs == ()
    assert not comparison.complete
    assert {"unfinished", "no finals"} <= set(_codes(comparison))


def test_every_prefix_of_a_night_can_be_compared() -> None:
    study = number_study()
    log = _night(study)
    assert compare(study, []).night == 0
    for length in range(1, len(log), 5):
        compare(study, log[:length])


def test_the_last_night_with_finals_is_the_one_compared_unless_another_is_asked_for() -> None:
    study, bench = number_study(), NumberBench(FakeClock(), sigma=0.005)
    log = whole_night(study, bench)
    log.append(night_begun(2, bench.clock.at))
    assert compare(study, log).night == 1
    assert compare(study, log, night=2).pairs == ()
    for _ in drive(study, bench, log):
        pass
    assert compare(study, log).night == 2
    assert compare(study, log, night=1).pairs == compare(study, log[: log.index(log[-1])], night=1).pairs


def test_a_study_that_accepts_noise_and_takes_the_texts_stock_is_stamped() -> None:
    study = number_study(accept_noise=True).model_copy(update={"stock": "capstone", "change_service": True})
    codes = _codes(compare(study, _night(study, sigma=0.08)))
    assert codes[:3] == ["accept noise", "stock is the text's", "service changed"]
    assert "noisy" in codes


def test_a_night_without_a_candidate_says_why_automatic_is_stock() -> None:
    study, bench = number_study(), NumberBench(FakeClock(), sigma=0.005)
    log: list[Event] = [night_begun(at=bench.clock.at)]
    plan = plan_night(
        study, log, at=bench.clock.at, now_s=bench.clock.now_s, deadline_s=None, sample_s=bench.sample_s
    )
    log.append(plan.model_copy(update={"candidates": 0}))
    for _ in drive(study, bench, log):
        pass
    assert not any(isinstance(one, Proposal) for one in log)
    comparison = compare(study, log)
    assert comparison.complete
    assert _codes(comparison) == ["no candidates"]
    assert "no candidates" not in _codes(compare(study, _night(number_study())))


def test_doubts_of_samples_are_told_once_with_how_many_have_them() -> None:
    study = number_study()
    told = (
        Doubt(code="client-bound", text="the client's CPUs were over 90 % busy", next="use another machine"),
    )
    doubts = compare(study, _night(study, doubts=told)).doubts
    assert [one.text for one in doubts] == [
        "the client's CPUs were over 90 % busy (in 36 of 36 samples of the finals)"
    ]


def test_gaps_and_the_nights_own_doubts_are_told() -> None:
    study, bench = number_study(), NumberBench(FakeClock(), sigma=0.005)
    begun = night_begun().model_copy(update={"doubts": (Doubt(code="no root", text="sysctl was left out"),)})
    log: list[Event] = [begun]
    for step in drive(study, bench, log):
        if len(log) == 40 and not isinstance(step, Finished):
            log.append(pause(bench, 1, 50))
    codes = _codes(compare(study, log))
    assert codes == ["gaps", "no root"]


def test_a_refused_night_says_why() -> None:
    study = number_study()
    comparison = compare(study, _night(study, sigma=0.08))
    assert {"refused", "no finals", "noisy"} <= set(_codes(comparison))


def test_a_voided_final_is_listed_and_its_retake_counts() -> None:
    study, bench = number_study(), NumberBench(FakeClock(), sigma=0.005)
    log = whole_night(study, bench)
    ended = log.pop()
    assert isinstance(ended, NightEnded)
    key = next(one.key for one in reversed(log) if isinstance(one, Sample) and one.key.stage is Stage.FINALS)
    log.append(Void(key=key, at=bench.clock.at, reason="the clock was set"))
    step = next_step(study, log)
    assert isinstance(step, Measure)
    log += [bench.measure(step).event, ended]
    comparison = compare(study, log)
    assert _pair(comparison, "automatic", "stock").n == 12
    assert [(one.key, one.blame) for one in comparison.excluded] == [(key.text, "void")]


# --- steps in the reference series


def _stepping(jump: float, seed: int = 0) -> list[Event]:
    """A night whose board changes its level by `jump` in the middle of the search."""
    study, bench = (
        number_study(candidates=60, reference_every=3),
        NumberBench(FakeClock(), sigma=0.01, seed=seed),
    )
    log: list[Event] = [night_begun()]
    jumped = False
    for _ in drive(study, bench, log):
        trials = sum(isinstance(one, Sample) and one.arm.kind == "trial" for one in log)
        if trials == 30 and not jumped:
            jumped = True
            bench.level *= math.exp(jump)
    return log


def test_a_step_in_stock_is_found_and_the_trials_around_it_are_suspect() -> None:
    log = _stepping(-0.08)
    steps = reference_steps(log, 1)
    assert len(steps) == 1
    assert steps[0].change == pytest.approx(-0.08, abs=0.025)
    suspects = {key.block for key in steps[0].suspects}
    at_jump = [
        one
        for one in log
        if isinstance(one, Sample) and one.key.stage is Stage.SEARCH and one.arm.number == 30
    ]
    assert at_jump[0].key.block in suspects or at_jump[0].key.block + 1 in suspects
    assert len(suspects) < 15
    assert "step in stock" in _codes(compare(number_study(candidates=60, reference_every=3), log))


def test_a_step_of_five_sigma_is_found_in_most_nights() -> None:
    assert sum(bool(reference_steps(_stepping(-0.05, seed), 1)) for seed in range(20)) >= 15


def test_quiet_nights_seldom_cry_wolf() -> None:
    alarms = sum(bool(reference_steps(_stepping(0.0, seed), 1)) for seed in range(30))
    assert alarms <= 9  # about one night in ten, with a sigma that ten pairs know only roughly
