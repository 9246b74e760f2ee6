"""What a plan costs: how many samples each stage takes, and how long one takes there."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.experiment.events import Plan, Stage
from autotune.experiment.study import Study
from autotune.measurement.candidates import repeats_taken, trials_begun, unmeasured
from autotune.measurement.combinations import arms_before_a_board, attribution_arms
from autotune.measurement.finals import rounds_asked
from autotune.measurement.logbook import Logbook, effective_key
from autotune.measurement.rates import has_rates
from autotune.measurement.stages import chain, final_arms, references_for, repeats_for, stage_samples

MOST_SUBSETS = 4
"""How many subsets of the winner are nominated at most (see analysis.subsets)."""
FEWEST_SEEN = 5
"""Steps from one sample to the next that must have been seen before they say how long one takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of one sample: without open-loop runs, and with them."""

    plain_s: float
    paced_s: float

    def in_stage(self, study: Study, stage: Stage) -> float:
        return self.paced_s if has_rates(study, stage) else self.plain_s


def planned_pace(study: Study, sample_s: float) -> Pace:
    """As the study's file lets expect, where a sample without open-loop runs takes `sample_s`."""
    return Pace(plain_s=sample_s, paced_s=sample_s + study.fixed_rate_s)


def seen_pace(study: Study, book: Logbook, plan: Plan) -> Pace:
    """By the median time from one sample to the next tonight; as planned before there are a few."""
    slots = [slot for stage in Stage for slot in book.of_stage(book.night, stage) if slot.sample is not None]
    slots.sort(key=lambda slot: slot.at_s)
    steps: dict[bool, list[float]] = {False: [], True: []}
    for before, after in itertools.pairwise(slots):
        steps[after.sample is not None and bool(after.sample.fixed_rate)].append(after.at_s - before.at_s)
    plain_s = _median(steps[False]) or plan.sample_s
    return Pace(plain_s=plain_s, paced_s=_median(steps[True]) or plain_s + study.fixed_rate_s)


def planned_samples(study: Study, book: Logbook, plan: Plan) -> dict[Stage, int]:
    """Samples per stage of the whole night. What isn't known yet is taken to be as much as it can be.

    Before a board has been seen, every step of the hand-tuned sequence is taken to change something.
    """
    night = book.night
    if night in book.begun:
        arms, links = len(final_arms(book, night)), len(chain(book.begun[night]))
        combinations = len(attribution_arms(study, book.begun[night])) if plan.attribution_rounds else 0
    else:
        steps = [step for step in study.hand_tuned.steps if step.values]
        arms, links = 3 if steps else 2, len(steps) + 1
        combinations = arms_before_a_board(len(steps))
    samples = stage_samples(
        plan, arms=arms, links=links, subsets=_subsets(study, book), combinations=combinations
    )
    if study.budget.looks and book.of_stage(night, Stage.FINALS):
        samples[Stage.FINALS] = min(samples[Stage.FINALS], arms * rounds_asked(study, book, night))
    return samples


def remaining_samples(study: Study, book: Logbook, plan: Plan) -> dict[Stage, int]:
    """Samples per stage that are still to be taken in this night."""
    night = book.night
    samples = planned_samples(study, book, plan)
    done = {stage: sum(slot.closed for slot in book.of_stage(night, stage)) for stage in Stage}
    if book.begun[night].purpose == "baseline":
        if done[Stage.SERIES] or done[Stage.ATTRIBUTION]:
            samples[Stage.CALIBRATION] = 0
        return _left(samples, done)
    searching = (night, "finalists") not in book.rankings
    if done[Stage.SEARCH] or not searching:
        samples[Stage.CALIBRATION] = 0
    waiting = len(unmeasured(book)) + max(plan.candidates - trials_begun(book), 0)
    waiting += max(repeats_for(plan) - repeats_taken(book), 0)
    references = references_for(waiting, plan.reference_every)
    samples[Stage.SEARCH] = waiting + references + done[Stage.SEARCH] if searching else 0
    ranking = book.rankings.get((night, "finalists"))
    if ranking is not None:
        samples[Stage.FINALISTS] = 2 * len(ranking.trials) * plan.finalist_pairs
    if (night, "winner") in book.rankings:
        samples[Stage.FINALISTS] = 0
    if night in book.distilled or done[Stage.FINALS]:
        samples[Stage.DISTILLATION] = 0
    return _left(samples, done)


def total_s(study: Study, samples: Mapping[Stage, int], pace: Pace) -> float:
    """How long all of them take."""
    paced = sum(count for stage, count in samples.items() if has_rates(study, stage))
    return (sum(samples.values()) - paced) * pace.plain_s + paced * pace.paced_s


def _left(samples: Mapping[Stage, int], done: Mapping[Stage, int]) -> dict[Stage, int]:
    return {stage: max(count - done[stage], 0) for stage, count in samples.items()}


def _subsets(study: Study, book: Logbook) -> int:
    """Subsets of the winner that are tested against it: as nominated, or the most there can be."""
    night = book.night
    if night in book.subsets:
        return len(book.subsets[night].configurations)
    if (night, "winner") in book.rankings:
        winner = book.winner(night)
        changes = len(effective_key(winner.configuration, book.stock(night))) if winner is not None else 0
    else:
        changes = len(book.begun[night].space_ids) if night in book.begun else len(study.space.parameters)
    return min(MOST_SUBSETS, max(changes - 1, 0))


def _median(steps: Sequence[float]) -> float:
    return statistics.median(steps) if len(steps) >= FEWEST_SEEN else 0.0
