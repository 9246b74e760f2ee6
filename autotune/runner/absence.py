"""Time in which nothing was measured: what of the night it takes with it."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.experiment.bench import Measure
from autotune.experiment.events import Event, Gap, Sample, SampleKey, Stage, Void
from autotune.experiment.study import Study
from autotune.measurement.candidates import GAP_S
from autotune.measurement.schedule import next_step
from autotune.runner.clocks import Clock
from autotune.runner.nights import open_night

ASLEEP_S = 1.0
"""Clocks that are read one after the other differ by less without any sleep."""


def absence(
    study: Study, log: Sequence[Event], *, at: str, away_s: float, reason: str, boot: str = ""
) -> tuple[Event, ...]:
    """The gap, and after a long one or a reboot (`boot`: the board's new one) what it tears: the first part of a pair or
    round doesn't stand beside what is still to come of it.

    Nothing where no time passed: the clock of a board made of numbers stands while nobody measures.
    """
    begun = open_night(log)
    if begun is None or (away_s == 0 and not boot):
        return ()
    gap = Gap(night=begun.night, at=at, seconds=max(0.0, away_s), reason=reason, boot=boot)
    if away_s <= GAP_S and not boot:
        return (gap,)
    when = "after a reboot of the board" if boot else f"{away_s / 60:.0f} minutes later"
    torn = f"the rest of its round was to be measured {when}"
    return (gap, *(Void(key=key, at=at, reason=torn) for key in torn_block(study, log)))


def torn_block(study: Study, log: Sequence[Event]) -> tuple[SampleKey, ...]:
    """The samples that count of a pair or round that is not yet whole; nothing in the search, which has none."""
    step = next_step(study, log)
    if not isinstance(step, Measure) or step.key.stage is Stage.SEARCH:
        return ()
    voided = {event.key for event in log if isinstance(event, Void)}
    block = (step.key.night, step.key.stage, step.key.block)
    return tuple(
        event.key
        for event in log
        if isinstance(event, Sample)
        and event.key not in voided
        and (event.key.night, event.key.stage, event.key.block) == block
    )


class Sleep:
    """Notices that the machine which measures was suspended: a laptop whose lid was shut."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known_s = clock.slept_s

    def is_new(self) -> bool:
        """Whether there was any since `told_s` was asked last."""
        return self._clock.slept_s - self._known_s > ASLEEP_S

    def told_s(self) -> float:
        """Seconds since this was asked last; 0 for none."""
        slept_s = self._clock.slept_s - self._known_s if self.is_new() else 0.0
        self._known_s = self._clock.slept_s
        return slept_s
