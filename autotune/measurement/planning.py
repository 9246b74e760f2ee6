"""How the night's time is shared out, what it could show, and what gives way when time runs short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import bdtr, ndtri, stdtrit

from autotune.experiment.events import Event, Plan, Stage
from autotune.experiment.study import Budget, Study
from autotune.measurement.attribution_rounds import FEWEST as FEWEST_ATTRIBUTION
from autotune.measurement.attribution_rounds import SHARE as ATTRIBUTION_SHARE
from autotune.measurement.attribution_rounds import fewer_rounds, rounds_within
from autotune.measurement.candidates import trials_begun
from autotune.measurement.intervals import sign_rank
from autotune.measurement.logbook import Logbook, read_log
from autotune.measurement.shares import (
    Pace,
    planned_pace,
    planned_samples,
    remaining_samples,
    seen_pace,
    total_s,
)
from autotune.measurement.stages import REPEAT_SHARE, chain
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
FEWEST_DISTILLATION = 8
"""Pairs below which hardly any subset could be shown to be within its margin."""
HYPOTHESES = 3
POWER = 0.8
POWER_OF_EACH = 0.84
"""What each gate of a claim must let through on its own so that all of them together let 4 of 5 nights through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShare:
    """One stage of a plan; `sample_s` is what one sample takes there, open-loop runs and all."""

    stage: Stage
    samples: int
    sample_s: float
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


def smallest_visible_difference(sigma_run: float, pairs: int, *, hypotheses: int = HYPOTHESES) -> float:
    """The relative difference that shows in 4 of 5 nights, with `pairs` rounds at this noise of one run.

    The largest of three demands. The usual one, n = 15.7 (sigma / effect)^2, +20 % for the trimmed mean, times what
    the first of Holm's steps costs, as many as there are hypotheses (the finals have three); the same with the t quantile of few rounds and the 1 % a claim must exceed;
    and enough rounds on one side for the sign test not to veto it (up to some 60 rounds the dearest).
    """
    if pairs < 6:
        return math.inf
    power_z = float(ndtri(POWER))
    plain_z = float(ndtri(0.975)) + power_z
    first_z = float(ndtri(1 - 0.025 / hypotheses)) + power_z
    usual = sigma_run * math.sqrt(15.7 * 1.2 * (first_z / plain_z) ** 2 / pairs)
    error = sigma_run * math.sqrt(2 * 1.06 / pairs)  # 1.06: variance of a 20 % trimmed mean of normal numbers
    kept = pairs - 2 * int(0.2 * pairs)
    critical = float(stdtrit(kept - 1, 1 - 0.025 / hypotheses))
    rough = math.sqrt(1 + critical**2 / (2 * (kept - 1)))  # few rounds know their own noise badly
    gated = max(critical * error, CLAIM_FROM) + float(ndtri(POWER_OF_EACH)) * rough * error
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
    return planned_samples(study, book, plan)


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
    attribution: int | None = None,
) -> Plan:
    """The night's shares, planned backwards from the deadline: finals first, the search gets what is left.

    `now_s` and `deadline_s` are of one clock. `trials` overrides the number of candidates; `rounds` those of the series and
    `attribution` those of the attribution in a baseline night, which has calibration and these two alone. Without a deadline
    the budget's hours count from now; without those the budget's numbers are taken as they are.
    """
    book = read_log(log)
    plan = _from_budget(study, book.night, at, sample_s)
    if trials is not None:
        plan = plan.model_copy(update={"candidates": trials})
    if deadline_s is None and study.budget.hours is not None:
        deadline_s = now_s + study.budget.hours * 3600
    if book.night in book.begun and book.tonight.purpose == "baseline":
        left_s = None if deadline_s is None else deadline_s - now_s
        asked = attribution if attribution is not None else study.budget.attribution_rounds
        return _baseline(study, book, plan, rounds or study.budget.series_rounds, asked, left_s)
    if deadline_s is None:
        reason = "as the study's budget says; no deadline"
        return plan.model_copy(update={"reason": reason + _left_out(study, book, plan)})
    affordable_s = (deadline_s - now_s) * (1 - RESERVE)
    wanted = trials if trials is not None else study.budget.candidates
    cuts: list[str] = []
    for cut in _cuts(plan):
        fewest = min(cut.fewest, wanted) if wanted is not None else cut.fewest
        if _room(study, book, plan, affordable_s) >= fewest:
            continue
        smaller = plan.model_copy(update=cut.smaller)
        if smaller != plan:
            cuts.append(cut.what)
        plan = smaller
    if study.budget.attribution_rounds is None and not cuts:
        spared = _spared_rounds(study, book, plan, affordable_s, wanted or CANDIDATES_WITHOUT_CLOCK)
        plan = plan.model_copy(update={"attribution_rounds": spared})
    room = _room(study, book, plan, affordable_s)
    candidates = max(min(room, wanted) if wanted is not None else room, 1)
    plan = plan.model_copy(update={"candidates": min(candidates, 10_000)})
    return plan.model_copy(update={"reason": _plan_reason(study, book, plan, deadline_s - now_s, cuts)})


