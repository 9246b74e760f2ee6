"""Winners pared down: what the shipped configuration loses, and how many of the changes that do nothing are gone."""

from __future__ import annotations

import random
from functools import partial
from typing import Final

from protocol_cache import Chunk, chunks_of
from protocol_night import Night, begun_on, real_sampler, shipped_study, study_of

from autotune.experiment.study import Budget
from autotune.measurement.logbook import read_log
from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.space.value import Value
from autotune.synthetic.boards import plain_board
from autotune.synthetic.noise import Disturbance

FILE: Final = "rock5b-static-1k.toml"
CV: Final = 0.015
PARAMETERS: Final = 24
USEFUL: Final = 5
HARMFUL: Final = 3
BUDGET: Final = Budget(
    calibration_pairs=10,
    candidates=60,
    reference_every=4,
    finalists=5,
    finalist_pairs=3,
    distillation_pairs=12,
    finals_rounds=12,
    series_rounds=0,
)


class DistilledSeen(Record):
    """One winner. `loss`: true natural log of winner over what is shipped; `margin`: the most it was allowed to lose.
    `useless` of its `changes` do nothing or harm, and so many of these were `dropped`.
    """

    loss: float
    margin: float
    changes: int
    kept: int
    useless: int
    dropped: int
    subset: bool


def _changed(stock: Value, gain: float, value: Value) -> float:
    return gain if value != stock else 0.0


def distilled(seed: int) -> DistilledSeen:
    """A night on a board of its own truth: of its parameters a few help, a few harm, and most do nothing."""
    chance = random.Random(f"distilled {seed}")
    board = plain_board()
    shipped = shipped_study(FILE)
    free = [one for one in shipped.space.parameters if one.when is None and not one.setting.changes_service]
    usable = [one.id for one in free if not board.lacking(one.id, shipped)]
    ids = chance.sample(usable, PARAMETERS)
    gains = {id_: chance.uniform(0.015, 0.08) for id_ in ids[:USEFUL]}
    gains |= {id_: -chance.uniform(0.015, 0.08) for id_ in ids[USEFUL : USEFUL + HARMFUL]}
    study = study_of(FILE, ids, seed=seed, budget=BUDGET)
    disturbance = Disturbance(cv=CV, kind="heavy-tailed", drift_per_hour=-0.01, autocorrelation=0.3)
    stock = board.stock_of(study)
    board = plain_board(
        {id_: partial(_changed, stock[id_], gain) for id_, gain in gains.items()}, disturbance=disturbance
    )
    begun = begun_on(board, study, Configuration())
    log = Night(board, study, [begun], seed=seed, disturbance=disturbance, proposer=real_sampler).run()
    book = read_log(log)
    winner = book.winner(1)
    assert winner is not None, "nothing beat stock, where a fifth of all settings helps"
    found = book.distilled[1]
    changes = set(winner.configuration.against(stock))
    kept = set(found.configuration.against(stock))
    useless = {id_ for id_ in changes if gains.get(id_, 0.0) <= 0}
    return DistilledSeen(
        loss=board.objective(winner.configuration, study) - board.objective(found.configuration, study),
        margin=found.margin,
        changes=len(changes),
        kept=len(kept),
        useless=len(useless),
        dropped=len(useless - kept),
        subset=found.subset is not None,
    )


def distilled_chunks(seeds: int) -> list[Chunk[DistilledSeen]]:
    return chunks_of("distilled", distilled, DistilledSeen, seeds=seeds, size=5)
