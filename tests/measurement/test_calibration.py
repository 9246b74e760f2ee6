"""What the A/A stage says of a board whose truth is known."""

from __future__ import annotations

import statistics

import pytest
from number_bench import FakeClock, NumberBench, number_study, whole_night

from autotune.experiment.events import Event, Plan, Sample, Stage, Void
from autotune.measurement.calibration import aa_record, calibration
from autotune.measurement.planning import smallest_visible_difference


def _calibrated(**truth: float) -> list[Event]:
    pairs = int(truth.pop("pairs", 6))
    bench = NumberBench(FakeClock())
    for name, value in truth.items():
        setattr(bench, name, value)
    study = number_study(
        calibration_pairs=pairs, candidates=1, finalists=1, finalist_pairs=1, accept_noise=True
    )
    return whole_night(study, bench)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05])
def test_the_noise_of_one_run_is_found(sigma: float) -> None:
    found = []
    for seed in range(5):
        seen = calibration(_calibrated(sigma=sigma, pairs=30, seed=seed), 1)
        assert seen is not None
        found.append(seen.sigma_run)
        assert seen.paired_cv == pytest.approx(seen.sigma_run * 2**0.5)
    assert statistics.mean(found) == pytest.approx(sigma, rel=0.15)


def test_a_steady_drift_is_found_and_does_not_tilt_the_ratio() -> None:
    seen = calibration(_calibrated(sigma=0.001, pairs=20, drift_per_hour=-0.30, sample_s=20.0), 1)
    assert seen is not None
    assert seen.drift_per_hour == pytest.approx(-0.30, abs=0.02)
    assert seen.ratio == pytest.approx(1, abs=0.001)
    assert seen.verdict == "quiet"


def test_minutes_of_noise_are_not_told_as_an_hourly_drift() -> None:
    told = [calibration(_calibrated(sigma=0.02, seed=seed), 1) for seed in range(40)]
    assert sum(one is not None and one.drift_per_hour != 0 for one in told) <= 6  # nominally 1 in 20


def test_a_board_that_still_settles_in_the_first_minute_is_not_told_as_an_hourly_drift() -> None:
    seen = calibration(_calibrated(sigma=0.001, pairs=12, drift_per_hour=-5.0, sample_s=2.0), 1)
    assert seen is not None
    assert seen.drift_per_hour == 0


def test_a_loud_board_is_called_noisy() -> None:
    seen = calibration(_calibrated(sigma=0.08, pairs=12), 1)
    assert seen is not None
    assert seen.verdict == "noisy"


def test_the_smallest_visible_difference_is_that_of_the_planned_finals() -> None:
    log = _calibrated(sigma=0.02)
    seen = calibration(log, 1)
    plan = next(one for one in log if isinstance(one, Plan))
    assert seen is not None
    assert seen.smallest_visible_difference == smallest_visible_difference(seen.sigma_run, plan.finals_rounds)


def test_a_pair_with_a_voided_member_does_not_count() -> None:
    log = _calibrated(sigma=0.02)
    key = next(one.key for one in log if isinstance(one, Sample) and one.key.stage is Stage.CALIBRATION)
    seen = calibration([*log[:-1], Void(key=key, at="2025-01-01T23:00:00+00:00", reason="test"), log[-1]], 1)
    assert seen is not None
    assert seen.pairs == 5


def test_there_is_no_calibration_before_its_second_pair() -> None:
    log = _calibrated(sigma=0.02)
    samples = [index for index, one in enumerate(log) if isinstance(one, Sample)]
    assert calibration(log[: samples[3]], 1) is None
    assert calibration(log[: samples[3] + 1], 1) is not None
    assert calibration(log, 2) is None


def test_the_record_of_many_nights_counts_stages_and_their_false_alarms_at_the_plain_95_percent() -> None:
    several = [calibration(_calibrated(sigma=0.02, pairs=12, seed=seed), 1) for seed in range(60)]
    known = [one for one in several if one is not None]
    record = aa_record(known)
    assert record.stages == 60
    assert record.false_alarms == sum(one.false_alarm for one in known)
    assert 0 < record.false_alarms <= 8  # nominally 3


def test_an_empty_record_is_one_without_stages() -> None:
    assert aa_record([]).stages == 0


def test_white_noise_does_not_wander_and_a_slow_swing_does() -> None:
    white = [calibration(_calibrated(sigma=0.02, pairs=10, seed=seed), 1) for seed in range(40)]
    assert sum(one is not None and one.wanders for one in white) <= 3
    assert abs(statistics.mean(one.autocorrelation for one in white if one is not None)) < 0.1
    swing = calibration(_calibrated(sigma=0.002, wave=0.02, pairs=40, sample_s=60.0), 1)
    assert swing is not None
    assert swing.wanders
    assert swing.autocorrelation > 0.8
