"""One sample of several workloads: all of them in one switch, in the study's order, each judged by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_board import WIRE_BYTES, ScriptedLine, held_on, seen

from autotune.board.placement import CpuPlacement
from autotune.board.records import LoadOrder, LoadSeen, PutFile, UrlSeen
from autotune.errors import BoardUnfit
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Arm, Failure, Sample, SampleKey, Stage
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
from autotune.runner.live_bench import LiveBench
from autotune.runner.session import Held, read_board
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from conftest import BoardNamespace

ORDER = Measure(
    key=SampleKey(night=1, stage=Stage.FINALS, block=0, position=0),
    arm=Arm(kind="automatic"),
    configuration=Configuration(),
)


def workload(name: str, *urls: Url, weight: float = 1.0) -> Workload:
    return Workload(name=name, urls=urls, connections=4, threads=1, warmup_s=0, duration_s=1, weight=weight)


STUDY = Study(
    name="several",
    server=ManagedNginx(
        files=(ServedFile(path="/small", size_bytes=900), ServedFile(path="/large", size_bytes=900))
    ),
    workloads=(
        workload("small", Url(target="/small")),
        workload("large", Url(target="/large"), weight=2),
        workload("mix", Url(target="/small", weight=70), Url(target="/large", weight=30)),
    ),
    placement=Placement.FREE,
    fitness=FitnessLimits(foreign_load=100),  # whatever else this machine does
    space=SearchSpace(title="none", parameters=()),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
    seed=5,
)


def measured(line: ScriptedLine) -> Outcome:
    bench = LiveBench(held_on(line, STUDY))
    bench.learn_truth()
    return bench.measure(ORDER)


def test_all_workloads_are_measured_in_one_switch_and_in_the_studys_order() -> None:
    line = ScriptedLine()
    outcome = measured(line)
    sample = outcome.event
    assert isinstance(sample, Sample)
    assert list(sample.measurements) == ["small", "large", "mix"]
    assert sample.objective == pytest.approx(STUDY.objective_of(dict.fromkeys(sample.measurements, 1000.0)))
    assert len(line.switches) == 3  # two to learn the truth, one to measure
    assert [[url.url.rpartition("/")[2] for url in order.urls] for order in line.loads] == [
        ["small"],
        ["large"],
        ["small", "large"],
    ]
    assert [url.weight for url in line.loads[2].urls] == [7, 3]
    assert {(order.address, order.seed) for order in line.loads} == {(line.switches[2].listen[0].address, 5)}
    assert [outcome.raw.index(f"==== {name}\n") for name in sample.measurements] == sorted(
        outcome.raw.index(f"==== {name}\n") for name in sample.measurements
    )


def test_a_workload_that_fails_is_the_samples_failure_under_its_name() -> None:
    def answer(order: LoadOrder) -> LoadSeen:
        return seen(order, bytes=1) if order.urls[0].url.endswith("/large") else seen(order)

    line = ScriptedLine(load_answer=answer)
    outcome = measured(line)
    assert isinstance(outcome.event, Failure)
    assert outcome.event.reason.startswith("large: bytes per request off")
    assert (outcome.event.stage, outcome.event.blame) == ("gate", "configuration")
    assert len(line.loads) == 2
    assert "==== large" in outcome.raw


def test_a_doubt_of_each_run_is_told_once_with_its_workload() -> None:
    line = ScriptedLine(load_answer=lambda order: replace(seen(order), error_log="[warn] a\n[warn] b"))
    sample = measured(line).event
    assert isinstance(sample, Sample)
    assert [doubt.text.partition(":")[0] for doubt in sample.doubts] == ["small", "large", "mix"]


def test_a_body_that_stock_changes_each_time_may_differ_by_a_fifth_and_no_other() -> None:
    def answer(order: LoadOrder) -> LoadSeen:
        requests = 1000
        return seen(order, bytes=round(requests * WIRE_BYTES * 1.15))

    def changing(target: str, switch: int) -> str:
        return f"{switch if target == '/small' else 0:064x}"

    line = ScriptedLine(bodies=changing, load_answer=answer)
    event = measured(line).event
    assert [(truth.sha256 == "", truth.loose) for truth in line.switches[-1].urls] == [
        (True, True),
        (False, False),
    ]
    assert isinstance(event, Failure)
    assert event.reason.startswith("large: bytes per request off")


def live(*statuses: int) -> tuple[UrlSeen, UrlSeen]:
    small, large = (
        UrlSeen(url="u", status=status, length=700, wire_bytes=800, sha256=f"{number:064x}")
        for number, status in enumerate(statuses)
    )
    return small, large


def test_the_live_servers_answers_are_the_truth_and_stock_must_give_them() -> None:
    line = ScriptedLine()
    held = replace(held_on(line, STUDY), live=(live(200, 200), live(200, 200)))
    LiveBench(held).learn_truth()
    assert [(truth.status, truth.length, truth.sha256[-1]) for truth in line.switches[0].urls] == [
        (200, 700, "0"),
        (200, 700, "1"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ((200, 404), (200, 404), "/large answers 404, not 200"),
        ((200, 301), (200, 301), "/large answers 301, not 200"),
        ((200, 200), (503, 200), "/small answers 200, then 503"),
    ],
)
def test_what_the_live_server_does_not_serve_is_not_loaded(
    first: tuple[int, int], second: tuple[int, int], says: str
) -> None:
    held = replace(held_on(ScriptedLine(), STUDY), live=(live(*first), live(*second)))
    with pytest.raises(BoardUnfit, match=says):
        LiveBench(held).learn_truth()


@pytest.mark.real
def test_two_workloads_and_their_mix_are_measured_on_a_real_board(
    board_namespace: BoardNamespace, real_nginx: str, real_wrk: str
) -> None:
    del real_nginx, real_wrk
    study = STUDY
    connection = board_namespace.connect()
    files = tuple(
        PutFile(name=name, content_base64="YWJj" * size) for name, size in (("small", 1), ("large", 9000))
    )
    begun = connection.begin(study="several", night=1, holder="a test", lease_s=60, files=files)
    held = Held(
        connection=connection,
        study=study,
        begun=begun,
        placement=CpuPlacement(),
        discovery=read_board(connection, study),
    )
    bench = LiveBench(held)
    bench.learn_truth()
    outcome = bench.measure(ORDER)
    sample = outcome.event
    assert isinstance(sample, Sample), sample
    per_request = {name: one.bytes / one.requests for name, one in sample.measurements.items()}
    assert per_request["small"] < 400 < 27_000 < per_request["large"]
    wanted = 0.7 * per_request["small"] + 0.3 * per_request["large"]
    assert per_request["mix"] == pytest.approx(wanted, rel=0.1)
