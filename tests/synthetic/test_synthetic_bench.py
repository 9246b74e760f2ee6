"""The bench made of numbers behaves as a bench: well-formed outcomes, failures under their right name, one truth."""

from __future__ import annotations

import math
import statistics
import time

import pytest

import synthetic_night as night
from autotune.experiment.events import EVENT, Failure, Sample
from autotune.experiment.study import Objective, Study
from autotune.space.configuration import Configuration
from autotune.space.value import Value
from autotune.synthetic.bench import TEMPERATURE, THROTTLED, SyntheticBench
from autotune.synthetic.boards import SyntheticBoard, plain_board, synthetic_board
from autotune.synthetic.clock import VirtualClock
from autotune.synthetic.heat import Heat
from autotune.synthetic.noise import Disturbance

BOARD = synthetic_board("rock5b")
LARGE = night.study_of("rock5b-static-100k")
MIXED = night.study_of("rock5b-mixed")
QUIET = Disturbance(cv=0.002)


def bench_of(
    board: SyntheticBoard = BOARD,
    study: Study = LARGE,
    *,
    seed: int = 1,
    disturbance: Disturbance | None = QUIET,
    clock: VirtualClock | None = None,
    last: Sample | Failure | None = None,
) -> SyntheticBench:
    return SyntheticBench(
        board,
        study,
        night.begun_on(board, study),
        clock or VirtualClock.at_text(night.BEGAN),
        seed=seed,
        disturbance=disturbance,
        last=last,
    )


def sample(bench: SyntheticBench, block: int = 0, values: dict[str, Value] | None = None) -> Sample:
    event = bench.measure(night.order(block, Configuration.of(values or {}))).event
    assert isinstance(event, Sample), event
    return event


def failure(bench: SyntheticBench, values: dict[str, Value]) -> Failure:
    event = bench.measure(night.order(0, Configuration.of(values))).event
    assert isinstance(event, Failure), event
    return event


def test_a_sample_says_what_the_study_maximises() -> None:
    study = LARGE.model_copy(update={"objective": Objective(metric="requests_per_server_cpu_s")})
    seen = sample(bench_of(study=study))
    assert seen.objective == pytest.approx(math.log(seen.main.requests_per_server_cpu_s))


def test_a_samples_figures_fit_together() -> None:
    seen = sample(bench_of(study=MIXED))
    assert list(seen.measurements) == [one.name for one in MIXED.workloads]
    assert seen.objective == pytest.approx(
        MIXED.objective_of({name: one.requests_per_s for name, one in seen.measurements.items()})
    )
    for workload in MIXED.workloads:
        run = seen.measurements[workload.name]
        assert run.requests_per_s == pytest.approx(run.requests / run.duration_s)
        assert run.latency_mean_s * run.requests_per_s == pytest.approx(workload.connections)  # Little's law
        assert (
            run.latency_p50_s
            < run.latency_mean_s
            < run.latency_p90_s
            < run.latency_p95_s
            < run.latency_p99_s
            < run.latency_p999_s
            < run.latency_max_s
        )
        assert run.cpu_busy is not None
        assert 0 < run.cpu_busy < 1
        assert run.cpu_busy == pytest.approx(run.server_cpu_s / (8 * run.duration_s))
        assert run.power_w is not None
        assert 5 < run.power_w < 20
        assert run.errors.total == 0
    assert EVENT.validate_json(seen.model_dump_json()) == seen


def test_only_what_differs_from_stock_is_called_effective() -> None:
    seen = sample(bench_of(), 1, {"nginx:sendfile": True, "nginx:multi_accept": True})
    assert seen.effective == Configuration.of({"nginx:multi_accept": True})


def test_the_same_order_at_the_same_time_gives_the_same_outcome_in_another_bench() -> None:
    changed: dict[str, Value] = {"nginx:worker_processes": 4}
    one, other = (sample(bench_of(seed=9), 3, changed) for _ in range(2))
    assert one == other
    assert sample(bench_of(seed=10), 3, changed).objective != one.objective


def test_a_night_that_was_cut_anywhere_shows_the_same_numbers() -> None:
    usual = BOARD.disturbance
    whole = bench_of(disturbance=usual, seed=4)
    uncut = [whole.measure(night.order(block)).event for block in range(30)]
    for cut in (1, 7, 29):
        before = uncut[cut - 1]
        stored = EVENT.validate_json(before.model_dump_json())
        assert isinstance(stored, (Sample, Failure))
        again = bench_of(disturbance=usual, seed=4, clock=VirtualClock.at_text(before.at), last=stored)
        assert [again.measure(night.order(block)).event for block in range(cut, 30)] == uncut[cut:]


def test_time_passes_as_on_a_real_board() -> None:
    clock = VirtualClock.at_text(night.BEGAN)
    seen = sample(bench_of(clock=clock))
    took_s = clock.now_s - VirtualClock.at_text(night.BEGAN).now_s
    assert took_s == pytest.approx(LARGE.busy_s + seen.overhead_s)
    assert 20 < took_s < 23
    assert seen.at == clock.at


