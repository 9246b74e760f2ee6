"""One sample on a real board, and what becomes of one that the agent can't take."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import pytest

from autotune.board.fitness import Tonight
from autotune.board.placement import CpuPlacement
from autotune.board.records import LoadOrder, LoadSeen, PutFile, UrlSeen
from autotune.errors import BoardUnfit
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, Event, Failure, NightBegun, Sample, SampleKey, Stage
from autotune.experiment.study import (
    FitnessLimits,
    HandTunedSequence,
    ManagedNginx,
    Placement,
    PowerMeter,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.runner.clocks import WallClock
from autotune.runner.fitness import Start
from autotune.runner.live_bench import LiveBench
from autotune.runner.live_board import LiveHold
from autotune.runner.lost_lines import LostLines
from autotune.runner.meters import ALLOW
from autotune.runner.session import Held, read_board
from autotune.runner.truths import truths_of
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from conftest import BoardNamespace

pytestmark = pytest.mark.real

STUDY = Study(
    name="bench",
    server=ManagedNginx(files=(ServedFile(path="/a.html", size_bytes=3),)),
    workloads=(
        Workload(name="w", urls=(Url(target="/a.html"),), connections=4, threads=1, warmup_s=1, duration_s=1),
    ),
    placement=Placement.FREE,
    fitness=FitnessLimits(foreign_load=100),  # whatever else this machine does
    space=SearchSpace(title="none", parameters=()),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)


def held(board: BoardNamespace) -> Held:
    connection = board.connect()
    files = (PutFile(name="a.html", content_base64="YWJj"),)
    begun = connection.begin(study="bench", night=1, holder="a test", lease_s=60, files=files)
    return Held(
        connection=connection,
        study=STUDY,
        begun=begun,
        placement=CpuPlacement(),
        discovery=read_board(connection, STUDY),
    )


def order() -> Measure:
    key = SampleKey(night=1, stage=Stage.FINALS, block=0, position=0)
    return Measure(key=key, arm=Arm(kind="automatic"), configuration=Configuration())


def test_a_sample_keeps_all_that_the_generator_said(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> None:
    bench = LiveBench(held(board_namespace))
    bench.learn_truth()
    outcome = bench.measure(order())
    assert isinstance(outcome.event, Sample)
    assert outcome.event.main.requests > 0
    assert "== warm-up: exit code 0" in outcome.raw
    assert "== measured run: exit code 0" in outcome.raw


def test_a_workload_named_with_a_rate_is_also_run_at_it(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str, real_luajit: str
) -> None:
    bench = LiveBench(held(board_namespace))
    bench.learn_truth()
    asked = order().model_copy(update={"rates": {"w": 200.0}})
    outcome = bench.measure(asked)
    assert isinstance(outcome.event, Sample)
    seen = outcome.event.fixed_rate["w"]
    assert (seen.rate_per_s, seen.errors.total) == (200.0, 0)
    assert seen.answered_per_s == pytest.approx(200, rel=0.05)
    assert 0 < seen.latency_p50_s <= seen.latency_p99_s <= seen.latency_max_s
    assert "==== w at 200.0 requests/s" in outcome.raw
    assert outcome.event.overhead_s < 2


def test_without_luajit_a_sample_has_all_but_its_runs_at_a_rate(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str, real_luajit: str
) -> None:
    assert board_namespace.run("mount", "--bind", "/bin/false", real_luajit).returncode == 0
    bench = LiveBench(held(board_namespace))
    bench.learn_truth()
    event = bench.measure(order().model_copy(update={"rates": {"w": 200.0}})).event
    assert isinstance(event, Sample)
    assert (event.fixed_rate, event.main.requests > 0) == ({}, True)


def test_a_run_at_a_rate_that_does_not_count_fails_the_sample_once(
    board_namespace: BoardNamespace,
    real_nginx: str,
    real_wrk: str,
    real_luajit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = held(board_namespace)
    bench = LiveBench(board)
    bench.learn_truth()
    load = board.connection.load

    def without_what_luajit_said(order: LoadOrder) -> LoadSeen:
        seen = load(order)
        return replace(seen, measured=replace(seen.measured, stdout="")) if order.rate_per_s else seen

    monkeypatch.setattr(board.connection, "load", without_what_luajit_said)
    paced = order().model_copy(update={"rates": {"w": 200.0}})
    event = bench.measure(paced).event
    assert isinstance(event, Failure)
    assert (event.stage, event.blame) == ("load", "environment")
    assert event.reason.startswith("w at 200 requests/s: report missing")
    again = bench.measure(paced, Start(now=Tonight(again=event.gate))).event
    assert isinstance(again, Sample)
    assert (again.fixed_rate, again.main.requests > 0) == ({}, True)
    assert "no fixed rate" in {doubt.code for doubt in again.doubts}


def test_a_sample_that_the_agent_cannot_take_is_a_failure_and_not_the_end_of_the_night(
    board_namespace: BoardNamespace, real_nginx: str
) -> None:
    board = held(board_namespace)
    bench = LiveBench(board)
    bench.learn_truth()
    board_namespace.run("rm", "-r", posixpath.dirname(board.begun.conf_path))
    event = bench.measure(order()).event
    assert isinstance(event, Failure)
    assert (event.stage, event.blame) == ("agent", "environment")
    assert "No such file" in event.reason


@pytest.mark.parametrize("statuses", [(301, 301), (302, 200), (200, 404), (204, 204), (500, 500), (0, 0)])
def test_only_the_page_itself_is_taken_for_the_truth(statuses: tuple[int, ...]) -> None:
    """wrk counts a redirect as a success and never sees the page."""
    answers = [
        [UrlSeen(url="http://127.0.0.2/a", status=status, length=3, wire_bytes=99, sha256="0" * 64)]
        for status in statuses
    ]
    with pytest.raises(BoardUnfit, match=r"/a answers .*, not 200"):
        truths_of((Url(target="/a"),), answers)


def test_a_night_that_goes_on_asks_again_whether_its_power_command_may_be_run(
    board_namespace: BoardNamespace, real_nginx: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = PowerMeter(source="command", command=("meter", "--watts"))
    board = replace(held(board_namespace), study=STUDY.model_copy(update={"power": meter}))
    begun = NightBegun(night=1, at="2026-01-01T00:00:00+00:00", stock={}, facts={}, space_ids=())
    monkeypatch.delenv(ALLOW, raising=False)
    with pytest.raises(BoardUnfit, match="meter --watts, which you have not allowed"):
        LiveHold(board, WallClock(), LostLines()).go_on(begun)
    monkeypatch.setenv(ALLOW, "meter --watts")
    LiveHold(board, WallClock(), LostLines()).go_on(begun)


def test_a_night_on_a_warm_board_waits_cools_down_and_then_measures(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> None:
    """A STAND-IN thermal zone: this machine has none. Its four samples before begin at 50 degrees."""
    zone = "/sys/class/thermal/thermal_zone0"
    assert board_namespace.run("mount", "-t", "tmpfs", "tmpfs", "/sys/class").returncode == 0
    board_namespace.run("mkdir", "-p", zone)
    board_namespace.write(f"{zone}/type", "soc-thermal\n")
    hold = LiveHold(held(board_namespace), WallClock(), LostLines())
    begun = NightBegun(night=1, at="2026-01-01T00:00:00+00:00", stock={}, facts={}, space_ids=())
    hold.go_on(begun)
    log: list[Event] = [begun]

    def taken(position: int, celsius: int) -> Sample:
        board_namespace.write(f"{zone}/temp", f"{celsius}000\n")
        key = SampleKey(night=1, stage=Stage.FINALS, block=0, position=position)
        asked = order().model_copy(update={"key": key})
        waits = 0
        while hold.wait_s(asked, log) > 0:
            waits += 1
            board_namespace.write(f"{zone}/temp", "54000\n")
        assert waits == (celsius > 55)
        event = hold.measure(asked).event
        assert isinstance(event, Sample)
        return event

    log += [taken(position, 50) for position in range(4)]
    warm = taken(4, 80)
    (gate,) = (one for one in warm.gates if one.name == "not cooled down")
    assert (gate.passed, gate.value, gate.limit) == (True, 54.0, 55.0)
    assert warm.main.counters["before.temp_soc_thermal_c"] == 54.0
    (clock,) = (one for one in warm.gates if one.name == "slow clock")
    assert clock.value is not None, "the night's first four tell what the clock was"
