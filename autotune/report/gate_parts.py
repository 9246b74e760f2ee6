"""What the gates saw of a night's samples, where stock's level jumped, and what was taken again because of either."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from autotune.experiment.events import Event, Failure, GateResult, Sample, SampleKey
from autotune.measurement.references import ReferenceStep, reference_steps
from autotune.report.page import Table
from autotune.report.words import count_text, local_time_text, percent_text


def gates_table(log: Sequence[Event], night: int) -> Table:
    """The gates that a sample of the night did not pass, or of which the board could tell only sometimes."""
    asked = _asked(log, night)
    gates = _counts(asked)
    rows = tuple(
        (name, f"{counts[True]:,}", f"{counts[False]:,}", f"{counts[None]:,}", _detail(asked, name))
        for name, counts in gates.items()
        if counts[False] or (counts[None] and counts[True])
    )
    never = [name for name, counts in gates.items() if not counts[True] and not counts[False]]
    passed = len(gates) - len(rows) - len(never)
    notes = (
        *((f"{count_text(passed, 'other gate')} let every sample of night {night} pass.",) if passed else ()),
        *((f"This board can't tell: {', '.join(never)}.",) if never else ()),
    )
    return Table(
        title="Gates",
        columns=("gate", "passed", "not passed", "could not tell", "the last of these"),
        rows=rows,
        right=frozenset({"passed", "not passed", "could not tell"}),
        note=" ".join(notes),
    )


def steps_table(log: Sequence[Event], night: int) -> Table:
    """Where stock's own level jumped in the search, and what became of the trials around it."""
    return Table(
        title="Stock's level jumped in the search",
        columns=("at", "stock", "trials around it", "of these taken again"),
        rows=tuple(
            (
                local_time_text(step.at),
                percent_text(math.exp(step.change)),
                ", ".join(str(one) for one in trials) or "-",
                ", ".join(str(one) for one in again) or "-",
            )
            for step, trials, again in _steps(log, night)
        ),
    )


def gates_json(log: Sequence[Event], night: int) -> list[dict[str, Any]]:
    """How often each gate was passed, was not, or could not tell."""
    return [
        {"gate": name, "passed": counts[True], "not_passed": counts[False], "could_not_tell": counts[None]}
        for name, counts in _counts(_asked(log, night)).items()
    ]


def steps_json(log: Sequence[Event], night: int) -> list[dict[str, Any]]:
    return [
        {"at": step.at, "ratio": math.exp(step.change), "suspects": trials, "taken_again": again}
        for step, trials, again in _steps(log, night)
    ]


def gates_text(gates: Sequence[GateResult]) -> str:
    """12 passed; 11 passed, 1 could not be told; 11 passed, not clock step."""
    if not gates:
        return "-"
    told = [one for one in gates if one.passed is not None]
    unknown = len(gates) - len(told)
    return ", ".join(
        (
            f"{sum(bool(one.passed) for one in told)} passed",
            *((f"{unknown} could not be told",) if unknown else ()),
            *(f"not {one.name}" for one in told if not one.passed),
        )
    )


def _asked(log: Sequence[Event], night: int) -> list[GateResult]:
    return [
        gate
        for event in log
        if isinstance(event, (Sample, Failure)) and event.key.night == night
        for gate in event.gates
    ]


def _counts(asked: Sequence[GateResult]) -> dict[str, Counter[bool | None]]:
    found: dict[str, Counter[bool | None]] = {}
    for gate in asked:
        found.setdefault(_name(gate), Counter())[gate.passed] += 1
    return found


def _name(gate: GateResult) -> str:
    """Without the workload in front, for there is one such gate for each run of a sample."""
    return gate.name.rpartition(": ")[2]


def _detail(asked: Sequence[GateResult], name: str) -> str:
    last = next(one for one in reversed(asked) if _name(one) == name and not one.passed)
    figure = "" if last.value is None else f"{last.value:g}"
    limit = "" if last.limit is None else f" (limit {last.limit:g})"
    return ": ".join(text for text in (figure + limit, last.detail) if text) or "-"


def _steps(log: Sequence[Event], night: int) -> list[tuple[ReferenceStep, list[int], list[int]]]:
    """Each step with the numbers of the trials around it, and of those that have a sample elsewhere."""
    samples = {event.key: event for event in log if isinstance(event, Sample)}
    elsewhere: dict[int, set[SampleKey]] = {}
    for key, sample in samples.items():
        if sample.arm.kind == "trial":
            elsewhere.setdefault(sample.arm.number, set()).add(key)
    found = []
    for step in reference_steps(log, night):
        trials = sorted({samples[key].arm.number for key in step.suspects if key in samples})
        again = [number for number in trials if elsewhere[number] - set(step.suspects)]
        found.append((step, trials, again))
    return found