def _baseline(
    study: Study, book: Logbook, plan: Plan, rounds: int, attribution: int | None, left_s: float | None
) -> Plan:
    """The hand-tuned steps alone: as many rounds as asked for, or as the deadline leaves room for; at least one.

    `attribution` None: as many of its rounds as the deadline leaves room for beside those.
    """
    wanted = rounds or Budget().series_rounds
    nothing = {
        "candidates": 0,
        "finalists": 0,
        "finalist_pairs": 0,
        "distillation_pairs": 0,
        "finals_rounds": 0,
    }
    plan = plan.model_copy(
        update={**nothing, "series_rounds": wanted, "attribution_rounds": attribution or 0}
    )
    reason = f"the hand-tuned steps alone, {wanted} rounds"
    if left_s is not None:
        affordable = int(left_s * (1 - RESERVE) / plan.sample_s)
        links = len(chain(book.tonight))
        room = (affordable - 2 * plan.calibration_pairs) // links
        if room < wanted:
            short = max(room, 1)
            plan = plan.model_copy(update={"series_rounds": short})
            reason = f"the hand-tuned steps alone, {short} of {wanted} rounds: no time for more"
        spare = affordable - 2 * plan.calibration_pairs - links * plan.series_rounds
        fitting = rounds_within(spare, _combinations(study, book, plan))
        plan = plan.model_copy(
            update={"attribution_rounds": fitting if attribution is None else min(attribution, fitting)}
        )
    return plan.model_copy(update={"reason": reason + _left_out(study, book, plan)})


def _combinations(study: Study, book: Logbook, plan: Plan) -> int:
    """Samples in one round of the attribution; 0 where there is nothing to attribute."""
    return planned_samples(study, book, plan.model_copy(update={"attribution_rounds": 1}))[Stage.ATTRIBUTION]


def _spared_rounds(study: Study, book: Logbook, plan: Plan, affordable_s: float, candidates: int) -> int:
    """Rounds of the attribution in a small share of the night, as far as they leave room for so many candidates."""
    share = ATTRIBUTION_SHARE * affordable_s / plan.sample_s
    most = rounds_within(share, _combinations(study, book, plan))
    for rounds in range(most, FEWEST_ATTRIBUTION - 1, -1):
        smaller = plan.model_copy(update={"attribution_rounds": rounds})
        if _room(study, book, smaller, affordable_s) >= candidates:
            return rounds
    return 0


def _left_out(study: Study, book: Logbook, plan: Plan) -> str:
    """What to add to a plan's reason where nothing of the steps' attribution is planned, and nobody forbade it."""
    if (
        plan.attribution_rounds
        or study.budget.attribution_rounds == 0
        or not _combinations(study, book, plan)
    ):
        return ""
    return "; no time is set aside to attribute the gain to the single steps (attribution_rounds)"


