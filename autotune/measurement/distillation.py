"""The winner pared down to the changes that earn their place.

Each nested subset of the winner's changes is run against the winner in fresh pairs. A subset is *within its margin* when the
upper limit of its loss, 90 % sure, lies below it, and the lower one doesn't show a loss of more than 1 %: on a noisy board
the margin is wide, and what is seen to be lost isn't given away. Subsets are judged from the largest down, and the first one that isn't
within ends it: so what is shipped loses more than the margin in at most 1 case of 10, however many subsets there are and
whatever their true losses are (a fixed sequence of tests, each at its full level). Their own level for each, in any order,
would err in up to 1 of 3; the mere mean in 1 of 2 (simulated: see test_distillation).

A subset may also be better than the winner, which carries what harms: then the smallest that is within the margin of the best of
the row is shipped. (On 60 boards of numbers with 24 settings, 5 that help and 3 that harm, it makes what is shipped 0.6 %
faster, and leaves 3 % fewer of the useless changes out.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autotune.experiment.bench import AskDistilled
from autotune.experiment.events import Distilled, Event, Proposal, Stage, Subsets
from autotune.experiment.study import Study
from autotune.measurement.calibration import calibration_of
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.limits import subset_violators
from autotune.measurement.logbook import Logbook, effective_key, log_rate, read_log
from autotune.measurement.verdicts import CLAIM_FROM
from autotune.space.configuration import Configuration

LEVEL = 0.2
"""Of the two-sided interval of a loss: its upper limit is exceeded in 1 case of 10."""
HOPELESS_AFTER = 4
"""Pairs after which a subset may be seen to lose too much to go on with."""
HOPELESS_LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetResult:
    """One subset against the winner. `loss`: natural log of winner over it, with its 80 % interval (infinite: too few pairs).

    `changes`: how many it has of stock's own values. failed: by its own fault; violates: a limit of the study.
    """

    index: int
    configuration: Configuration
    changes: int
    loss: float
    low: float
    high: float
    pairs: int
    state: Literal["within", "not within", "failed", "violates"]


def distil(study: Study, log: Sequence[Event], ask: AskDistilled, at: str) -> Distilled:
    """What is shipped: a subset of an unbroken row, from the largest down, that is within its margin, or the winner.

    Of several the smallest that gives away no more than the margin of what the best of them has. A subset that fails by its own fault or violates a limit is passed over. When the winner itself has failed meanwhile,
    the next of the ranking that hasn't takes its place, else stock.
    """
    book = read_log(log)
    night = ask.night
    margin = margin_of(book, night)
    results = subset_results(study, book, night)
    winner = _standing_winner(book, night)
    if winner is None:
        return Distilled(
            night=night,
            at=at,
            trial=0,
            configuration=Configuration(),
            margin=margin,
            reason="every configuration that was faster than stock has failed since: stock",
        )
    chosen = _chosen(results, margin)
    if chosen is None or winner is not book.winner(night):
        return Distilled(
            night=night,
            at=at,
            trial=winner.number,
            configuration=winner.configuration,
            margin=margin,
            reason=_why_not(book, night, winner, results, margin),
        )
    of = len(effective_key(winner.configuration, book.stock(night)))
    return Distilled(
        night=night,
        at=at,
        trial=winner.number,
        configuration=chosen.configuration,
        subset=chosen.index,
        loss=chosen.loss,
        low=chosen.low,
        high=chosen.high,
        pairs=chosen.pairs,
        margin=margin,
        reason=f"{chosen.changes} of {of} changes: against the winner {math.expm1(-chosen.loss):+.1%}, and 90 % surely no less"
        f" than {math.expm1(-chosen.high):+.1%}, in {chosen.pairs} pairs (down to {math.expm1(-margin):+.1%} is allowed)",
    )


def margin_of(book: Logbook, night: int) -> float:
    """How much a subset may lose, as a natural log: 1 %, or what this board can't show tonight anyway."""
    seen = calibration_of(book, night)
    unseen = seen.smallest_visible_difference if seen is not None else 0.0
    return max(CLAIM_FROM, math.log1p(unseen)) if math.isfinite(unseen) else CLAIM_FROM


