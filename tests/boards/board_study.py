"""A night for a virtual board: three governors with a tunable, kernel and nginx settings, the board's own nginx, runs of a second.

The board's nginx.service is stopped for the night and started again, so every death falls on a stopped service, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

NAME: Final = "board"
PAGE: Final = "http://localhost:80/index.nginx-debian.html"
_SPACE: Final = """
title = "clocks, kernel and nginx of a virtual board"
[parameter."cpufreq:policy0.governor"]
values = ["performance", "schedutil", "ondemand"]
why = "a test"
[parameter."cpufreq:policy4.governor"]
values = ["performance", "ondemand", "powersave"]
why = "a test"
[parameter."cpufreq:all.ondemand.up_threshold"]
low = 25
high = 95
special = "unset"
when = "cpufreq:policy4.governor == ondemand"
why = "a test"
[parameter."cpufreq:policy6.governor"]
values = ["performance", "schedutil", "conservative"]
why = "a test"
[parameter."sysctl:net.ipv4.tcp_fin_timeout"]
low = "20s"
high = "60s"
why = "a test"
[parameter."sysctl:net.core.somaxconn"]
low = 1024
high = 65535
scale = "log"
why = "a test"
[parameter."sysctl:vm.swappiness"]
low = 0
high = 100
why = "a test"
[parameter."thp:enabled"]
values = ["always", "madvise", "never"]
why = "a test"
[parameter."nginx:sendfile"]
why = "a test"
[parameter."nginx:listen.backlog"]
low = 511
high = 4096
why = "a test"
"""
_BY_HAND: Final = """
title = "two steps"
source = "a test"
[[step]]
name = "clocks"
why = "a test"
[step.set]
"cpufreq:policy4.governor" = "performance"
[[step]]
name = "less swapping"
why = "a test"
[step.set]
"sysctl:vm.swappiness" = 10
"""
SHORT: Final[Mapping[str, int]] = {
    "calibration_pairs": 6,
    "candidates": 4,
    "reference_every": 3,
    "finalists": 1,
    "finalist_pairs": 2,
    "distillation_pairs": 0,
    "finals_rounds": 12,
    "series_rounds": 1,
    "attribution_rounds": 0,
}


def write_study(folder: Path, address: str, budget: Mapping[str, int] = SHORT, *, seed: int = 1) -> Path:
    """The study's file in `folder`, and what it needs beside it.

    An emulated CPU's speed wanders, and a second on its clock isn't one here: what tells throttling by speed is left alone.
    """
    (folder / "space.toml").write_text(_SPACE, encoding="ascii")
    (folder / "by-hand.toml").write_text(_BY_HAND, encoding="ascii")
    numbers = "\n".join(f"{key} = {value}" for key, value in budget.items())
    file = folder / f"{NAME}.toml"
    file.write_text(
        f"""
name = "{NAME}"
board = "{address}"
space = "space.toml"
hand_tuned = "by-hand.toml"
seed = {seed}
accept_noise = true
[server]
kind = "own"
config = "/etc/nginx/nginx.conf"
[workload]
name = "page"
url = "{PAGE}"
connections = 4
threads = 1
warmup = "1s"
duration = "1s"
[latency]
share = 0
[fitness]
foreign_load = 100
slow_clock = 0.9
time_below = 1
[budget]
{numbers}
lease = "60s"
""",
        encoding="ascii",
    )
    return file
