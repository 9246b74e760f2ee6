"""Which trial of the search is worth another sample: the promising ones, spread over the night."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from autotune.experiment.events import RETAKES, Stage
from autotune.experiment.study import Study
from autotune.measurement.candidates import repeats_taken, samples_taken, trials_begun
from autotune.measurement.logbook import Logbook
from autotune.measurement.ranking import finalists_of
from autotune.measurement.references import Flags, Whole
from autotune.measurement.scores import ScoreTable, score_table
from autotune.measurement.search_limits import search_excesses
from autotune.measurement.stages import repeats_for

SIGMAS = 2.0
"""How many standard errors of the difference a trial may lie below the incumbent and still be promising."""
APART = 4
"""So many other samples, one of them stock's, lie between two of the same trial."""


def next_repeat(study: Study, book: Logbook) -> int | None:
    """The trial to be measured again now; None: none is worth it, or it isn't time for it yet.

    Repeats are rationed, so that they are spread over the search: as large a share of them may be used up as of the
    candidates. Of the promising trials the one that is likely the best comes first.
    """
    plan = book.plans[book.night]
    ration = repeats_for(plan)
    if plan.candidates > 0:
        ration = min(ration, ration * trials_begun(book) // plan.candidates)
    if not ration or repeats_taken(book) >= ration:
        return None
    table = score_table(book)
    wanted = promising(table, search_excesses(study, book)) & (table.n < plan.repeats)
    return _first(book, table, wanted)


def next_retake(study: Study, book: Logbook) -> int | None:
    """A trial that would be a finalist, but stands on nothing but samples from around a step of stock's level."""
    table = score_table(book)
    if not table.suspect.any():
        return None
    finalists = {number for number, _ in finalists_of(study, book, book.night)}
    taken = samples_taken(book)
    wanted = table.suspect & np.array(
        [number in finalists and taken.get(number, 0) <= RETAKES for number in table.number.tolist()]
    )
    return _first(book, table, wanted, apart=0)


def promising(table: ScoreTable, breaking: Collection[int] = ()) -> Flags:
    """Which trials may yet be better than the incumbent, which is one of them: the likely best one, or stock, which is 0.

    Out of the race: what is `breaking` a limit, and what has its mean + 2 standard errors of the difference below the
    incumbent's mean, with the error of a trial sigma sqrt(1/n) (and that of its references' level).
    """
    eligible = table.eligible(breaking)
    if not eligible.any():
        return eligible
    best = next(place for place in likely_best_first(table).tolist() if eligible[place])
    margin = SIGMAS * np.sqrt(table.error**2 + table.error[best] ** 2)
    above_stock = table.score + SIGMAS * table.error >= 0
    return np.asarray(eligible & above_stock & (table.score + margin >= table.score[best]))


def likely_best_first(table: ScoreTable) -> Whole:
    """The places of the table in this order. Where nothing but luck is seen all shrunken scores are equal: then by score."""
    return np.lexsort((table.number, -table.score, -table.shrunken))


def _first(book: Logbook, table: ScoreTable, wanted: Flags, apart: int = APART) -> int | None:
    """The likely best of them whose last sample is long enough ago."""
    if not wanted.any():
        return None
    resting = _resting(book, apart)
    order = likely_best_first(table)
    return next((n for n in table.number[order[wanted[order]]].tolist() if n not in resting), None)


def _resting(book: Logbook, apart: int) -> set[int]:
    """Trials whose last sample has not yet so many others after it, or no stock sample."""
    found: set[int] = set()
    stock_seen = False
    for later, slot in enumerate(reversed(book.of_stage(book.night, Stage.SEARCH))):
        if stock_seen and later >= apart:
            break
        if slot.last.arm.kind == "stock":
            stock_seen = True
        else:
            found.add(slot.last.arm.number)
    return found
