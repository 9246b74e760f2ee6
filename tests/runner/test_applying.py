"""Leaving a configuration in place: which one a word stands for, and that nothing stays of one that does not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from scripted_board import ScriptedLine, held_on

from autotune.board.address import SshBoard
from autotune.board.connection import Connection
from autotune.board.records import BoardStatus
from autotune.errors import BoardBusy, BoardUnfit, UsageError
from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import HandTunedSequence, HandTunedStep, HandTunedValue, Placement, Study
from autotune.runner import preflight, session
from autotune.runner.applying import apply, choose
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value
from conftest import BoardNamespace
from night_example import BEST, HAND_TUNED, WINNER, a_night, a_study

STUDY = a_study()
BACKLOG = "nginx:listen.backlog"


@pytest.fixture(scope="module")
def log() -> list[Event]:
    return a_night(STUDY)


@pytest.mark.parametrize(
    ("which", "arm", "configuration"),
    [
        ("auto", "automatic", None),
        ("hand", "hand-tuned", HAND_TUNED),
        (str(BEST), f"trial {BEST}", WINNER),
    ],
)
def test_each_word_stands_for_a_configuration_of_the_study(
    log: list[Event], which: str, arm: str, configuration: Configuration | None
) -> None:
    chosen = choose(STUDY, log, which)
    assert (chosen.arm, chosen.night.night) == (arm, 1)
    assert len(chosen.configuration)
    assert configuration is None or chosen.configuration == configuration


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("stock", "what the board has by itself"),
        ("9999", "no configuration '9999'"),
        ("best", "'best'"),
        ("-1", "'-1'"),
    ],
)
def test_a_word_for_nothing_is_refused_with_the_next_command(log: list[Event], which: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        choose(STUDY, log, which)
    assert "autotune" in caught.value.hint


def test_a_study_without_finals_has_no_automatic_configuration(log: list[Event]) -> None:
    with pytest.raises(UsageError, match="measured nothing"):
        choose(STUDY, [], "hand")
    with pytest.raises(UsageError, match="no automatic configuration yet"):
        choose(STUDY, log[:10], "auto")


def night(hand_tuned: Configuration) -> list[Event]:
    begun = NightBegun(
        night=1,
        at="2026-01-01T00:00:00+00:00",
        stock={BACKLOG: 511},
        facts={},
        space_ids=(BACKLOG,),
        hand_tuned=hand_tuned,
    )
    return [begun]


def taken(monkeypatch: pytest.MonkeyPatch, line: ScriptedLine, backlog: int = 511) -> list[bool]:
    """The board of the line is the study's; tells whether each taking was to be kept."""
    asked: list[bool] = []

    def take(study: Study, _night: int, *, kept: bool = False) -> session.Held:
        asked.append(kept)
        return held_on(line, study, {BACKLOG: backlog})

    monkeypatch.setattr(session.Held, "take", take)
    return asked


def test_what_passes_its_canary_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ScriptedLine()
    asked = taken(monkeypatch, line)
    kept = apply(STUDY, choose(STUDY, night(Configuration.of({BACKLOG: 4096})), "hand"))
    assert asked == [True]
    assert line.ended == [True]
    assert kept.effective.mapping == {BACKLOG: 4096}
    assert kept.urls == (line.switches[-1].urls[0].url,)


@pytest.mark.parametrize(
    ("line", "backlog", "says"),
    [
        (lambda: ScriptedLine(refusal="another body"), 511, r"does not pass \(canary\): another body"),
        (
            ScriptedLine,
            1024,
            "stock is not what the study measured against: nginx:listen.backlog was 511, is 1024",
        ),
    ],
)
def test_nothing_stays_of_what_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, line: Callable[[], ScriptedLine], backlog: int, says: str
) -> None:
    board = line()
    taken(monkeypatch, board, backlog)
    with pytest.raises(BoardUnfit, match=says):
        apply(STUDY, choose(STUDY, night(Configuration.of({BACKLOG: 4096})), "hand"))
    assert board.ended == [False]


class _Kept:
    board = SshBoard(host="rock5b")

    def status(self) -> BoardStatus:
        return BoardStatus(held_by="", journal="kept", begun={"kept": True, "study": "site"}, changed=())


def test_nothing_is_begun_on_top_of_what_is_kept() -> None:
    with pytest.raises(BoardBusy, match=r"study site is in place, put there by `autotune apply`") as caught:
        session.refuse_kept(cast("Connection", _Kept()))
    assert caught.value.hint == "autotune restore ssh://rock5b"
    assert caught.value.exit_code == 4


SOMAXCONN, SOMAXCONN_FILE = "sysctl:net.core.somaxconn", "/proc/sys/net/core/somaxconn"


@pytest.mark.real
def test_what_is_kept_stays_until_it_is_restored_and_nothing_is_begun_meanwhile(
    board_namespace: BoardNamespace, real_nginx: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del real_nginx
    monkeypatch.setattr("autotune.runner.session.connect", lambda _board: board_namespace.connect())
    monkeypatch.setattr("autotune.runner.preflight.connect", lambda _board: board_namespace.connect())
    study = STUDY.model_copy(
        update={
            "placement": Placement.FREE,
            "space": STUDY.space.model_copy(update={"parameters": (), "derived": (), "rules": ()}),
            "hand_tuned": HandTunedSequence(
                title="one",
                source="a test",
                steps=(
                    HandTunedStep(
                        number=1,
                        name="queues",
                        values=(
                            HandTunedValue(setting=CATALOGUE[SOMAXCONN], value=2048),
                            HandTunedValue(setting=CATALOGUE[BACKLOG], value=2048),
                        ),
                        why="x",
                    ),
                ),
            ),
        }
    )
    before = board_namespace.read(SOMAXCONN_FILE)
    begun = cast("NightBegun", night(Configuration.of({SOMAXCONN: 2048, BACKLOG: 2048}))[0])
    stock: dict[str, Value] = {SOMAXCONN: int(before), BACKLOG: 511}
    kept = apply(study, choose(study, [begun.model_copy(update={"stock": stock})], "hand"))
    assert kept.effective.mapping == {SOMAXCONN: 2048, BACKLOG: 2048}
    assert board_namespace.read(SOMAXCONN_FILE) == "2048"
    fetched = board_namespace.run(
        "python3", "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)", kept.urls[0]
    )
    assert fetched.stdout == "200\n", fetched.stderr
    for begin in (lambda: session.Held.take(study, 1), lambda: preflight.self_test(study)):
        with pytest.raises(BoardBusy, match="put there by `autotune apply`"):
            begin()
    assert board_namespace.read(SOMAXCONN_FILE) == "2048"
    ended = session.proven(session.restore("local"))
    assert any("somaxconn" in one for one in ended.restored)
    assert board_namespace.read(SOMAXCONN_FILE) == before
    assert not [name for _, name, _ in board_namespace.processes() if name in ("nginx", "autotune-guard")]
