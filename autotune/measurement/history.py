"""A night over its hours: the search with stock's level beside it and with drift removed, and the steps as levels over stock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.experiment.events import Stage
from autotune.measurement.calibration import calibration_of
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.levels import search_ratios
from autotune.measurement.logbook import Logbook
from autotune.measurement.planning import ASSUMED_SIGMA
from autotune.measurement.references import search_series
from autotune.measurement.stages import chain


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPoint:
    """One sample of the search. `trial` 0: stock.

    `rate`: what the study maximises. `ratio`: to stock's level at that moment, drift removed; nan for stock itself, and where
    there is no stock to compare with. `suspect`: taken while stock's level jumped.
    """

    key: str
    at_s: float
    trial: int
    rate: float
    ratio: float = math.nan
    suspect: bool = False

    @property
    def level(self) -> float:
        """Stock's level at that moment, in the unit of `rate`."""
        return self.rate / self.ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLevel:
    """All hand-tuned steps up to this one over stock, from the series' own samples, with a plain 95 % interval.

    `ratio`, `low`, `high` None: not to be had (too few rounds). `published`: the text's own product of steps, never ours.
    """

    number: int
    name: str
    ratio: float | None
    low: float | None
    high: float | None
    n: int
    published: float | None


def search_points(book: Logbook, night: int) -> tuple[SearchPoint, ...]:
    """Every sample of that night's search that counts, in the order of the log."""
    series = search_series(book, night)
    scored = search_ratios(book, night, calibration_of(book, night) or ASSUMED_SIGMA)
    found, of_trials = [], iter(zip(scored.ratio.tolist(), scored.suspect.tolist(), strict=True))
    for slot in series.slots:
        ratio, suspect = (math.nan, False) if slot.trial == 0 else next(of_trials, (math.nan, False))
        found.append(
            SearchPoint(
                key=slot.last.key.text,
                at_s=slot.at_s,
                trial=slot.trial,
                rate=math.exp(slot.log_rate),
                ratio=math.exp(ratio),
                suspect=suspect,
            )
        )
    return tuple(found)


def step_levels(book: Logbook, night: int) -> tuple[StepLevel, ...]:
    """The steps of the sequence that change anything here, in their order."""
    rates: dict[int, dict[int, float]] = {}
    for slot in book.of_stage(night, Stage.SERIES):
        if slot.sample is not None:
            rates.setdefault(slot.sample.arm.number, {})[slot.last.key.block] = slot.log_rate
    stock = rates.get(0, {})
    begun = book.begun[night]
    published = _published(book, night)
    found = []
    for number, _, step in chain(begun):
        if step is None:
            continue
        own = rates.get(number, {})
        seen = trimmed_interval([own[block] - stock[block] for block in sorted(own) if block in stock])
        found.append(
            StepLevel(
                number=number,
                name=step.name,
                ratio=_ratio(seen.center),
                low=_ratio(seen.low),
                high=_ratio(seen.high),
                n=seen.n,
                published=published.get(number),
            )
        )
    return tuple(found)


def _published(book: Logbook, night: int) -> dict[int, float]:
    """The text's own ratio of all steps up to each; it ends where a step has none."""
    found: dict[int, float] = {}
    product = 1.0
    for step in book.begun[night].steps:
        if step.published is None:
            break
        product *= step.published
        found[step.number] = product
    return found


def _ratio(log_ratio: float) -> float | None:
    return math.exp(log_ratio) if math.isfinite(log_ratio) else None
