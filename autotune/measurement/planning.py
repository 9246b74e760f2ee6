"""How the night's time is shared out, what it could show, and what gives way when time runs short."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import bdtr, ndtri, stdtrit

from autotune.experiment.events import Event, Plan, Stage
from autotune.experiment.study import Budget, Study
from autotune.measurement.candidates import repeats_taken, trials_begun, unmeasured
from autotune.measurement.intervals import sign_rank
from autotune.measurement.logbook import Logbook, read_log, seconds_of
from autotune.measurement.stages import (
    REPEAT_SHARE,
    chain,
    final_arms,
    references_for,
    repeats_for,
    stage_samples,
)
from autotune.measurement.verdicts import CLAIM_FROM

ASSUMED_SIGMA = 0.03
"""Noise of one run before anything is known of the board: what pinned loopback runs of 2 s show."""
CANDIDATES_WITHOUT_CLOCK = 60
RESERVE = 0.05
"""Share of the time kept back for re-takes."""
SLACK = 0.02
"""By how much a shortened plan ends early, so that one slow sample isn't another plan."""
FEWEST_CANDIDATES = 12
FEWEST_FINALS = 12
HYPOTHESES = 3
POWER = 0.8
POWER_OF_EACH = 0.84
"""What each gate of a claim must let through on its own so that all of them together let 4 of 5 nights through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShare:
    stage: Stage
    samples: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a night would consist of. `smallest_visible_difference` is relative: 0.03 is 3 %, shown in 4 of 5 nights."""

    stages: tuple[StageShare, ...]
    plan: Plan
    candidates: int
    sample_s: float
    sigma_run: float
    smallest_visible_difference: float
    total_s: float


def estimated_sample_s(study: Study, overhead_s: float = 0.7) -> float:
    """Seconds of one sample: warm-up, run, and the switch with its checks (before it has been seen)."""
    return study.busy_s + overhead_s


def smallest_visible_difference(sigma_run: float, pairs: int) -> float:
    """The relative difference that the finals show in 4 of 5 nights, with `pairs` rounds at this noise of one run.

    The largest of three demands. The usual one, n = 15.7 (sigma / effect)^2, +20 % for the trimmed mean, times what
    the first of Holm's three steps costs; the same with the t quantile of few rounds and the 1 % a claim must exceed;
    and enough rounds on one side for the sign test not to veto it (up to some 60 rounds the dearest).
    """
    if pairs < 6:
        return math.inf
    power_z = float(ndtri(POWER))
    plain_z = float(ndtri(0.975)) + power_z
    first_z = float(ndtri(1 - 0.025 / HYPOTHESES)) + power_z
    usual = sigma_run * math.sqrt(15.7 * 1.2 * (first_z / plain_z) ** 2 / pairs)
    error = sigma_run * math.sqrt(2 * 1.06 / pairs)  # 1.06: variance of a 20 % trimmed mean of normal numbers
    kept = pairs - 2 * int(0.2 * pairs)
    critical = float(stdtrit(kept - 1, 1 - 0.025 / HYPOTHESES))
    gated = max(critical * error, CLAIM_FROM) + float(ndtri(POWER_OF_EACH)) * error
    rank = sign_rank(pairs)
    signed = sigma_run * math.sqrt(2) * _shift_for_signs(rank - 1, pairs)
    return math.expm1(max(usual, gated, signed))


def _shift_for_signs(most: int, pairs: int) -> float:
    """By how many standard deviations d must lie above 0 for at most `most` of `pairs` to be negative often enough."""
    low, high = 0.0, 6.0
    for _ in range(40):
        middle = (low + high) / 2
        negative = float(0.5 * math.erfc(middle / math.sqrt(2)))
        if float(bdtr(most, pairs, negative)) >= POWER_OF_EACH:
            high = middle
        else:
            low = middle
    return high


def expected_samples(study: Study, log: Sequence[Event] = ()) -> dict[Stage, int]:
    """Samples per stage: of the night's latest plan, or of the budget as it stands when there is none yet.

    Before a board has been seen, every step of the hand-tuned sequence is taken to change something.
    """
    book = read_log(log)
    plan = book.plans.get(book.night) or _from_budget(study, 0, "", 0.0)
    return _samples(study, book, plan)


