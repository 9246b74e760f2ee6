"""The trials of a night's search: which wait, which have begun, how often each was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from autotune.experiment.events import Proposal, Stage
from autotune.measurement.logbook import Logbook

GAP_S = 120.0
"""A pause between two samples, beyond a sample's own time, after which stock is measured again."""


def unmeasured(book: Logbook) -> list[Proposal]:
    """Proposals that still wait for their sample, lowest number first; from whichever night."""
    return [
        proposal
        for number, proposal in sorted(book.proposals.items())
        if number not in book.concluded
        and proposal.origin != "stock"
        and not book.is_barred(proposal.configuration)
    ]


def trials_begun(book: Logbook) -> int:
    """How many of the plan's candidates this night has proposed, or measured for the first time."""
    night = book.night
    mine = {one.number for one in book.proposals.values() if one.night == night and one.origin != "stock"}
    return len(mine | set(samples_taken(book)) - _known_before(book))


@lru_cache(maxsize=2)  # by the book itself, which nobody changes
def samples_taken(book: Logbook) -> Mapping[int, int]:
    """How many places of tonight's search each trial has had, whatever came of them."""
    slots = book.stages.get((book.night, Stage.SEARCH), {}).values()
    return Counter(slot.trial for slot in slots if slot.trial > 0)


def repeats_taken(book: Logbook) -> int:
    """How many of tonight's search samples were not the first one of their trial."""
    known = _known_before(book)
    return sum(count - (number not in known) for number, count in samples_taken(book).items())


def _known_before(book: Logbook) -> set[int]:
    """Trials that an earlier night has measured, or given up."""
    return {
        slot.trial
        for (night, stage), slots in book.stages.items()
        if night != book.night and stage is Stage.SEARCH
        for slot in slots.values()
        if slot.trial > 0 and slot.closed
    }
