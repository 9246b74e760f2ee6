"""What each stage measures and in which order: the places of calibration, finalists, distillation, finals and series.

(The search has no fixed places: see search_stage. Those of the attribution are in combinations.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autotune.experiment.events import AppliedStep, Arm, NightBegun, Plan, Ranking, Stage, Subsets
from autotune.experiment.study import Study
from autotune.measurement.logbook import STOCK, Logbook, effective_key
from autotune.measurement.orders import latin_round, shuffled, turned
from autotune.space.configuration import Configuration

HAND_TUNED = Arm(kind="hand-tuned")
AUTOMATIC = Arm(kind="automatic")
REPEAT_SHARE = 0.25
"""Repeats that a search may hold for each candidate. In a model night (200 samples, 40 settings, 200 seeds, repeats 4, against
none with the same number of samples) the winner's true ln ratio changed by -0.002, +0.004 and +0.004 at 1, 3 and 5 % noise, each
with a standard error of 0.002 to 0.003: little to gain or lose. What the leader over-states itself by fell from 0.014 to 0.007 and
from 0.023 to 0.007 at 1 and 3 %. Twice as many repeats cost 0.008 at 1 %."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An arm with the configuration it stands for."""

    arm: Arm
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Place:
    """Where one contender is to be measured."""

    stage: Stage
    block: int
    position: int
    who: Contender


STOCK_CONTENDER = Contender(STOCK, Configuration())


def calibration_places(first: int, last: int) -> Iterator[Place]:
    """Pairs first <= block < last of stock against stock. A is at position 0 of even blocks, 1 of odd ones (ABBA)."""
    for block in range(first, last):
        for position in (0, 1):
            yield Place(Stage.CALIBRATION, block, position, STOCK_CONTENDER)


def finalist_places(book: Logbook, ranking: Ranking, pairs: int) -> Iterator[Place]:
    """Pairs of each finalist with stock: one of every finalist, then again, so that repeats are spread over time.

    Finalist i has its pair p in block p * finalists + i; who goes first alternates over p (ABBA).
    """
    size = len(ranking.trials)
    for turn in range(pairs):
        for index, number in enumerate(ranking.trials):
            who = Contender(Arm(kind="trial", number=number), book.proposals[number].configuration)
            for position, one in enumerate(turned((who, STOCK_CONTENDER), turn + index)):
                yield Place(Stage.FINALISTS, turn * size + index, position, one)


def distillation_places(book: Logbook, subsets: Subsets, pairs: int) -> Iterator[Place]:
    """Pairs of each subset with the winner: one of every subset, then again, so that repeats are spread over time.

    Subset i has its pair p in block p * subsets + i; who goes first alternates over p (ABBA).
    """
    size = len(subsets.configurations)
    winner = Contender(Arm(kind="trial", number=subsets.trial), book.proposals[subsets.trial].configuration)
    for turn in range(pairs):
        for index, configuration in enumerate(subsets.configurations):
            who = Contender(Arm(kind="subset", number=index), configuration)
            for position, one in enumerate(turned((who, winner), turn + index)):
                yield Place(Stage.DISTILLATION, turn * size + index, position, one)


def final_arms(book: Logbook, night: int) -> tuple[Contender, ...]:
    """Stock, hand-tuned (where the sequence has anything at all) and automatic: stock itself when nothing beat it."""
    begun = book.begun[night]
    automatic = Contender(AUTOMATIC, book.automatic(night))
    if not begun.steps and not len(begun.hand_tuned):
        return (STOCK_CONTENDER, automatic)
    return (STOCK_CONTENDER, Contender(HAND_TUNED, begun.hand_tuned), automatic)


def final_places(study: Study, book: Logbook, night: int, rounds: int) -> Iterator[Place]:
    """Rounds of one sample per arm, in random cyclic Latin squares (two arms: ABBA from a random start)."""
    arms = final_arms(book, night)
    for block in range(rounds):
        order = latin_round(arms, block, study.seed, night, "finals")
        for position, who in enumerate(order):
            yield Place(Stage.FINALS, block, position, who)


def chain(begun: NightBegun) -> tuple[tuple[int, Configuration, AppliedStep | None], ...]:
    """The hand-tuned series: stock as step 0, then each step whose configuration differs from the one before it."""
    links: list[tuple[int, Configuration, AppliedStep | None]] = [(0, Configuration(), None)]
    before = effective_key(Configuration(), begun.stock)
    for step in begun.steps:
        now = effective_key(step.configuration, begun.stock)
        if now != before and step.number > 0:
            links.append((step.number, step.configuration, step))
            before = now
    return tuple(links)


def series_places(study: Study, book: Logbook, night: int, rounds: int) -> Iterator[Place]:
    """Rounds of one sample per distinct step, in a random order each. Nothing when no step changes anything here."""
    links = chain(book.begun[night])
    if len(links) < 2:
        return
    arms = [Contender(Arm(kind="step", number=number), configuration) for number, configuration, _ in links]
    for block in range(rounds):
        for position, who in enumerate(shuffled(arms, study.seed, night, "series", block)):
            yield Place(Stage.SERIES, block, position, who)


def repeats_for(plan: Plan) -> int:
    """How many further samples of promising trials the search may hold beside the first one of each."""
    return int(REPEAT_SHARE * plan.candidates) if plan.repeats > 1 else 0


def references_for(samples: int, reference_every: int) -> int:
    """How many stock samples so many trial samples need: one before, one after every few, one at the end."""
    return 1 + -(-samples // reference_every) if samples > 0 else 0


def stage_samples(plan: Plan, *, arms: int, links: int, subsets: int, combinations: int) -> dict[Stage, int]:
    """Samples per stage of an undisturbed night under this plan, with `arms` in the finals, `links` in the chain,
    `subsets` of the winner, and `combinations` of steps in a round of the attribution.
    """
    searched = plan.candidates + repeats_for(plan)
    return {
        Stage.CALIBRATION: 2 * plan.calibration_pairs,
        Stage.SEARCH: searched + references_for(searched, plan.reference_every),
        Stage.FINALISTS: 2 * plan.finalists * plan.finalist_pairs,
        Stage.DISTILLATION: 2 * subsets * plan.distillation_pairs,
        Stage.FINALS: arms * plan.finals_rounds,
        Stage.SERIES: links * plan.series_rounds if links > 1 else 0,
        Stage.ATTRIBUTION: combinations * plan.attribution_rounds,
    }
