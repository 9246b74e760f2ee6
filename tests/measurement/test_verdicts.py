"""Which word a comparison ends in."""

from __future__ import annotations

import math
import random

from autotune.measurement.intervals import sign_interval, trimmed_interval
from autotune.measurement.verdicts import Verdict, judge, word


def _pairs(center: float, sigma: float, n: int = 24, seed: int = 0) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(center, sigma) for _ in range(n)]


def _word(values: list[float]) -> Verdict:
    return word(trimmed_interval(values), sign_interval(values))


def test_a_clear_difference_is_faster_one_way_and_slower_the_other() -> None:
    values = _pairs(0.10, 0.02)
    assert _word(values) is Verdict.FASTER
    assert _word([-one for one in values]) is Verdict.SLOWER


def test_a_sure_difference_below_one_percent_is_never_claimed() -> None:
    values = _pairs(0.008, 0.0005)
    assert trimmed_interval(values).low > 0
    assert _word(values) is Verdict.EQUIVALENT


def test_a_sure_difference_of_about_one_percent_is_neither_claimed_nor_called_none() -> None:
    values = [math.log(1.01) + offset for offset in (-0.0004, 0.0003) for _ in range(12)]
    assert _word(values) is Verdict.UNDECIDED


def test_noise_that_hides_everything_is_undecided() -> None:
    assert _word(_pairs(0.0, 0.10)) is Verdict.UNDECIDED


def test_a_mean_that_few_pairs_carry_is_vetoed_by_the_sign_test() -> None:
    values = [-0.001] * 9 + [0.05] * 15
    assert trimmed_interval(values).low > 0
    assert sign_interval(values).low < 0
    assert _word(values) is Verdict.UNDECIDED
    assert _word([-one for one in values]) is Verdict.UNDECIDED


def test_one_number_is_undecided() -> None:
    assert _word([0.3]) is Verdict.UNDECIDED


def test_arms_of_one_configuration_leave_the_family_and_the_others_gain_by_it() -> None:
    lists = [_pairs(0.0, 0.02, seed=1), _pairs(0.05, 0.02, seed=2), _pairs(0.05, 0.02, seed=3)]
    with_all = judge(lists)
    without_first = judge(lists, same=[True, False, False])
    assert without_first[0].verdict is Verdict.SAME
    assert without_first[0].level == 0.05
    assert min(one.level for one in with_all) == 0.05 / 3
    assert min(one.level for one in without_first) == 0.05 / 2


def test_a_difference_that_holds_alone_may_not_hold_among_three() -> None:
    borderline = next(
        values
        for values in (_pairs(0.02, 0.035, seed=seed) for seed in range(1000))
        if 0.02 < trimmed_interval(values).p < 0.045 and _word(values) is Verdict.FASTER
    )
    noise = _pairs(0.0, 0.05, seed=5)
    assert judge([borderline])[0].verdict is Verdict.FASTER
    assert judge([borderline, noise, noise])[0].verdict is Verdict.UNDECIDED
