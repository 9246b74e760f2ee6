"""What systemd hears of a night, on a real socket of its kind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.cli.progress import watching
from autotune.definitions.study_file import read_study
from autotune.runner.night import run_night
from autotune.runner.notices import Alive, Notice, Said
from autotune.runner.service_manager import SOCKET, tell_ready
from autotune.storage.store import Store
from synthetic_study import synthetic_study_file


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The receiving end of $NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv(SOCKET, str(tmp_path / "notify"))
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_night_is_ready_when_its_loop_begins_and_pings_from_it(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotune.runner.service_manager._EVERY_S", 0.001)
    monkeypatch.setattr("autotune.runner.memory.write_mirror", lambda *_args: None)
    study = read_study(synthetic_study_file(tmp_path))
    texts: list[str] = []
    with (
        Store.open(f"sqlite:///{tmp_path}/a.db") as store,
        watching(tmp_path / "a.log", "nothing", study.board) as watch,
    ):

        def tell(notice: Notice) -> None:
            watch(notice)
            texts.extend(heard(manager))

        run_night(study, store, watcher=tell)
    assert texts[0] == "READY=1\nWATCHDOG=1"
    assert texts.count("READY=1\nWATCHDOG=1") == 1
    assert texts.count("WATCHDOG=1") > 50
    assert any(text.startswith("STATUS=numbers: ") and text.endswith(" left") for text in texts)


def test_what_comes_before_the_loop_is_not_yet_a_night(tmp_path: Path, manager: socket.socket) -> None:
    with watching(tmp_path / "a.log", "nothing", "local") as watch:
        watch(Said(level="info", text="preflight"))
        assert heard(manager) == []
        watch(Alive())
        assert heard(manager) == ["READY=1\nWATCHDOG=1"]


def test_an_abstract_socket_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"autotune-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv(SOCKET, f"@{name}")
        tell_ready()
        assert listening.recv(100).startswith(b"READY=1")


def test_a_manager_that_is_gone_disturbs_no_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKET, str(tmp_path / "nobody"))
    with watching(tmp_path / "a.log", "nothing", "local") as watch:
        watch(Alive())


def test_nobody_is_told_where_nobody_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, manager: socket.socket
) -> None:
    monkeypatch.delenv(SOCKET)
    tell_ready()
    with watching(tmp_path / "a.log", "nothing", "local") as watch:
        watch(Alive())
    assert heard(manager) == []
