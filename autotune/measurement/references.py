"""Steps in the level of stock over the night: where the board changed under the search's feet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, SampleKey, Stage
from autotune.measurement.calibration import calibration_of
from autotune.measurement.logbook import Logbook, read_log

RECENT = 3
BEFORE = 6
STEP_SIGMAS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStep:
    """A jump in the stock samples of the search. `change` is the log ratio of new level to old; `at` is where the new
    level was first seen; `suspects` are the trials measured around it.
    """

    at: str
    change: float
    suspects: tuple[SampleKey, ...]


def reference_steps(log: Sequence[Event], night: int) -> tuple[ReferenceStep, ...]:
    """Every step: |median of the last 3 references - median of the 6 before them| > 2.5 sigma of the A/A stage.

    The sigma is the A/A stage's and not that of the references at hand, which would cry wolf in most quiet nights.
    Neighbouring hits are one step. Nothing without a calibration.
    """
    return steps_of(read_log(log), night)


def steps_of(book: Logbook, night: int) -> tuple[ReferenceStep, ...]:
    """`reference_steps` of a log that is folded already."""
    seen = calibration_of(book, night)
    slots = [slot for slot in book.of_stage(night, Stage.SEARCH) if slot.sample is not None]
    places = [index for index, slot in enumerate(slots) if slot.last.arm.kind == "stock"]
    if seen is None or seen.sigma_run == 0:
        return ()
    levels = [slots[index].log_rate for index in places]
    hits: list[tuple[int, float]] = []
    for last in range(BEFORE + RECENT, len(levels) + 1):
        new = statistics.median(levels[last - RECENT : last])
        old = statistics.median(levels[last - RECENT - BEFORE : last - RECENT])
        if abs(new - old) > STEP_SIGMAS * seen.sigma_run:
            hits.append((last - RECENT, new - old))
    steps: list[ReferenceStep] = []
    previous = -BEFORE
    for first, change in hits:
        if first - previous >= RECENT:
            around = slots[places[first - 1] : places[min(first + RECENT, len(places)) - 1]]
            suspects = tuple(slot.last.key for slot in around if slot.last.arm.kind == "trial")
            steps.append(ReferenceStep(at=slots[places[first]].last.at, change=change, suspects=suspects))
        previous = first
    return tuple(steps)
