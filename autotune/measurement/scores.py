"""How every trial did against stock, with drift taken out and luck held against it.

A score is a mean of natural-log ratios to stock. A search sample is compared with the level of stock around it: the
mean of the two stock samples before and the two after, weighed by time, so a linear drift cancels and the level adds
about a quarter of one run's variance. A finalist's pair is compared with its own partner. Late knowledge counts:
scores are worked out anew from the whole log each time.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, Stage
from autotune.experiment.study import Study
from autotune.measurement.calibration import Calibration, calibration_of
from autotune.measurement.logbook import Logbook, Slot, log_rate, read_log, seconds_of
from autotune.measurement.planning import ASSUMED_SIGMA
from autotune.measurement.search_stage import GAP_S

UNSTABLE_FROM = 0.10
UNSTABLE_TIMES = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScore:
    """One trial against stock, in natural-log ratios (0.05 is about 5 % faster).

    `score` is nan while `n` is 0, which only a `failed` trial is listed with: its configuration failed by its own
    fault. `shrunken` is what is left of the score when the best of many lucky ones is expected to be lucky. `error` is
    the score's standard error. `unstable`: its repeats differ so much that it can't win.
    """

    number: int
    score: float
    n: int
    shrunken: float
    error: float
    failed: bool
    unstable: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """One observation of a trial: a log ratio to stock, and its variance in units of one run's."""

    ratio: float
    variance: float


@dataclass(frozen=True, slots=True)
class _Reference:
    at_s: float
    level: float
    segment: int


def trial_scores(study: Study, log: Sequence[Event]) -> dict[int, TrialScore]:
    """Every trial that has a sample or has failed, by number. Trial 0 is stock: 0 by definition.

    A trial that waits for its first sample, or that no re-take could get one for, is not in it.
    """
    del study  # the log holds all that counts today; the study will say what is maximised
    return scores_of(read_log(log))


def scores_of(book: Logbook) -> dict[int, TrialScore]:
    """`trial_scores` of a log that is folded already."""
    seen: dict[int, list[tuple[_Seen, float]]] = {}
    calibrations = {night: calibration_of(book, night) for night in book.begun}
    for night in book.begun:
        sigma = _sigma(calibrations, night)
        for number, one in (*_search_ratios(book, night), *_pair_ratios(book, night)):
            seen.setdefault(number, []).append((one, sigma))
    scores: dict[int, TrialScore] = {}
    raw = {
        number: (
            math.fsum(one.ratio for one, _ in several) / len(several),
            math.fsum(one.variance * sigma**2 for one, sigma in several) / len(several) ** 2,
        )
        for number, several in seen.items()
    }
    barred = {
        number
        for number, proposal in book.proposals.items()
        if proposal.origin != "stock" and book.is_barred(proposal.configuration, proposal.night)
    }
    good = [raw[number] for number in raw if number not in barred]
    center, spread = _prior(good)
    limit = _unstable_from(calibrations)
    for number, (score, variance) in raw.items():
        weight = spread / (spread + variance) if spread > 0 else 0.0
        scores[number] = TrialScore(
            number=number,
            score=score,
            n=len(seen[number]),
            shrunken=center + weight * (score - center),
            error=math.sqrt(variance),
            failed=number in barred,
            unstable=_relative_range([one.ratio for one, _ in seen[number]]) >= limit,
        )
    for number in barred - raw.keys():
        scores[number] = TrialScore(
            number=number, score=math.nan, n=0, shrunken=math.nan, error=math.nan, failed=True, unstable=False
        )
    if 0 in book.proposals:
        scores[0] = TrialScore(
            number=0, score=0.0, n=0, shrunken=0.0, error=0.0, failed=False, unstable=False
        )
    return dict(sorted(scores.items()))


def finalist_pairs(book: Logbook, night: int) -> dict[int, list[float]]:
    """The fresh log ratios to stock of each finalist, from complete pairs of this night alone."""
    found: dict[int, list[float]] = {}
    for number, one in _pair_ratios(book, night):
        found.setdefault(number, []).append(one.ratio)
    return found


def _pair_ratios(book: Logbook, night: int) -> list[tuple[int, _Seen]]:
    found = []
    blocks = sorted({place[2] for place in book.slots if place[0] == night and place[1] is Stage.FINALISTS})
    for block in blocks:
        pair = book.pair(night, Stage.FINALISTS, block)
        if pair is None:
            continue
        first, second = pair
        trial, stock = (first, second) if first.arm.kind == "trial" else (second, first)
        found.append((trial.arm.number, _Seen(log_rate(trial) - log_rate(stock), 2.0)))
    return found


