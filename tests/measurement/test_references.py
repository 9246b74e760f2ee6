"""Stock's own samples: denser while its level wanders, and what is done about trials around a step of it."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from number_bench import FakeClock, NumberBench, drive, night_begun, nothing_matters, number_study, truth

from autotune.experiment.bench import Measure
from autotune.experiment.events import Event, Proposal, Ranking, Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.logbook import read_log
from autotune.measurement.references import reference_steps, spacing_of
from autotune.measurement.scores import trial_scores


def a_study(*, seed: int = 1) -> Study:
    return number_study(calibration_pairs=10, candidates=60, reference_every=4, accept_noise=True, seed=seed)


@dataclass
class WanderingBench(NumberBench):
    """A level that walks at random, by `walk` a sample, on top of the noise."""

    walk: float = 0.0
    level_now: float = field(default=0.0, init=False)

    def _disturbance(self, order: Measure) -> float:
        chance = random.Random(f"walk/{self.seed}/{order.key.text}")
        self.level_now += chance.gauss(0, self.walk)
        return super()._disturbance(order) + self.level_now


def searched(
    study: Study, bench: NumberBench, meanwhile: Callable[[list[Event]], None] | None = None
) -> list[Event]:
    """The log of a night up to its finalists."""
    log: list[Event] = [night_begun(at=bench.clock.at)]
    for _ in drive(study, bench, log):
        if isinstance(log[-1], Ranking):
            return log
        if meanwhile is not None:
            meanwhile(log)
    raise AssertionError("no ranking")


def kinds(log: list[Event]) -> str:
    """The search's samples as a text: s for stock, t for a trial."""
    return "".join(
        "s" if one.arm.kind == "stock" else "t"
        for one in log
        if isinstance(one, Sample) and one.key.stage is Stage.SEARCH
    )


def share_of_stock(log: list[Event]) -> float:
    return kinds(log).count("s") / len(kinds(log))


def test_in_quiet_nights_stock_is_measured_as_seldom_as_planned() -> None:
    study = a_study()
    shares = [
        share_of_stock(searched(study, NumberBench(FakeClock(), sigma=0.02, sample_s=21.0, seed=seed)))
        for seed in range(12)
    ]
    assert statistics.median(shares) == 16 / 76  # one first, then one after every fourth
    assert statistics.mean(shares) < 0.24


def test_a_level_that_wanders_is_looked_at_more_often_and_never_back_to_back() -> None:
    study = a_study()
    logs = [
        searched(study, WanderingBench(FakeClock(), sigma=0.005, walk=0.01, sample_s=21.0, seed=seed))
        for seed in range(6)
    ]
    assert statistics.median(share_of_stock(log) for log in logs) > 0.25
    assert all("ss" not in kinds(log) for log in logs)


