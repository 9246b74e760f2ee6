"""Our night beside the naive one, on the imagined Rock 5B+: what each says it has gained, and what it has."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from protocol_cache import Chunk, chunks_of
from protocol_night import Night, begun_for, real_sampler, samples_taken, shipped_study

from autotune.experiment.bench import Measure
from autotune.experiment.events import Arm, NightBegun, Sample, SampleKey, Stage
from autotune.experiment.study import Budget, LatencyCheck, Study
from autotune.measurement.comparison import compare
from autotune.search.distributions import Drawn
from autotune.search.encoding import Encoding
from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.synthetic.bench import SyntheticBench
from autotune.synthetic.boards import SyntheticBoard, synthetic_board
from autotune.synthetic.clock import VirtualClock
from autotune.synthetic.optimum import best_known

STUDY: Final = "synthetic.toml"
BUDGET: Final = Budget(
    calibration_pairs=10,
    candidates=150,
    reference_every=4,
    finalists=8,
    finalist_pairs=4,
    distillation_pairs=12,
    finals_rounds=24,
    series_rounds=0,
)
_STOCK_RUNS: Final = 3


class Shipped(Record):
    """What one way ended with, in natural logs of ratios to stock: what it said, what is true, and the best there is."""

    said: float
    true: float
    best: float

    @property
    def bias(self) -> float:
        return self.said - self.true

    @property
    def regret(self) -> float:
        return self.best - self.true


class BothSeen(Record):
    """Both ways with the same budget of samples on the same board."""

    ours: Shipped
    naive: Shipped
    samples: int


def both(cv: float, seed: int) -> BothSeen:
    """Our whole night, with the real sampler, then the naive one with as many samples."""
    board = synthetic_board("rock5b")
    # A disturbed run is a slow one: no luck makes a server a third faster, as a symmetric heavy tail would.
    board = replace(board, disturbance=replace(board.disturbance, cv=cv, kind="one-sided"))
    study = shipped_study(STUDY).model_copy(
        update={
            "budget": BUDGET,
            "seed": seed,
            "accept_noise": True,
            "limits": (),
            "goals": (),
            "latency": LatencyCheck(share=0),
        }
    )
    begun = begun_for(board, study)
    best = math.log(best_known(board, study, begun).ratio)
    log = Night(
        board,
        study,
        [begun],
        seed=seed,
        disturbance=board.disturbance,
        proposer=real_sampler,
    ).run()
    comparison = compare(study, log)
    automatic, headline = comparison.arm("automatic"), comparison.pair("automatic", "stock")
    assert automatic is not None
    assert headline is not None
    ours = Shipped(
        said=math.log(headline.ratio),
        true=true_gain(board, study, automatic.configuration),
        best=best,
    )
    return BothSeen(
        ours=ours,
        naive=naive(board, study, begun, seed, samples_taken(log), best),
        samples=samples_taken(log),
    )


def true_gain(board: SyntheticBoard, study: Study, configuration: Configuration) -> float:
    """ln of its true ratio to stock."""
    return board.objective(configuration, study) - board.objective(Configuration(), study)


def naive(
    board: SyntheticBoard, study: Study, begun: NightBegun, seed: int, samples: int, best: float
) -> Shipped:
    """As most scripts do it: stock a few times, then one run per trial, and Optuna's best_trial is the answer.

    In its favour: it knows the space's conditions and derived values, and a draw that breaks a rule costs it nothing.
    What fails is pruned.
    """
    bench = SyntheticBench(board, study, begun, VirtualClock.at_text(begun.at), seed=seed)
    encoding = Encoding.of(study, begun)
    space = study.space.offering(begun.offered).without({one.id: one.reason for one in begun.dropped})
    taken = 0

    def rate(configuration: Configuration) -> float | None:
        nonlocal taken
        key = SampleKey(night=1, stage=Stage.SEARCH, block=taken, position=0)
        taken += 1
        event = bench.measure(
            Measure(key=key, arm=Arm(kind="trial", number=taken), configuration=configuration)
        ).event
        return event.objective if isinstance(event, Sample) else None

    def objective(trial: optuna.trial.Trial) -> float:
        choice = encoding.draw(lambda name, what: _suggested(trial, name, what))
        configuration = space.complete(choice, begun.stock, begun.facts)
        seen = None if space.broken_rules(configuration, begun.stock, begun.facts) else rate(configuration)
        if seen is None:
            raise optuna.TrialPruned
        trial.set_user_attr("configuration", configuration.model_dump_json())
        return seen

    stock = [seen for _ in range(_STOCK_RUNS) if (seen := rate(Configuration())) is not None]
    optuna.logging.set_verbosity(logging.ERROR)
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while taken < samples:
            search.optimize(objective, n_trials=1)
    shipped = Configuration.model_validate_json(search.best_trial.user_attrs["configuration"])
    return Shipped(
        said=search.best_value - math.fsum(stock) / len(stock),
        true=true_gain(board, study, shipped),
        best=best,
    )


def _suggested(trial: optuna.trial.Trial, name: str, what: BaseDistribution) -> Drawn:
    match what:
        case FloatDistribution():
            return trial.suggest_float(name, what.low, what.high, log=what.log, step=what.step)
        case IntDistribution():
            return trial.suggest_int(name, what.low, what.high, log=what.log, step=what.step)
        case CategoricalDistribution():
            return cast("Drawn", trial.suggest_categorical(name, what.choices))
        case _:
            raise TypeError(str(what))


def naive_chunks(seeds: int, cvs: Sequence[float]) -> list[Chunk[BothSeen]]:
    return [
        chunk
        for cv in cvs
        for chunk in chunks_of(f"naive {cv:.2f}", partial(both, cv), BothSeen, seeds=seeds, size=1)
    ]
