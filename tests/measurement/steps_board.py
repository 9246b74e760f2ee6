"""A board of numbers whose hand-tuned steps have a known worth in every combination, and rounds of attribution measured on it."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable
from typing import TypeAlias

from number_bench import measurement, night_begun, number_study

from autotune.experiment.events import AppliedStep, Event, NightBegun, Plan, Sample, SampleKey
from autotune.experiment.study import HandTunedSequence, HandTunedStep, HandTunedValue, Study
from autotune.measurement.attribution import Attribution, StepAttribution, attribution_of
from autotune.measurement.combinations import attribution_places
from autotune.measurement.logbook import Logbook, read_log
from autotune.space.configuration import Configuration
from autotune.space.setting import Kind, Setting

Worth: TypeAlias = Callable[[frozenset[int]], float]
"""ln of the ratio to stock of some steps together."""


def setting(number: int) -> Setting:
    return Setting(
        id=f"sysctl:test.step{number}", kind=Kind.INTEGER, low=0, high=9, why="a step's only value"
    )


def steps_in(configuration: Configuration) -> frozenset[int]:
    return frozenset(int(id_.removeprefix("sysctl:test.step")) for id_ in configuration)


def steps_study(count: int, *, seed: int = 1, **budget: float | None) -> Study:
    """A study whose sequence has so many steps, of one setting each."""
    steps = tuple(
        HandTunedStep(
            number=number,
            name=f"s{number}",
            values=(HandTunedValue(setting=setting(number), value=1),),
            why="test",
        )
        for number in range(1, count + 1)
    )
    plain = number_study(seed=seed)
    return plain.model_copy(
        update={
            "hand_tuned": HandTunedSequence(title="steps", source="tests", steps=steps),
            "budget": plain.budget.model_copy(update=budget),
        }
    )


def steps_begun(count: int, night: int = 1, at: str = "2025-01-01T22:00:00+00:00") -> NightBegun:
    stock = {setting(number).id: 0 for number in range(1, count + 1)}
    cumulative = [
        Configuration.of({setting(number).id: 1 for number in range(1, last + 1)})
        for last in range(1, count + 1)
    ]
    steps = tuple(
        AppliedStep(
            number=number,
            name=f"s{number}",
            state="full",
            applied=1,
            of=1,
            configuration=so_far,
            published=1.1,
        )
        for number, so_far in enumerate(cumulative, 1)
    )
    update = {"stock": stock, "steps": steps, "hand_tuned": cumulative[-1], "space_ids": tuple(stock)}
    return night_begun(night, at).model_copy(update=update)


def measured(
    study: Study, begun: NightBegun, worth: Worth, *, rounds: int, sigma: float, seed: int = 0
) -> Logbook:
    """The rounds of one night's attribution, and nothing else of it."""
    plan = Plan(
        night=begun.night,
        at=begun.at,
        calibration_pairs=6,
        candidates=1,
        reference_every=3,
        finalists=1,
        finalist_pairs=1,
        finals_rounds=12,
        series_rounds=1,
        attribution_rounds=rounds,
        sample_s=3.0,
    )
    chance = random.Random(seed)
    log: list[Event] = [begun, plan]
    for place in attribution_places(study, read_log(log), begun.night, rounds):
        rate = math.exp(10 + worth(steps_in(place.who.configuration)) + chance.gauss(0, sigma))
        log.append(
            Sample(
                key=SampleKey(
                    night=begun.night, stage=place.stage, block=place.block, position=place.position
                ),
                at=begun.at,
                arm=place.who.arm,
                configuration=place.who.configuration,
                effective=place.who.configuration,
                measurements={"1k": measurement(rate)},
                objective=math.log(rate),
                switch_s=0.0,
                overhead_s=0.0,
            )
        )
    return read_log(log)


def attributed(
    count: int, worth: Worth, *, rounds: int = 6, sigma: float = 0.01, seed: int = 0
) -> Attribution:
    """What so many steps of this worth are found to be worth."""
    study, begun = steps_study(count), steps_begun(count)
    return attribution_of(study, measured(study, begun, worth, rounds=rounds, sigma=sigma, seed=seed), 1)


def step(found: Attribution, number: int) -> StepAttribution:
    return next(one for one in found.steps if one.number == number)


def shapley(count: int, worth: Worth) -> dict[int, float]:
    """Each step's true share: what it adds, on average over all orders of the steps."""
    everyone = range(1, count + 1)
    orders = list(itertools.permutations(everyone))
    shares = dict.fromkeys(everyone, 0.0)
    for order in orders:
        for place, number in enumerate(order):
            before = frozenset(order[:place])
            shares[number] += (worth(before | {number}) - worth(before)) / len(orders)
    return shares


def additive(gains: dict[int, float], pairs: dict[tuple[int, int], float] | None = None) -> Worth:
    """Steps that add up, and change each other's worth in twos."""

    def worth(steps: frozenset[int]) -> float:
        together = ((pairs or {}).get(pair, 0.0) for pair in itertools.combinations(sorted(steps), 2))
        return math.fsum(gains.get(one, 0.0) for one in steps) + math.fsum(together)

    return worth


def logs(values: Iterable[float | None]) -> list[float]:
    """ln of ratios that are all there."""
    return [math.log(one) for one in values if one is not None]
