"""What comes next: the pure function that is the night.

Stages follow each other: calibration, search, finalists, distillation, finals, series, attribution; a baseline night has
the first and the last two alone. A stage is over when all its places are filled or can't be; those before the finals are also over for
good once a later stage has begun, so a sample voided afterwards leaves its pair incomplete instead of turning the night
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSubsets,
    Finished,
    Measure,
    NextStep,
)
from autotune.experiment.events import Event, NightEnded, Stage
from autotune.experiment.study import Study
from autotune.measurement.calibration import NOISE_LIMIT, calibration_of, first_stage_interval
from autotune.measurement.combinations import attribution_places
from autotune.measurement.distillation import has_parts, hopeless
from autotune.measurement.finals import rounds_asked
from autotune.measurement.logbook import Logbook, SlotState, read_log
from autotune.measurement.rates import rates_for
from autotune.measurement.search_stage import search_step
from autotune.measurement.stages import (
    Place,
    calibration_places,
    distillation_places,
    final_places,
    finalist_places,
    series_places,
)


def next_step(study: Study, log: Sequence[Event]) -> NextStep:
    """The next thing to do in the night that began last. The same for the same study and log, always.

    Raises AutotuneError when no night has begun.
    """
    book = read_log(log)
    night = book.tonight.night
    ended = book.ended.get(night)
    if ended is not None:
        return _over(ended)
    if night not in book.plans:
        return AskPlan(night=night)
    first = _stock_failed(book) or _calibration_step(study, book)
    if book.tonight.purpose == "baseline":
        return (
            first
            or _series_step(study, book)
            or _attribution_step(study, book)
            or Finished(night=night, outcome="complete")
        )
    return (
        first
        or search_step(study, book)
        or _finalists_step(study, book)
        or _distillation_step(study, book)
        or _finals_step(study, book)
        or _series_step(study, book)
        or _attribution_step(study, book)
        or Finished(night=night, outcome="complete")
    )


def _over(ended: NightEnded) -> Finished:
    """An ended night stays ended. (One abandoned for another was not completed: Finished has no word of its own.)"""
    if ended.outcome == "abandoned":
        return Finished(night=ended.night, outcome="systemic failure", reason=f"abandoned: {ended.reason}")
    return Finished(night=ended.night, outcome=ended.outcome, reason=ended.reason)


def _stock_failed(book: Logbook) -> Finished | None:
    """Stock that fails again and again says that something else is broken: the night ends."""
    for place, slot in book.slots.items():
        if place[0] != book.night or not slot.of_stock or slot.state is not SlotState.MISSING:
            continue
        why = slot.failure.reason if slot.failure is not None else "its samples were declared void"
        return Finished(
            night=book.night,
            outcome="systemic failure",
            reason=f"stock itself gave no number {slot.last.key.attempt + 1} times in {slot.last.key.stage}: {why}",
        )
    return None


def _calibration_step(study: Study, book: Logbook) -> Measure | Finished | None:
    night = book.night
    if any(place[0] == night and place[1] is not Stage.CALIBRATION for place in book.slots):
        return None
    planned = book.plans[night].calibration_pairs
    step = _first_open(study, book, calibration_places(0, planned), pairs=True)
    if step is None and first_stage_interval(book, night, planned).excludes_zero:
        step = _first_open(study, book, calibration_places(planned, 2 * planned), pairs=True)
    if step is not None:
        return step
    seen = calibration_of(book, night)
    if seen is not None and seen.paired_cv > NOISE_LIMIT and not study.accept_noise:
        return Finished(
            night=night,
            outcome="refused",
            reason=f"two runs of the same configuration differ by {seen.paired_cv:.1%} (standard deviation of pairs), "
            f"more than the {NOISE_LIMIT:.0%} at which a night can show anything. Quieten the machine (pin the server, "
            "stop other work, longer runs), or set accept_noise = true in the study and have it stamped on the result",
        )
    return None


def _finalists_step(study: Study, book: Logbook) -> Measure | AskRanking | None:
    night = book.night
    if (night, "winner") in book.rankings:
        return None
    ranking = book.rankings.get((night, "finalists"))
    if ranking is None:
        return AskRanking(night=night, purpose="finalists")
    places = finalist_places(book, ranking, book.plans[night].finalist_pairs)
    return _first_open(study, book, places, pairs=True) or AskRanking(night=night, purpose="winner")


def _distillation_step(study: Study, book: Logbook) -> Measure | AskSubsets | AskDistilled | None:
    """Nothing without a winner of several changes, or without pairs in the plan: then the winner is what is shipped."""
    night = book.night
    if night in book.distilled or book.of_stage(night, Stage.FINALS):
        return None
    subsets = book.subsets.get(night)
    pairs = book.plans[night].distillation_pairs
    if subsets is None:
        winner = book.winner(night)
        if winner is None or not pairs or not has_parts(book, winner):
            return None
        return AskSubsets(night=night, trial=winner.number)
    over = hopeless(book, subsets)
    places = (
        place
        for place in distillation_places(book, subsets, pairs)
        if place.block % len(subsets.configurations) not in over
    )
    return _first_open(study, book, places, pairs=True) or AskDistilled(night=night)


def _finals_step(study: Study, book: Logbook) -> Measure | None:
    return _first_open(
        study, book, final_places(study, book, book.night, rounds_asked(study, book, book.night))
    )


def _series_step(study: Study, book: Logbook) -> Measure | None:
    return _first_open(
        study, book, series_places(study, book, book.night, book.plans[book.night].series_rounds)
    )


def _attribution_step(study: Study, book: Logbook) -> Measure | None:
    return _first_open(
        study, book, attribution_places(study, book, book.night, book.plans[book.night].attribution_rounds)
    )


def _first_open(
    study: Study, book: Logbook, places: Iterable[Place], *, pairs: bool = False
) -> Measure | None:
    """The first place that still wants a sample. With `pairs`, a block that lost one member isn't gone on with."""
    by_block: dict[int, list[Place]] = {}
    for place in places:
        by_block.setdefault(place.block, []).append(place)
    for block in by_block.values():
        lost = [place for place in block if _lost(book, place)]
        if pairs and lost:
            continue
        for place in block:
            slot = book.slot(book.night, place.stage, place.block, place.position)
            if place not in lost and (slot is None or not slot.closed):
                return Measure(
                    key=book.next_attempt(book.night, place.stage, place.block, place.position),
                    arm=place.who.arm,
                    configuration=place.who.configuration,
                    rates=rates_for(study, book, place.stage),
                )
    return None


def _lost(book: Logbook, place: Place) -> bool:
    """Whether nothing can be had here any more: given up, or the configuration has failed by its own fault."""
    slot = book.slot(book.night, place.stage, place.block, place.position)
    if slot is not None and slot.closed:
        return slot.state is not SlotState.DONE
    return book.is_barred(place.who.configuration)
