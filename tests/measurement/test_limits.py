"""Limits: what a configuration must keep to win at all, whatever its throughput."""

from __future__ import annotations

import math
import random

import pytest
from number_bench import (
    SENDFILE,
    FakeClock,
    NumberBench,
    fixed_rate,
    number_study,
    whole_night,
)

from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import ErrorCounts, Event, Failure, Ranking, Sample, Stage
from autotune.experiment.study import Limit, Study
from autotune.measurement.bounds import hold
from autotune.measurement.comparison import Comparison, compare
from autotune.measurement.limits import CHOOSING, limit_results, violators
from autotune.measurement.logbook import read_log
from autotune.space.configuration import Configuration

P99 = Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True)


class Paced(NumberBench):
    """Every sample has an open-loop run; with sendfile on its p99 is `tail` times stock's."""

    tail: float = 2.0
    paced_errors: int = 0

    def measure(self, order: Measure) -> Outcome:
        event = super().measure(order).event
        if isinstance(event, Failure):
            return Outcome(event=event)
        chance = random.Random(f"tail/{self.seed}/{order.key.text}")
        slow = bool(order.configuration.over({SENDFILE.id: False})[SENDFILE.id])
        p99_s = 0.004 * (self.tail if slow else 1.0) * math.exp(chance.gauss(0, 0.05))
        run = fixed_rate(30_000, p99_s).model_copy(
            update={"errors": ErrorCounts(read=self.paced_errors if slow else 0)}
        )
        return Outcome(event=event.model_copy(update={"fixed_rate": {"1k": run}}))


def limited(*limits: Limit) -> Study:
    return number_study(candidates=20, finalists=4, finalist_pairs=4).model_copy(update={"limits": limits})


def night(study: Study, *, tail: float = 2.0, errors: int = 0) -> list[Event]:
    bench = Paced(FakeClock(), sigma=0.005)
    bench.tail, bench.paced_errors = tail, errors
    return whole_night(study, bench)


def winner(log: list[Event]) -> Configuration | None:
    book = read_log(log)
    found = book.winner(1)
    return found.configuration if found is not None else None


def verdicts(comparison: Comparison, arm: str) -> list[str]:
    return [one.verdict for one in comparison.limits if one.arm == arm]


def test_a_finalist_that_violates_a_limit_does_not_win_however_fast_it_is() -> None:
    free, bound = night(limited()), night(limited(P99))
    assert (best := winner(free)) is not None
    assert best.over({})[SENDFILE.id] is True
    now = winner(bound)
    assert now is None or not now.over({SENDFILE.id: False})[SENDFILE.id]
    assert violators(limited(P99), read_log(bound), 1)


def test_when_every_finalist_violates_a_limit_automatic_is_stock() -> None:
    log = night(limited(Limit(metric="requests_per_s", bound="at most", value=0.9, of_stock=True)))
    ranking = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    assert ranking.trials == ()
    automatic = compare(limited(), log).arm("automatic")
    assert automatic is not None
    assert automatic.configuration == Configuration()


def test_a_limit_that_is_kept_changes_nothing() -> None:
    study = limited(Limit(metric="latency_p99_s", bound="at most", value=3.0, of_stock=True))
    log = night(study)
    assert winner(log) == winner(night(limited()))
    comparison = compare(study, log)
    assert verdicts(comparison, "automatic") == ["kept"]
    assert comparison.violated("automatic") == ()


def test_what_the_finals_show_to_be_beyond_a_limit_is_violated_though_it_was_chosen() -> None:
    study = limited(P99)
    comparison = compare(study, night(limited()))  # chosen without the limit, told with it
    (violated,) = comparison.violated("automatic")
    assert violated.value == pytest.approx(2.0, rel=0.1)
    assert violated.allowed == 1.0
    assert violated.n == 12
    assert verdicts(comparison, "hand-tuned") == ["violated"]


def test_a_configuration_just_as_good_as_the_limit_allows_is_not_shown_and_may_win() -> None:
    study = limited(P99)
    log = night(study, tail=1.0)
    assert winner(log) is not None
    assert verdicts(compare(study, log), "automatic") == ["not shown"]


def test_errors_are_counted_in_both_runs_and_one_too_many_violates() -> None:
    none = Limit(metric="errors", bound="at most", value=0)
    log = night(limited(), errors=2)
    (result,) = (one for one in compare(limited(none), log).limits if one.arm == "automatic")
    assert (result.verdict, result.value, result.n) == ("violated", 2, 12)
    assert "gates" in result.note
    assert verdicts(compare(limited(none), night(limited())), "automatic") == ["kept"]


def _doubts(comparison: Comparison) -> dict[str, str]:
    return {one.code: one.text for one in comparison.doubts}


def test_what_limits_decided_and_left_open_is_a_doubt() -> None:
    study = limited(P99)
    told = _doubts(compare(study, night(study)))
    assert "latency_p99_s" in told["limits decided"]
    assert "limit not shown" in _doubts(compare(study, night(study, tail=1.0)))
    easy = limited(P99.model_copy(update={"value": 3.0}))
    assert not [code for code in _doubts(compare(easy, night(easy))) if "limit" in code]


def test_a_limit_without_figures_is_not_shown() -> None:
    power = Limit(metric="power_w", bound="at most", value=9.0)
    (result,) = (
        one for one in compare(limited(power), night(limited(power))).limits if one.arm == "automatic"
    )
    assert (result.verdict, result.value, result.n) == ("not shown", None, 0)


def test_a_limit_of_all_workloads_has_a_result_for_each() -> None:
    study = limited(P99)
    (load,) = study.workloads
    two = study.model_copy(update={"workloads": (load, load.model_copy(update={"name": "10k"}))})
    assert [one.workload for one in limit_results(two, {}, "automatic")] == ["1k", "10k"]
    only = two.model_copy(update={"limits": (P99.model_copy(update={"workload": "10k"}),)})
    assert [one.workload for one in limit_results(only, {}, "automatic")] == ["10k"]


def test_stock_itself_keeps_a_limit_of_its_own_ratio_by_definition() -> None:
    study = limited(P99)
    log = whole_night(study, Paced(FakeClock(), ratio=lambda c: 0.9 if len(c) else 1.0))
    assert verdicts(compare(study, log), "automatic") == ["kept"]


def _dropped(beyond: float, pairs: int, alpha: float) -> float:
    """How often a finalist is found beyond a limit, its true figure so many standard errors beyond it."""
    chance = random.Random(f"{beyond}/{pairs}")
    nights = 2_000
    found = 0
    for _ in range(nights):
        logs = [beyond / math.sqrt(pairs) + chance.gauss(0, 1) for _ in range(pairs)]
        found += hold(logs, "at most", 1.0, alpha=alpha).state == "beyond"
    return found / nights


def test_the_choice_among_finalists_is_bolder_than_a_claim() -> None:
    assert _dropped(0, 4, CHOOSING) == pytest.approx(0.2, abs=0.03)
    assert _dropped(2, 4, CHOOSING) > 0.75
    assert _dropped(2, 4, 0.05) < 0.35
    assert _dropped(0, 24, 0.05) == pytest.approx(0.025, abs=0.012)


def test_samples_of_a_half_pair_do_not_speak_of_a_limit() -> None:
    study = limited(P99)
    log = night(study)
    halved = [
        one
        for one in log
        if not (isinstance(one, Sample) and one.key.stage is Stage.FINALISTS and one.arm.kind == "stock")
    ]
    assert violators(study, read_log(halved), 1) == {}
