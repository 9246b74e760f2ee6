"""The attribution as a stage of the night: when there is time for it, what it gives way to, and that it can be cut anywhere."""

from __future__ import annotations

import json

import pytest
from number_bench import FakeClock, NumberBench, drive, night_begun, number_study, whole_night
from steps_board import step, steps_begun, steps_in, steps_study

from autotune.experiment.bench import Finished, Measure
from autotune.experiment.events import EVENT, Event, Failure, NightBegun, NightEnded, Plan, Sample, Stage
from autotune.experiment.study import Budget, Study
from autotune.measurement.attribution_rounds import FEWEST, MOST, SHARE
from autotune.measurement.comparison import compare
from autotune.measurement.planning import CANDIDATES_WITHOUT_CLOCK, expected_samples, plan_night, shortened
from autotune.measurement.schedule import next_step


def baseline(night: int = 1) -> NightBegun:
    return steps_begun(4, night).model_copy(update={"purpose": "baseline"})


def taken(log: list[Event], night: int = 1) -> int:
    """Samples of the attribution."""
    return sum(
        isinstance(one, Sample) and one.key.stage is Stage.ATTRIBUTION and one.key.night == night
        for one in log
    )


def planned(study: Study, begun: NightBegun, hours: float | None, **asked: int) -> Plan:
    deadline_s = None if hours is None else hours * 3600
    return plan_night(study, [begun], at="", now_s=0.0, deadline_s=deadline_s, sample_s=20.0, **asked)


# --- the night


def test_it_comes_last_and_can_be_cut_anywhere_and_goes_on_where_it_was() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=3)
    whole = whole_night(study, NumberBench(FakeClock()), baseline())
    assert taken(whole) == 3 * 10
    first = next(
        at for at, one in enumerate(whole) if isinstance(one, Sample) and one.key.stage is Stage.ATTRIBUTION
    )
    for cut in range(first, len(whole)):
        step_ = next_step(study, [EVENT.validate_json(one.model_dump_json()) for one in whole[:cut]])
        event = whole[cut]
        if isinstance(event, Sample):
            assert isinstance(step_, Measure)
            assert (step_.key, step_.arm, step_.configuration) == (event.key, event.arm, event.configuration)
        else:
            assert isinstance(step_, Finished)


def test_each_round_has_every_combination_once_in_an_order_of_its_own() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=3)
    whole = whole_night(study, NumberBench(FakeClock()), baseline())
    rounds: dict[int, list[str]] = {}
    for one in whole:
        if isinstance(one, Sample) and one.key.stage is Stage.ATTRIBUTION:
            rounds.setdefault(one.key.block, []).append(one.arm.text)
    wanted = {
        "stock",
        "hand-tuned",
        *(f"step {k} alone" for k in range(1, 5)),
        *(f"all steps but {k}" for k in range(1, 5)),
    }
    assert [set(one) for one in rounds.values()] == [wanted] * 3
    assert len({tuple(one) for one in rounds.values()}) == 3
    assert expected_samples(study, whole)[Stage.ATTRIBUTION] == taken(whole)


def test_a_combination_that_fails_costs_its_own_figures_alone() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=8)
    bench = NumberBench(
        FakeClock(),
        ratio=lambda one: 1 + 0.1 * len(one),
        fails=lambda order: "configuration" if steps_in(order.configuration) == {1, 2, 4} else "",
    )
    log = whole_night(study, bench, baseline())
    assert isinstance(log[-1], NightEnded)
    assert log[-1].outcome == "complete"
    assert sum(isinstance(one, Failure) for one in log) <= 2
    found = compare(study, log).attribution
    lost = step(found, 3)
    assert (lost.verdict, lost.without.n, lost.only.n) == ("not measured", 0, 8)
    assert "all steps but 3: as the test wants it" in lost.reason
    assert step(found, 1).verdict == "helps"


def test_two_nights_have_an_attribution_each() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=6)
    bench = NumberBench(FakeClock(), ratio=lambda one: 1 + 0.1 * (1 in steps_in(one)))
    log = whole_night(study, bench, baseline())
    bench.ratio = lambda one: 1 - 0.1 * (1 in steps_in(one))
    log.append(baseline(2).model_copy(update={"at": bench.clock.at}))
    for _ in drive(study, bench, log):
        pass
    assert step(compare(study, log, 1).attribution, 1).verdict == "helps"
    assert step(compare(study, log, 2).attribution, 1).verdict == "harms"


def test_a_night_in_the_middle_of_it_tells_what_there_is() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=6)
    log: list[Event] = [baseline()]
    for _ in drive(study, NumberBench(FakeClock(), ratio=lambda one: 1 + 0.1 * (1 in steps_in(one))), log):
        if taken(log) == 25:
            break
    found = compare(study, log).attribution
    assert found.rounds == 3
    assert {one.share.n for one in found.steps} <= {2, 3}
    assert {one.verdict for one in found.steps} == {"nothing to be seen"}


# --- its time


def test_a_long_night_gives_it_a_small_share_and_a_short_one_none_and_says_so() -> None:
    study = number_study(candidates=None)
    long, short = planned(study, night_begun(), 8), planned(study, night_begun(), 1)
    assert FEWEST <= long.attribution_rounds <= MOST
    assert 4 * long.attribution_rounds * 20.0 <= SHARE * 8 * 3600
    assert long.candidates >= CANDIDATES_WITHOUT_CLOCK
    assert short.attribution_rounds == 0
    assert "attribution_rounds" in short.reason
    no_deadline = planned(study, night_begun(), None)
    assert no_deadline.attribution_rounds == 0
    assert "attribution_rounds" in no_deadline.reason


