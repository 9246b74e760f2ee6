"""A/A studies on this machine: real nginx, real wrk, a whole night each, over settings that do nothing for the load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from protocol_cache import Cache, chunks_of

from autotune.space.record import Record

_PATIENCE_S: Final = 900.0
_SPACE: Final = """
title = "settings that a kept-alive GET of a cached file never meets"
[parameter."nginx:lingering_close"]
values = ["off", "on", "always"]
why = "Only when a connection is closed: wrk keeps its own."
[parameter."nginx:send_timeout"]
low = "20s"
high = "600s"
why = "Only for clients that take nothing: wrk always takes."
[parameter."nginx:reset_timedout_connection"]
why = "Only for connections that time out."
[parameter."nginx:keepalive_timeout"]
low = "20s"
high = "600s"
why = "Only for idle connections."
[parameter."nginx:keepalive_time"]
low = "900s"
high = "7200s"
why = "Only for connections that are older than any run."
"""
_BY_HAND: Final = """
title = "nothing, by hand"
source = "bench-protocol"
[[step]]
name = "nothing"
why = "Two values that do nothing for this load."
[step.set]
"nginx:send_timeout" = "90s"
"nginx:reset_timedout_connection" = "on"
"""
_STUDY: Final = """
name = "aa-{seed}"
title = "stock against itself under other names"
space = "inert.toml"
hand_tuned = "nothing.toml"
seed = {seed}
accept_noise = true
[server]
port = 8088
[[server.file]]
path = "/test_100k.html"
size = "100k"
[workload]
name = "static 100 KB"
path = "/test_100k.html"
connections = 32
threads = 1
warmup = "300ms"
duration = "1s"
[latency]
share = 0
[fitness]
foreign_load = 100
[budget]
calibration_pairs = 6
candidates = 6
reference_every = 3
finalists = 2
finalist_pairs = 2
distillation_pairs = 4
finals_rounds = 12
series_rounds = 0
"""


class RealSeen(Record):
    """One study. `claims`: the pairs that were said to differ. The ratio is automatic's to stock, which is 1 in truth."""

    claims: tuple[str, ...]
    ratio: float
    low: float
    high: float
    sigma_run: float
    samples: int
    seconds: float


class StudyFailed(Exception):
    """A study didn't come to its end; the text says what autotune said."""


def real_study(seed: int) -> RealSeen:
    """Runs one whole study. Raises StudyFailed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autotune-protocol-") as place:
        folder = Path(place)
        (folder / "inert.toml").write_text(_SPACE)
        (folder / "nothing.toml").write_text(_BY_HAND)
        study = folder / "study.toml"
        study.write_text(_STUDY.format(seed=seed))
        storage = f"sqlite:///{folder}/study.db"
        _autotune(storage, "run", str(study))
        seen = json.loads(_autotune(storage, "compare", f"aa-{seed}", "--json"))
        stored = json.loads(_autotune(storage, "status", f"aa-{seed}", "--json"))
    headline = next(one for one in seen["pairs"] if (one["a"], one["b"]) == ("automatic", "stock"))
    return RealSeen(
        claims=tuple(
            f"{one['a']} {one['verdict']} than {one['b']}"
            for one in seen["pairs"]
            if one["verdict"] in ("faster", "slower")
        ),
        ratio=headline["ratio"],
        low=headline["low"],
        high=headline["high"],
        sigma_run=seen["calibration"]["sigma_run"],
        samples=stored["samples"],
        seconds=round(time.monotonic() - began),
    )


def _autotune(storage: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "autotune", *arguments],
        env={**os.environ, "AUTOTUNE_STORAGE": storage},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise StudyFailed(
            f"autotune {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


def real_studies(count: int, cache: Cache, say: Callable[[str], None]) -> list[RealSeen]:
    """So many studies one after the other, those that are kept from before for nothing. Raises StudyFailed."""
    found: list[RealSeen] = []
    for chunk in chunks_of("real", real_study, RealSeen, seeds=count, size=1):
        kept = cache.get(chunk)
        if kept is None:
            kept = [real_study(chunk.first)]
            cache.put(chunk, kept)
        found += kept
        say(f"real study {chunk.last} of {count}: {', '.join(kept[0].claims) or 'no difference claimed'}")
    return found
