"""What every bench keeps to, the real one and the one made of numbers: whoever decides can't tell which it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import pytest

from autotune.board.placement import CpuPlacement
from autotune.board.records import PutFile
from autotune.experiment.bench import Bench, Measure
from autotune.experiment.events import EVENT, Arm, Failure, Sample, SampleKey, Stage
from autotune.experiment.study import (
    FitnessLimits,
    HandTunedSequence,
    ManagedNginx,
    Placement,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.runner.beginning import night_begun
from autotune.runner.live_bench import LiveBench
from autotune.runner.night_board import Beginning
from autotune.runner.session import Held, read_board
from autotune.runner.synthetic_night import offer_of
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter
from autotune.space.search_space import SearchSpace
from autotune.synthetic.bench import SyntheticBench
from autotune.synthetic.boards import synthetic_board
from autotune.synthetic.clock import VirtualClock
from autotune.synthetic.noise import Disturbance
from conftest import BoardNamespace

STUDY = Study(
    name="bench",
    server=ManagedNginx(files=(ServedFile(path="/a.html", size_bytes=3),)),
    workloads=(
        Workload(name="w", urls=(Url(target="/a.html"),), connections=4, threads=1, warmup_s=1, duration_s=1),
        Workload(name="v", urls=(Url(target="/a.html"),), connections=2, threads=1, warmup_s=0, duration_s=1),
    ),
    placement=Placement.FREE,
    fitness=FitnessLimits(foreign_load=100),  # whatever else this machine does
    space=SearchSpace(
        title="one", parameters=(Parameter(setting=CATALOGUE["nginx:multi_accept"], why="accepting"),)
    ),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)
CHANGED = Configuration.of({"nginx:multi_accept": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A bench for STUDY, and a configuration that can't be had there."""

    bench: Bench
    impossible: Configuration


def order(configuration: Configuration, *, block: int = 0, rates: dict[str, float] | None = None) -> Measure:
    return Measure(
        key=SampleKey(night=1, stage=Stage.SEARCH, block=block, position=0),
        arm=Arm(kind="trial", number=block),
        configuration=configuration,
        rates=rates or {},
    )


class BenchContract:
    """A subclass has the fixture `measured`."""

    def test_a_sample_answers_its_order(self, measured: Measured) -> None:
        asked = order(CHANGED, block=3)
        event = measured.bench.measure(asked).event
        assert isinstance(event, Sample)
        assert (event.key, event.arm, event.configuration) == (asked.key, asked.arm, CHANGED)
        assert event.effective == CHANGED
        assert event.fixed_rate == {}
        assert EVENT.validate_json(event.model_dump_json()) == event
        again = measured.bench.measure(order(Configuration(), block=4)).event
        assert isinstance(again, Sample)
        assert again.effective == Configuration()
        assert datetime.fromisoformat(event.at) < datetime.fromisoformat(again.at)

    def test_a_samples_figures_fit_together(self, measured: Measured) -> None:
        event = measured.bench.measure(order(Configuration())).event
        assert isinstance(event, Sample)
        assert list(event.measurements) == [one.name for one in STUDY.workloads]
        rates = {name: one.requests_per_s for name, one in event.measurements.items()}
        assert event.objective == pytest.approx(STUDY.objective_of(rates))
        assert event.switch_s > 0
        assert event.overhead_s >= 0
        for workload in STUDY.workloads:
            run = event.measurements[workload.name]
            assert run.duration_s == pytest.approx(workload.duration_s, abs=0.3)
            assert run.requests_per_s == pytest.approx(run.requests / run.duration_s)
            assert run.bytes > run.requests * 3
            assert run.server_cpu_s > 0
            assert run.errors.total == 0
            latencies = [run.latency_p50_s, run.latency_p90_s, run.latency_p95_s, run.latency_p99_s]
            latencies += [run.latency_p999_s, run.latency_max_s]
            assert latencies == sorted(latencies)
            assert all(math.isfinite(one) and one > 0 for one in latencies)

    def test_what_cannot_be_had_is_the_configurations_failure(self, measured: Measured) -> None:
        asked = order(measured.impossible, block=7)
        event = measured.bench.measure(asked).event
        assert isinstance(event, Failure)
        assert (event.key, event.arm, event.configuration) == (asked.key, asked.arm, measured.impossible)
        assert event.blame == "configuration"
        assert event.reason
        assert EVENT.validate_json(event.model_dump_json()) == event
        assert isinstance(measured.bench.measure(order(Configuration(), block=8)).event, Sample)


class TestTheBenchMadeOfNumbers(BenchContract):
    @pytest.fixture
    def measured(self) -> Measured:
        board = synthetic_board("rock5b")
        clock = VirtualClock(1_800_000_000)
        beginning = Beginning(night=1, purpose="tune", first=None, deadline=None)
        begun = night_begun(STUDY, offer_of(board, STUDY), beginning, clock.at)
        return Measured(
            bench=SyntheticBench(board, STUDY, begun, clock, seed=1, disturbance=Disturbance(cv=0.01)),
            impossible=Configuration.of({"nginx:build": "o2", "nginx:aio": "threads"}),
        )


@pytest.mark.real
class TestTheBenchOnARealBoard(BenchContract):
    @pytest.fixture
    def measured(self, board_namespace: BoardNamespace, real_nginx: str, real_wrk: str) -> Measured:
        connection = board_namespace.connect()
        files = (PutFile(name="a.html", content_base64="YWJj"),)
        begun = connection.begin(study="bench", night=1, holder="a test", lease_s=60, files=files)
        bench = LiveBench(
            Held(
                connection=connection,
                study=STUDY,
                begun=begun,
                placement=CpuPlacement(),
                discovery=read_board(connection, STUDY),
            )
        )
        bench.learn_truth()
        return Measured(bench=bench, impossible=Configuration.of({"nginx:build": "never built"}))