def shortened(
    study: Study, log: Sequence[Event], *, at: str, now_s: float, deadline_s: float | None
) -> Plan | None:
    """A smaller plan when the time left isn't enough for what is still planned; None when it is, or nothing can give.

    First to give way is the attribution, then candidates (never those already proposed), the series, the pairs of
    distillation, the finalists' pairs, and last the finals down to 12 rounds. A sample takes as long as the median of
    tonight's did.
    """
    book = read_log(log)
    plan = book.plans.get(book.night)
    if deadline_s is None or plan is None or book.night in book.ended:
        return None
    pace = seen_pace(study, book, plan)
    left_s = deadline_s - now_s
    needed_s = _remaining_s(study, book, plan, pace)
    if needed_s <= left_s:
        return None
    goal_s = left_s - max(pace.plain_s, SLACK * needed_s)
    short = _cut_down(study, book, plan, fewer_rounds(book, plan), pace, goal_s)
    excess = (_remaining_s(study, book, short, pace) - goal_s) / pace.plain_s
    short = _cut_down(study, book, short, _givings(book, plan, excess), pace, goal_s)
    if short == plan:
        return None
    over_s = _remaining_s(study, book, short, pace) - left_s
    reason = f"time for {max(int(left_s / pace.plain_s), 0)} more samples of {pace.plain_s:.1f} s"
    if over_s > 0:
        reason += (
            f"; even the least that makes a result needs {math.ceil(over_s / pace.plain_s)} more than that"
        )
    return short.model_copy(update={"at": at, "sample_s": pace.plain_s, "reason": reason})


def plan_summary(
    study: Study, *, sample_s: float, sigma_run: float = ASSUMED_SIGMA, left_s: float | None = None
) -> PlanSummary:
    """What `autotune plan` shows. `left_s`: the time there is, where a deadline is known."""
    plan = plan_night(study, (), at="", now_s=0.0, deadline_s=left_s, sample_s=sample_s)
    samples = planned_samples(study, read_log(()), plan)
    pace = planned_pace(study, sample_s)
    return PlanSummary(
        stages=tuple(
            StageShare(
                stage=stage,
                samples=count,
                sample_s=pace.in_stage(study, stage),
                seconds=count * pace.in_stage(study, stage),
            )
            for stage, count in samples.items()
        ),
        plan=plan,
        candidates=plan.candidates,
        sample_s=sample_s,
        sigma_run=sigma_run,
        smallest_visible_difference=smallest_visible_difference(sigma_run, plan.finals_rounds),
        total_s=total_s(study, samples, pace),
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
        attribution_rounds=budget.attribution_rounds or 0,
        sample_s=sample_s,
    )


def _room(study: Study, book: Logbook, plan: Plan, affordable_s: float) -> int:
    """Candidates, with the repeats and references they need, that fit beside everything else of this plan."""
    samples = {**planned_samples(study, book, plan), Stage.SEARCH: 0}
    left_s = affordable_s - total_s(study, samples, planned_pace(study, plan.sample_s))
    return max(0, int((int(left_s / plan.sample_s) - 1) / _per_candidate(plan)))


def _per_candidate(plan: Plan) -> float:
    """Samples of the search for each candidate: its own, its share of the repeats, and theirs of the references."""
    return (1 + (REPEAT_SHARE if plan.repeats > 1 else 0.0)) * (1 + 1 / plan.reference_every)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """What a plan gives up where there is room for fewer candidates than `fewest`."""

    what: str
    smaller: dict[str, int]
    fewest: int = FEWEST_CANDIDATES


