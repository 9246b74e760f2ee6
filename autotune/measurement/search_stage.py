"""The search: candidates one after the other, with stock in between so that drift can be taken out.

Places are handed out as they come: block is the running number of the night's search samples, position is 0. A further
sample of a promising trial is a place of its own under the trial's number.
`candidates` of the plan counts the trials of this night beside stock: the hand-tuned one, the sampler's, and any that
an earlier night had proposed and not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from autotune.experiment.bench import AskSampler, Finished, Measure
from autotune.experiment.events import Arm, Stage
from autotune.experiment.study import Study
from autotune.measurement.candidates import GAP_S, trials_begun, unmeasured
from autotune.measurement.logbook import STOCK, Logbook, Slot, SlotState
from autotune.measurement.racing import next_repeat, next_retake
from autotune.measurement.references import spacing_of
from autotune.space.configuration import Configuration

FAILURES_IN_A_ROW = 3
"""After so many configurations failed one after the other, stock has to show that the board still works."""


@dataclass(slots=True)
class _Walk:
    """Where the search stands after its closed slots."""

    since_reference: int = 0
    reference_due: bool = True
    failed_in_a_row: int = 0
    open: Slot | None = None


def search_step(study: Study, book: Logbook) -> Measure | AskSampler | Finished | None:
    """What the search needs next; None when it is complete."""
    night = book.night
    plan = book.plans[night]
    if (night, "finalists") in book.rankings:
        return None
    slots = book.of_stage(night, Stage.SEARCH)
    walk = _walk(book, slots)
    if (opened := walk.open) is not None:
        failure = opened.failure
        if (
            failure is not None
            and failure.blame == "configuration"
            and walk.failed_in_a_row >= FAILURES_IN_A_ROW
        ):
            return Finished(
                night=night,
                outcome="systemic failure",
                reason=f"{walk.failed_in_a_row} configurations failed in a row, and then stock too: {failure.reason}",
            )
        place = opened.last.key
        return Measure(
            key=book.next_attempt(night, Stage.SEARCH, place.block, place.position),
            arm=opened.last.arm,
            configuration=opened.last.configuration,
        )
    waiting = unmeasured(book)
    begun = trials_begun(book)
    again = None if waiting else next_repeat(study, book)
    if not waiting and again is None and begun >= plan.candidates:
        again = next_retake(study, book)
    more = bool(waiting) or again is not None or begun < plan.candidates
    due = walk.reference_due or walk.since_reference >= spacing_of(book, night)
    if walk.failed_in_a_row >= FAILURES_IN_A_ROW or (due if more else walk.since_reference > 0):
        return _measure(book, len(slots), STOCK, Configuration())
    if waiting:
        return _measure_trial(book, len(slots), waiting[0].number)
    if again is not None:
        return _measure_trial(book, len(slots), again)
    if begun < plan.candidates:
        return AskSampler(night=night, number=max(book.proposals, default=-1) + 1)
    return None


def _measure_trial(book: Logbook, block: int, number: int) -> Measure:
    return _measure(book, block, Arm(kind="trial", number=number), book.proposals[number].configuration)


def _walk(book: Logbook, slots: list[Slot]) -> _Walk:
    """Replays the closed slots and the gaps between them, in the order of the log."""
    night = book.night
    walk = _Walk()
    limit_s = GAP_S + book.plans[night].sample_s
    gaps = [order for order, gap in book.gaps if gap.night == night]
    last_s: float | None = None
    passed = 0
    for slot in slots:
        while passed < len(gaps) and gaps[passed] < slot.order:
            walk.reference_due = True
            passed += 1
        reference = slot.trial == 0
        match slot.state:
            case SlotState.OPEN:
                if not (slot.last.arm.kind == "trial" and book.is_barred(slot.last.configuration)):
                    walk.open = walk.open or slot
            case SlotState.DONE:
                now_s = slot.at_s
                paused = last_s is not None and now_s - last_s > limit_s
                last_s = now_s
                walk.failed_in_a_row = 0
                walk.since_reference = 0 if reference else walk.since_reference + 1
                walk.reference_due = not reference and (walk.reference_due or paused)
            case SlotState.FAILED:
                walk.failed_in_a_row += 1
            case SlotState.MISSING:
                pass
    if passed < len(gaps):
        walk.reference_due = True
    return walk


def _measure(book: Logbook, block: int, arm: Arm, configuration: Configuration) -> Measure:
    return Measure(
        key=book.next_attempt(book.night, Stage.SEARCH, block, 0), arm=arm, configuration=configuration
    )