@pytest.mark.parametrize("hours", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0])
def test_by_time_alone_it_never_takes_anything_from_another_stage(hours: float) -> None:
    free, forbidden = (
        planned(number_study(candidates=None, attribution_rounds=rounds), night_begun(), hours)
        for rounds in (None, 0)
    )
    stages = (
        "calibration_pairs",
        "finalists",
        "finalist_pairs",
        "distillation_pairs",
        "finals_rounds",
        "series_rounds",
    )
    assert [getattr(free, one) for one in stages] == [getattr(forbidden, one) for one in stages]
    assert free.candidates >= min(forbidden.candidates, CANDIDATES_WITHOUT_CLOCK)
    assert forbidden.attribution_rounds == 0
    assert "attribution" not in forbidden.reason


def test_what_a_study_asks_for_is_planned_and_gives_way_first_when_time_is_short() -> None:
    study = number_study(candidates=None, attribution_rounds=12)
    assert planned(study, night_begun(), None).attribution_rounds == 12
    assert planned(study, night_begun(), 9).attribution_rounds == 12
    rounds = [
        planned(study, night_begun(), hours).attribution_rounds for hours in (3.0, 1.6, 1.4, 1.2, 1.0, 0.5)
    ]
    assert rounds == sorted(rounds, reverse=True)
    assert set(rounds) <= {12, FEWEST, 0}
    assert "no attribution" in planned(study, night_begun(), 0.5).reason


def test_a_baseline_has_as_many_rounds_as_asked_for_or_as_time_allows() -> None:
    study = steps_study(4, series_rounds=2)
    begun = baseline()
    assert planned(study, begun, None).attribution_rounds == 0
    assert planned(study, begun, None, attribution=7).attribution_rounds == 7
    # 171 samples: 12 of calibration, 10 of the series, and ten a round.
    assert planned(study, begun, 1.0).attribution_rounds == 14
    assert planned(study, begun, 1.0, attribution=7).attribution_rounds == 7
    assert planned(study, begun, 1.0, attribution=0).attribution_rounds == 0
    short = planned(study, begun, 0.2, attribution=7)
    assert (short.series_rounds, short.attribution_rounds) == (2, 0)
    assert "attribution_rounds" in short.reason


def test_in_a_running_night_it_gives_way_before_anything_else() -> None:
    study = number_study(candidates=30, distillation_pairs=0, attribution_rounds=10)
    log: list[Event] = [night_begun()]
    for _ in drive(study, NumberBench(FakeClock()), log):
        if sum(isinstance(one, Sample) and one.key.stage is Stage.SEARCH for one in log) == 5:
            break
    before = next(one for one in log if isinstance(one, Plan))
    needed = sum(expected_samples(study, log).values()) - 17  # what is there already

    def left(samples: int) -> Plan:
        plan = shortened(study, log, at="", now_s=0.0, deadline_s=3.0 * (needed - samples))
        assert plan is not None
        return plan

    little, much, more = left(8), left(30), left(60)
    assert FEWEST <= little.attribution_rounds < 10
    assert (little.candidates, much.candidates) == (30, 30)
    assert much.attribution_rounds == 0
    assert more.candidates < 30
    assert {one.finals_rounds for one in (little, much, more)} == {before.finals_rounds}


def test_once_begun_it_ends_at_the_deadline_and_keeps_its_rounds() -> None:
    study = steps_study(4, series_rounds=1, attribution_rounds=9)
    bench = NumberBench(FakeClock(), ratio=lambda one: 1 + 0.1 * (1 in steps_in(one)))
    deadline_s = 3.0 * (12 + 5 + 70)
    log: list[Event] = [baseline()]
    for _ in drive(study, bench, log):
        plan = shortened(study, log, at=bench.clock.at, now_s=bench.clock.now_s, deadline_s=deadline_s)
        if plan is not None:
            log.append(plan)
    assert bench.clock.now_s <= deadline_s
    assert taken(log) == 60
    assert step(compare(study, log).attribution, 1).verdict == "helps"


# --- older logs and studies


def test_a_plan_from_before_there_was_an_attribution_has_none() -> None:
    plan = planned(number_study(), night_begun(), None)
    old = json.loads(plan.model_dump_json())
    del old["attribution_rounds"]
    read = EVENT.validate_python(old)
    assert isinstance(read, Plan)
    assert read.attribution_rounds == 0


def test_a_study_that_says_nothing_of_it_is_the_study_that_it_was() -> None:
    plain = number_study()
    assert "attribution_rounds" not in plain.model_dump_json(exclude_defaults=True)
    assert (
        plain.fingerprint
        == plain.model_copy(
            update={
                "budget": Budget.model_validate(
                    {
                        key: value
                        for key, value in plain.budget.model_dump().items()
                        if key != "attribution_rounds"
                    }
                )
            }
        ).fingerprint
    )
    assert number_study(attribution_rounds=6).fingerprint != plain.fingerprint
    assert number_study(attribution_rounds=0).fingerprint != plain.fingerprint
