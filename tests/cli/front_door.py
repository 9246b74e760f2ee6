"""A command line of a test's own: its own state directory, no terminal, no storage from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

Autotune = Callable[..., Result]


def front_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    """Runs one command line through the front door, in this process."""
    from autotune.cli.app import app

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, list(words), prog_name="autotune")

    return call


def only_json(result: Result) -> dict[str, Any]:
    """The one JSON document that is all of stdout."""
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document
