"""Standard streams that are closed, full or gone, under the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOTUNE = f"{sys.executable} -m autotune"


def shell(line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "AUTOTUNE_STORAGE": ""},
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(tmp_path: Path, closed: str) -> None:
    done = shell(f"{AUTOTUNE} plan quickstart {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert shell(f"{AUTOTUNE} list {closed}", tmp_path).returncode == 8  # no database there


@pytest.mark.parametrize("words", ["plan quickstart", "space show loopback", "plan quickstart --json"])
def test_a_full_disk_under_the_output_is_no_bug_and_no_success(tmp_path: Path, words: str) -> None:
    done = shell(f"{AUTOTUNE} {words} >/dev/full", tmp_path)
    assert done.returncode == 8
    assert "error: the output can't be written: No space left on device" in done.stderr
    assert "bug" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_pipe_that_nobody_reads_any_more_says_nothing(tmp_path: Path) -> None:
    done = shell(f"{AUTOTUNE} space show loopback | true", tmp_path)
    assert done.stderr == ""
