"""What each hand-tuned step is worth by itself, whatever its place in the sequence: measured, in rounds of their own.

Every ratio is made of differences within a round, as the steps' gains are. A step's share is its Shapley value (Shapley
1953), or the mean of what it brings alone and what it brings last where there are too many steps for that: the same where
steps depend on each other in twos at most. What the shares together miss of the total is told as the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autotune.experiment.events import AppliedStep, NightBegun, Stage
from autotune.experiment.study import Study
from autotune.measurement.attribution_rounds import FEWEST
from autotune.measurement.combinations import (
    FEWEST_STEPS,
    Coalition,
    Combination,
    combinations_of,
    effective_steps,
    share_weights,
)
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.logbook import Effective, Logbook, SlotState, effective_key, log_rate
from autotune.measurement.planning import smallest_visible_difference
from autotune.measurement.verdicts import Verdict, judge

StepVerdict: TypeAlias = Literal["helps", "harms", "nothing to be seen", "not measured"]
_WORDS: Mapping[Verdict, StepVerdict] = {Verdict.FASTER: "helps", Verdict.SLOWER: "harms"}
_Weights: TypeAlias = Mapping[Coalition, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A ratio with its plain 95 % interval, from `n` rounds. None: not to be had."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAttribution:
    """One step. `only`: stock and this step alone, over stock; `without`: all steps over all but this one.

    `share`: what it brings on average over all orders of the steps, as a ratio, from `share.n` rounds. `verdict` is of the share,
    with Holm's correction over the steps; `smallest_visible_difference` (relative) is what would have shown at the noise of
    these rounds, inf: nothing could, None: not measured. `reason`: why something of it is not to be had, or what stands in its
    way when it is alone; else "".
    """

    number: int
    name: str
    state: Literal["full", "partial", "already so", "not available"]
    only: Effect = Effect()
    without: Effect = Effect()
    share: Effect = Effect()
    verdict: StepVerdict = "not measured"
    smallest_visible_difference: float | None = None
    published: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """All steps of the sequence, from `rounds` whole or torn rounds. `total`: all of them over stock; `rest`: the total over the
    product of the shares.

    `rest` 1: the shares say it all. Otherwise steps depend on each other in threes or more. `reason`: why there is nothing,
    or "".
    """

    steps: tuple[StepAttribution, ...] = ()
    rounds: int = 0
    total: Effect = Effect()
    rest: Effect = Effect()
    reason: str = ""


def attribution_of(study: Study, book: Logbook, night: int) -> Attribution:
    """The attribution of one night's hand-tuned steps, as far as it is measured; of a single step, from the series."""
    begun = book.begun[night]
    seen = _Seen.of(study, book, begun)
    numbers = frozenset(step.number for step in effective_steps(begun))
    reason = "" if seen.rounds else _why_nothing(study, book, night, len(numbers))
    if reason:
        return Attribution(steps=tuple(_told(step, reason) for step in begun.steps), reason=reason)
    shares = {number: share_weights(number, numbers) for number in sorted(numbers)}
    differences = {number: seen.differences(weights) for number, weights in shares.items()}
    norms = {number: seen.norm(weights) for number, weights in shares.items()}
    sigma = _sigma(norms, differences)
    judged = judge([differences[number] for number in shares])
    verdicts = {
        number: _WORDS.get(one.verdict, "nothing to be seen")
        for number, one in zip(shares, judged, strict=True)
    }
    steps = []
    for step in begun.steps:
        number = step.number
        if number not in numbers:
            steps.append(_told(step))
            continue
        share = _effect(differences[number])
        steps.append(
            StepAttribution(
                number=number,
                name=step.name,
                state=step.state,
                only=seen.effect({frozenset({number}): 1.0, frozenset(): -1.0}),
                without=seen.effect({numbers: 1.0, numbers - {number}: -1.0}),
                share=share,
                verdict=verdicts[number] if share.n else "not measured",
                smallest_visible_difference=_visible(sigma, norms[number], share.n, len(shares)),
                published=step.published,
                reason=seen.reason(number, numbers),
            )
        )
    total = {numbers: 1.0, frozenset[int](): -1.0}
    return Attribution(
        steps=tuple(steps),
        rounds=seen.rounds,
        total=seen.effect(total),
        rest=seen.effect(_less(total, list(shares.values()))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The rounds as measured: ln of what is maximised by configuration (what differs from stock), then by round."""

    book: Logbook
    begun: NightBegun
    together: Mapping[Coalition, Combination]
    rates: Mapping[Effective, Mapping[int, float]]
    rounds: int

    @classmethod
    def of(cls, study: Study, book: Logbook, begun: NightBegun) -> _Seen:
        one_step = len(effective_steps(begun)) < FEWEST_STEPS
        rates: dict[Effective, dict[int, float]] = {}
        for slot in book.of_stage(begun.night, Stage.SERIES if one_step else Stage.ATTRIBUTION):
            if slot.sample is not None:
                key = effective_key(slot.sample.configuration, begun.stock)
                rates.setdefault(key, {})[slot.last.key.block] = log_rate(slot.sample)
        rounds = len({block for by_block in rates.values() for block in by_block})
        together = combinations_of(study, begun)
        return cls(book=book, begun=begun, together=together, rates=rates, rounds=rounds)

    def key(self, steps: Coalition) -> Effective:
        return effective_key(self.together[steps].configuration, self.begun.stock)

    def differences(self, weights: _Weights) -> list[float]:
        """The weighted sum of each round that has all of it. Configurations that are one and the same cancel out."""
        if any(self.together[steps].unavailable for steps in weights):
            return []
        by_key = self._by_key(weights)
        known = [self.rates.get(key, {}) for key in by_key]
        blocks = set(known[0]).intersection(*known[1:])
        return [
            math.fsum(weight * self.rates[key][block] for key, weight in by_key.items())
            for block in sorted(blocks)
        ]

    def norm(self, weights: _Weights) -> float:
        """By how much the weighted sum varies more than one run does."""
        return math.sqrt(math.fsum(weight**2 for weight in self._by_key(weights).values()))

    def _by_key(self, weights: _Weights) -> dict[Effective, float]:
        by_key: dict[Effective, float] = {}
        for steps, weight in weights.items():
            key = self.key(steps)
            by_key[key] = by_key.get(key, 0.0) + weight
        return by_key

    def effect(self, weights: _Weights) -> Effect:
        return _effect(self.differences(weights))

    def reason(self, number: int, numbers: Coalition) -> str:
        """What can't be had of the step's two combinations, or is void in them."""
        reasons = []
        for said, steps in (
            (f"step {number} alone", frozenset({number})),
            (f"all steps but {number}", numbers - {number}),
        ):
            together = self.together[steps]
            if together.unavailable:
                reasons.append(f"{said}: {together.unavailable}")
            elif failed := self._failed(steps):
                reasons.append(f"{said}: {failed}")
            reasons += [f"{said}: {one}" for one in together.void]
        return "; ".join(reasons)

    def _failed(self, steps: Coalition) -> str:
        """Why this combination gave no sample at all, where it has been tried."""
        key = self.key(steps)
        if key in self.rates:
            return ""
        ends = [
            slot.failure.reason
            for slot in self.book.of_stage(self.begun.night, Stage.ATTRIBUTION)
            if slot.failure is not None
            and slot.state in (SlotState.FAILED, SlotState.MISSING)
            and effective_key(slot.last.configuration, self.begun.stock) == key
        ]
        if ends:
            return ends[-1]
        barred = self.book.is_barred(self.together[steps].configuration, self.begun.night)
        return "this configuration had failed by its own fault before" if barred else ""


def _told(step: AppliedStep, reason: str = "") -> StepAttribution:
    """A step without figures: none were taken, or it changes nothing here."""
    return StepAttribution(
        number=step.number,
        name=step.name,
        state=step.state,
        published=step.published,
        reason="" if step.state in ("already so", "not available") else reason,
    )


def _why_nothing(study: Study, book: Logbook, night: int, steps: int) -> str:
    plan = book.plans.get(night)
    if not book.begun[night].steps:
        return "the study has no hand-tuned sequence"
    if not steps:
        return "no step changes anything here"
    if steps < FEWEST_STEPS:
        return "the series, which tells what the only step that changes something here does, is not measured"
    if study.budget.attribution_rounds == 0:
        return "the study asks for none (attribution_rounds = 0 in [budget])"
    if plan is not None and plan.attribution_rounds:
        return "the night has not come to it" if night not in book.ended else "the night ended before it"
    return "the night had no time set aside for it; attribution_rounds in [budget], or a longer night, does"


def _effect(differences: Sequence[float]) -> Effect:
    found = trimmed_interval(differences)
    return Effect(ratio=_ratio(found.center), low=_ratio(found.low), high=_ratio(found.high), n=found.n)


def _ratio(log_ratio: float) -> float | None:
    return math.exp(log_ratio) if math.isfinite(log_ratio) else None


def _less(total: _Weights, shares: Sequence[_Weights]) -> dict[Coalition, float]:
    """The weights of what is left of the total when every share is taken out of it."""
    left = dict(total)
    for weights in shares:
        for steps, weight in weights.items():
            left[steps] = left.get(steps, 0.0) - weight
    return left


def _sigma(norms: Mapping[int, float], differences: Mapping[int, Sequence[float]]) -> float | None:
    """Noise of one run as these rounds show it, over all steps' shares together; None with too few rounds."""
    squares, freedom = 0.0, 0
    for number, values in differences.items():
        if len(values) < 2 or not norms[number]:
            continue
        mean = math.fsum(values) / len(values)
        squares += math.fsum((one - mean) ** 2 for one in values) / norms[number] ** 2
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _visible(sigma: float | None, norm: float, rounds: int, steps: int) -> float | None:
    """The smallest share that would have shown, in 4 of 5 nights. None: not measured, or no matter of noise."""
    if sigma is None or not rounds or not norm:
        return None
    if rounds < FEWEST:
        return math.inf
    of_a_pair = sigma * norm / math.sqrt(2)
    return smallest_visible_difference(of_a_pair, rounds, hypotheses=steps)
