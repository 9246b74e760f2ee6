"""The disturbance is what was asked for, and depends on nothing but seed, name and time."""

from __future__ import annotations

import itertools
import statistics

import pytest

from autotune.synthetic.noise import SHAPES, Disturbance, Kind, Noise

ORIGIN_S = 1_800_000_000.0
STEP_S = 21.0
RUNS = 6000
KINDS = list(SHAPES)


def runs_of(disturbance: Disturbance, *, seed: int = 5, count: int = RUNS) -> list[float]:
    noise = Noise(disturbance, seed=seed, origin_s=ORIGIN_S)
    return [noise.of_run(f"1/search/{block}", ORIGIN_S + STEP_S * block) for block in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cv", [0.01, 0.05])
def test_runs_vary_as_much_as_was_asked(kind: Kind, cv: float) -> None:
    # A wandering part has few independent values even in many runs: take them far apart.
    noise = Noise(Disturbance(cv=cv, kind=kind), seed=5, origin_s=ORIGIN_S)
    runs = [noise.of_run(f"1/search/{block}", ORIGIN_S + 600 * block) for block in range(RUNS)]
    assert statistics.pstdev(runs) == pytest.approx(cv, rel=0.08)


def test_neighbours_correlate_as_much_as_was_asked() -> None:
    for wanted in (0.0, 0.3, 0.8):
        runs = runs_of(Disturbance(cv=0.02, autocorrelation=wanted), count=20_000)
        assert statistics.correlation(runs[:-1], runs[1:]) == pytest.approx(wanted, abs=0.06)


def test_runs_far_apart_do_not_correlate() -> None:
    runs = runs_of(Disturbance(cv=0.02, autocorrelation=0.8), count=20_000)
    far = 400
    assert abs(statistics.correlation(runs[:-far], runs[far:])) < 0.12


def kurtosis(runs: list[float]) -> float:
    mean, sigma = statistics.fmean(runs), statistics.pstdev(runs)
    return statistics.fmean([((one - mean) / sigma) ** 4 for one in runs])


def test_heavy_tails_are_heavy_and_normal_ones_are_not() -> None:
    assert kurtosis(runs_of(Disturbance(cv=0.02))) == pytest.approx(3, abs=0.3)
    assert kurtosis(runs_of(Disturbance(cv=0.02, kind="heavy-tailed"))) > 5


def test_one_sided_outliers_are_on_one_side() -> None:
    runs = runs_of(Disturbance(cv=0.02, kind="one-sided"))
    middle, sigma = statistics.median(runs), 0.02
    assert sum(one < middle - 3 * sigma for one in runs) > 10 * max(
        1, sum(one > middle + 3 * sigma for one in runs)
    )


def test_drift_goes_on_all_night() -> None:
    noise = Noise(Disturbance(cv=0.01, kind="drifting", drift_per_hour=-0.01), seed=1, origin_s=ORIGIN_S)
    assert noise.drift(ORIGIN_S) == 0
    assert noise.drift(ORIGIN_S + 2 * 3600) == pytest.approx(2 * (-0.01 + SHAPES["drifting"].drift_per_hour))


def test_throttling_comes_in_episodes_of_minutes_some_of_them_unseen() -> None:
    noise = Noise(Disturbance(cv=0.01, kind="throttling"), seed=3, origin_s=ORIGIN_S)
    night_s = 200 * 3600
    episodes = noise.episodes(ORIGIN_S, ORIGIN_S + night_s)
    slots = night_s / 1800
    assert 0.4 < len(episodes) / slots < 0.6
    assert {one.seen for one in episodes} == {True, False}
    assert all(60 <= one.ends_s - one.begins_s <= 600 and 0.03 <= one.loss <= 0.15 for one in episodes)
    first = episodes[0]
    assert first.share(first.begins_s - 10, first.begins_s + 10) == pytest.approx(0.5)
    assert noise.episodes(first.begins_s, first.begins_s + 1) == (first,)


def test_a_draw_is_the_same_whatever_was_drawn_before() -> None:
    wanted = Disturbance(cv=0.02, kind="throttling", autocorrelation=0.5)
    whole = runs_of(wanted, count=300)
    late = Noise(wanted, seed=5, origin_s=ORIGIN_S)
    assert late.of_run("1/search/299", ORIGIN_S + STEP_S * 299) == whole[299]


def test_seeds_and_names_are_independent_of_each_other() -> None:
    wanted = Disturbance(cv=0.02)
    runs = [runs_of(wanted, seed=seed, count=2000) for seed in range(4)]
    for one, other in itertools.combinations(runs, 2):
        assert abs(statistics.correlation(one, other)) < 0.1
