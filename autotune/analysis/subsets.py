"""Which of the winner's changes may be all that earns its place: nested subsets, to be tested in fresh pairs."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.experiment.bench import AskSubsets
from autotune.experiment.events import Event, Subsets
from autotune.experiment.study import Study


def nominate(study: Study, log: Sequence[Event], ask: AskSubsets, at: str) -> Subsets:
    """At most 4 nested subsets of the winning trial's changes, smallest first."""
    del study, log
    return Subsets(night=ask.night, at=at, trial=ask.trial, configurations=())
