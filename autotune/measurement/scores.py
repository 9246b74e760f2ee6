"""How every trial did against stock, with drift taken out and luck held against it.

A score is a mean of natural-log ratios to stock. A search sample is compared with the level of stock around it (see
levels), a finalist's pair with its own partner. Samples taken around a step of that level count only where their trial has
no others. Late knowledge counts: scores are worked out anew from the whole log each time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from autotune.experiment.events import Event, Stage
from autotune.experiment.study import Study
from autotune.measurement.calibration import Calibration, calibration_of
from autotune.measurement.levels import SearchRatios, search_ratios
from autotune.measurement.logbook import Logbook, log_rate, read_log
from autotune.measurement.planning import ASSUMED_SIGMA
from autotune.measurement.references import Flags, Floats, Whole
from autotune.measurement.search_limits import search_excesses

UNSTABLE_FROM = 0.10
UNSTABLE_TIMES = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScore:
    """One trial against stock, in natural-log ratios (0.05 is about 5 % faster).

    `score` is nan while `n` is 0, which only a `failed` trial is listed with: its configuration failed by its own
    fault. `shrunken` is what is left of the score when the best of many lucky ones is expected to be lucky. `error` is
    the score's standard error. `unstable`: its repeats differ so much that it can't win. `suspect`: all it has was taken
    around a step of stock's level. `excess`: by how much its search samples break the study's limits (see search_limits).
    """

    number: int
    score: float
    n: int
    shrunken: float
    error: float
    failed: bool
    unstable: bool
    suspect: bool = False
    excess: float = 0.0


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The same as arrays, one entry per trial that has a sample, by ascending number; and the trials that failed."""

    number: Whole
    score: Floats
    n: Whole
    shrunken: Floats
    error: Floats
    unstable: Flags
    suspect: Flags
    failed: frozenset[int]

    def eligible(self, breaking: Collection[int]) -> Flags:
        """Which of them may still win: not failed, not unstable, not `breaking` a limit."""
        out = np.isin(self.number, [*self.failed, *breaking])
        return ~(self.unstable | out)


def trial_scores(study: Study, log: Sequence[Event]) -> dict[int, TrialScore]:
    """Every trial that has a sample or has failed, by number. Trial 0 is stock: 0 by definition.

    A trial that waits for its first sample, or that no re-take could get one for, is not in it.
    """
    book = read_log(log)
    scores, excesses = scores_of(book), search_excesses(study, book)
    return {
        number: replace(one, excess=excesses[number]) if number in excesses else one
        for number, one in scores.items()
    }


def scores_of(book: Logbook) -> dict[int, TrialScore]:
    """`trial_scores` of a log that is folded already, whatever the study's limits."""
    if not book.begun:
        return {}
    table = score_table(book)
    scores = {
        number: TrialScore(
            number=number,
            score=score,
            n=n,
            shrunken=shrunken,
            error=error,
            failed=number in table.failed,
            unstable=unstable,
            suspect=suspect,
        )
        for number, score, n, shrunken, error, unstable, suspect in zip(
            table.number.tolist(),
            table.score.tolist(),
            table.n.tolist(),
            table.shrunken.tolist(),
            table.error.tolist(),
            table.unstable.tolist(),
            table.suspect.tolist(),
            strict=True,
        )
    }
    for number in table.failed - scores.keys():
        scores[number] = TrialScore(
            number=number, score=math.nan, n=0, shrunken=math.nan, error=math.nan, failed=True, unstable=False
        )
    if 0 in book.proposals:
        scores[0] = TrialScore(
            number=0, score=0.0, n=0, shrunken=0.0, error=0.0, failed=False, unstable=False
        )
    return dict(sorted(scores.items()))


