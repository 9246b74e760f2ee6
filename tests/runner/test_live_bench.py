"""One sample on a real board, and what becomes of one that the agent can't take."""

from __future__ import annotations

import posixpath

import pytest

from autotune.board.placement import CpuPlacement
from autotune.board.records import PutFile, UrlSeen
from autotune.errors import BoardUnfit
from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, Failure, Sample, SampleKey, Stage
from autotune.experiment.study import (
    HandTunedSequence,
    ManagedNginx,
    Placement,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.runner.live_bench import LiveBench, _truths
from autotune.runner.session import Held, read_board
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
        _truths((Url(target="/a"),), answers)
