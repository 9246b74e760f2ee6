"""The winner pared down to the changes that earn their place."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.experiment.bench import AskDistilled
from autotune.experiment.events import Distilled, Event
from autotune.experiment.study import Study
from autotune.measurement.logbook import read_log
from autotune.measurement.verdicts import CLAIM_FROM
from autotune.space.configuration import Configuration


def distil(study: Study, log: Sequence[Event], ask: AskDistilled, at: str) -> Distilled:
    """What is shipped: the smallest subset that loses no more than its margin, or the winner itself."""
    del study
    winner = read_log(log).winner(ask.night)
    return Distilled(
        night=ask.night,
        at=at,
        trial=winner.number if winner is not None else 0,
        configuration=winner.configuration if winner is not None else Configuration(),
        margin=CLAIM_FROM,
    )
