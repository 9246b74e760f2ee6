"""Whether a study and a log from elsewhere could have been written by a night: whatever is shown later can be worked out from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from autotune.board.address import read_address
from autotune.errors import AutotuneError, BundleRefused
from autotune.experiment.events import (
    Distilled,
    Event,
    Failure,
    FixedRate,
    Measurement,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Ranking,
    Sample,
    Subsets,
    Void,
)
from autotune.experiment.study import LOAD_ON_BOARD, Study
from autotune.storage.rows import columns_of

_MOST = 1_000_000
_LONGEST_STAMP = 40


def require_sound(study: Study, log: Sequence[Event], where: str) -> None:
    """Raises BundleRefused for what contradicts itself; `where` names the archive."""
    try:
        for address in {study.board, study.load} - {LOAD_ON_BOARD}:
            if not study.is_synthetic:
                read_address(address)
        fault = _fault(log)
        if not fault:
            _work_out(study, log)
    except AutotuneError as problem:
        fault = problem.message
    except Exception as problem:  # noqa: BLE001 - made-up figures may break any arithmetic: here, and nowhere later
        fault = f"its figures can't be worked out ({type(problem).__name__})"
    if fault:
        raise BundleRefused(
            f"{where} is no night's: {fault}",
            hint="Ask for it again from whoever made it; nothing was stored.",
        )


def _fault(log: Sequence[Event]) -> str:
    """What no night can have written; "" when there is nothing of the kind."""
    keys: set[str] = set()
    proposals = 0
    nights: set[int] = set()
    ended: set[int] = set()
    for number, event in enumerate(log, 1):
        if any(not 0 <= one <= _MOST for one in _counts(event)):
            return f"a number of event {number} is out of all bounds"
        if len(event.at) > _LONGEST_STAMP or datetime.fromisoformat(event.at).tzinfo is None:
            return f"event {number} has no time"
        match event:
            case NightBegun():
                if event.night != len(nights) + 1:
                    return f"event {number} begins night {event.night} after {len(nights)}"
                nights.add(event.night)
            case Sample() | Failure():
                if event.key.text in keys:
                    return f"event {number} repeats sample {event.key.text}"
                keys.add(event.key.text)
                if isinstance(event, Sample) and any(not 0 <= one < math.inf for one in _figures(event)):
                    return f"sample {event.key.text} has a figure that nothing can have"
            case NightEnded():
                if event.night in ended:
                    return f"event {number} ends night {event.night} once more"
                ended.add(event.night)
            case Void():
                if event.key.text not in keys:
                    return f"event {number} takes out a sample that is not there"
            case Proposal():
                if event.number != proposals:
                    return f"event {number} is trial {event.number} where {proposals} was due"
                proposals += 1
            case _:
                pass
        night = event.key.night if isinstance(event, (Sample, Failure, Void)) else event.night
        if night not in nights:
            return f"event {number} is of night {night}, which has not begun"
    return ""


def _counts(event: Event) -> Iterator[int]:
    """The numbers that say how much there is of something, or which."""
    match event:
        case Sample() | Failure():
            yield from (
                event.key.night,
                event.key.block,
                event.key.position,
                event.key.attempt,
                event.arm.number,
            )
        case Void():
            yield event.key.night
        case Plan():
            yield from (one for one in event.model_dump().values() if isinstance(one, int))
        case Ranking():
            yield from (event.night, *event.trials)
        case Subsets() | Distilled():
            yield from (event.night, event.trial)
        case Proposal():
            yield from (event.night, event.number)
        case _:
            yield event.night


def _figures(sample: Sample) -> Iterator[float]:
    """What was counted and timed in a sample's runs; a counter of the board (a temperature, say) may be below 0."""
    runs: tuple[Measurement | FixedRate, ...] = (*sample.measurements.values(), *sample.fixed_rate.values())
    for run in runs:
        yield from (one for one in dict(run).values() if isinstance(one, (int, float)))
        yield from dict(run.errors).values()
    yield from (sample.switch_s, sample.overhead_s)


def _work_out(study: Study, log: Sequence[Event]) -> None:
    from autotune.measurement.comparison import compare
    from autotune.measurement.schedule import next_step
    from autotune.measurement.scores import trial_scores

    for event in log:
        columns_of(event)
    trial_scores(study, log)
    for event in log:
        if isinstance(event, NightBegun):
            compare(study, log, event.night)
    if log:
        next_step(study, log)
