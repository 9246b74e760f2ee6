"""What the sampler is told: an Optuna study in memory, made anew from the log before each ask."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

from autotune.experiment.events import Event, Failure, Proposal
from autotune.measurement.scores import TrialScore
from autotune.search.encoding import Encoding, Point

# Where no good sample exists yet, a configuration that failed is told to be a tenth below stock.
MARGIN = 0.1
FAILED, LIMITS, RULES = "configuration failed", "limits", "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A proposal as the sampler is told of it.

    good: measured. failed: its configuration fails, told as the worst good value with a violated constraint. open: not
    measured yet, another board may be at it. lost: the board's faults left it without a number; not told.
    """

    proposal: Proposal
    state: Literal["good", "failed", "open", "lost"]
    score: float
    n: int
    shrunken: float = 0.0
    """What is left of the score when luck is held against it."""
    unstable: bool = False
    """Whether its repeats differ so much that it can't win."""
    excess: float = 0.0
    """By how much a good one breaks the study's limits: told with its own value, but as a violated constraint."""


def told(log: Sequence[Event], scores: Mapping[int, TrialScore]) -> list[Told]:
    """Every proposal with what is known of it now, in order of their numbers."""
    tried = {event.arm.number for event in log if isinstance(event, Failure) and event.arm.kind == "trial"}
    proposals = sorted(
        (event for event in log if isinstance(event, Proposal)), key=lambda proposal: proposal.number
    )
    return [_told(proposal, scores.get(proposal.number), tried) for proposal in proposals]


def _told(proposal: Proposal, score: TrialScore | None, tried: set[int]) -> Told:
    if proposal.origin == "stock":
        return Told(proposal=proposal, state="good", score=0.0, n=0 if score is None else score.n)
    if score is not None and score.failed:
        return Told(proposal=proposal, state="failed", score=math.nan, n=score.n)
    if score is not None and math.isfinite(score.score):
        return Told(
            proposal=proposal,
            state="good",
            score=score.score,
            n=score.n,
            shrunken=score.shrunken,
            unstable=score.unstable,
            excess=score.excess,
        )
    return Told(proposal=proposal, state="lost" if proposal.number in tried else "open", score=math.nan, n=0)


def worst_of(several: Sequence[Told]) -> float:
    """The value that configurations which fail are told with."""
    good = [one.score for one in several if one.state == "good" and one.proposal.origin != "stock"]
    return min(0.0, *good) if good else -MARGIN


def constraints(*, failed: float = 0.0, limits: float = 0.0, rules: float = 0.0) -> dict[str, float]:
    """The whole vector of constraints, always the same keys in the same order; kept when at most 0."""
    return {FAILED: failed, LIMITS: limits, RULES: rules}


def frozen(one: Told, point: Point, worst: float) -> FrozenTrial | None:
    """The trial that Optuna gets; None: it isn't told."""
    match one.state:
        case "good":
            return finished(point, one.score, constraints(limits=one.excess))
        case "failed":
            return finished(point, worst, constraints(failed=1.0))
        case "open":
            return create_trial(
                state=TrialState.RUNNING, params=dict(point.drawn), distributions=point.distributions
            )
        case "lost":
            return None


class _Finished(FrozenTrial):
    """A trial that is over. Optuna's storage copies what it is given; of this one nothing changes but its number."""

    def __deepcopy__(self, memo: object) -> FrozenTrial:
        return copy.copy(self)


def finished(point: Point, value: float, vector: Mapping[str, float]) -> FrozenTrial:
    now = datetime.now()  # noqa: DTZ005 - as Optuna has it
    trial = _Finished(
        number=-1,
        trial_id=-1,
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=now,
        datetime_complete=now,
        params=dict(point.drawn),
        distributions=point.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
    for key, excess in vector.items():
        trial.set_constraint(key, excess)
    return trial


def rebuilt(
    encoding: Encoding, several: Sequence[Told], sampler: optuna.samplers.BaseSampler
) -> optuna.study.Study:
    """An Optuna study in memory that knows all that the log knows."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    name = storage.get_study_id_from_name(study.study_name)
    worst = worst_of(several)
    trials = (frozen(one, encoding.encode(one.proposal.configuration), worst) for one in several)
    for trial in trials:
        if trial is not None:  # not by study.add_trials, which checks every value of every trial anew
            storage.create_new_trial(name, template_trial=trial)
    return study


def seed_of(study_seed: int, *what: int | str) -> int:
    """A seed of its own for everything that is drawn, the same on every machine."""
    text = "/".join(str(part) for part in (study_seed, *what))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its progress lines and its warnings about features it calls experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
