"""An ssh that is given up takes the ssh to its jump host along: each would live on until its dead line is noticed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from autotune.board import connection, reaching
from autotune.board.address import SshBoard
from autotune.board.agent_start import SSH_CONFIG
from autotune.errors import BoardUnreachable

BOARD = SshBoard(host="board")

pytestmark = pytest.mark.skipif(
    shutil.which("ssh") is None, reason="needs ssh (apt-get install openssh-client)"
)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What stands for a jump host's ssh: it leads nowhere, and has this file open while it lives."""
    held = tmp_path / "held"
    held.touch()
    config = tmp_path / "config"
    config.write_text(f"Host board\n    ProxyCommand sleep 60 3<{held}\n")
    monkeypatch.setenv(SSH_CONFIG, str(config))
    return held


def holders(file: Path) -> int:
    found = 0
    for directory in Path("/proc").glob("[0-9]*/fd"):
        try:
            found += any(one.readlink() == file for one in directory.iterdir())
        except OSError:
            continue
    return found


def is_let_go(file: Path) -> bool:
    until = time.monotonic() + 5
    while (left := holders(file)) and time.monotonic() < until:
        time.sleep(0.02)
    return not left


def test_of_a_fresh_connection_that_does_not_come_about(way: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "_AFRESH_WITHIN_S", 1.0)
    most: list[int] = []
    assert not reaching.answers_afresh(BOARD, waiting=lambda: most.append(holders(way)))
    assert max(most) > 0, "it was on its way"
    assert is_let_go(way)


def test_of_a_line_whose_agent_never_greets(way: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_GREETS_WITHIN_S", 1.0)
    monkeypatch.setattr(connection, "_LEAVES_WITHIN_S", 0.1)
    with pytest.raises(BoardUnreachable, match="no agent has answered"):
        connection.Connection(BOARD)
    assert is_let_go(way)
