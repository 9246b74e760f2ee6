"""The hand-tuned sequence as it applies on one board: which steps are full, partial, already so, or not to be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from autotune.experiment.events import AppliedStep
from autotune.experiment.study import HandTunedSequence, HandTunedStep, HandTunedValue
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression, Unanswerable
from autotune.space.search_space import Dropped
from autotune.space.setting import Kind
from autotune.space.value import Value


def apply_sequence(
    sequence: HandTunedSequence,
    *,
    stock: Mapping[str, Value],
    refusal: Callable[[str, Value], str],
    facts: Mapping[str, Value],
) -> tuple[AppliedStep, ...]:
    """Every step with its cumulative configuration here. `refusal` says why this board can't take a value, or ""."""
    steps = []
    so_far = Configuration()
    for step in sequence.steps:
        chosen, lacking = _chosen(step, known={**stock, **facts}, refusal=refusal)
        before, so_far = so_far, so_far.merged(Configuration.of(chosen)).against(stock)
        asked = len(step.values) + len(step.unsupported)
        steps.append(
            AppliedStep(
                number=step.number,
                name=step.name,
                state=_state(len(chosen), asked, unchanged=before == so_far),
                applied=len(chosen),
                of=asked,
                missing=lacking,
                configuration=so_far,
                published=step.published,
            )
        )
    return tuple(steps)


def _state(
    applied: int, asked: int, *, unchanged: bool
) -> Literal["full", "partial", "already so", "not available"]:
    if applied == 0:
        return "not available"
    if unchanged:
        return "already so"
    return "full" if applied == asked else "partial"


def _chosen(
    step: HandTunedStep, *, known: Mapping[str, Value], refusal: Callable[[str, Value], str]
) -> tuple[dict[str, Value], tuple[Dropped, ...]]:
    chosen: dict[str, Value] = {}
    lacking = [Dropped(id=item.id, reason=item.reason) for item in step.unsupported]
    for wanted in step.values:
        id_ = wanted.setting.id
        try:
            value = _resolved(wanted, known)
        except (Unanswerable, ValueError) as problem:
            lacking.append(Dropped(id=id_, reason=str(problem)))
            continue
        if reason := refusal(id_, value):
            lacking.append(Dropped(id=id_, reason=reason))
        else:
            chosen[id_] = value
    return chosen, tuple(lacking)


def _resolved(wanted: HandTunedValue, known: Mapping[str, Value]) -> Value:
    if not isinstance(wanted.value, Expression):
        return wanted.value
    number = wanted.value.number(known)
    value: Value = number if wanted.setting.kind is Kind.FLOAT else round(number)
    wanted.setting.check(value)
    return value
