"""The search's samples against the level of stock around them: drift taken out.

The level at a trial is that of the two stock samples before it and the two after it, weighed by time, so a linear drift
cancels and the level adds about a quarter of one run's variance. It reaches across no gap and no step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotune.experiment.events import Stage
from autotune.measurement.calibration import Calibration
from autotune.measurement.logbook import Logbook, SlotState
from autotune.measurement.references import (
    Flags,
    Floats,
    SearchSeries,
    Whole,
    search_series,
    steps_of,
    stretches,
)

_NEIGHBOURS = 2
_CORRELATED = 1.5
"""Stock's own scores share their references, so this many of them say as much of the noise as one that shares none."""


@dataclass(frozen=True, slots=True)
class SearchRatios:
    """One entry per trial sample of a night's search, in the order of the log.

    `ratio`: ln of it to stock's level; `variance` of that in units of one run's; `suspect`: taken around a step.
    `noise`: the standard deviation of one run here.
    """

    number: Whole
    ratio: Floats
    variance: Floats
    suspect: Flags
    noise: float


@dataclass(frozen=True, slots=True)
class _Scored:
    """Samples against the stock samples around them. `both`: there were some on either side."""

    ratio: Floats
    variance: Floats
    both: Flags


def search_ratios(book: Logbook, night: int, noise: Calibration | float) -> SearchRatios:
    """Every trial sample of the search against stock; empty where there is no stock sample to compare with.

    `noise`: what the A/A stage says of one run, or what is assumed where there was none.
    """
    series = search_series(book, night)
    steps = steps_of(book, night)
    is_stock = series.trial == 0
    number, rates = series.trial[~is_stock], series.log_rate[~is_stock]
    own = np.empty(0)
    if is_stock.any():
        scored = _scored(series, stretches(book, night, [step.after for step in steps]), is_stock)
        mine = _Scored(scored.ratio[~is_stock], scored.variance[~is_stock], scored.both[~is_stock])
        usable = is_stock & scored.both
        own = scored.ratio[usable] ** 2 / scored.variance[usable]
    else:
        mine = _against_calibration(book, night, rates)
        number = number[: len(mine.ratio)]
    suspects = [key.block for step in steps for key in step.suspects]
    return SearchRatios(
        number=number,
        ratio=mine.ratio,
        variance=mine.variance,
        suspect=np.isin(series.block[~is_stock][: len(number)], suspects),
        noise=noise if isinstance(noise, float) else _noise(noise, own),
    )


def _noise(seen: Calibration, own: Floats) -> float:
    """The standard deviation of one run of the search, as far as its references leave it.

    The A/A stage's sigma is that of neighbours. `own`, squares of stock scored like a trial from the stock samples around
    each of its own, shows what the distance between references adds; both are pooled by how much they know.
    """
    if not len(own):
        return seen.sigma_run
    known, more = seen.pairs - 1, len(own) / _CORRELATED
    return math.sqrt((known * seen.sigma_run**2 + more * float(own.mean())) / (known + more))


def _scored(series: SearchSeries, stretch: Whole, is_stock: Flags) -> _Scored:
    """Every sample, stock's own included, against the stock samples around it (never itself)."""
    at_s = series.at_s - series.at_s[0]
    rates = series.log_rate
    stocks = np.flatnonzero(is_stock)
    first = np.searchsorted(stretch[stocks], stretch, side="left")
    last = np.searchsorted(stretch[stocks], stretch, side="right")
    alone = (last - first) <= is_stock  # a stretch without a stock sample of its own takes what there is
    first, last = np.where(alone, 0, first), np.where(alone, len(stocks), last)
    before = np.searchsorted(stocks, np.arange(len(rates)), side="left")
    after = before + is_stock
    left_n = np.minimum(before - first, _NEIGHBOURS).clip(0)
    right_n = np.minimum(last - after, _NEIGHBOURS).clip(0)
    level_sum = np.concatenate(([0.0], np.cumsum(rates[stocks])))
    time_sum = np.concatenate(([0.0], np.cumsum(at_s[stocks])))
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (level_sum[before] - level_sum[before - left_n]) / left_n
        right = (level_sum[after + right_n] - level_sum[after]) / right_n
        left_s = (time_sum[before] - time_sum[before - left_n]) / left_n
        right_s = (time_sum[after + right_n] - time_sum[after]) / right_n
        weight = np.where(right_s > left_s, (at_s - left_s) / (right_s - left_s), 0.5)
        both = (left_n > 0) & (right_n > 0)
        one_sided = np.where(left_n > 0, left, right)
        level = np.where(both, left + weight * (right - left), one_sided)
        variance = np.where(
            both, (1 - weight) ** 2 / left_n + weight**2 / right_n, 1 / np.maximum(left_n, right_n)
        )
    return _Scored(rates - level, 1 + variance, both)


def _against_calibration(book: Logbook, night: int, rates: Floats) -> _Scored:
    """Before the search has a stock sample: against the last ones of the A/A stage."""
    stock = [slot for slot in book.of_stage(night, Stage.CALIBRATION) if slot.state is SlotState.DONE]
    last = [slot.log_rate for slot in stock[-_NEIGHBOURS:]]
    if not last:
        return _Scored(np.empty(0), np.empty(0), np.empty(0, dtype=np.bool_))
    ratio = rates - math.fsum(last) / len(last)
    return _Scored(ratio, np.full(len(ratio), 1 + 1 / len(last)), np.zeros(len(ratio), dtype=np.bool_))
