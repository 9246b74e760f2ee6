"""A whole small night on real nginx and real wrk, through the command line, in a machine of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import BoardNamespace

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.usefixtures("real_nginx", "real_wrk", "real_luajit"),
]

STUDY = """
name = "small"
space = "loopback.toml"
hand_tuned = "hand-tuned.toml"
seed = 7
accept_noise = true
[server]
port = 8123
[[server.file]]
path = "/test_100k.html"
size = "100k"
[workload]
name = "static 100 KB"
path = "/test_100k.html"
connections = 8
threads = 1
warmup = "100ms"
duration = "1s"
[fitness]
foreign_load = 100
[budget]
calibration_pairs = 6
candidates = 4
reference_every = 2
finalists = 1
finalist_pairs = 1
distillation_pairs = 1
finals_rounds = 12
series_rounds = 1
lease = "20s"
"""


class Night:
    """The study's file and database, and `autotune` run inside the test's own machine."""

    def __init__(self, board: BoardNamespace, folder: Path) -> None:
        self.board = board
        self.file = folder / "small.toml"
        self.file.write_text(STUDY)
        self._environment = {**os.environ, "AUTOTUNE_STORAGE": f"sqlite:///{folder}/small.db"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        argv = self.board.command([sys.executable, "-m", "autotune", *arguments])
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environment
        )

    def call(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        argv = self.board.command([sys.executable, "-m", "autotune", *arguments])
        return subprocess.run(
            argv, capture_output=True, text=True, env=self._environment, timeout=timeout, check=False
        )

    def status(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.call("status", "small", "--json").stdout)
        return document

    def count(self, what: str) -> int:
        found = self.status()[what]
        assert isinstance(found, int)
        return found

    def wait_for_samples(self, count: int) -> None:
        self._wait_for("samples", count)

    def wait_for_failures(self, count: int) -> None:
        self._wait_for("failures", count)

    def _wait_for(self, what: str, count: int) -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            answer = self.call("status", "small", "--json")
            if answer.returncode == 0 and json.loads(answer.stdout)[what] >= count:
                return
            time.sleep(0.2)
        pytest.fail(f"no {count} {what} within 90 s: {self.status()}")


KERNEL = ("/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/tcp_wmem", "/proc/sys/vm/stat_interval")


@pytest.fixture
def night(board_namespace: BoardNamespace, tmp_path: Path) -> Iterator[Night]:
    before = {path: board_namespace.read(path) for path in KERNEL}
    yield Night(board_namespace, tmp_path)
    after = {path: board_namespace.read(path) for path in KERNEL}
    assert after == before


def _nothing_is_left(board: BoardNamespace) -> None:
    until = time.monotonic() + 10
    while board.processes() and time.monotonic() < until:
        time.sleep(0.05)
    assert board.processes() == []
    assert board.run("ls", "/run/autotune").stdout.split() in ([], ["lock"])
    assert not board.exists("/var/lib/autotune")


@pytest.mark.usefixtures("far_night")  # goes on meanwhile
def test_a_night_cut_by_a_signal_and_by_death_goes_on_and_ends_with_the_comparison(night: Night) -> None:
    first = night.start("run", str(night.file))
    night.wait_for_samples(2)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=30)
    assert first.returncode == 130, told
    _nothing_is_left(night.board)

    second = night.start("run", str(night.file))
    night.wait_for_samples(6)
    second.kill()
    second.communicate(timeout=30)
    _nothing_is_left(night.board)

    last = night.call("resume", "small", "--json", timeout=400)
    assert last.returncode == 0, last.stderr
    _nothing_is_left(night.board)
    told_once = json.loads(last.stdout)
    assert told_once["outcome"] == "complete"

    comparison = json.loads(night.call("compare", "small", "--json").stdout)
    assert {"stock", "hand_tuned", "automatic", "pairs", "steps"} <= comparison.keys()
    assert [comparison[arm]["n"] for arm in ("stock", "hand_tuned", "automatic")] == [12, 12, 12]
    assert [(pair["a"], pair["b"]) for pair in comparison["pairs"]] == [
        ("automatic", "hand_tuned"),
        ("automatic", "stock"),
        ("hand_tuned", "stock"),
    ]
    for pair in comparison["pairs"]:
        assert pair["low"] <= pair["ratio"] <= pair["high"]
    at_rate = [arm["fixed_rate"] for arm in comparison["workloads"][0]["arms"]]
    assert [one["n"] for one in at_rate] == [12, 12, 12]
    assert len({one["rate_per_s"] for one in at_rate}) == 1

    again = night.call("run", str(night.file), "--json")
    assert json.loads(again.stdout)["outcome"] == "already complete"


def test_a_second_tuner_is_refused_with_the_holder_named(night: Night, tmp_path: Path) -> None:
    first = night.start("run", str(night.file))
    night.wait_for_samples(1)
    other = tmp_path / "other.toml"
    other.write_text(STUDY.replace('name = "small"', 'name = "other"'))
    second = night.call("run", str(other))
    assert second.returncode == 4
    assert "small" in second.stderr
    stopped = night.call("stop", "small")
    first.communicate(timeout=30)
    assert stopped.returncode == 0, stopped.stderr
    assert first.returncode == 0
    _nothing_is_left(night.board)


def test_a_study_whose_file_changed_is_refused_and_the_difference_shown(night: Night) -> None:
    first = night.start("run", str(night.file))
    night.wait_for_samples(1)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    night.file.write_text(STUDY.replace("connections = 8", "connections = 16"))
    second = night.call("run", str(night.file))
    assert second.returncode == 3
    assert "connections" in second.stderr
    assert "16" in second.stderr


def test_a_taken_port_is_said_in_the_evening_and_nothing_is_changed(night: Night) -> None:
    listener = subprocess.Popen(
        night.board.command([sys.executable, "-m", "http.server", "8123", "--bind", "0.0.0.0"]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        refused = night.call("run", str(night.file))
    finally:
        listener.kill()
        listener.wait()
    assert refused.returncode == 5
    assert "8123" in refused.stderr
    _nothing_is_left(night.board)


def test_a_board_whose_disk_is_full_gives_no_figure_and_is_restored(night: Night) -> None:
    """Where nginx can't log, it does less per request, and no sample counts; the journal has room of its own."""
    first = night.start("run", str(night.file))
    night.wait_for_samples(3)
    night.board.run("sh", "-c", "cat /dev/zero > /var/lib/filler")
    night.wait_for_failures(1)
    night.board.run("rm", "/var/lib/filler")
    night.wait_for_samples(night.count("samples") + 2)

    failed = night.count("failures")
    night.board.run("sh", "-c", "cat /dev/zero > /run/filler")
    night.wait_for_samples(night.count("samples") + 2)
    assert night.count("failures") == failed
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=30)
    assert first.returncode == 130, told
    assert "left for the server's logs: No space left on device" in told
    night.board.run("rm", "-f", "/run/filler")
    _nothing_is_left(night.board)