@lru_cache(maxsize=4)  # by the book itself, which nobody changes: several questions of one step need it
def score_table(book: Logbook) -> ScoreTable:
    """Every trial's score, folded from all nights."""
    calibrations = {night: calibration_of(book, night) for night in book.begun}
    several = [
        ratios
        for night in book.begun
        for noise in [calibrations[night] or _assumed(calibrations)]
        for ratios in (search_ratios(book, night, noise), _pair_ratios(book, night, noise))
    ]
    number = np.concatenate([one.number for one in several], dtype=np.int64)
    ratio = np.concatenate([one.ratio for one in several])
    variance = np.concatenate([one.variance * one.noise**2 for one in several])
    suspect = np.concatenate([one.suspect for one in several], dtype=np.bool_)
    size = int(number.max(initial=0)) + 1
    sound = np.bincount(number[~suspect], minlength=size) > 0
    counts = ~suspect | ~sound[number]
    number, ratio, variance = number[counts], ratio[counts], variance[counts]
    n = np.bincount(number, minlength=size)
    seen = np.flatnonzero(n)
    score = np.bincount(number, ratio, minlength=size)[seen] / n[seen]
    error = np.sqrt(np.bincount(number, variance, minlength=size)[seen]) / n[seen]
    failed = _failed(book)
    good = np.array([one not in failed for one in seen.tolist()], dtype=np.bool_)
    center, spread = _prior(score[good], error[good] ** 2)
    weight = spread / (spread + error**2) if spread > 0 else np.zeros(len(seen))
    return ScoreTable(
        number=seen,
        score=score,
        n=n[seen],
        shrunken=center + weight * (score - center),
        error=error,
        unstable=_relative_ranges(number, ratio, size)[seen] >= _unstable_from(calibrations),
        suspect=~sound[seen],
        failed=failed,
    )


def finalist_pairs(book: Logbook, night: int) -> dict[int, list[float]]:
    """The fresh log ratios to stock of each finalist, from complete pairs of this night alone."""
    found: dict[int, list[float]] = {}
    ratios = _pair_ratios(book, night, 0.0)
    for number, one in zip(ratios.number.tolist(), ratios.ratio.tolist(), strict=True):
        found.setdefault(number, []).append(one)
    return found


def _pair_ratios(book: Logbook, night: int, noise: Calibration | float) -> SearchRatios:
    blocks = sorted({place[2] for place in book.stages.get((night, Stage.FINALISTS), {})})
    numbers, ratios = [], []
    for block in blocks:
        pair = book.pair(night, Stage.FINALISTS, block)
        if pair is not None:
            first, second = pair
            trial, stock = (first, second) if first.arm.kind == "trial" else (second, first)
            numbers.append(trial.arm.number)
            ratios.append(log_rate(trial) - log_rate(stock))
    return SearchRatios(
        number=np.array(numbers, dtype=np.int64),
        ratio=np.array(ratios, dtype=float),
        variance=np.full(len(ratios), 2.0),
        suspect=np.zeros(len(ratios), dtype=np.bool_),
        noise=noise if isinstance(noise, float) else noise.sigma_run,
    )


def _failed(book: Logbook) -> frozenset[int]:
    if not book.barred:
        return frozenset()
    return frozenset(
        number
        for number, proposal in book.proposals.items()
        if proposal.origin != "stock" and book.is_barred(proposal.configuration, proposal.night)
    )


def _assumed(calibrations: dict[int, Calibration | None]) -> float:
    """One run's noise in a night without an A/A stage: that of the latest one there is, else an assumption."""
    known = [one.sigma_run for _, one in sorted(calibrations.items()) if one is not None]
    return known[-1] if known else ASSUMED_SIGMA


def _prior(scores: Floats, variances: Floats) -> tuple[float, float]:
    """Where scores lie and how far the true ones spread (a variance, noise taken out).

    The spread is that of the upper half about the median: configurations far below stock say nothing about how much
    of a high score is luck.
    """
    if not len(scores):
        return 0.0, 0.0
    center = float(np.median(scores))
    upper = scores >= center
    spread = float(((scores[upper] - center) ** 2 - variances[upper]).mean())
    return center, max(spread, 0.0)


def _relative_ranges(number: Whole, ratio: Floats, size: int) -> Floats:
    """(max - min) / mean of each trial's plain ratios; 0 for one alone."""
    plain = np.exp(ratio)
    highest, lowest = np.full(size, -np.inf), np.full(size, np.inf)
    np.maximum.at(highest, number, plain)
    np.minimum.at(lowest, number, plain)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(number, plain, minlength=size) / np.bincount(number, minlength=size)
        return np.asarray((highest - lowest) / mean, dtype=float)


def _unstable_from(calibrations: dict[int, Calibration | None]) -> float:
    known = [one for _, one in sorted(calibrations.items()) if one is not None]
    return max(UNSTABLE_TIMES * known[-1].relative_range, UNSTABLE_FROM) if known else UNSTABLE_FROM
