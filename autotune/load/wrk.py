"""What wrk is asked to do."""

from __future__ import annotations

import secrets

from autotune.board.placement import CpuPlacement
from autotune.board.records import LoadOrder, LoadSeen, LoadUrl, Run
from autotune.experiment.study import Workload


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
    """The warm-up and the measured run of one workload, on the generator's CPUs of `placement`."""
    return LoadOrder(
        urls=urls,
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
    """Everything wrk printed, to be kept beside the sample and never parsed again."""
    parts = [_printed("warm-up", seen.warmup), _printed("measured run", seen.measured)]
    if seen.error_log:
        parts.append(f"== nginx's error log\n{seen.error_log}")
    return "\n".join(parts)


def _printed(name: str, run: Run) -> str:
    text = (
        f"== {name}: exit code {run.exit_code}, {run.wall_s:.3f} s, {run.cpu_s:.3f} CPU-seconds\n{run.stdout}"
    )
    return f"{text}\n== {name}, standard error\n{run.stderr}" if run.stderr else text
