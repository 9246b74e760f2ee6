"""Which of the winner's changes may be all that earns its place: nested subsets, to be tested in fresh pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.dataset import Column, Dataset, Values, columns_of, dataset_of, rows_of
from autotune.experiment.bench import AskSubsets
from autotune.experiment.events import Event, Subsets
from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook, read_log
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

FEWEST_CONFIGURATIONS = 30
"""With fewer, five folds of them say nothing of a model."""
USEFUL_R2 = 0.3
"""Held-out fit from which a model knows better what to keep than sizes and each change alone (in simulated nights)."""
SHARES = (0.9, 0.97, 1.0)
"""Of the gain that the model expects, what three of the subsets are to carry: each the smallest that does. The fourth is
halfway between the last of them and the whole winner, for all that a model doesn't see."""
SIZES = (0.25, 0.5, 0.75, 0.9)
"""Of the number of changes, the subsets' sizes when there is no model to say what they carry."""

Estimate = Callable[[list[Values]], NDArray[np.float64]]


def nominate(study: Study, log: Sequence[Event], ask: AskSubsets, at: str) -> Subsets:
    """At most 4 nested subsets of the winning trial's changes, smallest first.

    Changes are taken back one after the other, each time the one whose loss is expected to cost least. What a change
    is worth says a model of all the trials where there is a useful one, else the trials that had it against those that
    had stock's value. Rules, conditions and derived values of the space hold in every subset, none is known to fail.
    The same for the same study and log.
    """
    book = read_log(log)
    data = dataset_of(study, book)
    changes = _Changes.of(study, book, ask)
    judge = _judge(study, data, changes)
    chain = changes.chain(judge.estimate)
    chosen = _by_gain(chain, changes, judge.estimate) if judge.is_model else _by_size(chain)
    return Subsets(
        night=ask.night,
        at=at,
        trial=ask.trial,
        configurations=tuple(changes.configuration(one) for one in chosen),
        reason=f"{judge.words}; {data.configurations} configurations, {len(changes.chosen)} changes",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """What says how good a subset is. `is_model`: by how much, and not only which of two is the better one."""

    estimate: Estimate
    is_model: bool
    words: str


def _judge(study: Study, data: Dataset, changes: _Changes) -> _Judge:
    """A model of all the trials where there is a useful one, else each change by itself."""
    alone = _alone(changes, data)
    if data.configurations < FEWEST_CONFIGURATIONS:
        why = f"each change judged alone: {data.configurations} configurations are too few for a model"
        return _Judge(estimate=alone, is_model=False, words=why)
    from autotune.analysis.models import best_model

    parameters = [one for one in changes.space.parameters if one.id in changes.stock]
    model = best_model(data, columns_of(parameters, (*data.values, changes.stock)), study.seed)
    known = f"foretells {max(model.r2, 0):.0%} of what it hasn't seen"
    if model.r2 < USEFUL_R2:
        why = f"each change judged alone: the better model, a {model.name}, {known}"
        return _Judge(estimate=alone, is_model=False, words=why)
    return _Judge(estimate=model.scores, is_model=True, words=f"by a {model.name} that {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """The winner's changes, and what the space says of taking some of them back."""

    space: SearchSpace
    stock: Mapping[str, Value]
    facts: Mapping[str, Value]
    chosen: Mapping[str, Value]
    barred: Callable[[Configuration], bool]

    @classmethod
    def of(cls, study: Study, book: Logbook, ask: AskSubsets) -> _Changes:
        begun = book.begun[ask.night]
        space = study.space.without({one.id: one.reason for one in begun.dropped})
        winner = book.proposals[ask.trial].configuration.against(begun.stock)
        return cls(
            space=space,
            stock=begun.stock,
            facts=begun.facts,
            chosen={id_: winner[id_] for id_ in space.ids if id_ in winner.mapping},
            barred=book.is_barred,
        )

    def configuration(self, kept: frozenset[str]) -> Configuration:
        mine = {id_: value for id_, value in self.chosen.items() if id_ in kept}
        return self.space.complete(mine, self.stock, self.facts)

    def values(self, kept: frozenset[str]) -> Values:
        return self.configuration(kept).over(self.stock)

    def chain(self, estimate: Estimate) -> list[frozenset[str]]:
        """All changes, then ever fewer, down to one: each time what is left is expected to be the best."""
        kept = frozenset(self.chosen)
        chain = [kept]
        while smaller := self._smaller(kept):
            scores = estimate([self.values(one) for one in smaller])
            # Rounded: sums in another order must not decide what a sparse model is indifferent to.
            kept = smaller[int(np.argmax(np.round(scores, 9)))]
            chain.append(kept)
        return chain

    def _smaller(self, kept: frozenset[str]) -> list[frozenset[str]]:
        """What is left when one change is taken back, with those that count only beside it or that a rule ties to it."""
        found: dict[frozenset[str], None] = {}
        for id_ in (id_ for id_ in self.chosen if id_ in kept):
            rest = self._keeping_rules(kept - {id_})
            if rest and not self.barred(self.configuration(rest)):
                found[rest] = None
        return list(found)

    def _keeping_rules(self, kept: frozenset[str]) -> frozenset[str]:
        """The part of these changes that counts and breaks no rule; empty when the rules can't be kept that way."""
        while kept:
            configuration = self.configuration(kept)
            kept = kept & frozenset(configuration.mapping)
            broken = self.space.broken_rules(configuration, self.stock, self.facts)
            if not broken:
                return kept
            tied = {id_ for one in broken for id_ in one.rule.expression.ids} & kept
            if not tied:
                return frozenset()
            kept -= tied
        return kept


def _by_gain(chain: list[frozenset[str]], changes: _Changes, estimate: Estimate) -> list[frozenset[str]]:
    """Of the chain, the smallest part that carries each share of the best gain over stock, and one halfway up."""
    scores = estimate([changes.stock, *(changes.values(one) for one in chain)])
    gains = scores[1:] - scores[0]
    best = float(gains.max())
    enough = [
        [one for one, gain in zip(chain, gains, strict=True) if gain >= share * best - 1e-9]
        for share in SHARES
    ]
    found = [several[-1] for several in enough if several]
    halfway = (len(found[-1]) + len(chain[0])) / 2
    return _distinct(chain, [*found, _nearest(chain, halfway)])


def _by_size(chain: list[frozenset[str]]) -> list[frozenset[str]]:
    """Of the chain, the parts nearest to these shares of the number of changes."""
    return _distinct(chain, [_nearest(chain, share * len(chain[0])) for share in SIZES])


def _nearest(chain: list[frozenset[str]], size: float) -> frozenset[str]:
    return min(chain, key=lambda one: abs(len(one) - size))


def _distinct(chain: list[frozenset[str]], chosen: list[frozenset[str]]) -> list[frozenset[str]]:
    """These without the whole winner, each once, smallest first. (Of one chain no two have the same size.)"""
    return sorted(set(chosen) - {chain[0]}, key=len)


def _alone(changes: _Changes, data: Dataset) -> Estimate:
    """An estimate that adds up what each change seems worth by itself.

    Trials nearer to the winner's value against those nearer to stock's: the difference of their median scores, taken
    for less the fewer there are on one side.
    """
    worth: dict[str, float] = {}
    for id_ in changes.chosen:
        parameter = changes.space.parameter(id_)
        columns = columns_of([parameter], (*data.values, changes.stock, changes.chosen))
        worth[id_] = _worth(columns, data, changes.stock, changes.chosen)
    return lambda several: np.array(
        [
            math.fsum(worth[id_] for id_, value in changes.chosen.items() if values.get(id_) == value)
            for values in several
        ]
    )


def _worth(columns: tuple[Column, ...], data: Dataset, stock: Values, chosen: Values) -> float:
    rows = rows_of(columns, data.values)
    was, now = rows_of(columns, [stock, chosen])
    changed = np.abs(rows - now).sum(axis=1) < np.abs(rows - was).sum(axis=1)
    fewer = min(int(changed.sum()), int((~changed).sum()))
    if not fewer:
        return 0.0
    difference = float(np.median(data.scores[changed]) - np.median(data.scores[~changed]))
    return difference * fewer / (fewer + 3)