def test_the_median_of_many_samples_is_the_truth() -> None:
    board = plain_board()
    bench = bench_of(board, disturbance=Disturbance(cv=0.02))
    seen = [sample(bench, block).objective for block in range(400)]
    assert statistics.fmean(seen) == pytest.approx(board.objective(Configuration(), LARGE), abs=0.005)
    assert statistics.pstdev(seen) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(
    ("values", "stage", "said"),
    [
        ({"nginx:build": "o2", "nginx:aio": "threads"}, "nginx", "[emerg]"),
        ({"nginx:postpone_output": 16384, "nginx:tcp_nodelay": False}, "canary", "no complete answer"),
        (
            {"cpufreq:policy0.governor": "ondemand", "cpufreq:policy0.ondemand.sampling_rate": 20_000},
            "read-back",
            "the kernel kept",
        ),
        ({"nginx:listen.reuseport": True, "nginx:worker_connections": 512}, "load", "errors under load"),
        ({"net:nic.threaded": True, "sysctl:net.core.busy_poll": 100}, "load", "load died"),
    ],
)
def test_a_failing_configuration_fails_under_its_right_name(
    values: dict[str, Value], stage: str, said: str
) -> None:
    seen = failure(bench_of(), values)
    assert (seen.stage, seen.blame) == (stage, "configuration")
    assert said in seen.reason
    if seen.gate:
        assert seen.reason.startswith(seen.gate)
    assert failure(bench_of(seed=2), values).reason == seen.reason


def test_pages_of_php_fail_where_php_is_asked_for_and_nowhere_else() -> None:
    starved: dict[str, Value] = {"fpm:listen.backlog": 128, "fpm:max_children": 2}
    assert failure(bench_of(study=MIXED), starved).gate == "unexpected status"
    sample(bench_of(), 0, starved)


def test_the_environment_spoils_a_sample_now_and_then_and_not_the_next_attempt() -> None:
    bench = bench_of(disturbance=Disturbance(cv=0.01, mishaps=0.05))
    events = [bench.measure(night.order(block)).event for block in range(600)]
    spoilt = [event for event in events if isinstance(event, Failure)]
    assert 10 < len(spoilt) < 60
    assert {event.blame for event in spoilt} == {"environment"}
    assert all(event.gate in event.reason for event in spoilt)
    again = [bench.measure(night.order(event.key.block, attempt=1)).event for event in spoilt]
    assert sum(isinstance(event, Sample) for event in again) > 0.8 * len(again)


def test_a_fixed_rate_is_kept_up_with_or_not() -> None:
    (workload,) = LARGE.workloads
    capacity = math.exp(BOARD.objective(Configuration(), LARGE))
    seen = {}
    for share in (0.5, 0.75, 0.9, 1.3):
        event = bench_of().measure(night.order(0, rates={workload.name: share * capacity})).event
        assert isinstance(event, Sample)
        seen[share] = event.fixed_rate[workload.name]
        assert event.overhead_s > workload.duration_s  # the run is part of the sample
    p99 = [run.latency_p99_s for run in seen.values()]
    assert p99 == sorted(p99)
    assert seen[0.75].answered_per_s == pytest.approx(seen[0.75].rate_per_s, rel=0.01)
    assert seen[1.3].answered_per_s < 0.9 * seen[1.3].rate_per_s
    assert seen[1.3].latency_p99_s > 1
    assert seen[0.5].latency_p50_s < seen[0.5].latency_p99_s < seen[0.5].latency_max_s


def sink_c(event: Sample | Failure) -> float:
    return next(gate.value for gate in event.gates if gate.name == TEMPERATURE and gate.value is not None)


def test_the_board_warms_up_under_load_and_cools_down_in_a_pause() -> None:
    clock = VirtualClock.at_text(night.BEGAN)
    bench = bench_of(clock=clock)
    temperatures = [sink_c(sample(bench, block)) for block in range(40)]
    assert temperatures[0] < temperatures[10] < temperatures[39]
    assert temperatures[39] == pytest.approx(temperatures[38], abs=0.2)
    clock.advance(900)
    assert sink_c(sample(bench, 41)) < temperatures[39] - 10


def hot_board() -> SyntheticBoard:
    """The same board in a warm cupboard."""
    from dataclasses import replace

    return replace(BOARD, heat=Heat(ambient_c=39.0))


def test_heat_throttles_says_so_and_goes_away_with_a_pause() -> None:
    clock = VirtualClock.at_text(night.BEGAN)
    bench = bench_of(hot_board(), clock=clock)
    events = [bench.measure(night.order(block)).event for block in range(40)]
    hot = [event for event in events if isinstance(event, Failure)]
    assert isinstance(events[0], Sample)
    assert hot
    assert {(event.stage, event.gate, event.blame) for event in hot} == {("gate", THROTTLED, "environment")}
    clock.advance(900)
    sample(bench, 41)


def test_what_throttles_even_after_cooling_down_keeps_its_figure_with_a_doubt() -> None:
    bench = bench_of(hot_board())
    events = [bench.measure(night.order(block)).event for block in range(40)]
    assert isinstance(events[-1], Failure)
    event = bench.measure(night.order(39, attempt=2)).event
    assert isinstance(event, Sample)
    assert [doubt.code for doubt in event.doubts] == ["throttles"]
    cool = sample(bench_of(), 0)
    assert event.objective < cool.objective - 0.02


def test_everything_about_the_night_says_synthetic() -> None:
    begun = night.begun_on(BOARD, LARGE)
    assert "synthetic" in begun.board["synthetic"]
    assert [doubt.code for doubt in begun.doubts] == ["synthetic"]


def test_a_sample_costs_well_under_a_millisecond() -> None:
    bench = bench_of()
    orders = [night.order(block) for block in range(300)]
    began = time.process_time()
    for one in orders:
        bench.measure(one)
    assert (time.process_time() - began) / len(orders) < 0.001
