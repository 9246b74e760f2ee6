"""Which trials go on to the finalists, and which of those is called automatic."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.experiment.bench import AskRanking
from autotune.experiment.events import Event, Ranking
from autotune.experiment.study import Study
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.limits import violators
from autotune.measurement.logbook import Effective, Logbook, effective_key, read_log
from autotune.measurement.scores import TrialScore, finalist_pairs, scores_of
from autotune.measurement.search_limits import search_excesses


def rank(study: Study, log: Sequence[Event], ask: AskRanking, at: str) -> Ranking:
    """The order that is asked for.

    finalists: at most the plan's number by shrunken score, those above stock, and at least the best one. No
    configuration twice, none that is stock, none that failed, is unstable, or breaks a limit in its search samples already.
    winner: those finalists that were faster than stock in their fresh pairs, and in these alone, and kept the study's
    limits there; empty when none did, and then automatic is stock.
    """
    book = read_log(log)
    order = (
        finalists_of(study, book, ask.night)
        if ask.purpose == "finalists"
        else _winners(study, book, ask.night)
    )
    return Ranking(
        night=ask.night,
        at=at,
        purpose=ask.purpose,
        trials=tuple(number for number, _ in order),
        scores=tuple(score for _, score in order),
    )


def finalists_of(study: Study, book: Logbook, night: int) -> list[tuple[int, float]]:
    """The trials that would go on if the search were over now, best first, with their shrunken scores."""
    plan = book.plans[night]
    breaking = search_excesses(study, book)
    eligible = [one for one in _eligible(book, scores_of(book)) if one.number not in breaking]
    scores = sorted(eligible, key=lambda one: (-one.shrunken, -one.score, one.number))
    chosen: list[tuple[int, float]] = []
    taken: set[Effective] = set()
    for one in scores:
        key = effective_key(book.proposals[one.number].configuration, book.stock(night))
        if key in taken or not key:
            continue
        if len(chosen) >= plan.finalists or (chosen and one.shrunken <= 0):
            break
        taken.add(key)
        chosen.append((one.number, one.shrunken))
    return chosen


def _winners(study: Study, book: Logbook, night: int) -> list[tuple[int, float]]:
    eligible = {one.number for one in _eligible(book, scores_of(book))} - violators(study, book, night).keys()
    means = [
        (number, trimmed_interval(ratios).center)
        for number, ratios in finalist_pairs(book, night).items()
        if number in eligible
    ]
    return sorted(((number, mean) for number, mean in means if mean > 0), key=lambda one: (-one[1], one[0]))


def _eligible(book: Logbook, scores: dict[int, TrialScore]) -> list[TrialScore]:
    return [
        one
        for number, one in scores.items()
        if number in book.proposals
        and book.proposals[number].origin != "stock"
        and one.n > 0
        and not one.failed
        and not one.unstable
    ]
