"""The five words a comparison may end in, and the rule for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autotune.measurement.intervals import Interval, holm, sign_interval, stepwise, trimmed_interval

CLAIM_FROM = math.log(1.01)
"""A difference below 1 % is not claimed however sure it is, and within 1 % two arms are equivalent."""


class Verdict(StrEnum):
    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    SAME = "same configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One comparison: the trimmed-t interval at its Holm level, the sign test's at plain 95 %, and the word."""

    trimmed: Interval
    sign: Interval
    level: float
    verdict: Verdict


def word(trimmed: Interval, sign: Interval) -> Verdict:
    """The word for one pair of intervals.

    A claim needs both gates (the trimmed interval excludes 0, the centre is more than 1 % away) and the sign test on
    the same side; "equivalent" needs both intervals inside +-1 %. Where the two disagree: undecided.
    The sign interval is a cross-check with a veto and no vote, so its level isn't divided among the hypotheses.
    """
    if trimmed.low > 0 and trimmed.center > CLAIM_FROM:
        return Verdict.FASTER if sign.low > 0 else Verdict.UNDECIDED
    if trimmed.high < 0 and trimmed.center < -CLAIM_FROM:
        return Verdict.SLOWER if sign.high < 0 else Verdict.UNDECIDED
    if all(one.low > -CLAIM_FROM and one.high < CLAIM_FROM for one in (trimmed, sign)):
        return Verdict.EQUIVALENT
    return Verdict.UNDECIDED


def judge(
    comparisons: Sequence[Sequence[float]],
    *,
    same: Sequence[bool] | None = None,
    alpha: float = 0.05,
    levels: Callable[[int], float] | None = None,
) -> tuple[Judged, ...]:
    """A verdict for each list of paired log ratios, all of them fixed beforehand.

    `same` marks pairs whose two arms are one configuration: they leave the Holm family and keep a plain interval.
    `levels`: at which level one of so many hypotheses left is judged; None: Holm's.
    """
    same = same or [False] * len(comparisons)
    first = [trimmed_interval(one, alpha=alpha) for one in comparisons]
    family = [index for index, alike in enumerate(same) if not alike]
    p_values = [first[index].p for index in family]
    steps = holm(p_values, alpha=alpha) if levels is None else stepwise(p_values, levels)
    level_of = dict(zip(family, steps, strict=True))
    judged = []
    for index, differences in enumerate(comparisons):
        level = level_of.get(index, alpha)
        trimmed = trimmed_interval(differences, alpha=level)
        sign = sign_interval(differences, alpha=alpha)
        verdict = Verdict.SAME if same[index] else word(trimmed, sign)
        judged.append(Judged(trimmed=trimmed, sign=sign, level=level, verdict=verdict))
    return tuple(judged)