def _cuts(plan: Plan) -> list[_Cut]:
    """One after the other, to leave room for a search at all. The finals come last.

    Paring down the winner is dear (up to 4 subsets), so it gives way earlier: a short night's search gains more from it.
    """
    pairs, attributed = plan.distillation_pairs, plan.attribution_rounds
    return [
        _Cut(
            what="fewer rounds of the attribution",
            smaller={"attribution_rounds": min(attributed, FEWEST_ATTRIBUTION)},
            fewest=CANDIDATES_WITHOUT_CLOCK,
        ),
        _Cut(
            what="no attribution",
            smaller={"attribution_rounds": 0},
            fewest=CANDIDATES_WITHOUT_CLOCK,
        ),
        _Cut(
            what="fewer pairs of distillation",
            smaller={"distillation_pairs": min(pairs, FEWEST_DISTILLATION)},
            fewest=CANDIDATES_WITHOUT_CLOCK,
        ),
        _Cut(
            what="no distillation",
            smaller={"distillation_pairs": 0},
            fewest=CANDIDATES_WITHOUT_CLOCK // 2,
        ),
        _Cut(what="fewer rounds of the series", smaller={"series_rounds": min(plan.series_rounds, 3)}),
        _Cut(
            what="fewer finalists",
            smaller={"finalists": min(plan.finalists, 3), "finalist_pairs": min(plan.finalist_pairs, 2)},
        ),
        _Cut(what="no series", smaller={"series_rounds": 0}),
        _Cut(what="a short calibration", smaller={"calibration_pairs": min(plan.calibration_pairs, 6)}),
        _Cut(what="12 rounds of finals", smaller={"finals_rounds": min(plan.finals_rounds, FEWEST_FINALS)}),
    ]


def _plan_reason(study: Study, book: Logbook, plan: Plan, left_s: float, cuts: list[str]) -> str:
    samples = planned_samples(study, book, plan)
    needed = sum(samples.values())
    needed_s = total_s(study, samples, planned_pace(study, plan.sample_s))
    affordable = max(int(left_s / plan.sample_s), 0)
    reason = f"backwards from the deadline: time for {affordable} samples of {plan.sample_s:.1f} s"
    wanted = study.budget.candidates
    if wanted is not None and plan.candidates < wanted:
        reason += f"; {plan.candidates} of {wanted} candidates"
    if cuts:
        reason += "; to leave room for a search: " + ", ".join(cuts)
    if "no attribution" not in cuts:
        reason += _left_out(study, book, plan)
    if needed_s > left_s:
        reason += f"; the least that makes a result needs {needed} samples, so this night will be late"
    elif needed_s > left_s * (1 - RESERVE):
        reason += "; nothing is kept back for re-takes"
    return reason


def _remaining_s(study: Study, book: Logbook, plan: Plan, pace: Pace) -> float:
    """Seconds that are still needed in this night under this plan."""
    return total_s(study, remaining_samples(study, book, plan), pace)


def _cut_down(
    study: Study, book: Logbook, plan: Plan, givings: Sequence[dict[str, int]], pace: Pace, goal_s: float
) -> Plan:
    """The plan without as many of these, one after the other, as it takes to reach the goal."""
    for smaller in givings:
        if _remaining_s(study, book, plan, pace) <= goal_s:
            break
        plan = plan.model_copy(update=smaller)
    return plan


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
    if night not in book.distilled and not book.of_stage(night, Stage.FINALS):
        fewer_pairs = range(plan.distillation_pairs - 1, FEWEST_DISTILLATION - 1, -1)
        givings += [{"distillation_pairs": pairs} for pairs in (*fewer_pairs, 0)]
    if (night, "winner") not in book.rankings:
        givings += [{"finalist_pairs": pairs} for pairs in range(plan.finalist_pairs - 1, 1, -1)]
    finals = range(plan.finals_rounds - 1, FEWEST_FINALS - 1, -1)
    givings += [{"finals_rounds": rounds} for rounds in finals if rounds % 3 == 0]
    return givings
