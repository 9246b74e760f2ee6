"""Looks at the finals before their last round: when they end, at which levels, and how often that is wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
from number_bench import FakeClock, NumberBench, number_study, truth, whole_night

from autotune.experiment.events import Event, Plan, Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.comparison import Comparison, compare
from autotune.measurement.looks import levels_at, look_rounds
from autotune.measurement.planning import expected_samples
from autotune.measurement.verdicts import Judged, Verdict, judge

ROUNDS = 24
SHARED_ERROR = 0.05


def looking(*, looks: bool = True) -> Study:
    study = number_study(candidates=20, finals_rounds=ROUNDS, series_rounds=0, distillation_pairs=0)
    return study.model_copy(update={"budget": study.budget.model_copy(update={"looks": looks})})


def rounds_of(log: list[Event]) -> int:
    return len({one.key.block for one in log if isinstance(one, Sample) and one.key.stage is Stage.FINALS})


def a_night(study: Study, sigma: float, seed: int = 0) -> list[Event]:
    return whole_night(study, NumberBench(FakeClock(), sigma=sigma, seed=seed, ratio=truth))


def test_the_looks_are_those_of_the_design() -> None:
    assert look_rounds(24) == (6, 12, 18, 24)
    assert look_rounds(12) == (3, 6, 9, 12)
    assert look_rounds(15) == (6, 9, 12, 15)
    levels = [levels_at(done, 24)(1) for done in (6, 12, 18, 24)]
    assert levels == pytest.approx(
        [5.15e-5, 0.0042, 0.0194, 0.0430], rel=0.01
    )  # z 4.049, 2.863, 2.337, 2.024


def test_between_two_looks_the_one_before_holds() -> None:
    assert levels_at(17, 24)(3) == levels_at(12, 24)(3) < levels_at(18, 24)(3)
    assert levels_at(0, 24)(2) == levels_at(6, 24)(2)


def test_finals_end_at_the_look_that_decides_everything() -> None:
    ended = [rounds_of(a_night(looking(), 0.005, seed)) for seed in range(6)]
    assert set(ended) <= {6, 12, 18, 24}
    assert min(ended) < 24
    for seed, rounds in enumerate(ended):
        comparison = compare(looking(), a_night(looking(), 0.005, seed))
        if rounds < 24:
            assert all(one.verdict is not Verdict.UNDECIDED for one in comparison.pairs)
        assert all(one.n == rounds for one in comparison.pairs)


def test_a_night_that_ended_early_is_complete_and_lacks_no_rounds() -> None:
    study = looking()
    log = next(log for log in (a_night(study, 0.005, seed) for seed in range(9)) if 6 < rounds_of(log) < 24)
    comparison: Comparison = compare(study, log)
    assert comparison.complete
    assert "incomplete rounds" not in {one.code for one in comparison.doubts}
    assert expected_samples(study, log)[Stage.FINALS] == 3 * rounds_of(log)


def test_finals_of_few_rounds_that_a_look_ended_do_not_go_on() -> None:
    study = looking()
    log = next(log for log in (a_night(study, 0.001, seed) for seed in range(9)) if rounds_of(log) == 6)
    (doubt,) = [one for one in compare(study, log).doubts if one.code == "few rounds"]
    assert "take looks out" in doubt.next


def test_without_looks_all_rounds_are_taken_however_clear_it_is() -> None:
    assert rounds_of(a_night(looking(looks=False), 0.002)) == ROUNDS
    assert not number_study().budget.looks


def test_a_plan_that_was_cut_is_judged_by_the_looks_of_the_study() -> None:
    study = looking()
    log = a_night(study, 0.04)
    plan = next(one for one in log if isinstance(one, Plan))
    cut = [
        one
        for one in log
        if not (isinstance(one, Sample) and one.key.stage is Stage.FINALS and one.key.block >= 15)
    ]
    cut.insert(len(cut) - 1, plan.model_copy(update={"finals_rounds": 15}))
    levels = {one.level for one in compare(study, cut).pairs}
    assert levels <= {levels_at(12, 24)(left) for left in (1, 2, 3)}


# --- how often it is wrong


def _wrong(gains: tuple[float, float, float], nights: int, *, heavy: bool = False) -> tuple[float, float]:
    """Share of nights with a false claim, and the mean of the rounds they took. The arms are automatic, hand-tuned, stock."""
    sigma = 0.05
    chance = np.random.default_rng(11)
    pairs = ((0, 1), (0, 2), (1, 2))
    wrong = taken = 0
    for _ in range(nights):
        noise = chance.normal(0, sigma, (ROUNDS, 3))
        if heavy:
            noise = np.where(chance.random((ROUNDS, 3)) < 0.1, 4 * noise, noise)
        rates = noise + np.asarray(gains)
        judged: tuple[Judged, ...] = ()
        look = 0
        for look in look_rounds(ROUNDS):
            judged = judge(
                [(rates[:look, a] - rates[:look, b]).tolist() for a, b in pairs],
                levels=levels_at(look, ROUNDS),
            )
            if all(one.verdict is not Verdict.UNDECIDED for one in judged):
                break
        taken += look
        wrong += any(
            (one.verdict is Verdict.FASTER and gains[a] <= gains[b])
            or (one.verdict is Verdict.SLOWER and gains[a] >= gains[b])
            for one, (a, b) in zip(judged, pairs, strict=True)
        )
    return wrong / nights, taken / nights


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("gains", [(0.0, 0.0, 0.0), (0.15, 0.0, 0.0), (0.15, 0.15, 0.0)])
def test_all_looks_and_hypotheses_together_err_in_at_most_one_night_of_twenty(
    gains: tuple[float, float, float], *, heavy: bool
) -> None:
    nights = 500
    wrong, _ = _wrong(gains, nights, heavy=heavy)
    assert wrong <= SHARED_ERROR + 2 * (SHARED_ERROR * (1 - SHARED_ERROR) / nights) ** 0.5


def test_clear_differences_end_the_finals_in_fewer_rounds() -> None:
    _, taken = _wrong((0.4, 0.2, 0.0), 100)
    assert taken < 18


def test_the_constants_spend_exactly_the_shared_error_on_normal_numbers() -> None:
    chance = random.Random(4)
    nights = 20_000
    crossed = dict.fromkeys((1, 2, 3), 0)
    bounds = {left: [_z(levels_at(look, 24)(left)) for look in look_rounds(24)] for left in crossed}
    for _ in range(nights):
        steps = [chance.gauss(0, 1) for _ in range(4)]
        sums = [sum(steps[: look + 1]) / (look + 1) ** 0.5 for look in range(4)]
        for left, bound in bounds.items():
            crossed[left] += any(abs(z) > one for z, one in zip(sums, bound, strict=True))
    for left, count in crossed.items():
        assert count / nights == pytest.approx(SHARED_ERROR / left, abs=0.005)


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(-ndtri(level / 2))
