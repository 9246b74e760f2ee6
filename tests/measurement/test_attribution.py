"""What each hand-tuned step is worth: against steps of known worth, whose Shapley values are worked out over all orders."""

from __future__ import annotations

import math

import pytest
from number_bench import FakeClock, NumberBench, whole_night
from steps_board import (
    Worth,
    additive,
    attributed,
    logs,
    measured,
    setting,
    shapley,
    step,
    steps_begun,
    steps_in,
    steps_study,
)

from autotune.experiment.study import HandTunedValue, Study
from autotune.measurement.attribution import attribution_of
from autotune.measurement.combinations import attribution_arms, combined, share_weights
from autotune.measurement.comparison import compare
from autotune.measurement.logbook import read_log
from autotune.measurement.planning import smallest_visible_difference
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Parameter, Rule, Span

PAIRS = additive({1: 0.10, 2: 0.02, 3: -0.03, 4: 0.05}, {(1, 2): -0.04, (1, 4): 0.06, (3, 5): 0.02})


def in_threes(steps: frozenset[int]) -> float:
    """Two steps that do nothing at all but with a third, and one apart."""
    return 0.12 * (steps >= {1, 2, 3}) + 0.03 * (4 in steps)


def diminishing(steps: frozenset[int]) -> float:
    """Five steps that do the same good, of which there is only so much."""
    return 0.2 * (1 - 0.4 ** len(steps))


# --- the share


@pytest.mark.parametrize(
    ("count", "worth"), [(2, diminishing), (3, in_threes), (3, PAIRS), (5, PAIRS), (8, PAIRS)]
)
def test_without_noise_the_share_is_the_shapley_value(count: int, worth: Worth) -> None:
    found = attributed(count, worth, sigma=0.0)
    truth = shapley(count, worth) if count < 8 else shapley(5, worth) | dict.fromkeys((6, 7, 8), 0.0)
    for number, share in truth.items():
        assert math.log(step(found, number).share.ratio or 0) == pytest.approx(share, abs=1e-9)
    assert found.rest.ratio == pytest.approx(1.0)
    assert math.log(found.total.ratio or 0) == pytest.approx(worth(frozenset(range(1, count + 1))))


def test_what_steps_do_in_threes_is_told_as_the_rest_and_the_product_is_the_total() -> None:
    found = attributed(5, in_threes, rounds=12, sigma=0.004)
    assert found.rest.low is not None
    assert found.rest.high is not None
    assert not found.rest.low <= 1 <= found.rest.high
    parts = logs([found.rest.ratio, *(one.share.ratio for one in found.steps)])
    assert math.fsum(parts) == pytest.approx(math.log(found.total.ratio or 0), abs=0.01)


def test_its_interval_has_the_truth_in_it_as_often_as_it_says() -> None:
    truth = shapley(5, PAIRS)
    inside = [
        (step(found, number).share.low or 0) <= math.exp(share) <= (step(found, number).share.high or 0)
        for seed in range(60)
        for found in [attributed(5, PAIRS, rounds=8, sigma=0.02, seed=seed)]
        for number, share in truth.items()
    ]
    assert (
        0.91 <= sum(inside) / len(inside) <= 0.98
    )  # 300 intervals at 95 %, those of a night not independent


def test_the_order_of_the_steps_flatters_nobody() -> None:
    study, begun = steps_study(5, series_rounds=6, attribution_rounds=6), steps_begun(5)
    bench = NumberBench(FakeClock(), sigma=0.004, ratio=lambda one: math.exp(diminishing(steps_in(one))))
    log = whole_night(study, bench, begun.model_copy(update={"purpose": "baseline"}))
    comparison = compare(study, log)
    series = logs(one.ratio for one in comparison.steps)
    shares = logs(one.share.ratio for one in comparison.attribution.steps)
    assert series[0] > 5 * series[-1]
    assert max(shares) - min(shares) < 0.01
    first = comparison.attribution.steps[0]
    assert math.log(first.only.ratio or 0) == pytest.approx(0.12, abs=0.01)
    assert math.log(first.without.ratio or 0) == pytest.approx(0.2 * 0.6 * 0.4**4, abs=0.01)