def test_what_wandered_an_hour_ago_is_forgotten() -> None:
    study = number_study(calibration_pairs=10, candidates=200, reference_every=4)
    bench = WanderingBench(FakeClock(), sigma=0.005, walk=0.01, sample_s=21.0)

    def settle(log: list[Event]) -> None:
        if kinds(log).count("t") == 60:
            bench.walk = 0.0

    log = kinds(searched(study, bench, settle))
    settled = log[len(log) // 2 :]
    assert settled.count("s") / len(settled) < share_of_stock_text(log[: len(log) // 3])
    assert "sttttsttttstttt" in settled


def share_of_stock_text(text: str) -> float:
    return text.count("s") / len(text)


def test_a_calibration_that_wandered_makes_the_search_begin_with_dense_references() -> None:
    study = a_study()
    beginnings = [
        kinds(searched(study, WanderingBench(FakeClock(), sigma=0.003, walk=0.01, sample_s=21.0, seed=seed)))[
            :10
        ]
        for seed in range(8)
    ]
    assert sum(one.count("s") > 2 for one in beginnings) >= 5


def test_scores_are_nearer_to_the_truth_when_references_follow_a_wandering_level() -> None:
    def error(every: int, seed: int) -> float:
        study = number_study(calibration_pairs=10, candidates=60, reference_every=every, accept_noise=True)
        bench = WanderingBench(FakeClock(), sigma=0.003, walk=0.008, sample_s=21.0, seed=seed)
        log = searched(study, bench)
        scores = trial_scores(study, log)
        true = {one.number: math.log(truth(one.configuration)) for one in log if isinstance(one, Proposal)}
        return statistics.median(abs(scores[number].score - true[number]) for number in true if number)

    dense = statistics.mean(error(8, seed) for seed in range(6))
    by_noise_alone = 0.003 * math.sqrt(1.5) * 0.67
    assert dense < 5 * by_noise_alone


def test_the_spacing_is_a_function_of_the_log_alone() -> None:
    study = a_study()
    log = searched(study, WanderingBench(FakeClock(), sigma=0.005, walk=0.01, sample_s=21.0))
    once = [spacing_of(read_log(log[:length]), 1) for length in range(30, len(log))]
    again = [spacing_of(read_log(list(log[:length])), 1) for length in range(len(log) - 1, 29, -1)]
    assert once == list(reversed(again))
    assert len(set(once)) > 1


# --- steps


def stepping(jump: float, seed: int = 0, *, candidates: int = 60) -> tuple[Study, list[Event]]:
    """A search whose board changes its level by `jump` in the middle of it; one sample a trial."""
    study = number_study(
        calibration_pairs=10, candidates=candidates, reference_every=4, repeats=1, finalists=6, seed=seed
    )
    bench = NumberBench(FakeClock(), sigma=0.005, sample_s=21.0, seed=seed)
    jumped = False

    def jump_once(log: list[Event]) -> None:
        nonlocal jumped
        if not jumped and kinds(log).count("t") == candidates // 2:
            jumped = True
            bench.level *= math.exp(jump)

    return study, searched(study, bench, jump_once)


def test_a_finalist_from_around_a_step_is_taken_again_before_the_ranking() -> None:
    retaken = 0
    for seed in range(8):
        _, log = stepping(0.15, seed)
        steps = reference_steps(log, 1)
        assert len(steps) == 1
        suspects = {key.block for key in steps[0].suspects}
        ranking = log[-1]
        assert isinstance(ranking, Ranking)
        for number in ranking.trials:
            blocks = [
                one.key.block
                for one in log
                if isinstance(one, Sample) and one.key.stage is Stage.SEARCH and one.arm.number == number
            ]
            assert set(blocks) - suspects, "a finalist that stands on suspect samples alone"
            retaken += len(blocks) > 1
    assert retaken >= 4


def test_levels_do_not_reach_across_a_step_and_what_is_suspect_counts_only_where_there_is_nothing_else() -> (
    None
):
    errors, suspects = [], 0
    for seed in range(8):
        study, log = stepping(0.15, seed)
        scores = trial_scores(study, log)
        for one in log:
            if isinstance(one, Proposal) and one.number:
                suspects += scores[one.number].suspect
                if not scores[one.number].suspect:
                    errors.append(scores[one.number].score - math.log(truth(one.configuration)))
    assert 8 <= suspects < 8 * 15
    assert max(abs(error) for error in errors) < 5 * 0.005 * math.sqrt(1.5)


@pytest.mark.parametrize("drift_per_hour", [-0.25, 0.25])
def test_a_steady_drift_is_no_step_and_makes_nobody_suspect(drift_per_hour: float) -> None:
    study = number_study(calibration_pairs=10, candidates=60, reference_every=4)
    alarms = 0
    for seed in range(6):
        bench = NumberBench(FakeClock(), sigma=0.005, sample_s=21.0, drift_per_hour=drift_per_hour, seed=seed)
        alarms += len(reference_steps(searched(study, bench), 1))
    assert alarms <= 2  # it moves by 7 sigma between the two medians


def test_a_search_with_steps_everywhere_still_ends() -> None:
    study = number_study(calibration_pairs=10, candidates=40, reference_every=3, repeats=4, accept_noise=True)
    bench = NumberBench(FakeClock(), ratio=nothing_matters, sigma=0.003, sample_s=21.0)
    chance = random.Random(3)

    def jump_often(log: list[Event]) -> None:
        if isinstance(log[-1], Sample) and chance.random() < 0.08:
            bench.level *= math.exp(chance.choice((-0.1, 0.1)))

    log = searched(study, bench, jump_often)
    assert len(reference_steps(log, 1)) >= 2
    assert len(kinds(log)) < 40 * 3
