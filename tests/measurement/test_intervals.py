"""The arithmetic of intervals, against values worked out by hand or known from the literature."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.measurement.intervals import holm, sign_interval, sign_rank, trimmed_interval

finite = st.floats(-1, 1, allow_nan=False)


def test_a_trimmed_interval_of_ten_numbers_is_the_one_worked_out_by_hand() -> None:
    values = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 100]
    # 2 off each end: mean of 2..7; winsorised 2,2,2,3,4,5,6,7,7,7: squares about 4.5 add up to 42.5; 42.5 / (6 * 5)
    seen = trimmed_interval(values)
    error = math.sqrt(42.5 / 30)
    assert seen.center == 4.5
    assert seen.high - seen.center == pytest.approx(2.570582 * error, rel=1e-6)  # t, 5 degrees of freedom
    assert seen.center - seen.low == pytest.approx(seen.high - seen.center)
    assert seen.n == 10


def test_an_outlier_moves_the_trimmed_mean_no_further_than_an_ordinary_number_would() -> None:
    quiet = [0.01 * n for n in range(20)]
    assert trimmed_interval([*quiet, 50.0]).center == trimmed_interval([*quiet, 0.5]).center


def test_the_p_value_and_the_interval_agree_on_what_is_shown() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        values = [chance.gauss(0.01, 0.02) for _ in range(12)]
        for alpha in (0.05, 0.01):
            seen = trimmed_interval(values, alpha=alpha)
            assert seen.excludes_zero == (seen.p < alpha)


def test_too_few_numbers_give_an_endless_interval_and_none_give_no_centre() -> None:
    assert trimmed_interval([0.3]).high == math.inf
    assert math.isnan(trimmed_interval([]).center)
    assert sign_interval([0.1] * 5).low == -math.inf
    assert math.isnan(sign_interval([]).center)


def test_two_numbers_that_disagree_wildly_give_an_endless_interval_and_no_ratio_beyond_all_floats() -> None:
    found = trimmed_interval([-1.5, 1.5], alpha=0.001)
    assert found.low == -math.inf
    assert found.high == math.inf
    assert not found.excludes_zero


def test_equal_numbers_are_certain() -> None:
    assert trimmed_interval([0.1] * 12).p < 1e-100
    assert trimmed_interval([0.0] * 12).p == 1


def test_the_sign_interval_is_bounded_by_the_exact_order_statistics() -> None:
    # Binomial(n, 1/2): the well-known ranks of the 95 % interval of the median
    assert {n: sign_rank(n) for n in (5, 6, 8, 9, 12, 15, 20, 24, 25)} == {
        5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 24: 7, 25: 8,
    }  # fmt: skip
    seen = sign_interval([float(n) for n in range(1, 13)])
    assert (seen.low, seen.center, seen.high) == (3.0, 6.5, 10.0)


def test_eight_numbers_are_too_few_for_a_median_at_999_in_1000() -> None:
    assert sign_rank(8, alpha=0.001) == 0
    assert sign_rank(11, alpha=0.001) == 1


@given(st.lists(finite, min_size=1, max_size=60), finite)
def test_moving_all_numbers_moves_both_intervals_by_as_much(values: list[float], shift: float) -> None:
    for interval in (trimmed_interval, sign_interval):
        before, after = interval(values), interval([one + shift for one in values])
        assert after.center == pytest.approx(before.center + shift, abs=1e-9)
        assert after.low == pytest.approx(before.low + shift, abs=1e-9)


@given(st.lists(finite, min_size=6, max_size=60))
def test_turning_a_and_b_round_turns_the_interval_round(values: list[float]) -> None:
    for interval in (trimmed_interval, sign_interval):
        one, other = interval(values), interval([-value for value in values])
        assert other.low == pytest.approx(-one.high, abs=1e-9)
        assert other.high == pytest.approx(-one.low, abs=1e-9)


def test_holms_levels_are_those_of_the_step_down_procedure() -> None:
    assert holm([0.01, 0.02, 0.03]) == pytest.approx((0.05 / 3, 0.025, 0.05))
    assert holm([0.03, 0.001, 0.9]) == pytest.approx((0.025, 0.05 / 3, 0.025))  # stops at .03 > .025
    assert holm([0.04, 0.04, 0.04]) == pytest.approx((0.05 / 3,) * 3)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_judging_each_hypothesis_at_its_level_is_holms_procedure(p_values: list[float]) -> None:
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected = set()
    for rank, index in enumerate(order):
        if p_values[index] > 0.05 / (len(p_values) - rank):
            break
        rejected.add(index)
    levels = holm(p_values)
    assert {index for index, p in enumerate(p_values) if p <= levels[index]} == rejected
