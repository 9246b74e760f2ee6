"""A baseline night: calibration and the hand-tuned steps, and nothing else."""

from __future__ import annotations

import pytest
from number_bench import FakeClock, NumberBench, drive, night_begun, number_study, whole_night

from autotune.experiment.bench import AskPlan, Finished, Measure
from autotune.experiment.events import Event, NightBegun, NightEnded, Plan, Proposal, Ranking, Sample, Stage
from autotune.measurement.comparison import compare
from autotune.measurement.planning import plan_night, shortened
from autotune.measurement.schedule import next_step


def baseline_begun(night: int = 1) -> NightBegun:
    return night_begun(night).model_copy(update={"purpose": "baseline"})


def test_it_measures_stock_and_every_step_and_asks_nobody_anything() -> None:
    study = number_study(series_rounds=5)
    log = whole_night(study, NumberBench(FakeClock()), baseline_begun())
    assert {event.key.stage for event in log if isinstance(event, Sample)} == {
        Stage.CALIBRATION,
        Stage.SERIES,
    }
    assert not any(isinstance(event, (Proposal, Ranking)) for event in log)
    assert isinstance(log[-1], NightEnded)
    assert log[-1].outcome == "complete"
    comparison = compare(study, log)
    assert comparison.purpose == "baseline"
    assert comparison.arms == ()
    assert comparison.pairs == ()
    first, again, last = comparison.steps
    assert first.ratio == pytest.approx(1.20, abs=0.03)
    assert last.ratio == pytest.approx(1.25 / 1.20, abs=0.03)
    assert (first.n, last.n) == (5, 5)
    assert (again.state, again.ratio) == ("already so", None)
    assert comparison.all_steps is not None
    assert comparison.all_steps.ratio == pytest.approx(1.25, abs=0.03)


def test_it_can_be_cut_anywhere_and_goes_on_where_it_was() -> None:
    study = number_study()
    whole = whole_night(study, NumberBench(FakeClock()), baseline_begun())
    for cut in range(2, len(whole)):
        step = next_step(study, whole[:cut])
        match whole[cut]:
            case Sample() as sample:
                assert isinstance(step, Measure)
                assert step.key == sample.key
            case NightEnded():
                assert isinstance(step, Finished)
            case _:
                assert isinstance(step, AskPlan)


def test_rounds_are_as_asked_or_as_the_budget_says_or_as_time_allows() -> None:
    study = number_study(series_rounds=0)
    log = [baseline_begun()]

    def rounds(asked: int | None, deadline_s: float | None) -> Plan:
        return plan_night(study, log, at="", now_s=0.0, deadline_s=deadline_s, sample_s=3.0, rounds=asked)

    assert rounds(None, None).series_rounds == 6
    assert rounds(20, None).series_rounds == 20
    short = rounds(20, 180.0)  # 57 samples: 12 of calibration, then three links a round
    assert short.series_rounds == 15
    assert "15 of 20" in short.reason
    assert (short.candidates, short.finalists, short.finals_rounds) == (0, 0, 0)


def test_a_deadline_that_comes_nearer_takes_rounds_and_nothing_else() -> None:
    study = number_study(series_rounds=8)
    log: list[Event] = [baseline_begun()]
    bench = NumberBench(FakeClock())
    steps = drive(study, bench, log)
    for _ in range(14):
        next(steps)
    now = bench.clock.now_s
    plan = shortened(study, log, at="", now_s=now, deadline_s=now + 30)
    assert plan is not None
    assert plan.series_rounds < 8
    assert plan.finals_rounds == 0


def test_a_night_that_tunes_is_compared_before_a_baseline_after_it() -> None:
    study = number_study()
    bench = NumberBench(FakeClock())
    tuned = whole_night(study, bench)
    log = [*tuned, baseline_begun(2).model_copy(update={"at": bench.clock.at})]
    for _ in drive(study, bench, log):
        pass
    assert compare(study, log).night == 1
    assert compare(study, log, 2).purpose == "baseline"
