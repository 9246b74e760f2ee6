"""What a night may rely on, whatever its board is: a machine and one made of numbers keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from autotune.board.connection import Connection
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, Sample, SampleKey, Stage
from autotune.experiment.study import (
    FitnessLimits,
    HandTunedSequence,
    HandTunedStep,
    HandTunedValue,
    ManagedNginx,
    Placement,
    ServedFile,
    Study,
    UnsupportedItem,
    Url,
    Workload,
)
from autotune.runner.live_board import LiveBoard
from autotune.runner.night_board import Beginning, Hold, NightBoard, StockChanged
from autotune.runner.synthetic_night import SyntheticNightBoard
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from conftest import BoardNamespace

BACKLOG, NIC, SERVED = "nginx:listen.backlog", "net:nic.threaded", "nginx:client_max_body_size"


def step(number: int, id_: str, value: int, *unsupported: UnsupportedItem) -> HandTunedStep:
    values = (HandTunedValue(setting=CATALOGUE[id_], value=value),)
    return HandTunedStep(number=number, name=id_, values=values, unsupported=unsupported, why="a test")


STUDY = Study(
    name="seam",
    server=ManagedNginx(files=(ServedFile(path="/a.html", size_bytes=1024),)),
    workloads=(
        Workload(name="w", urls=(Url(target="/a.html"),), connections=4, threads=1, warmup_s=0, duration_s=1),
    ),
    placement=Placement.FREE,
    fitness=FitnessLimits(foreign_load=100),  # whatever else this machine does
    space=SearchSpace(
        title="two",
        parameters=(
            Parameter(
                setting=CATALOGUE[BACKLOG], span=Span(low=128, high=8192, scale=Scale.LOG), why="a test"
            ),
            Parameter(setting=CATALOGUE[SERVED], values=("1m", "10m"), why="changes what is served"),
        ),
    ),
    hand_tuned=HandTunedSequence(
        title="two",
        source="a test",
        steps=(
            step(1, BACKLOG, 4096),
            step(2, "nginx:worker_connections", 4096, UnsupportedItem(id="magic", reason="not known")),
        ),
    ),
)
FIRST = Beginning(night=1, purpose="tune", first=None, deadline=None)


def order(configuration: Configuration, block: int = 0) -> Measure:
    key = SampleKey(night=1, stage=Stage.SEARCH, block=block, position=0)
    arm = Arm(kind="trial", number=block) if len(configuration) else Arm(kind="stock")
    return Measure(key=key, arm=arm, configuration=configuration)


class NightBoardContract:
    """Subclasses give `board`: the study's, not yet taken."""

    @pytest.fixture
    def board(self) -> NightBoard:
        raise NotImplementedError

    @pytest.fixture
    def held(self, board: NightBoard) -> Iterator[Hold]:
        hold = board.take(1)
        yield hold
        hold.give_back()

    def test_a_night_begins_with_all_that_decisions_need(self, board: NightBoard, held: Hold) -> None:
        begun = held.begin(FIRST)
        assert (begun.night, begun.purpose, begun.space_ids) == (1, "tune", (BACKLOG,))
        assert [one.id for one in begun.dropped if one.reason] == [SERVED]
        assert begun.stock[BACKLOG] == 511
        assert [one.state for one in begun.steps] == ["full", "partial"]
        assert [one.id for one in begun.steps[1].missing] == ["magic"]
        assert begun.hand_tuned.mapping == {BACKLOG: 4096, "nginx:worker_connections": 4096}
        assert begun.board["model"]
        assert {"board.cpus", "board.server_cpus", "workload.connections"} <= begun.facts.keys()

    def test_evening_checks_change_nothing_that_the_night_begins_with(self, board: NightBoard) -> None:
        said: list[str] = []
        doubts = board.prepare(said.append)
        assert said
        assert all(one.text for one in doubts)

    def test_a_sample_comes_back_under_its_own_key_with_what_was_in_force(
        self, board: NightBoard, held: Hold
    ) -> None:
        begun = held.begin(FIRST)
        for block, configuration in enumerate((Configuration(), Configuration.of({BACKLOG: 1024}))):
            asked = order(configuration, block)
            assert held.wait_s(asked, [begun]) >= 0
            event = held.measure(asked).event
            assert isinstance(event, Sample), event
            assert (event.key, event.arm, event.configuration) == (asked.key, asked.arm, configuration)
            assert event.effective == configuration
            assert event.objective == pytest.approx(STUDY.objective_of_runs(event.measurements))
            assert event.main.requests > 0

    def test_time_passes_by_the_boards_own_clock(self, board: NightBoard, held: Hold) -> None:
        begun = held.begin(FIRST)
        before_s = board.clock.now_s
        event = held.measure(order(Configuration())).event
        after_s = board.clock.now_s
        assert after_s - before_s >= STUDY.busy_s
        at_s = datetime.fromisoformat(event.at).timestamp()
        assert before_s < at_s <= after_s + 0.001
        assert begun.at < event.at
        board.clock.advance(0.01)
        assert board.clock.now_s >= after_s + 0.01
        assert datetime.fromisoformat(board.clock.at).timestamp() == pytest.approx(board.clock.now_s, abs=0.5)

    def test_a_night_goes_on_with_the_board_taken_again(self, board: NightBoard) -> None:
        hold = board.take(1)
        try:
            begun = hold.begin(FIRST)
        finally:
            hold.give_back()
        again = board.take(1)
        try:
            again.go_on(begun)
            again.keepalive()
            assert isinstance(again.measure(order(Configuration())).event, Sample)
        finally:
            assert isinstance(again.give_back(), tuple)

    def test_a_night_does_not_go_on_over_another_stock(self, held: Hold) -> None:
        begun = held.begin(FIRST)
        other = begun.model_copy(update={"stock": {**begun.stock, BACKLOG: 77}})
        with pytest.raises(StockChanged, match=f"{BACKLOG} was 77, is 511"):
            held.go_on(other)

    def test_a_space_that_is_frozen_stays_what_it_was(self, held: Hold) -> None:
        begun = held.begin(FIRST)
        wider = begun.model_copy(update={"space_ids": (*begun.space_ids, NIC)})
        with pytest.raises(Exception, match=f"no longer offers .*{NIC}"):
            held.begin(
                Beginning(night=2, purpose="tune", first=wider, deadline=None),
            )


class TestSynthetic(NightBoardContract):
    @pytest.fixture
    def board(self) -> NightBoard:
        return SyntheticNightBoard(STUDY.model_copy(update={"board": "synthetic:null"}), [])


@pytest.mark.real
@pytest.mark.usefixtures("real_nginx", "real_wrk")
class TestLive(NightBoardContract):
    @pytest.fixture
    def board(self, board_namespace: BoardNamespace, monkeypatch: pytest.MonkeyPatch) -> NightBoard:
        def line(_board: str) -> Connection:
            return board_namespace.connect()

        for room in ("session", "preflight", "live_board"):
            monkeypatch.setattr(f"autotune.runner.{room}.connect", line)
        return LiveBoard(STUDY)
