"""Where a night stands: counted from its log, stage by stage, until nothing is left."""

from __future__ import annotations

import pytest

from autotune.experiment.events import Distilled, Event, Sample, Stage
from autotune.runner.notices import Progress
from autotune.runner.progress import progress_of
from night_example import a_night, a_study

STUDY = a_study()


@pytest.fixture(scope="module")
def log() -> list[Event]:
    return a_night(STUDY)


def after(log: list[Event], stage: Stage) -> list[Progress]:
    """The progress after each sample of the stage."""
    return [
        progress_of(STUDY, log[: place + 1], None)
        for place, event in enumerate(log)
        if isinstance(event, Sample) and event.key.stage is stage
    ]


@pytest.mark.parametrize("stage", list(Stage))
def test_each_stage_is_counted_to_its_end(log: list[Event], stage: Stage) -> None:
    told = after(log, stage)
    assert {one.stage for one in told} == {stage.value}
    assert [one.sample for one in told] == list(range(1, len(told) + 1))
    assert told[-1].samples >= told[-1].sample
    if stage not in (Stage.SEARCH, Stage.DISTILLATION):  # their repeats and their pairs may end early
        assert told[-1].samples == told[-1].sample


def test_the_time_left_shrinks_to_nothing(log: list[Event]) -> None:
    samples = [one for one in log if isinstance(one, Sample)]
    left = [one.time_left_s for stage in Stage for one in after(log, stage)]
    assert None not in left
    assert left[-1] == 0.0
    assert (left[-7] or 0.0) == pytest.approx(6 * 3.0, rel=0.5)
    assert len(left) == len(samples)


def test_nothing_takes_longer_than_until_the_deadline(log: list[Event]) -> None:
    assert progress_of(STUDY, log[:20], 7.0).time_left_s == 7.0


def test_a_night_pares_its_winner_down(log: list[Event]) -> None:
    assert any(isinstance(one, Distilled) for one in log)