# --- the verdict


def test_steps_that_help_and_harm_are_called_so_and_null_steps_are_nothing_19_times_of_20() -> None:
    worth = additive({1: 0.08, 2: -0.06})
    nights = [attributed(6, worth, rounds=8, sigma=0.015, seed=seed) for seed in range(100)]
    assert sum(step(found, 1).verdict == "helps" for found in nights) >= 95
    assert sum(step(found, 2).verdict == "harms" for found in nights) >= 95
    for number in (3, 4, 5, 6):
        assert sum(step(found, number).verdict == "nothing to be seen" for found in nights) >= 95
    false = sum(
        any(step(found, number).verdict != "nothing to be seen" for number in (3, 4, 5, 6))
        for found in nights
    )
    assert false <= 8  # of 100 nights, all four steps together: 5 are allowed to it, and chance


def test_what_is_said_to_show_shows_in_about_four_nights_of_five() -> None:
    visible = smallest_visible_difference(
        0.02 / math.sqrt(2), 8, hypotheses=4
    )  # a share varies as one run does
    nothing = [attributed(4, additive({}), rounds=8, sigma=0.02, seed=seed) for seed in range(20)]
    said = [one.smallest_visible_difference or 0.0 for found in nothing for one in found.steps]
    assert sum(said) / len(said) == pytest.approx(visible, rel=0.15)
    worth = additive({2: math.log1p(visible)})
    seen = [step(attributed(4, worth, rounds=8, sigma=0.02, seed=seed), 2).verdict for seed in range(150)]
    assert 0.67 <= seen.count("helps") / len(seen) <= 0.93


def test_too_few_rounds_have_figures_and_no_verdict() -> None:
    found = attributed(3, additive({1: 0.3}), rounds=5)
    assert step(found, 1).share.ratio == pytest.approx(math.exp(0.3), rel=0.03)
    assert {one.verdict for one in found.steps} == {"nothing to be seen"}
    assert step(found, 1).smallest_visible_difference == math.inf


# --- which combinations


@pytest.mark.parametrize(("steps", "arms"), [(1, 0), (2, 4), (3, 8), (4, 10), (8, 18)])
def test_each_alone_and_all_without_each_and_what_is_the_same_once(steps: int, arms: int) -> None:
    found = attribution_arms(steps_study(steps), steps_begun(steps))
    assert len(found) == arms
    assert len({one.configuration for one in found}) == arms
    assert len({one.arm.text for one in found}) == arms


def test_shares_are_made_of_differences_alone() -> None:
    for count in range(1, 9):
        for number in range(1, count + 1):
            weights = share_weights(number, frozenset(range(1, count + 1)))
            assert math.fsum(weights.values()) == pytest.approx(0)
            assert math.fsum(one for steps, one in weights.items() if number in steps) == pytest.approx(1)


def _with_parameters(when: str = "", keep: str = "") -> Study:
    """Five steps of which the fourth counts only beside the second, or must not be without it."""
    study = steps_study(5)
    parameters = tuple(
        Parameter(
            setting=setting(number),
            span=Span(low=0, high=9),
            why="test",
            when=Expression(text=when) if when and number == 4 else None,
        )
        for number in range(1, 6)
    )
    rules = (Rule(expression=Expression(text=keep), why="so it is"),) if keep else ()
    return study.model_copy(
        update={"space": study.space.model_copy(update={"parameters": parameters, "rules": rules})}
    )


def test_a_value_that_counts_only_beside_another_step_is_void_without_it_and_that_is_said() -> None:
    study, begun = _with_parameters(when="sysctl:test.step2 == 1"), steps_begun(5)
    alone = combined(study, begun, {4})
    assert alone.configuration == Configuration()
    assert alone.void == ("sysctl:test.step4 counts only with sysctl:test.step2 == 1",)
    assert set(combined(study, begun, {1, 3, 4, 5}).configuration) == {setting(one).id for one in (1, 3, 5)}
    assert setting(4).id in combined(study, begun, {2, 4}).configuration
    found = attribution_of(study, measured(study, begun, PAIRS, rounds=6, sigma=0.01), 1)
    assert step(found, 4).only.ratio == 1.0
    assert "step 4 alone: sysctl:test.step4 counts only" in step(found, 4).reason
    assert step(found, 4).share.n == 6


