"""The baseline report: refused before anything is measured, and written of a real board."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import BoardBusy, UsageError
from autotune.experiment.study import (
    HandTunedSequence,
    ManagedNginx,
    Placement,
    ServedFile,
    Study,
    Url,
    Workload,
)
from autotune.runner import baseline_report as reports
from autotune.runner.baseline_report import baseline_report
from autotune.space.catalogue import CATALOGUE
from autotune.space.parameter import Parameter, Span
from autotune.space.search_space import SearchSpace
from conftest import BoardNamespace

STUDY = Study(
    name="base",
    title="a | small <board>",
    server=ManagedNginx(
        files=(ServedFile(path="/1k.bin", size_bytes=1024), ServedFile(path="/9k.bin", size_bytes=9000))
    ),
    workloads=(
        Workload(
            name="1 KB", urls=(Url(target="/1k.bin"),), connections=4, threads=1, warmup_s=0.2, duration_s=1
        ),
        Workload(
            name="both",
            urls=(Url(target="/1k.bin", weight=70), Url(target="/9k.bin", weight=30)),
            connections=4,
            threads=2,
            warmup_s=0,
            duration_s=1,
        ),
    ),
    placement=Placement.PINNED,
    space=SearchSpace(
        title="one",
        parameters=(
            Parameter(setting=CATALOGUE["sysctl:net.core.somaxconn"], span=Span(low=128, high=4096), why="x"),
        ),
    ),
    hand_tuned=HandTunedSequence(title="none", source="none", steps=()),
)


def test_a_report_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("mine")
    with pytest.raises(UsageError, match="is there already; nothing was measured"):
        baseline_report(STUDY, tmp_path / "a.md", say=print)
    with pytest.raises(UsageError, match="no directory"):
        baseline_report(STUDY, tmp_path / "b" / "a.md", say=print)


@pytest.mark.real
def test_a_boards_baseline_is_in_one_file_and_the_board_as_it_was(
    board_namespace: BoardNamespace,
    real_nginx: str,
    real_wrk: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del real_nginx, real_wrk
    monkeypatch.setattr("autotune.runner.session.connect", lambda _board: board_namespace.connect())
    file = tmp_path / "baseline.md"
    said: list[str] = []
    baseline = baseline_report(STUDY, file, say=said.append, runs=2, rest_s=0.1)
    assert said == ["1 KB: run 1 of 2", "both: run 1 of 2", "1 KB: run 2 of 2", "both: run 2 of 2"]
    assert [run.reason for runs in baseline.runs.values() for run in runs] == [""] * 4
    text = file.read_text()
    assert "# Baseline: a | small &lt;board>" in text
    for wanted in (
        "nginx version: nginx/",
        "configure arguments:",
        "clocks",
        "memory: Cached",
        "boot options that matter here",
        "sysctl:net.core.somaxconn",
        "### 1 KB",
        "### both",
        "context switches",
        "page faults",
        "listen queue drops",
        "softirq NET_RX",
    ):
        assert wanted in text
    rates = [line for line in text.splitlines() if line.startswith("| context switches")]
    assert all(float(line.split("|")[2].replace(",", "")) > 0 for line in rates)
    assert board_namespace.connect().status().journal in ("none", "clean")


@pytest.mark.real
def test_a_board_that_another_holds_is_not_measured(
    board_namespace: BoardNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotune.runner.session.connect", lambda _board: board_namespace.connect())
    other = board_namespace.connect()
    other.begin(study="other", night=1, holder="someone", lease_s=60)
    with pytest.raises(BoardBusy, match="someone"):
        baseline_report(STUDY, tmp_path / "a.md", say=print)
    assert not (tmp_path / "a.md").exists()


def test_only_boot_words_that_matter_are_told() -> None:
    from autotune.board.records import Reading

    line = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 isolcpus=4-7 cryptkey=secret intel_pstate=passive quiet"
    read = {"/proc/cmdline": Reading(text=line, error="", writable=False)}
    assert reports._boot_words(read) == "isolcpus=4-7 intel_pstate=passive"