def subset_results(study: Study, book: Logbook, night: int) -> tuple[SubsetResult, ...]:
    """Each nominated subset with what its pairs say so far, smallest first."""
    subsets = book.subsets.get(night)
    if subsets is None:
        return ()
    margin = margin_of(book, night)
    losses = _losses(book, subsets)
    violating = subset_violators(study, book, night)
    results = []
    for index, configuration in enumerate(subsets.configurations):
        seen = trimmed_interval(losses[index], alpha=LEVEL)
        results.append(
            SubsetResult(
                index=index,
                configuration=configuration,
                changes=len(effective_key(configuration, book.stock(night))),
                loss=seen.center,
                low=seen.low,
                high=seen.high,
                pairs=seen.n,
                state="failed"
                if book.is_barred(configuration, night)
                else "violates"
                if index in violating
                else "within"
                if seen.high < margin and seen.low <= CLAIM_FROM
                else "not within",
            )
        )
    return tuple(results)


def hopeless(book: Logbook, subsets: Subsets) -> frozenset[int]:
    """The subsets not worth more pairs: one that loses too much for certain, and all smaller ones, which it would stop."""
    losses = _losses(book, subsets)
    margin = margin_of(book, subsets.night)
    lost = [
        index
        for index, several in losses.items()
        if len(several) >= HOPELESS_AFTER
        and trimmed_interval(several, alpha=HOPELESS_LEVEL).low > margin
        and not book.is_barred(subsets.configurations[index], subsets.night)
    ]
    return frozenset(range(max(lost, default=-1) + 1))


def has_parts(book: Logbook, winner: Proposal) -> bool:
    """Whether there is anything to leave out of this winner: it changes more than one setting."""
    return len(effective_key(winner.configuration, book.stock(book.night))) > 1


def _losses(book: Logbook, subsets: Subsets) -> dict[int, list[float]]:
    """ln(winner / subset) of each complete pair, by subset."""
    found: dict[int, list[float]] = {index: [] for index in range(len(subsets.configurations))}
    blocks = {slot.last.key.block for slot in book.of_stage(subsets.night, Stage.DISTILLATION)}
    for block in sorted(blocks):
        pair = book.pair(subsets.night, Stage.DISTILLATION, block)
        if pair is None:
            continue
        subset, winner = pair if pair[0].arm.kind == "subset" else (pair[1], pair[0])
        found[subset.arm.number].append(log_rate(winner) - log_rate(subset))
    return found


def _chosen(results: Sequence[SubsetResult], margin: float) -> SubsetResult | None:
    """The smallest of the row that is within its margin of the winner, and by its mean of the best of the row."""
    row = itertools.takewhile(lambda one: one.state != "not within", reversed(results))
    within = [one for one in row if one.state == "within"]
    best = min([0.0, *(one.loss for one in within)])
    return min((one for one in within if one.loss - best <= margin), key=lambda one: one.index, default=None)


def _standing_winner(book: Logbook, night: int) -> Proposal | None:
    ranking = book.rankings.get((night, "winner"))
    ranked = [book.proposals[number] for number in ranking.trials] if ranking is not None else []
    return next((one for one in ranked if not book.is_barred(one.configuration, night)), None)


def _why_not(
    book: Logbook, night: int, winner: Proposal, results: Sequence[SubsetResult], margin: float
) -> str:
    first = book.winner(night)
    if first is not winner and first is not None:
        return f"trial {first.number} failed when it was measured again: the next one, as it was found"
    if not results:
        return "no subset was nominated: the winner as it was found"
    return (
        f"none of {len(results)} subsets could be shown to lose less than {-math.expm1(-margin):.1%}:"
        " the winner as it was found"
    )
