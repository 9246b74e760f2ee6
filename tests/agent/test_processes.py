"""Finding a dead night's processes, and nobody else's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import within

from autotune.agent.journal import Recorded
from autotune.agent.places import Places
from autotune.agent.processes import Stat, find_leftovers, read_stat

NOWHERE = Places(0, "/nonexistent/run", "/nonexistent/state")
TOKEN = "0" * 16


@pytest.fixture
def wrk(tmp_path: Path) -> Iterator[Stat]:
    """A process called wrk that leads a group of its own and has nothing of a night about it."""
    shutil.copy("/bin/sleep", tmp_path / "wrk")
    process = subprocess.Popen([tmp_path / "wrk", "100"], start_new_session=True)
    try:
        assert within(5, lambda: (stat := read_stat(process.pid)) and stat.name == "wrk")
        stat = read_stat(process.pid)
        assert stat is not None
        yield stat
    finally:
        process.kill()
        process.wait()


def test_a_recorded_process_is_found_by_its_number_and_start(wrk: Stat) -> None:
    assert find_leftovers(NOWHERE, TOKEN, [Recorded(wrk.pgid, wrk.start)]) == [wrk.pid]


def test_a_strangers_generator_under_a_number_used_again_is_not_ours(wrk: Stat) -> None:
    assert find_leftovers(NOWHERE, TOKEN, [Recorded(wrk.pgid, wrk.start - 1000)]) == []