def test_a_combination_that_breaks_a_rule_which_the_sequence_keeps_is_not_tried_and_says_why() -> None:
    study, begun = _with_parameters(keep="sysctl:test.step4 <= sysctl:test.step2"), steps_begun(5)
    found = attribution_of(study, measured(study, begun, PAIRS, rounds=6, sigma=0.01), 1)
    lacking = step(found, 4)
    assert (lacking.verdict, lacking.share.n, lacking.only.ratio) == ("not measured", 0, None)
    assert "step 4 alone: breaks sysctl:test.step4 <= sysctl:test.step2: so it is" in lacking.reason
    assert lacking.without.ratio is not None
    assert step(found, 1).verdict == "helps"


def test_what_two_steps_both_ask_for_stays_when_one_is_left_out() -> None:
    study, begun = steps_study(3), steps_begun(3)
    first, second, third = study.hand_tuned.steps
    again = third.model_copy(update={"values": (*third.values, HandTunedValue(setting=setting(1), value=1))})
    study = study.model_copy(
        update={"hand_tuned": study.hand_tuned.model_copy(update={"steps": (first, second, again)})}
    )
    assert set(combined(study, begun, {2, 3}).configuration) == {setting(one).id for one in (1, 2, 3)}
    assert set(combined(study, begun, {2}).configuration) == {setting(2).id}


# --- where there is nothing to attribute


def test_steps_that_change_nothing_here_stay_what_they_are() -> None:
    study, begun = steps_study(4), steps_begun(4)
    already = begun.steps[1].model_copy(
        update={"state": "already so", "configuration": begun.steps[0].configuration}
    )
    later = [
        one.model_copy(
            update={
                "configuration": Configuration.of({k: v for k, v in one.configuration.values if "2" not in k})
            }
        )
        for one in begun.steps[2:]
    ]
    begun = begun.model_copy(update={"steps": (begun.steps[0], already, *later)})
    found = attribution_of(study, measured(study, begun, PAIRS, rounds=6, sigma=0.01), 1)
    assert (step(found, 2).state, step(found, 2).verdict, step(found, 2).reason) == (
        "already so",
        "not measured",
        "",
    )
    assert step(found, 4).verdict == "helps"


def test_the_only_step_that_changes_anything_has_its_share_from_the_series() -> None:
    study = steps_study(1, series_rounds=6)
    bench = NumberBench(FakeClock(), ratio=lambda one: 1.2 if len(one) else 1.0)
    log = whole_night(study, bench, steps_begun(1).model_copy(update={"purpose": "baseline"}))
    found = compare(study, log).attribution
    (gain,) = compare(study, log).steps
    (only,) = found.steps
    assert (only.share.ratio, only.share.low, only.share.high) == (gain.ratio, gain.low, gain.high)
    assert (only.verdict, found.rounds) == ("helps", 6)


def test_nothing_is_told_with_its_reason() -> None:
    study = steps_study(3)
    assert "no time" in attribution_of(study, read_log([steps_begun(3)]), 1).reason
    forbidden = steps_study(3, attribution_rounds=0)
    assert "attribution_rounds = 0" in attribution_of(forbidden, read_log([steps_begun(3)]), 1).reason
    without = steps_begun(3).model_copy(update={"steps": ()})
    assert "no hand-tuned sequence" in attribution_of(study, read_log([without]), 1).reason
    stock = steps_begun(3).model_copy(update={"stock": {setting(one).id: 1 for one in (1, 2, 3)}})
    assert "no step changes anything" in attribution_of(study, read_log([stock]), 1).reason
    planned = read_log(
        [*([steps_begun(3)]), *[measured(study, steps_begun(3), PAIRS, rounds=1, sigma=0.0).plans[1]]]
    )
    assert "not come to it" in attribution_of(study, planned, 1).reason
