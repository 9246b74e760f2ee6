"""The board that a study's night is held on."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.runner.live_board import LiveBoard
from autotune.runner.night_board import NightBoard


def board_for(study: Study, log: Sequence[Event]) -> NightBoard:
    """The study's board as the log leaves it. Nothing of it is touched yet."""
    if not study.is_synthetic:
        return LiveBoard(study)
    from autotune.runner.synthetic_night import SyntheticNightBoard

    return SyntheticNightBoard(study, log)
