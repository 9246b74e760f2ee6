"""A night on a synthetic board as it begins, and orders for its bench. For tests of any room."""

from __future__ import annotations

from pathlib import Path

from autotune.definitions.study_file import read_study
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, NightBegun, SampleKey, Stage
from autotune.experiment.study import Study
from autotune.runner.beginning import night_begun
from autotune.runner.night_board import Beginning
from autotune.runner.synthetic_night import offer_of
from autotune.space.configuration import Configuration
from autotune.synthetic.boards import SyntheticBoard

BEGAN = "2026-01-31T21:00:00.000+00:00"
STUDIES = Path(__file__).parents[1] / "studies"


def study_of(name: str = "rock5b-static-100k") -> Study:
    """A shipped study."""
    return read_study(STUDIES / f"{name}.toml")


def begun_on(board: SyntheticBoard, study: Study, *, at: str = BEGAN) -> NightBegun:
    beginning = Beginning(night=1, purpose="tune", first=None, deadline=None)
    return night_begun(study, offer_of(board, study), beginning, at)


def order(
    block: int = 0,
    configuration: Configuration | None = None,
    *,
    attempt: int = 0,
    rates: dict[str, float] | None = None,
) -> Measure:
    """An order of the search; without a configuration for stock."""
    chosen = configuration or Configuration()
    return Measure(
        key=SampleKey(night=1, stage=Stage.SEARCH, block=block, position=0, attempt=attempt),
        arm=Arm(kind="trial", number=block) if len(chosen) else Arm(kind="stock"),
        configuration=chosen,
        rates=rates or {},
    )