def plan_night(
    study: Study,
    log: Sequence[Event],
    *,
    at: str,
    now_s: float,
    deadline_s: float | None,
    sample_s: float,
    trials: int | None = None,
    rounds: int | None = None,
) -> Plan:
    """The night's shares, planned backwards from the deadline: finals first, the search gets what is left.

    `now_s` and `deadline_s` are of one clock. `trials` overrides the number of candidates, `rounds` those of the series
    of a baseline night, which has calibration and series alone. Without a deadline the
    budget's hours count from now; without those the budget's numbers are taken as they are.
    """
    book = read_log(log)
    plan = _from_budget(study, book.night, at, sample_s)
    if trials is not None:
        plan = plan.model_copy(update={"candidates": trials})
    if deadline_s is None and study.budget.hours is not None:
        deadline_s = now_s + study.budget.hours * 3600
    if book.night in book.begun and book.tonight.purpose == "baseline":
        return _baseline(study, book, plan, rounds, None if deadline_s is None else deadline_s - now_s)
    if deadline_s is None:
        return plan.model_copy(update={"reason": "as the study's budget says; no deadline"})
    affordable = int((deadline_s - now_s) * (1 - RESERVE) / sample_s)
    wanted = trials if trials is not None else study.budget.candidates
    fewest = min(FEWEST_CANDIDATES, wanted) if wanted is not None else FEWEST_CANDIDATES
    cuts: list[str] = []
    for what, smaller in _cuts(plan):
        if _room(study, book, plan, affordable) >= fewest:
            break
        cut = plan.model_copy(update=smaller)
        if cut != plan:
            cuts.append(what)
        plan = cut
    room = _room(study, book, plan, affordable)
    candidates = max(min(room, wanted) if wanted is not None else room, 1)
    plan = plan.model_copy(update={"candidates": min(candidates, 10_000)})
    return plan.model_copy(update={"reason": _plan_reason(study, book, plan, deadline_s - now_s, cuts)})


def _baseline(study: Study, book: Logbook, plan: Plan, rounds: int | None, left_s: float | None) -> Plan:
    """The hand-tuned steps alone: as many rounds as asked for, or as the deadline leaves room for; at least one."""
    wanted = rounds or study.budget.series_rounds or Budget().series_rounds
    nothing = {
        "candidates": 0,
        "finalists": 0,
        "finalist_pairs": 0,
        "distillation_pairs": 0,
        "finals_rounds": 0,
    }
    plan = plan.model_copy(update={**nothing, "series_rounds": wanted})
    reason = f"the hand-tuned steps alone, {wanted} rounds"
    if left_s is not None:
        affordable = int(left_s * (1 - RESERVE) / plan.sample_s)
        _, links = _sizes(study, book)
        room = (affordable - 2 * plan.calibration_pairs) // links
        if room < wanted:
            short = max(room, 1)
            plan = plan.model_copy(update={"series_rounds": short})
            reason = f"the hand-tuned steps alone, {short} of {wanted} rounds: no time for more"
    return plan.model_copy(update={"reason": reason})


def shortened(
    study: Study, log: Sequence[Event], *, at: str, now_s: float, deadline_s: float | None
) -> Plan | None:
    """A smaller plan when the time left isn't enough for what is still planned; None when it is, or nothing can give.

    First to give way are candidates (never those already proposed), then the series, the finalists' pairs, and last
    the finals down to 12 rounds. A sample takes as long as the median of tonight's did.
    """
    book = read_log(log)
    plan = book.plans.get(book.night)
    if deadline_s is None or plan is None or book.night in book.ended:
        return None
    sample_s = _seen_sample_s(book) or plan.sample_s
    left = (deadline_s - now_s) / sample_s
    if _remaining(study, book, plan) <= left:
        return None
    goal = left - max(1.0, SLACK * _remaining(study, book, plan))
    short = plan
    for smaller in _givings(book, plan, _remaining(study, book, plan) - goal):
        short = short.model_copy(update=smaller)
        if _remaining(study, book, short) <= goal:
            break
    if short == plan:
        return None
    over = _remaining(study, book, short) - left
    reason = f"time for {max(int(left), 0)} more samples of {sample_s:.1f} s"
    if over > 0:
        reason += f"; even the least that makes a result needs {math.ceil(over)} more than that"
    return short.model_copy(update={"at": at, "sample_s": sample_s, "reason": reason})


def plan_summary(
    study: Study, *, sample_s: float, sigma_run: float = ASSUMED_SIGMA, left_s: float | None = None
) -> PlanSummary:
    """What `autotune plan` shows. `left_s`: the time there is, where a deadline is known."""
    plan = plan_night(study, (), at="", now_s=0.0, deadline_s=left_s, sample_s=sample_s)
    samples = _samples(study, read_log(()), plan)
    return PlanSummary(
        stages=tuple(
            StageShare(stage=stage, samples=count, seconds=count * sample_s)
            for stage, count in samples.items()
        ),
        plan=plan,
        candidates=plan.candidates,
        sample_s=sample_s,
        sigma_run=sigma_run,
        smallest_visible_difference=smallest_visible_difference(sigma_run, plan.finals_rounds),
        total_s=sum(samples.values()) * sample_s,
    )


def _from_budget(study: Study, night: int, at: str, sample_s: float) -> Plan:
    budget = study.budget
    return Plan(
        night=night,
        at=at,
        calibration_pairs=budget.calibration_pairs,
        candidates=budget.candidates if budget.candidates is not None else CANDIDATES_WITHOUT_CLOCK,
        reference_every=budget.reference_every,
        repeats=budget.repeats,
        finalists=budget.finalists,
        finalist_pairs=budget.finalist_pairs,
        distillation_pairs=budget.distillation_pairs,
        finals_rounds=budget.finals_rounds,
        series_rounds=budget.series_rounds,
        sample_s=sample_s,
    )


