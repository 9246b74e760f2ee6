"""Which settings mattered: for a model of all trials, and beside it for the expert's sequence.

A search looks where it expects most, so its trials tell of few values of what it found early. Importance is therefore not
read off the trials: the model is asked about values drawn evenly over the whole space (see reference). A parameter's share
is what of the variance of the model's answers goes with it, alone or in company: its total Sobol index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from autotune.analysis.dataset import Dataset, dataset_of
from autotune.analysis.ensemble import best_ensemble
from autotune.analysis.findings import (
    Dependence,
    Interaction,
    dependence_of,
    interactions_of,
    told_apart,
)
from autotune.analysis.importance_doubts import importance_doubts
from autotune.analysis.questions import Questions
from autotune.analysis.reference import families, reference_of
from autotune.analysis.shares import Shares
from autotune.experiment.events import AppliedStep, Doubt, Event, NightBegun
from autotune.experiment.study import Study
from autotune.measurement.comparison import StepGain, compare
from autotune.measurement.logbook import Logbook, read_log
from autotune.space.value import Value, value_text

__all__ = [
    "Dependence",
    "Importance",
    "Interaction",
    "ParameterImportance",
    "StepImportance",
    "StepValue",
    "importance_of",
]

MOST_DEPENDENCES = 6
MOST_IN_PAIRS = 8
FEWEST_CONFIGURATIONS = 30
"""With fewer, five folds of them say nothing of a model."""
USEFUL_R2 = 0.5
"""Held-out fit below which no ranking is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterImportance:
    """One parameter, or a group: a parent with the children that count only beside it, or parameters that always moved together.

    `id` of a group is its parent's. `share` of the variance that the model explains, 0 to 1, with the limits that it lies
    between in nine cases of ten. `step`: the hand-tuned step that sets it. `parts`: of a group, each member by itself.
    """

    id: str
    members: tuple[str, ...]
    share: float
    low: float
    high: float
    step: int | None = None
    parts: tuple[ParameterImportance, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepValue:
    """What a hand-tuned step sets, and what automatic has there. None: it doesn't have this setting, or there is no automatic."""

    id: str
    hand_tuned: Value
    automatic: Value | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepImportance:
    """A hand-tuned step: what was published, what was measured here (see StepGain), and what the model says of its parameters.

    `share` None: there is no model, or the step sets nothing that the search varied.
    """

    number: int
    name: str
    state: str
    published: float | None
    ratio: float | None
    low: float | None
    high: float | None
    n: int
    share: float | None
    values: tuple[StepValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """`parameters` by share, largest first; empty with the `reason`. `r2`: the share of the variance that the model foretells
    of configurations it hadn't seen; None: no model. `night`: whose steps and automatic these are; None: there was none yet.
    """

    parameters: tuple[ParameterImportance, ...]
    reason: str
    model: str
    r2: float | None
    configurations: int
    steps: tuple[StepImportance, ...]
    dependences: tuple[Dependence, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    night: int | None = None


def importance_of(
    study: Study, log: Sequence[Event], night: int | None = None, *, most: int | None = None
) -> Importance:
    """What the trials of the whole study say, and the steps of a night (None: the last one with finals, else the last one).

    The same for the same log. `most`: of more configurations than that no model is made, where it must not take long.
    """
    book = read_log(log)
    data = dataset_of(study, book)
    comparison = compare(study, log, night)
    begun = book.begun.get(comparison.night)
    if begun is None:
        return Importance(
            parameters=(),
            reason="no night of this study has begun yet",
            model="",
            r2=None,
            configurations=data.configurations,
            steps=(),
        )
    if most is not None and data.configurations > most:
        many = f"a model of {data.configurations:,} configurations takes minutes"
        said = _Said(reason=f"{many}; `autotune importance {study.name}` makes it")
    else:
        with _one_thread():
            said = _said(study, data, begun)
    return Importance(
        parameters=said.parameters,
        reason=said.reason,
        model=said.model,
        r2=said.r2,
        configurations=data.configurations,
        steps=_steps(comparison.steps, book, begun, said),
        dependences=said.dependences,
        interactions=said.interactions,
        doubts=importance_doubts(data, book, begun, said.r2) if said.parameters else (),
        night=begun.night,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small matrices: threads that wait for each other take longer, and what else works here suffers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a model says. `of_steps`: the share of what a step sets, all of it together, by the step's number."""

    parameters: tuple[ParameterImportance, ...] = ()
    of_steps: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    model: str = ""
    r2: float | None = None
    dependences: tuple[Dependence, ...] = ()
    interactions: tuple[Interaction, ...] = ()


def _said(study: Study, data: Dataset, begun: NightBegun) -> _Said:
    if data.configurations < FEWEST_CONFIGURATIONS:
        few = f"{data.configurations} different configurations have a score"
        return _Said(reason=f"{few}, and a model of them needs {FEWEST_CONFIGURATIONS}")
    reference = reference_of(study, begun, data.varied, study.seed)
    if not reference.space.parameters:
        return _Said(reason="no parameter was ever varied")
    questions = Questions(reference, data)
    model = best_ensemble(data, questions, study.seed)
    if model.r2 < USEFUL_R2:
        return _Said(
            reason=f"the best model, a {model.name}, foretells {max(model.r2, 0):.0%} of what it hasn't seen: too little",
            model=model.name,
            r2=model.r2,
        )
    shares = Shares(questions, model)
    groups = told_apart(reference.space, families(reference.space), data)
    parameters = sorted(
        (_group(shares, members, begun.steps) for members in groups), key=lambda one: -one.share
    )
    by_itself = {part.id: part.share for one in parameters for part in one.parts or (one,)}
    foremost = sorted(by_itself, key=lambda id_: -by_itself[id_])[:MOST_DEPENDENCES]
    return _Said(
        parameters=tuple(parameters),
        of_steps=_of_steps(shares, by_itself, begun.steps),
        model=model.name,
        r2=model.r2,
        dependences=tuple(
            dependence_of(questions, model, data, reference.space.parameter(id_)) for id_ in foremost
        ),
        interactions=interactions_of(shares, [one.members for one in parameters[:MOST_IN_PAIRS]]),
    )


def _group(shares: Shares, members: tuple[str, ...], steps: Sequence[AppliedStep]) -> ParameterImportance:
    parts = tuple(_parameter(shares, (id_,), steps) for id_ in members)
    return parts[0] if len(parts) == 1 else replace(_parameter(shares, members, steps), parts=parts)


def _parameter(shares: Shares, members: tuple[str, ...], steps: Sequence[AppliedStep]) -> ParameterImportance:
    share = shares.of(members)
    sets = (
        step.number
        for step in steps
        for id_ in step.configuration.mapping
        if set(_of_every_device(id_, members)) & set(members)
    )
    return ParameterImportance(
        id=members[0],
        members=members,
        share=share.mean,
        low=share.low,
        high=share.high,
        step=next(sets, None),
    )


def _of_steps(shares: Shares, known: Collection[str], steps: Sequence[AppliedStep]) -> Mapping[int, float]:
    """Asked of all its parameters at once: the sum of their own shares counts what they do in company more than once."""
    found = {}
    for step, own in _own_values(steps):
        asked = {one for id_ in own for one in _of_every_device(id_, known)}
        members = [one for one in known if one in asked]
        if members:
            found[step.number] = shares.of(members).mean
    return found


def _own_values(steps: Sequence[AppliedStep]) -> Iterator[tuple[AppliedStep, Mapping[str, Value]]]:
    """Each step with what it sets otherwise than the steps before it."""
    before: Mapping[str, Value] = {}
    for step in steps:
        yield step, {id_: value for id_, value in step.configuration.values if before.get(id_) != value}
        before = step.configuration.mapping


def _steps(
    measured: Sequence[StepGain], book: Logbook, begun: NightBegun, said: _Said
) -> tuple[StepImportance, ...]:
    gains = {one.number: one for one in measured}
    automatic = _automatic(book, begun)
    steps = []
    for step, own in _own_values(begun.steps):
        gain = gains[step.number]
        steps.append(
            StepImportance(
                number=step.number,
                name=step.name,
                state=step.state,
                published=step.published,
                ratio=gain.ratio,
                low=gain.low,
                high=gain.high,
                n=gain.n,
                share=said.of_steps.get(step.number),
                values=tuple(
                    StepValue(id=id_, hand_tuned=value, automatic=_in_force(automatic, id_))
                    for id_, value in own.items()
                ),
            )
        )
    return tuple(steps)


def _automatic(book: Logbook, begun: NightBegun) -> Mapping[str, Value]:
    """Every value in force under automatic; {}: this night has none yet, or only measured the steps."""
    if (begun.night, "winner") not in book.rankings:
        return {}
    return book.automatic(begun.night).over(begun.stock)


def _in_force(values: Mapping[str, Value], id_: str) -> Value | None:
    """Of a setting of all devices, what each has, where they have several values."""
    found = list(dict.fromkeys(values[one] for one in _of_every_device(id_, values) if one in values))
    if len(found) > 1:
        return " / ".join(value_text(one) for one in found)
    return found[0] if found else None


def _of_every_device(id_: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Which of these a setting stands for: one of all devices (cpufreq:all.governor) for the same of each, any other for itself."""
    family, _, key = id_.partition(":")
    device, _, part = key.partition(".")
    if device != "all":
        return (id_,)
    each = [one for one in ids if one != id_ and one.startswith(f"{family}:") and one.endswith(f".{part}")]
    return tuple(one for one in each if one.partition(":")[2].partition(".")[2] == part) or (id_,)
