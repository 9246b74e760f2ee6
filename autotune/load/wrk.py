"""What wrk is asked to do."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from functools import cache
from typing import Final

from autotune.board.placement import CpuPlacement
from autotune.board.records import LoadOrder, LoadSeen, LoadUrl, Run
from autotune.experiment.study import Workload

# A share that no small block can hold exactly is held within this, relative to the share itself.
_SHARE_OFF: Final = 0.01
_BLOCK_MOST: Final = 1000


@cache
def shares(weights: tuple[float, ...]) -> tuple[int, ...]:
    """Whole numbers in the proportion of `weights`: the smallest block of requests that keeps it, at least 1 of each.

    70 and 30 are 7 and 3. Where no block of 1,000 keeps it within 1 %, the block of 1,000 (or ten of each) comes closest.
    """
    total = math.fsum(weights)
    parts = [weight / total for weight in weights]
    most = max(_BLOCK_MOST, 10 * len(parts))
    for size in range(len(parts), most + 1):
        found = [round(part * size) for part in parts]
        if sum(found) == size and all(
            abs(count - part * size) <= _SHARE_OFF * part * size
            for count, part in zip(found, parts, strict=True)
        ):
            return tuple(found)
    return tuple(max(1, round(part * most)) for part in parts)


def new_marker() -> str:
    """A word that no server can guess: the report line begins with it."""
    return f"report{secrets.token_hex(12)}"


def load_order(
    workload: Workload,
    urls: tuple[LoadUrl, ...],
    address: str,
    placement: CpuPlacement,
    marker: str,
    *,
    seed: int = 0,
) -> LoadOrder:
    """The warm-up and the measured run of one workload, on the generator's CPUs of `placement`.

    The order's weights are whole numbers: so many requests of each URL in a block (see `shares`).
    """
    whole = shares(tuple(url.weight for url in urls))
    return LoadOrder(
        urls=tuple(replace(url, weight=float(share)) for url, share in zip(urls, whole, strict=True)),
        address=address,
        seed=seed,
        threads=workload.threads,
        connections=workload.connections,
        warmup_s=workload.warmup_s,
        duration_s=workload.duration_s,
        marker=marker,
        cpus=placement.generator,
    )


def raw_text(seen: LoadSeen) -> str:
    """Everything the generator printed, to be kept beside the sample and never parsed again."""
    parts = [_printed("warm-up", seen.warmup)] if seen.warmup.wall_s else []
    parts.append(_printed("measured run", seen.measured))
    if seen.error_log:
        parts.append(f"== nginx's error log\n{seen.error_log}")
    return "\n".join(parts)


def _printed(name: str, run: Run) -> str:
    text = (
        f"== {name}: exit code {run.exit_code}, {run.wall_s:.3f} s, {run.cpu_s:.3f} CPU-seconds\n{run.stdout}"
    )
    return f"{text}\n== {name}, standard error\n{run.stderr}" if run.stderr else text