def _sizes(study: Study, book: Logbook) -> tuple[int, int]:
    """Arms of the finals and links of the hand-tuned chain: as seen tonight, or as the study's file lets expect."""
    if book.night in book.begun:
        return len(final_arms(book, book.night)), len(chain(book.begun[book.night]))
    steps = [step for step in study.hand_tuned.steps if step.values]
    return (3 if steps else 2), len(steps) + 1


def _samples(study: Study, book: Logbook, plan: Plan) -> dict[Stage, int]:
    arms, links = _sizes(study, book)
    return stage_samples(plan, arms=arms, links=links)


def _room(study: Study, book: Logbook, plan: Plan, affordable: int) -> int:
    """Candidates, with the references they need, that fit beside everything else of this plan."""
    samples = _samples(study, book, plan)
    left = affordable - sum(count for stage, count in samples.items() if stage is not Stage.SEARCH)
    return max(0, int((left - 1) / _per_candidate(plan)))


def _per_candidate(plan: Plan) -> float:
    """Samples of the search for each candidate: its own, its share of the repeats, and theirs of the references."""
    return (1 + (REPEAT_SHARE if plan.repeats > 1 else 0.0)) * (1 + 1 / plan.reference_every)


def _cuts(plan: Plan) -> list[tuple[str, dict[str, int]]]:
    """What a plan gives up, one after the other, to leave room for a search at all. The finals come last."""
    return [
        ("fewer rounds of the series", {"series_rounds": min(plan.series_rounds, 3)}),
        (
            "fewer finalists",
            {"finalists": min(plan.finalists, 3), "finalist_pairs": min(plan.finalist_pairs, 2)},
        ),
        ("no series", {"series_rounds": 0}),
        ("a short calibration", {"calibration_pairs": min(plan.calibration_pairs, 6)}),
        ("12 rounds of finals", {"finals_rounds": min(plan.finals_rounds, FEWEST_FINALS)}),
    ]


def _plan_reason(study: Study, book: Logbook, plan: Plan, left_s: float, cuts: list[str]) -> str:
    needed = sum(_samples(study, book, plan).values())
    affordable = max(int(left_s / plan.sample_s), 0)
    reason = f"backwards from the deadline: time for {affordable} samples of {plan.sample_s:.1f} s"
    wanted = study.budget.candidates
    if wanted is not None and plan.candidates < wanted:
        reason += f"; {plan.candidates} of {wanted} candidates"
    if cuts:
        reason += "; to leave room for a search: " + ", ".join(cuts)
    if needed * plan.sample_s > left_s:
        reason += f"; the least that makes a result needs {needed} samples, so this night will be late"
    elif needed * plan.sample_s > left_s * (1 - RESERVE):
        reason += "; nothing is kept back for re-takes"
    return reason


def _remaining(study: Study, book: Logbook, plan: Plan) -> int:
    """Samples still to be taken in this night under this plan."""
    night = book.night
    samples = _samples(study, book, plan)
    done = dict.fromkeys(Stage, 0)
    for place, slot in book.slots.items():
        if place[0] == night and slot.closed:
            done[place[1]] += 1
    if book.begun[night].purpose == "baseline":
        if done[Stage.SERIES]:
            samples[Stage.CALIBRATION] = 0
        return sum(max(count - done[stage], 0) for stage, count in samples.items())
    searching = (night, "finalists") not in book.rankings
    begun = trials_begun(book)
    if done[Stage.SEARCH] or not searching:
        samples[Stage.CALIBRATION] = 0
    waiting = len(unmeasured(book)) + max(plan.candidates - begun, 0)
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
    return sum(max(count - done[stage], 0) for stage, count in samples.items())


def _givings(book: Logbook, plan: Plan, excess: float) -> list[dict[str, int]]:
    """What a running night can still give up, in order."""
    night = book.night
    if book.begun[night].purpose == "baseline":
        return [{"series_rounds": rounds} for rounds in range(plan.series_rounds - 1, 0, -1)]
    givings: list[dict[str, int]] = []
    if (night, "finalists") not in book.rankings:
        fewer = plan.candidates - math.ceil(excess / _per_candidate(plan))
        givings.append({"candidates": min(plan.candidates, max(trials_begun(book), fewer, 0))})
    givings += [{"series_rounds": rounds} for rounds in range(plan.series_rounds - 1, -1, -1)]
    if (night, "winner") not in book.rankings:
        givings += [{"finalist_pairs": pairs} for pairs in range(plan.finalist_pairs - 1, 1, -1)]
    finals = range(plan.finals_rounds - 1, FEWEST_FINALS - 1, -1)
    givings += [{"finals_rounds": rounds} for rounds in finals if rounds % 3 == 0]
    return givings


def _seen_sample_s(book: Logbook) -> float | None:
    """The median time from one sample to the next tonight; None before there are a few."""
    stamps = sorted(
        seconds_of(slot.sample.at)
        for place, slot in book.slots.items()
        if place[0] == book.night and slot.sample is not None
    )
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(stamps))
    if len(steps) < 5:
        return None
    return steps[len(steps) // 2] or None
