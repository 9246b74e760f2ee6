"""A night on a synthetic board as it begins, and orders for its bench. For tests of any room."""

from __future__ import annotations

from pathlib import Path

from autotune.definitions.study_file import read_study
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, NightBegun, SampleKey, Stage
from autotune.experiment.study import Study
from autotune.runner.sequence import apply_sequence
from autotune.space.configuration import Configuration
from autotune.space.search_space import Dropped
from autotune.synthetic.boards import SyntheticBoard

BEGAN = "2026-01-31T21:00:00.000+00:00"
STUDIES = Path(__file__).parents[1] / "studies"


def study_of(name: str = "rock5b-static-100k") -> Study:
    """A shipped study."""
    return read_study(STUDIES / f"{name}.toml")


def begun_on(board: SyntheticBoard, study: Study, *, at: str = BEGAN) -> NightBegun:
    stock = board.stock_of(study)
    lacking = {one.id: board.lacking(one.id, study) for one in study.space.parameters}
    lacking |= {
        one.id: "changes the service" for one in study.space.parameters if one.setting.changes_service
    }
    steps = apply_sequence(
        study.hand_tuned,
        stock=stock,
        refusal=lambda id_, value: board.refusal(id_, value, study),
        facts=board.facts(study),
    )
    return NightBegun(
        night=1,
        at=at,
        stock=stock,
        facts=board.facts(study),
        space_ids=tuple(id_ for id_, reason in lacking.items() if not reason),
        offered=dict(board.offered),
        dropped=tuple(Dropped(id=id_, reason=reason) for id_, reason in lacking.items() if reason),
        steps=steps,
        hand_tuned=steps[-1].configuration,
        board=board.description,
        doubts=board.doubts,
    )


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
