"""What each hand-tuned step is worth by itself, whatever its place in the sequence: measured, in rounds of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook

StepVerdict: TypeAlias = Literal["helps", "harms", "nothing to be seen", "not measured"]


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

    `share`: its Shapley value, as a ratio: what it brings on average over all orders of the steps. `verdict` is of the share,
    with Holm's correction over the steps; `smallest_visible_difference` (relative) is what would have shown, inf: nothing could.
    `reason`: why something of it is not to be had, or "". `n`: rounds that the share is of.
    """

    number: int
    name: str
    state: Literal["full", "partial", "already so", "not available"]
    only: Effect = Effect()
    without: Effect = Effect()
    share: Effect = Effect()
    n: int = 0
    verdict: StepVerdict = "not measured"
    smallest_visible_difference: float | None = None
    published: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """All steps of the sequence. `total`: all of them over stock; `rest`: the total over the product of the shares.

    `rest` 1: the shares say it all. Otherwise steps depend on each other in threes or more, which "alone" and "without" can't tell
    apart. `reason`: why there is nothing, or not all of it; "" where there is.
    """

    steps: tuple[StepAttribution, ...] = ()
    rounds: int = 0
    total: Effect = Effect()
    rest: Effect = Effect()
    reason: str = ""


def attribution_of(study: Study, book: Logbook, night: int) -> Attribution:
    """The attribution of one night's hand-tuned steps, as far as it is measured."""
    del study
    steps = tuple(
        StepAttribution(
            number=step.number,
            name=step.name,
            state=step.state,
            published=step.published,
            reason="no night measures it yet",
        )
        for step in book.begun[night].steps
    )
    return Attribution(steps=steps, reason="no night measures it yet")
