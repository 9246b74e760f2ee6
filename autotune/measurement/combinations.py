"""Which of the hand-tuned steps are put together to tell what each is worth: one alone, and all without one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from autotune.experiment.events import AppliedStep, Arm, NightBegun, Stage
from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook, effective_key
from autotune.measurement.orders import shuffled
from autotune.measurement.stages import HAND_TUNED, STOCK_CONTENDER, Contender, Place, chain
from autotune.space.configuration import Configuration
from autotune.space.value import Value

Coalition: TypeAlias = frozenset[int]
"""Some steps, by their numbers."""

FEWEST_STEPS = 2
"""With one step alone there is nothing to tell apart: the series says it all."""
EXACT_UP_TO = 3
"""So many steps have no other combinations than each alone, and all without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Some of the steps, laid over stock in their order. `unavailable`: why they can't be had together, or "".

    `void`: values left out because they count only beside something that a step left out would have set, and why.
    """

    configuration: Configuration
    unavailable: str = ""
    void: tuple[str, ...] = ()


def effective_steps(begun: NightBegun) -> tuple[AppliedStep, ...]:
    """The steps that change something here, after those before them."""
    return tuple(step for _, _, step in chain(begun) if step is not None)


def combined(study: Study, begun: NightBegun, numbers: Collection[int]) -> Combination:
    """These steps alone, as the board can have them, by the space's own rules and conditions.

    A rule that stock or the whole sequence breaks, too, forbids nothing: the sequence is measured as it is.
    """
    steps = effective_steps(begun)
    whole = steps[-1].configuration if steps else Configuration()
    if set(numbers) >= {step.number for step in steps}:
        return Combination(configuration=whole)
    chosen = Configuration()
    for step in steps:
        if step.number in numbers:
            chosen = chosen.merged(_own(study, begun, step))
    known = {**begun.stock, **begun.facts}
    kept, void = dict(chosen.mapping), []
    for parameter in study.space.parameters:  # parents first
        condition = parameter.when
        if (
            condition is not None
            and parameter.id in kept
            and study.space.is_active(parameter, {**known, **whole.mapping})
            and not study.space.is_active(parameter, {**known, **kept})
        ):
            del kept[parameter.id]
            void.append(f"{parameter.id} counts only with {condition.text}")
    configuration = Configuration.of(kept).against(begun.stock)
    return Combination(
        configuration=configuration,
        unavailable="; ".join(_newly_broken(study, begun, configuration, whole)),
        void=tuple(void),
    )


@dataclass(frozen=True, slots=True)
class _Worked:
    """The combinations of one night, as worked out."""

    study: Study
    begun: NightBegun
    found: Mapping[Coalition, Combination]


_LATEST: list[_Worked] = []
"""Those that were asked for last. A night asks for the same ones before each of its samples."""


def combinations_of(study: Study, begun: NightBegun) -> Mapping[Coalition, Combination]:
    """No step, all of them, each alone, and all without each: in the order in which they are told apart."""
    if _LATEST and _LATEST[0].study is study and _LATEST[0].begun is begun:
        return _LATEST[0].found
    numbers = sorted(step.number for step in effective_steps(begun))
    whole = frozenset(numbers)
    wanted = [frozenset[int](), whole]
    for number in numbers:
        wanted += [frozenset({number}), whole - {number}]
    found = {steps: combined(study, begun, steps) for steps in wanted}
    _LATEST[:] = [_Worked(study, begun, found)]
    return found


def attribution_arms(study: Study, begun: NightBegun) -> tuple[Contender, ...]:
    """What one round measures: every combination that can be had, equal configurations once; nothing for one step."""
    together = combinations_of(study, begun)
    whole = max(together, key=len)
    if len(whole) < FEWEST_STEPS:
        return ()
    arms: dict[object, Contender] = {}
    for steps, one in together.items():
        if not one.unavailable:
            key = effective_key(one.configuration, begun.stock)
            arms.setdefault(key, Contender(_arm(steps, whole), one.configuration))
    return tuple(arms.values())


def _arm(steps: Coalition, whole: Coalition) -> Arm:
    if not steps:
        return STOCK_CONTENDER.arm
    if steps == whole:
        return HAND_TUNED
    if len(steps) == 1:
        return Arm(kind="alone", number=min(steps))
    return Arm(kind="without", number=min(whole - steps))


def arms_before_a_board(steps: int) -> int:
    """How many different configurations a round has where so many steps change something."""
    if steps < FEWEST_STEPS:
        return 0
    return 4 if steps == 2 else 2 + 2 * steps  # of two, one alone is all without the other


def attribution_places(study: Study, book: Logbook, night: int, rounds: int) -> Iterator[Place]:
    """Rounds of one sample per arm, in a random order each."""
    arms = attribution_arms(study, book.begun[night]) if rounds else ()
    for block in range(rounds if arms else 0):
        for position, who in enumerate(shuffled(arms, study.seed, night, "attribution", block)):
            yield Place(Stage.ATTRIBUTION, block, position, who)


def share_weights(number: int, numbers: Coalition) -> dict[Coalition, float]:
    """The share of a step as a weighted sum of ln(requests/s) of combinations.

    Up to EXACT_UP_TO steps its Shapley value (Shapley 1953) itself; beyond, the mean of what it brings alone and what it
    brings last, which is the same where steps depend on each other in twos at most.
    """
    others = sorted(numbers - {number})
    size = len(numbers)
    weights: dict[Coalition, float] = {}
    sizes = range(size) if size <= EXACT_UP_TO else (0, size - 1)
    for count in sizes:
        weight = 1 / (size * math.comb(size - 1, count)) if size <= EXACT_UP_TO else 0.5
        for before in itertools.combinations(others, count):
            without = frozenset(before)
            weights[without | {number}] = weights.get(without | {number}, 0.0) + weight
            weights[without] = weights.get(without, 0.0) - weight
    return weights


def _own(study: Study, begun: NightBegun, step: AppliedStep) -> Configuration:
    """What this step itself asks for, as far as this board has it; what it sets back to stock's value, too."""
    lacking = {one.id for one in step.missing}
    asked = next((one.values for one in study.hand_tuned.steps if one.number == step.number), ())
    there: Mapping[str, Value] = step.configuration.over(begun.stock)
    ids = [one.setting.id for one in asked if one.setting.id not in lacking]
    return Configuration.of({id_: there[id_] for id_ in ids if id_ in there})


def _newly_broken(
    study: Study, begun: NightBegun, configuration: Configuration, whole: Configuration
) -> list[str]:
    kept = [
        {one.rule.expression.text for one in study.space.broken_rules(known, begun.stock, begun.facts)}
        for known in (Configuration(), whole)
    ]
    return [
        f"breaks {one.rule.expression.text}: {one.rule.why}"
        for one in study.space.broken_rules(configuration, begun.stock, begun.facts)
        if not any(one.rule.expression.text in texts for texts in kept)
    ]
