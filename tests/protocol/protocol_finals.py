"""Finals of arms whose true ratios are known: how often an interval holds the truth, and a promised difference is seen."""

from __future__ import annotations

import math
from functools import partial
from typing import Final, get_args

from protocol_cache import Chunk, chunks_of
from protocol_night import SAMPLE_S, Night, before_the_finals, begun_on, final_differences, study_of

from autotune.experiment.study import Budget, Study
from autotune.measurement.comparison import compare
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.planning import plan_summary
from autotune.measurement.verdicts import Verdict
from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.space.value import Value
from autotune.synthetic.boards import plain_board
from autotune.synthetic.noise import Disturbance, Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
CVS: Final = (0.01, 0.03, 0.05)
COVERAGE_CV: Final = 0.02
_CHUNK: Final = 50
ROUNDS: Final = 24
_AUTOMATIC: Final = "nginx:sendfile"
_BY_HAND: Final = "nginx:tcp_nopush"
_GAINS: Final = (0.03, 0.01)
"""ln of the true ratios of automatic and hand-tuned to stock, where coverage is counted."""


class FinalsSeen(Record):
    """One finals. `plain`: whether the uncorrected 95 % interval of automatic against stock holds the truth; `told`: the
    same of the interval that is told, at Holm's level; `told_all`: of all three pairs at once. `seen`: automatic was
    said to be faster than stock.
    """

    plain: bool
    told: bool
    told_all: bool
    seen: bool


def _study(seed: int) -> Study:
    budget = Budget(
        calibration_pairs=6, candidates=1, finals_rounds=ROUNDS, series_rounds=0, distillation_pairs=0
    )
    return study_of("rock5b-static-1k.toml", (_AUTOMATIC, _BY_HAND), seed=seed, budget=budget)


def finals(automatic: float, by_hand: float, disturbance: Disturbance, seed: int) -> FinalsSeen:
    """Calibration and finals with these true ln ratios to stock."""
    study = _study(seed)
    stock = plain_board().stock_of(study)
    gains = {_AUTOMATIC: automatic, _BY_HAND: by_hand}
    board = plain_board(
        {id_: partial(_worth, stock[id_], gain) for id_, gain in gains.items()}, disturbance=disturbance
    )
    changed = [Configuration.of({id_: not stock[id_]}) for id_ in (_AUTOMATIC, _BY_HAND)]
    begun = begun_on(board, study, changed[1])
    log = Night(
        board, study, before_the_finals(study, begun, changed[0]), seed=seed, disturbance=disturbance
    ).run()
    truths = {
        ("automatic", "stock"): automatic,
        ("hand-tuned", "stock"): by_hand,
        ("automatic", "hand-tuned"): automatic - by_hand,
    }
    pairs = {(one.a, one.b): one for one in compare(study, log).pairs}
    told = {names: math.log(one.low) <= truths[names] <= math.log(one.high) for names, one in pairs.items()}
    plain = trimmed_interval(final_differences(log, "automatic", "stock"))
    return FinalsSeen(
        plain=plain.low <= automatic <= plain.high,
        told=told["automatic", "stock"],
        told_all=all(told.values()),
        seen=pairs["automatic", "stock"].verdict is Verdict.FASTER,
    )


def _worth(stock: Value, gain: float, value: Value) -> float:
    """Whatever stock has of a switch, the other value is the one that counts."""
    return gain if value != stock else 0.0


def _covered(kind: Kind, seed: int) -> FinalsSeen:
    return finals(*_GAINS, Disturbance(cv=COVERAGE_CV, kind=kind), own_seed(KINDS.index(kind), seed))


def promised(cv: float) -> float:
    """ln of the ratio that `plan` says such a night can show."""
    summary = plan_summary(_study(0), sample_s=SAMPLE_S, sigma_run=cv)
    return math.log1p(summary.smallest_visible_difference)


def _powered(cv: float, seed: int) -> FinalsSeen:
    return finals(promised(cv), 0.0, Disturbance(cv=cv), own_seed(cv, seed))


def own_seed(noise: float, seed: int) -> int:
    """Another seed at every noise (its CV, or its kind's number): with the same one the nights would be alike."""
    return round(1e8 * noise) + seed


def coverage_chunks(seeds: int) -> list[Chunk[FinalsSeen]]:
    return [
        chunk
        for kind in KINDS
        for chunk in chunks_of(
            f"coverage {kind}", partial(_covered, kind), FinalsSeen, seeds=seeds, size=_CHUNK
        )
    ]


def power_chunks(seeds: int) -> list[Chunk[FinalsSeen]]:
    return [
        chunk
        for cv in CVS
        for chunk in chunks_of(f"power {cv:.2f}", partial(_powered, cv), FinalsSeen, seeds=seeds, size=_CHUNK)
    ]
