"""Stock over the night: where its level broke (gaps, steps), and how often it must be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import fdtri

from autotune.experiment.events import Event, SampleKey, Stage
from autotune.measurement.calibration import calibration_of
from autotune.measurement.candidates import GAP_S
from autotune.measurement.logbook import Logbook, Slot, SlotState, read_log

RECENT = 3
BEFORE = 6
STEP_SIGMAS = 2.5
LATEST_DIFFERENCES = 16
"""How many differences of neighbouring stock samples say how much their level wanders now."""
FEWEST_DIFFERENCES = 6
WANDERS_FROM = 2.0
"""How many times larger than noise alone makes it a difference's square must be: there, what drift adds to a trial
halfway between two stock samples is about a third of what one run's noise does."""
SURE = 0.9
"""How sure it must be that noise alone doesn't do that: an F test, since a short A/A stage doesn't know its sigma well."""
CORRELATED = 1.5
"""Neighbouring differences share a sample, so this many of them say as much as one that shares none."""
OUTLIER = 25.0
"""A square beyond so many times its expectation counts as that: one step or one bad run is no wandering."""
DENSEST = 2

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStep:
    """A jump in the stock samples of the search. `change` is the log ratio of new level to old; `at` is where the new
    level was first seen, `after` the place in the log of the last sample of the old one; `suspects` are the trials measured
    around it.
    """

    at: str
    after: int
    change: float
    suspects: tuple[SampleKey, ...]


def reference_steps(log: Sequence[Event], night: int) -> tuple[ReferenceStep, ...]:
    """Every step: |median of the last 3 references - median of the 6 before them| > 2.5 sigma of the A/A stage.

    The sigma is the A/A stage's and not that of the references at hand, which would cry wolf in most quiet nights.
    Neighbouring hits are one step, put where two levels fit best; trials up to one reference away from it are suspect.
    Where a straight line fits better than two levels it is drift and no step. Nothing without a calibration.
    """
    return steps_of(read_log(log), night)


@lru_cache(maxsize=4)  # by the book itself, which nobody changes
def steps_of(book: Logbook, night: int) -> tuple[ReferenceStep, ...]:
    """`reference_steps` of a log that is folded already."""
    series = search_series(book, night)
    slots, places = series.slots, np.flatnonzero(series.trial == 0)
    seen = calibration_of(book, night) if len(places) >= BEFORE + RECENT else None
    if seen is None or seen.sigma_run == 0:
        return ()
    levels = series.log_rate[places]
    new = np.median(sliding_window_view(levels, RECENT)[BEFORE:], axis=1)
    old = np.median(sliding_window_view(levels, BEFORE)[: len(new)], axis=1)
    steps: list[ReferenceStep] = []
    previous = -BEFORE
    for hit in np.flatnonzero(np.abs(new - old) > STEP_SIGMAS * seen.sigma_run).tolist():
        first = hit + BEFORE
        at = _split(levels, first)
        if at is None:
            continue
        if first - previous >= RECENT:
            around = slots[places[at - 2] : places[min(at + 1, len(places) - 1)]]
            steps.append(
                ReferenceStep(
                    at=slots[places[at]].last.at,
                    after=slots[places[at - 1]].order,
                    change=float(new[hit] - old[hit]),
                    suspects=tuple(slot.last.key for slot in around if slot.trial > 0),
                )
            )
        previous = first
    return tuple(steps)


def _split(levels: Floats, first: int) -> int | None:
    """Which of the three references from `first` on is the first of a new level: where two means fit best.

    None: a straight line fits better, so this is drift, which the scores take out.
    """
    window = levels[first - BEFORE : first + RECENT + 2]

    def misfit(split: int) -> float:
        return sum(float(((part - part.mean()) ** 2).sum()) for part in (window[:split], window[split:]))

    best = min(range(BEFORE, BEFORE + RECENT), key=misfit)
    place = np.arange(len(window)) - (len(window) - 1) / 2
    centred = window - window.mean()
    line = float((centred**2).sum() - (place * centred).sum() ** 2 / (place**2).sum())
    return first - BEFORE + best if misfit(best) < line else None


