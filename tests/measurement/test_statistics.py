"""Hundreds of nights of numbers: how often the arithmetic is wrong, and how often it sees what was promised.

Seeds are fixed, so these can't flake; the bounds are those of the design, each wider than three standard errors of the
simulation around what the arithmetic really does.
"""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from number_bench import FakeClock, NumberBench, nothing_matters, number_study, truth, whole_night
from numpy.typing import NDArray

from autotune.experiment.events import Proposal
from autotune.measurement.comparison import compare
from autotune.measurement.intervals import sign_interval, trimmed_interval
from autotune.measurement.orders import latin_round
from autotune.measurement.planning import smallest_visible_difference
from autotune.measurement.verdicts import Verdict, judge

ROUNDS = 24
CLAIMS = (Verdict.FASTER, Verdict.SLOWER)
Shape = str


def _noise(chance: np.random.Generator, shape: Shape, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Noise of one run in units of sigma: normal; heavy (10 % of runs six times as loud); one-sided slow outliers."""
    normal = chance.normal(size=size)
    if shape == "heavy":
        return np.where(chance.random(size) < 0.1, 6 * normal, normal)
    if shape == "slow outliers":
        return normal - np.where(chance.random(size) < 0.15, chance.exponential(4, size), 0)
    return normal


def _finals(seed: int, gains: tuple[float, float, float], sigma: float, shape: Shape) -> NDArray[np.float64]:
    """ln(requests/s) by round and arm (automatic, hand-tuned, stock), measured in the night's own order.

    On top of the noise: half of its variance again as a slow disturbance (AR .97), and a drift of 2 sigma.
    """
    chance = np.random.default_rng(seed)
    size = 3 * ROUNDS
    slow = np.empty(size)
    level = 0.0
    pushes = chance.normal(0, math.sqrt(1 - 0.97**2), size)
    for index in range(size):
        level = 0.97 * level + pushes[index]
        slow[index] = level
    weather = sigma * (math.sqrt(0.5) * slow + np.linspace(0, 2, size))
    rates = np.empty((ROUNDS, 3))
    noise = sigma * _noise(chance, shape, (ROUNDS, 3))
    for round_ in range(ROUNDS):
        for position, arm in enumerate(latin_round((0, 1, 2), round_, seed, "finals")):
            rates[round_, arm] = gains[arm] + noise[round_, arm] + weather[3 * round_ + position]
    return rates


def _differences(rates: NDArray[np.float64]) -> list[list[float]]:
    pairs = ((0, 1), (0, 2), (1, 2))
    return [(rates[:, a] - rates[:, b]).tolist() for a, b in pairs]


@pytest.mark.parametrize("shape", ["normal", "heavy", "slow outliers"])
@pytest.mark.parametrize("n", [12, 24])
def test_the_trimmed_interval_covers_the_truth_under_every_noise(shape: Shape, n: int) -> None:
    chance = np.random.default_rng(n)
    nights = 3_000
    runs = _noise(chance, shape, (nights, n, 2))
    covered = signed = 0
    for values in runs[:, :, 0] - runs[:, :, 1]:
        seen, sign = trimmed_interval(values), sign_interval(values.tolist())
        covered += seen.low <= 0 <= seen.high
        signed += sign.low <= 0 <= sign.high
    assert 0.93 <= covered / nights <= 0.975
    assert signed / nights >= 0.95 - 0.012  # exact, so at least nominal


@pytest.mark.parametrize("shape", ["normal", "heavy", "slow outliers"])
def test_a_night_in_which_nothing_matters_seldom_claims_a_difference(shape: Shape) -> None:
    nights = 400
    claims = errors = 0
    for seed in range(nights):
        lists = _differences(_finals(seed, (0, 0, 0), 0.03, shape))
        claims += any(one.verdict in CLAIMS for one in judge(lists))
        errors += trimmed_interval(lists[0]).excludes_zero
    assert claims / nights <= 0.05 + 0.02
    assert 0.02 <= errors / nights <= 0.08  # a single uncorrected interval: nominally 1 in 20


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.05])
def test_the_difference_that_is_promised_is_seen_in_about_four_of_five_nights(sigma: float) -> None:
    promised = math.log1p(smallest_visible_difference(sigma, ROUNDS))
    chance = np.random.default_rng(int(1000 * sigma))
    nights = 2_000
    rates = chance.normal(0, sigma, (nights, ROUNDS, 3))
    rates[:, :, 0] += promised
    seen = sum(judge(_differences(one))[1].verdict is Verdict.FASTER for one in rates)
    assert 0.75 <= seen / nights <= 0.90


def test_looking_at_the_search_instead_of_the_finals_would_be_wrong_most_nights() -> None:
    """The selection that the finals are there against: the luckiest of 40 equal trials looks faster."""
    chance = np.random.default_rng(5)
    best = chance.normal(0, 0.02 * math.sqrt(1.25), (500, 40)).max(axis=1)
    assert (best > math.log(1.02)).mean() > 0.9


def test_whole_nights_in_which_nothing_matters_do_not_find_anything() -> None:
    study = number_study(candidates=10, series_rounds=0)
    claims = 0
    nights = 30
    for seed in range(nights):
        bench = NumberBench(FakeClock(), ratio=nothing_matters, sigma=0.02, drift_per_hour=-0.2, seed=seed)
        comparison = compare(study, whole_night(study, bench))
        claims += any(one.verdict in CLAIMS for one in comparison.pairs)
    assert claims <= 5  # more than 5 of 30 has a chance of 1 in 300 at 5 %


@pytest.mark.parametrize(("sigma", "most"), [(0.005, 0.002), (0.02, 0.01), (0.05, 0.04)])
def test_what_wins_is_close_to_the_best_that_was_tried(sigma: float, most: float) -> None:
    """Before it is pared down, which may cost the margin of test_distillation."""
    study = number_study(
        candidates=30,
        finalists=5,
        finalist_pairs=4,
        distillation_pairs=0,
        series_rounds=0,
        accept_noise=True,
    )
    regrets = []
    for seed in range(8):
        log = whole_night(study, NumberBench(FakeClock(), sigma=sigma, seed=seed, wave=0.02))
        best = max(truth(one.configuration) for one in log if isinstance(one, Proposal))
        shipped = compare(study, log).arm("automatic")
        assert shipped is not None
        regrets.append(math.log(best / truth(shipped.configuration)))
    assert statistics.mean(regrets) <= most
