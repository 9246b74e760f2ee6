"""The guardian's way out of its service: what becomes of it where systemd does not answer. With a real one: tests/boards."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autotune.agent import own_scope


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of busctl, yet to be written, on a machine that looks like one of systemd's."""
    if os.geteuid() != 0:
        pytest.skip("needs root: nobody else asks")
    monkeypatch.setattr(own_scope, "_BOOTED", str(tmp_path))
    monkeypatch.setattr(own_scope, "_is_systemd_here", lambda: True)
    monkeypatch.setattr(own_scope, "_BUSCTL", str(tmp_path / "busctl"))
    monkeypatch.setattr(own_scope, "_ASKED_WITHIN_S", -0.7)
    monkeypatch.setattr(own_scope, "_MOVED_WITHIN_S", 0.2)
    return tmp_path / "busctl"


@pytest.mark.parametrize("script", ["exec sleep 100", "exit 1", "exit 0", None])
def test_it_stays_where_it_was_and_soon(asked: Path, script: str | None) -> None:
    if script is not None:
        asked.write_text(f"#!/bin/sh\n{script}\n")
        asked.chmod(0o755)
    began = time.monotonic()
    own_scope.move_to_own_scope()
    assert time.monotonic() - began < 10


def test_nobody_is_asked_where_the_first_process_is_another(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_scope, "_is_systemd_here", lambda: False)
    asked.write_text(f"#!/bin/sh\ntouch {asked.parent}/asked\n")
    asked.chmod(0o755)
    own_scope.move_to_own_scope()
    assert not (asked.parent / "asked").exists()


def test_it_names_itself_and_a_scope_of_its_own(asked: Path) -> None:
    asked.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {asked.parent}/words\n")
    asked.chmod(0o755)
    own_scope.move_to_own_scope()
    words = (asked.parent / "words").read_text().splitlines()
    assert f"autotune-guardian-{os.getpid()}.scope" in words
    assert words[words.index("PIDs") : words.index("PIDs") + 4] == ["PIDs", "au", "1", str(os.getpid())]