@dataclass(frozen=True, slots=True, eq=False)
class SearchSeries:
    """The places of a night's search that have a sample which counts, in the order of the log, and what they say.

    `trial` 0: stock.
    """

    slots: tuple[Slot, ...]
    at_s: Floats
    order: Whole
    log_rate: Floats
    trial: Whole
    block: Whole


@lru_cache(maxsize=4)  # by the book itself, which nobody changes
def search_series(book: Logbook, night: int) -> SearchSeries:
    """The search's samples as one series."""
    slots = [slot for slot in book.of_stage(night, Stage.SEARCH) if slot.state is SlotState.DONE]
    return SearchSeries(
        slots=tuple(slots),
        at_s=np.array([slot.at_s for slot in slots], dtype=float),
        order=np.array([slot.order for slot in slots], dtype=np.int64),
        log_rate=np.array([slot.log_rate for slot in slots], dtype=float),
        trial=np.array([slot.trial for slot in slots], dtype=np.int64),
        block=np.array([slot.last.key.block for slot in slots], dtype=np.int64),
    )


def stretches(book: Logbook, night: int, breaks: Sequence[int] = ()) -> Whole:
    """By sample of the search, the running number of the stretch without a gap that it belongs to; `breaks`: log places that end one, too.

    After a gap the board may stand at another level (it has cooled down), so nothing is compared across one.
    """
    plan = book.plans.get(night)
    limit_s = GAP_S + (plan.sample_s if plan is not None else 0.0)
    series = search_series(book, night)
    at_s = series.at_s
    gaps = [place for place, gap in book.gaps if gap.night == night]
    crossed = np.searchsorted(np.sort(np.array([*gaps, *breaks], dtype=np.int64)), series.order)
    begins = (np.diff(crossed, prepend=crossed[:1]) > 0) | (np.diff(at_s, prepend=at_s[:1]) > limit_s)
    return np.cumsum(begins, dtype=np.int64)


def spacing_of(book: Logbook, night: int) -> int:
    """How many trials may follow each other now before stock is due: the plan's number, fewer while stock wanders.

    Neighbouring stock samples differ by noise (twice the A/A sigma squared) and by how far the level went between them.
    When the latest differences are more than twice what noise explains, and surely so, the spacing becomes the one at which both parts are equal.
    Before the search has enough of them the A/A stage's runs speak, as far apart as references are.
    """
    every = book.plans[night].reference_every
    seen = calibration_of(book, night)
    if seen is None or seen.sigma_run == 0:
        return every
    noise = 2 * seen.sigma_run**2
    squares, apart = _search_differences(book, night)
    if len(squares) < FEWEST_DIFFERENCES:
        squares, apart = _calibration_differences(book, night, every + 1)
    if len(squares) < FEWEST_DIFFERENCES:
        return every
    squares = np.minimum(squares, OUTLIER * noise)
    chance = float(fdtri(len(squares) / CORRELATED, max(seen.pairs - 1, 1), SURE))
    if squares.mean() <= max(WANDERS_FROM, chance) * noise:
        return every
    per_sample = float((squares - noise).sum() / apart.sum())
    return min(every, max(DENSEST, int(noise / per_sample) - 1))


def _search_differences(book: Logbook, night: int) -> tuple[Floats, Whole]:
    """Squared differences of neighbouring stock samples of the search, and how many samples apart they were taken."""
    series = search_series(book, night)
    places = np.flatnonzero(series.trial == 0)[-LATEST_DIFFERENCES - 1 :]
    if len(places) < 2:
        return np.empty(0), np.empty(0, dtype=np.int64)
    levels = series.log_rate[places]
    together = np.diff(stretches(book, night)[places]) == 0
    return (np.diff(levels) ** 2)[together], np.diff(places)[together]


def _calibration_differences(book: Logbook, night: int, lag: int) -> tuple[Floats, Whole]:
    slots = [slot for slot in book.of_stage(night, Stage.CALIBRATION) if slot.state is SlotState.DONE]
    levels = np.array([slot.log_rate for slot in slots])
    differences = levels[lag:] - levels[:-lag]
    return differences**2, np.full(len(differences), lag)
