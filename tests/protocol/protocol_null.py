"""Nights in which all configurations are equal: how often any difference is claimed."""

from __future__ import annotations

from functools import partial
from typing import Final

from protocol_cache import Chunk, chunks_of
from protocol_finals import CVS, own_seed
from protocol_night import Night, begun_on, final_differences, study_of

from autotune.experiment.events import NightEnded
from autotune.experiment.study import Budget
from autotune.measurement.comparison import compare
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.verdicts import Verdict
from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.synthetic.boards import plain_board
from autotune.synthetic.noise import Disturbance

IDS: Final = (
    "nginx:sendfile",
    "nginx:tcp_nopush",
    "nginx:multi_accept",
    "nginx:open_file_cache",
    "nginx:keepalive_requests",
    "sysctl:net.core.somaxconn",
)
BUDGET: Final = Budget(
    calibration_pairs=10,
    candidates=16,
    reference_every=4,
    finalists=4,
    finalist_pairs=3,
    distillation_pairs=8,
    finals_rounds=24,
    series_rounds=0,
)
CLAIMS: Final = (Verdict.FASTER, Verdict.SLOWER)


class NullSeen(Record):
    """One night. `claimed`: at least one of the three pairs was said to differ. `erred`: the uncorrected 95 % interval of
    hand-tuned against stock excludes their being equal.
    """

    claimed: bool
    erred: bool


def _night(cv: float, numbered: int) -> NullSeen:
    seed = own_seed(cv, numbered)
    study = study_of("rock5b-static-1k.toml", IDS, seed=seed, budget=BUDGET)
    # As on a board: it drifts, neighbours resemble each other, and now and then a sample is spoilt.
    disturbance = Disturbance(cv=cv, drift_per_hour=-0.01, autocorrelation=0.3, mishaps=0.006)
    board = plain_board(disturbance=disturbance)
    by_hand = Configuration.of({"nginx:sendfile": False, "nginx:tcp_nopush": False})
    log = Night(board, study, [begun_on(board, study, by_hand)], seed=seed, disturbance=disturbance).run()
    ended = log[-1]
    assert isinstance(ended, NightEnded)
    assert ended.outcome == "complete", ended.reason
    return NullSeen(
        claimed=any(one.verdict in CLAIMS for one in compare(study, log).pairs),
        erred=trimmed_interval(final_differences(log, "hand-tuned", "stock")).excludes_zero,
    )


def null_chunks(seeds: int) -> list[Chunk[NullSeen]]:
    return [
        chunk
        for cv in CVS
        for chunk in chunks_of(f"null {cv:.2f}", partial(_night, cv), NullSeen, seeds=seeds, size=25)
    ]
