"""What stands against believing a share: how the trials were chosen, what they never tried, what they couldn't."""

from __future__ import annotations

from collections import Counter

from autotune.analysis.dataset import Dataset
from autotune.experiment.events import Doubt, NightBegun
from autotune.measurement.logbook import Logbook

CONCENTRATED = 0.7
"""Of the trials, at one and the same value."""
GOOD_R2 = 0.7


def importance_doubts(data: Dataset, book: Logbook, begun: NightBegun, r2: float | None) -> tuple[Doubt, ...]:
    """Each with what to look at instead."""
    return (
        *_concentrated(data, begun),
        *_poor_fit(r2),
        *_never_varied(data, begun),
        *_failed(book),
        *_several_stocks(book),
    )


def _concentrated(data: Dataset, begun: NightBegun) -> tuple[Doubt, ...]:
    """The bias of a search's trials, and how it was countered."""
    several = [
        id_
        for id_ in begun.space_ids
        if id_ in data.varied
        and Counter(str(one.get(id_)) for one in data.values).most_common(1)[0][1]
        >= CONCENTRATED * len(data.values)
    ]
    of = len(data.varied & set(begun.space_ids))
    text = "The trials are a search's own: it looked where it expected most"
    if several:
        text += f", and had {len(several)} of {of} parameters at one value in {CONCENTRATED:.0%} of its trials or more"
    return (
        Doubt(
            code="search bias",
            text=f"{text}. Shares are of values drawn evenly over the whole space, so a model speaks where few trials were.",
            next="Believe what was measured first: the steps, and what distillation left out.",
        ),
    )


def _poor_fit(r2: float | None) -> tuple[Doubt, ...]:
    if r2 is None or r2 >= GOOD_R2:
        return ()
    return (
        Doubt(
            code="poor fit",
            text=f"The model foretells only {r2:.0%} of what it hasn't seen: the order below the first few is mostly guessed.",
            next="More trials, or less noise.",
        ),
    )


def _never_varied(data: Dataset, begun: NightBegun) -> tuple[Doubt, ...]:
    still = [id_ for id_ in begun.space_ids if id_ not in data.varied]
    if not still:
        return ()
    names = ", ".join(still[:5]) + (f" and {len(still) - 5} more" if len(still) > 5 else "")
    return (
        Doubt(
            code="never varied",
            text=f"Nothing is known of parameters that had the same value in every trial: {names}.",
        ),
    )


def _failed(book: Logbook) -> tuple[Doubt, ...]:
    """A failure has no score, so what makes configurations fail looks harmless."""
    failed = {
        one.arm.number for one in book.failures if one.blame == "configuration" and one.arm.kind == "trial"
    }
    if not failed:
        return ()
    return (
        Doubt(
            code="failures left out",
            text=f"{len(failed)} configurations failed and have no score; what made them fail is not in the shares.",
            next="autotune show NAME",
        ),
    )


def _several_stocks(book: Logbook) -> tuple[Doubt, ...]:
    stocks = [one.stock for one in book.begun.values()]
    if all(one == stocks[0] for one in stocks[1:]):
        return ()
    return (
        Doubt(
            code="another stock",
            text="The study's nights began from different stocks; scores of both are in one model.",
        ),
    )
