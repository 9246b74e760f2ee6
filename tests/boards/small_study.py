"""A small night of real nginx and wrk, for journeys: what may vary and who stands where is each one's own."""

from __future__ import annotations

from typing import Final

_BUDGET: Final = {
    "calibration_pairs": 6,
    "candidates": 4,
    "reference_every": 3,
    "finalists": 1,
    "finalist_pairs": 2,
    "distillation_pairs": 2,
    "finals_rounds": 12,
    "series_rounds": 1,
    "attribution_rounds": 0,
}


def small_study(name: str, *, lease: str, machines: str = "", **budget: int) -> str:
    """The study's file, beside which `space.toml` and `by-hand.toml` must stand.

    `machines`: lines with `board` and `load`, where they aren't this one. `budget`: what differs from a short night's.
    """
    numbers = "\n".join(f"{key} = {value}" for key, value in {**_BUDGET, **budget}.items())
    return f"""
name = "{name}"
{machines}
space = "space.toml"
hand_tuned = "by-hand.toml"
seed = 3
accept_noise = true
[server]
port = 8088
[[server.file]]
path = "/a.html"
size = "1k"
[workload]
name = "static"
path = "/a.html"
connections = 8
threads = 1
warmup = "100ms"
duration = "1s"
[latency]
share = 0
[fitness]
foreign_load = 100
[budget]
{numbers}
lease = "{lease}"
"""
