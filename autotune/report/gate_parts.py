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
    """The gates that some sample of the night did not pass, or of which the board could not tell."""
    asked = _asked(log, night)
    gates = _counts(asked)
    rows = tuple(
        (name, f"{counts[True]:,}", f"{counts[False]:,}", f"{counts[None]:,}", _detail(asked, name))
        for name, counts in gates.items()
        if counts[False] or counts[None]
    )
    passed = len(gates) - len(rows)
    return Table(
        title="Gates that did not let every sample pass, or could not tell",
        columns=("gate", "passed", "stopped", "could not tell", "the last of these"),
        rows=rows,
        right=frozenset({"passed", "stopped", "could not tell"}),
        note=f"{count_text(passed, 'other gate')} let every sample of night {night} pass."
        if passed and rows
        else "",
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
    """How often each gate let a sample pass, stopped one, or could not tell."""
    return [
        {"gate": name, "passed": counts[True], "stopped": counts[False], "could_not_tell": counts[None]}
        for name, counts in _counts(_asked(log, night)).items()
    ]


def steps_json(log: Sequence[Event], night: int) -> list[dict[str, Any]]:
    return [
        {"at": step.at, "ratio": math.exp(step.change), "suspects": trials, "taken_again": again}
        for step, trials, again in _steps(log, night)
    ]


def gates_text(gates: Sequence[GateResult]) -> str:
    """12 passed; 11 passed, kernel log could not be told."""
    if not gates:
        return "-"
    passed = [one for one in gates if one.passed]
    others = [
        f"{one.name} {'could not be told' if one.passed is None else 'not passed'}"
        for one in gates
        if not one.passed
    ]
    return ", ".join((f"{len(passed)} passed", *others))


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
        found.setdefault(gate.name, Counter())[gate.passed] += 1
    return found


def _detail(asked: Sequence[GateResult], name: str) -> str:
    last = next(one for one in reversed(asked) if one.name == name and not one.passed)
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
