"""A study of a few seconds on a synthetic board, as a file. For tests of any room."""

from __future__ import annotations

from pathlib import Path

TEXT = """
name = "numbers"
board = "synthetic:rock5b"
space = "nginx-only.toml"
hand_tuned = "hand-tuned.toml"
seed = 3
[server]
port = 8088
[[server.file]]
path = "/test_100k.html"
size = "100k"
[workload]
name = "static 100 KB"
path = "/test_100k.html"
connections = 100
threads = 4
warmup = "5s"
duration = "15s"
[[limit]]
metric = "latency_p99_s"
at_most = 1.0
of = "stock"
[budget]
hours = 3
calibration_pairs = 6
candidates = 14
reference_every = 4
finalists = 2
finalist_pairs = 2
distillation_pairs = 6
finals_rounds = 12
series_rounds = 1
"""


def synthetic_study_file(folder: Path) -> Path:
    """The file, written into this directory."""
    file = folder / "numbers.toml"
    file.write_text(TEXT)
    return file
