"""Waiting for a board to cool down, and what the night makes of a board that isn't fit: retakes, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from scripted_board import ScriptedLine, held_on, seen
from test_several_workloads import STUDY as SEVERAL

from autotune.board.fitness import Tonight
from autotune.board.records import LoadOrder, LoadSeen
from autotune.errors import BoardUnreachable
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, Failure, Sample, SampleKey, Stage
from autotune.experiment.study import FitnessLimits, Study
from autotune.runner.fitness import CoolDown, Start
from autotune.runner.live_bench import LiveBench
from autotune.space.configuration import Configuration

KEY = SampleKey(night=1, stage=Stage.FINALS, block=3, position=1)
NOW = Tonight(levels={"temp_soc_c": 50.0}, temperature_c=50.0)
ORDER = Measure(key=KEY, arm=Arm(kind="automatic"), configuration=Configuration())
STUDY: Study = SEVERAL.model_copy(update={"workloads": SEVERAL.workloads[:1], "fitness": FitnessLimits()})


@dataclass
class Cooling:
    """A made-up board that loses `per_s` degrees a second, and the clock it does it by."""

    temperature_c: float
    per_s: float
    now_s: float = 1_000.0
    looks: int = 0

    def levels(self) -> Mapping[str, float]:
        self.looks += 1
        return {"temp_soc_c": self.temperature_c}

    def wait(self, cool_down: CoolDown, key: SampleKey = KEY, now: Tonight = NOW) -> float:
        """Waits as the night does; how long that took."""
        began_s = self.now_s
        while (left_s := cool_down.wait_s(key, now)) > 0:
            self.now_s += left_s
            self.temperature_c -= left_s * self.per_s
        return self.now_s - began_s


def cool_down(board: Cooling, **limits: float) -> CoolDown:
    return CoolDown(FitnessLimits(**limits), board.levels, lambda: board.now_s)


def test_a_cool_board_is_not_waited_for() -> None:
    board = Cooling(54.0, 0.0)
    cooling = cool_down(board)
    assert board.wait(cooling) == 0
    assert board.looks == 1
    assert cooling.start.gate is not None
    assert cooling.start.gate.passed
    assert cooling.start.fault is None


def test_a_warm_board_is_waited_for_until_it_is_back_in_the_band() -> None:
    board = Cooling(75.0, 0.5)
    cooling = cool_down(board, temperature_band_c=5.0)
    assert board.wait(cooling) == 40
    assert cooling.start.waited_s == 40
    assert cooling.start.gate is not None
    assert (cooling.start.gate.passed, cooling.start.gate.value, cooling.start.gate.limit) == (
        True,
        55.0,
        55.0,
    )


def test_a_board_that_stays_warm_is_an_environmental_failure_and_then_measured_warm() -> None:
    board = Cooling(75.0, 0.0)
    cooling = cool_down(board, cool_down_s=60.0)
    assert board.wait(cooling) == 60
    assert cooling.start.fault is not None
    event = LiveBench(held_on(ScriptedLine(), STUDY)).measure(ORDER, cooling.start).event
    assert isinstance(event, Failure)
    assert (event.gate, event.blame, event.stage) == ("not cooled down", "environment", "gate")
    assert "75.0 °C, limit 55.0 °C after 60 s" in event.reason
    again = KEY.model_copy(update={"attempt": 1})
    assert board.wait(cooling, again, replace(NOW, again="not cooled down")) == 60, "it gets its time again"
    assert cooling.start.fault is None
    assert [doubt.code for doubt in cooling.start.doubts] == ["warm start"]


def test_no_cool_down_means_no_question() -> None:
    board = Cooling(99.0, 0.0)
    cooling = cool_down(board, cool_down_s=0.0)
    assert board.wait(cooling) == 0
    assert cooling.start == Start(now=NOW)
    assert board.looks == 0


# -- what the bench makes of a run on an unfit board ---------------------------------------------------------------------


@dataclass
class Unfit:
    """A scripted run on a board that is unfit as told; its report may have errors, too."""

    changes: Mapping[str, object]
    report: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, order: LoadOrder) -> LoadSeen:
        return replace(seen(order, **self.report), **self.changes)  # type: ignore[arg-type]


def measured(unfit: Unfit, start: Start | None = None) -> Sample | Failure:
    bench = LiveBench(held_on(ScriptedLine(load_answer=unfit), STUDY))
    bench.learn_truth()
    return bench.measure(ORDER, start or Start()).event


HOT = {
    "before": {"free_ports": 20_000.0, "cooling_cpufreq_cpu0": 0.0},
    "after": {"cooling_cpufreq_cpu0": 2.0},
}
ERRORS = {"errors": {"connect": 0, "read": 7, "write": 0, "status": 0, "timeout": 0}}


def test_a_sound_sample_keeps_every_gate_with_what_it_saw() -> None:
    event = measured(Unfit({}))
    assert isinstance(event, Sample)
    gates = {gate.name: gate for gate in event.gates}
    assert len(gates) == len(event.gates)
    assert {gate.passed for gate in event.gates} == {True, None}
    assert gates["zero requests"].value == 1000
    assert gates["few free ports"].value == 20_000
    assert gates["few free ports"].limit == 3 * STUDY.workloads[0].connections
    assert gates["throttled by cooling"].passed is None


def test_a_throttled_run_is_taken_again_and_kept_with_a_doubt_when_that_comes_back() -> None:
    first = measured(Unfit(HOT))
    assert isinstance(first, Failure)
    assert (first.gate, first.blame) == ("throttled by cooling", "environment")
    assert first.gates[-1].name == "kernel trouble", "what was asked besides is kept, too"
    second = measured(Unfit(HOT), Start(now=Tonight(again=first.gate)))
    assert isinstance(second, Sample)
    assert [doubt.code for doubt in second.doubts] == ["throttles"]
    assert next(gate for gate in second.gates if gate.name == first.gate).passed is False


def test_an_unfit_board_is_asked_before_the_configuration_is_blamed() -> None:
    event = measured(Unfit({**HOT, "kernel_log": ("Out of memory: Killed process 1",)}, ERRORS))
    assert isinstance(event, Failure)
    assert (event.gate, event.blame) == ("throttled by cooling", "environment")
    alone = measured(Unfit({}, ERRORS))
    assert isinstance(alone, Failure)
    assert (alone.gate, alone.blame) == ("errors under load", "configuration")
    assert alone.gates[0].passed
    failed = [gate for gate in alone.gates if gate.passed is False]
    assert [(gate.name, gate.value, gate.limit) for gate in failed] == [("errors under load", 7, 0)]


def test_what_can_only_be_the_generators_own_end_comes_first() -> None:
    event = measured(Unfit({**HOT, "workers_after": ()}))
    assert isinstance(event, Failure)
    assert event.gate == "workers died"


def test_a_measurement_knows_how_busy_the_servers_cpus_were_and_what_the_board_drew() -> None:
    counters = {"cpu0.user_s": 0.7, "cpu0.idle_s": 0.3, "cpu1.idle_s": 1.0}
    event = measured(Unfit({"counters": counters, "power_w": 6.5, "peaks": {"temp_soc_c": 61.0}}))
    assert isinstance(event, Sample)
    assert event.main.cpu_busy == pytest.approx(0.35)
    assert event.main.power_w == 6.5
    assert event.main.counters["peak.temp_soc_c"] == 61.0


def test_a_sample_without_meter_and_counters_says_nothing_of_either() -> None:
    event = measured(Unfit({}))
    assert isinstance(event, Sample)
    assert (event.main.cpu_busy, event.main.power_w) == (None, None)


def test_a_configuration_behind_which_nobody_new_gets_in_has_failed_its_canary() -> None:
    bench = LiveBench(held_on(ScriptedLine(reachable=False), STUDY))
    event = bench.measure(ORDER).event
    assert isinstance(event, Failure)
    assert (event.stage, event.blame) == ("canary", "configuration")
    assert "no new connection" in event.reason


def test_a_board_that_is_going_down_lets_nobody_new_in_either_and_no_configuration_is_blamed() -> None:
    """An orderly shutdown ends sshd first; the agent still answers for a while."""
    bench = LiveBench(held_on(ScriptedLine(reachable=False, reachable_again=False), STUDY))
    event = bench.measure(ORDER).event
    assert isinstance(event, Failure)
    assert (event.stage, event.blame) == ("canary", "environment")


def test_a_board_that_dies_before_its_canary_is_not_blamed_on_the_configuration() -> None:
    bench = LiveBench(held_on(ScriptedLine(reachable=False, gone=True), STUDY))
    with pytest.raises(BoardUnreachable):
        bench.measure(ORDER)


def test_a_jump_of_a_far_board_s_clock_is_a_doubt_of_the_next_sample_alone() -> None:
    line = ScriptedLine()
    far = STUDY.model_copy(update={"board": "ssh://rock5b"})
    bench = LiveBench(held_on(line, far))
    bench.learn_truth()

    def codes() -> list[str]:
        event = bench.measure(ORDER).event
        assert isinstance(event, Sample)
        return [doubt.code for doubt in event.doubts]

    before = codes()
    line.clock_s = lambda: 3_600.0
    assert codes() == [*before, "clock jumped"]
    assert codes() == before