def _search_ratios(book: Logbook, night: int) -> list[tuple[int, _Seen]]:
    """Log ratios of the search's samples to the level of stock around them."""
    segments = _segments(book, night)
    references = [
        _Reference(seconds_of(slot.last.at), slot.log_rate, segment)
        for slot, segment in segments
        if slot.last.arm.kind == "stock"
    ]
    if not references:
        references = [
            _Reference(seconds_of(slot.last.at), slot.log_rate, 0)
            for slot in book.of_stage(night, Stage.CALIBRATION)
            if slot.sample is not None
        ]
    if not references:
        return []
    references.sort(key=lambda one: one.at_s)
    by_segment: dict[int, list[_Reference]] = {}
    for one in references:
        by_segment.setdefault(one.segment, []).append(one)
    return [
        (slot.last.arm.number, _against(slot, by_segment.get(segment, references)))
        for slot, segment in segments
        if slot.last.arm.kind == "trial"
    ]


def _segments(book: Logbook, night: int) -> list[tuple[Slot, int]]:
    """The search's good samples with the running number of the stretch without a gap that they belong to.

    After a gap the board may stand at another level (it has cooled down), so levels don't reach across one while the
    stretch has a stock sample of its own.
    """
    plan = book.plans.get(night)
    limit_s = GAP_S + (plan.sample_s if plan is not None else 0.0)
    gaps = [order for order, gap in book.gaps if gap.night == night]
    found: list[tuple[Slot, int]] = []
    segment, passed = 0, 0
    last_s: float | None = None
    for slot in book.of_stage(night, Stage.SEARCH):
        if slot.sample is None:
            continue
        at_s = seconds_of(slot.last.at)
        crossed = bisect.bisect_left(gaps, slot.order)
        if last_s is not None and (crossed > passed or at_s - last_s > limit_s):
            segment += 1
        passed, last_s = crossed, at_s
        found.append((slot, segment))
    return found


def _against(slot: Slot, references: Sequence[_Reference]) -> _Seen:
    """One sample against the two references before it and the two after it, whichever are there."""
    at_s = seconds_of(slot.last.at)
    place = bisect.bisect_right([one.at_s for one in references], at_s)
    before, after = references[max(place - 2, 0) : place], references[place : place + 2]
    if not before or not after:
        side = before or after
        level, variance = math.fsum(one.level for one in side) / len(side), 1 / len(side)
        return _Seen(slot.log_rate - level, 1 + variance)
    left_s = math.fsum(one.at_s for one in before) / len(before)
    right_s = math.fsum(one.at_s for one in after) / len(after)
    weight = (at_s - left_s) / (right_s - left_s) if right_s > left_s else 0.5
    left = math.fsum(one.level for one in before) / len(before)
    right = math.fsum(one.level for one in after) / len(after)
    variance = (1 - weight) ** 2 / len(before) + weight**2 / len(after)
    return _Seen(slot.log_rate - (left + weight * (right - left)), 1 + variance)


def _sigma(calibrations: dict[int, Calibration | None], night: int) -> float:
    """One run's noise: of this night's calibration, else of the latest one there is, else an assumption."""
    own = calibrations.get(night)
    if own is not None:
        return own.sigma_run
    known = [one.sigma_run for _, one in sorted(calibrations.items()) if one is not None]
    return known[-1] if known else ASSUMED_SIGMA


def _prior(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where scores lie and how far the true ones spread (a variance, noise taken out).

    The spread is that of the upper half about the median: configurations far below stock say nothing about how much
    of a high score is luck.
    """
    if not scores:
        return 0.0, 0.0
    values = sorted(score for score, _ in scores)
    center = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    upper = [(score, variance) for score, variance in scores if score >= center]
    spread = math.fsum((score - center) ** 2 - variance for score, variance in upper) / len(upper)
    return center, max(spread, 0.0)


def _relative_range(ratios: Sequence[float]) -> float:
    if len(ratios) < 2:
        return 0.0
    plain = [math.exp(one) for one in ratios]
    return (max(plain) - min(plain)) / (math.fsum(plain) / len(plain))


def _unstable_from(calibrations: dict[int, Calibration | None]) -> float:
    known = [one for _, one in sorted(calibrations.items()) if one is not None]
    return max(UNSTABLE_TIMES * known[-1].relative_range, UNSTABLE_FROM) if known else UNSTABLE_FROM
