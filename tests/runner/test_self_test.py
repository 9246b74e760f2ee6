"""The evening's question: does this board restore itself when its agent dies?"""

from __future__ import annotations

import os
import signal

import pytest

from autotune.agent.guardian import NAME
from autotune.board.connection import Connection
from autotune.board.records import Ended
from autotune.errors import BoardLost, BoardUnfit, BoardUnreachable
from autotune.experiment.study import HandTunedSequence, ManagedNginx, Study, Url, Workload
from autotune.runner import preflight, session
from autotune.space.search_space import SearchSpace
from conftest import BoardNamespace

pytestmark = pytest.mark.real

STUDY = Study(
    name="evening",
    server=ManagedNginx(files=()),
    workloads=(Workload(name="w", urls=(Url(target="/a"),), connections=4, threads=1),),
    space=SearchSpace(title="none", parameters=()),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)
AT_ITS_HIGHEST, FREE = "net.ipv4.tcp_autocorking", "net.ipv4.tcp_fin_timeout"


@pytest.fixture
def board(board_namespace: BoardNamespace, monkeypatch: pytest.MonkeyPatch) -> BoardNamespace:
    """The machine that a self-test takes for the study's board."""
    for module in ("preflight", "session"):
        monkeypatch.setattr(f"autotune.runner.{module}.connect", lambda _board: board_namespace.connect())
    board_namespace.write("/proc/sys/net/ipv4/tcp_autocorking", "1")
    return board_namespace


@pytest.mark.parametrize("keys", [(FREE,), (AT_ITS_HIGHEST, FREE)])
def test_a_guardian_that_restores_passes(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    monkeypatch.setattr(preflight, "_HARMLESS", keys)
    before = board.read("/proc/sys/net/ipv4/tcp_fin_timeout")
    assert preflight.self_test(STUDY) is None
    assert board.read("/proc/sys/net/ipv4/tcp_fin_timeout") == before


def test_where_nothing_can_be_changed_nothing_was_tried(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_HARMLESS", (AT_ITS_HIGHEST,))
    doubt = preflight.self_test(STUDY)
    assert doubt is not None
    assert doubt.code == "self-test"


def _not_permitted(_pid: int, _number: int) -> None:
    raise PermissionError


@pytest.mark.parametrize("behind_sudo", [False, True])
def test_a_value_that_stays_changed_stops_the_night(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch, *, behind_sudo: bool
) -> None:
    monkeypatch.setattr(preflight, "_HARMLESS", (FREE,))
    if behind_sudo:
        monkeypatch.setattr(os, "kill", _not_permitted)

    def meddle(name: str, *, patience_s: float) -> Ended:
        ended = session.restore(name, patience_s=patience_s)
        board.write("/proc/sys/net/ipv4/tcp_fin_timeout", "7")
        return ended

    monkeypatch.setattr(preflight, "restore", meddle)
    with pytest.raises(BoardUnfit, match="did not put"):
        preflight.self_test(STUDY)


def test_a_guardian_that_is_gone_too_stops_the_night(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_HARMLESS", (FREE,))
    before = board.read("/proc/sys/net/ipv4/tcp_fin_timeout")
    kill = os.kill

    def kill_both(pid: int, number: int) -> None:
        for guardian in [one for one, name, _ in board.processes() if name == NAME]:
            kill(guardian, number)
        kill(pid, number)

    monkeypatch.setattr(os, "kill", kill_both)
    with pytest.raises(BoardUnfit, match="guardian did not put"):
        preflight.self_test(STUDY)
    assert board.read("/proc/sys/net/ipv4/tcp_fin_timeout") == before


def _kill_agent_and_guardian(board: BoardNamespace, line: Connection) -> None:
    for guardian in [one for one, name, _ in board.processes() if name == NAME]:
        os.kill(guardian, signal.SIGKILL)
    os.kill(line.agent_pid, signal.SIGKILL)


def test_a_self_test_whose_agent_and_guardian_die_leaves_nothing_changed(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_HARMLESS", (FREE,))
    before = board.read("/proc/sys/net/ipv4/tcp_fin_timeout")
    one_higher = preflight._one_higher

    def change_and_die(line: Connection) -> tuple[str, int] | None:
        changed = one_higher(line)
        assert board.read("/proc/sys/net/ipv4/tcp_fin_timeout") != before
        _kill_agent_and_guardian(board, line)
        line.keepalive()
        return changed

    monkeypatch.setattr(preflight, "_one_higher", change_and_die)
    with pytest.raises(BoardUnreachable):
        preflight.self_test(STUDY)
    assert board.read("/proc/sys/net/ipv4/tcp_fin_timeout") == before
    assert not board.exists("/run/autotune/journal")


def test_a_board_whose_agent_and_guardian_die_while_it_is_taken_is_given_back(
    board: BoardNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(line: Connection, *_: object) -> None:
        _kill_agent_and_guardian(board, line)
        line.keepalive()

    monkeypatch.setattr(session, "read_board", die)
    with pytest.raises(BoardLost):
        session.Held.take(STUDY, 1)
    assert board.run("ls", "/run/autotune").stdout.split() == ["lock"]
    assert not board.exists("/var/lib/autotune")
