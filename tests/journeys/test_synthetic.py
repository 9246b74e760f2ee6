"""The shipped night without a board, through the command line: short, labelled, and right about a truth that is known."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import synthetic_night as night
from autotune.experiment.events import Distilled, NightBegun
from autotune.space.configuration import Configuration
from autotune.storage.store import Store
from autotune.synthetic.boards import synthetic_board

pytestmark = pytest.mark.slow

CPU_LIMIT_S = 60
# Half an interval's usual width: what the intervals may miss the truth by before something is wrong with them.
TOLERANCE = 0.01


def test_the_shipped_synthetic_night_finds_more_than_stock_and_says_how_much(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/night.db"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ran = call("run", "synthetic", url=url)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < CPU_LIMIT_S
    assert ran.returncode == 0, ran.stderr
    assert "every number was computed, not measured" in ran.stdout

    told: dict[str, Any] = json.loads(call("compare", "synthetic", "--json", url=url).stdout)
    assert told["synthetic"] is True
    assert told["complete"] is True
    study, board = night.study_of("synthetic"), synthetic_board("rock5b")
    with Store.open(url) as store:
        log = store.log("synthetic")
    begun = next(event for event in log if isinstance(event, NightBegun))
    shipped = next(event for event in log if isinstance(event, Distilled)).configuration
    stock = board.objective(Configuration(), study)
    truths = {
        "automatic": board.objective(shipped, study) - stock,
        "hand_tuned": board.objective(begun.hand_tuned, study) - stock,
        "stock": 0.0,
    }
    assert truths["automatic"] > 0.2
    for pair in told["pairs"]:
        true = truths[pair["a"]] - truths[pair["b"]]
        assert math.log(pair["low"]) - TOLERANCE < true < math.log(pair["high"]) + TOLERANCE, pair


def call(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autotune", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AUTOTUNE_STORAGE": url},
    )
