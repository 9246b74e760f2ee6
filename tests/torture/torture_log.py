"""The night's log as the database has it, read by nobody's code but SQLite's, and what must be true of it at any time."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSampler,
    AskSubsets,
    Finished,
    Measure,
)
from autotune.experiment.events import (
    EVENT,
    Event,
    Failure,
    NightBegun,
    NightEnded,
    Proposal,
    Sample,
    Stage,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step

BEFORE: Final = "calibration"


@dataclass
class NightLog:
    """The log of the one study in the database at `path`. What was once read must stay as it was."""

    path: Path
    events: list[Event] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _bodies: list[str] = field(default_factory=list)
    _study: Study | None = None
    _stage: tuple[int, str] = (-1, BEFORE)

    def refresh(self) -> None:
        """Reads what is new."""
        self._add(self._rows(len(self._bodies)))

    def check_prefix(self) -> None:
        """Reads all of it again: everything that was read before must be there, in its place, unchanged."""
        now = self._rows(0)
        gone = missing_from(self._bodies, now)
        self.lost += gone
        if gone:  # what is there now is what later looks are held against
            self._bodies, self.events, self._stage = [], [], (-1, BEFORE)
        self._add(now[len(self._bodies) :])

    def _add(self, bodies: list[str]) -> None:
        self._bodies += bodies
        self.events += [EVENT.validate_json(body) for body in bodies]

    def _rows(self, after: int) -> list[str]:
        if not self.path.exists():
            return []
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        try:
            found = connection.execute(
                "SELECT body FROM autotune_events WHERE seq > ? ORDER BY seq", (after,)
            ).fetchall()
        except sqlite3.OperationalError as problem:
            if "no such table" in str(problem):
                return []
            raise
        finally:
            connection.close()
        return [str(row[0]) for row in found]

    @property
    def digest(self) -> str:
        """Of everything that was read so far."""
        return _digest(self._bodies)

    def resume(self, events: int, digest: str) -> None:
        """Reads what an earlier process had read; what is not as it was then is lost."""
        self._add(self._rows(0))
        if _digest(self._bodies[:events]) != digest:
            self.lost.append(f"the first {events} events are not what they were before the interruption")

    @property
    def study(self) -> Study | None:
        """The study, once it was entered."""
        if self._study is None and self.path.exists():
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
            try:
                row = connection.execute("SELECT definition FROM autotune_studies").fetchone()
            except sqlite3.OperationalError:
                row = None
            finally:
                connection.close()
            self._study = Study.model_validate_json(row[0]) if row else None
        return self._study

    @property
    def silent_s(self) -> float:
        """Since the last event, by the clocks on the wall."""
        last_s = datetime.fromisoformat(self.events[-1].at).timestamp() if self.events else time.time()
        return time.time() - last_s

    @property
    def samples(self) -> int:
        return sum(isinstance(one, Sample) for one in self.events)

    def samples_of(self, stage: str) -> int:
        return sum(isinstance(one, Sample) and one.key.stage == stage for one in self.events)

    @property
    def stage(self) -> str:
        """The stage of what comes next; "over" when the night has ended.

        Distillation counts as the end of the finalists: a night in which none of them is faster than stock has none.
        """
        if self._stage[0] != len(self.events):
            self._stage = (len(self.events), self._next_stage())
        return self._stage[1]

    def _next_stage(self) -> str:
        if self.study is None or not any(isinstance(one, NightBegun) for one in self.events):
            return BEFORE
        step = next_step(self.study, self.events)
        match step:
            case Measure():
                return "finalists" if step.key.stage is Stage.DISTILLATION else step.key.stage.value
            case AskPlan():
                return BEFORE
            case AskSampler():
                return "search"
            case AskRanking():
                return "finalists" if step.purpose == "winner" else "search"
            case AskSubsets() | AskDistilled():
                return "finalists"
            case Finished():
                return "over"

    def write(self, study: Path, log: Path) -> None:
        """Study and log as files, for a fresh process."""
        if self.study is None:
            raise ValueError("no study was entered")
        study.write_text(self.study.model_dump_json())
        log.write_text("".join(body + "\n" for body in self._bodies))


def _digest(bodies: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(bodies).encode()).hexdigest()


def missing_from(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What of `before` is not at its place in `now`, in words."""
    return [
        f"event {place} was {body[:100]}, is {now[place - 1][:100] if place <= len(now) else 'gone'}"
        for place, body in enumerate(before, 1)
        if place > len(now) or now[place - 1] != body
    ]


def doubled(events: Sequence[Event]) -> list[str]:
    """Everything that is there twice, or was measured under another's name, in words."""
    found = []
    attempts = [one for one in events if isinstance(one, (Sample, Failure))]
    keys = Counter(one.key.text for one in attempts)
    found += [f"sample {key} is stored {times} times" for key, times in keys.items() if times > 1]
    numbers = Counter(one.number for one in events if isinstance(one, Proposal))
    found += [f"trial {number} is proposed {times} times" for number, times in numbers.items() if times > 1]
    if sorted(numbers) != list(range(len(numbers))):
        found.append(f"the numbers of proposals have gaps: {sorted(numbers)}")
    void = {one.key.text for one in events if isinstance(one, Void)}
    valid = Counter(
        (one.key.night, one.key.stage, one.key.block, one.key.position)
        for one in attempts
        if isinstance(one, Sample) and one.key.text not in void
    )
    found += [f"{times} valid samples of one place: {place}" for place, times in valid.items() if times > 1]
    return found + _under_another_name(events)


def _under_another_name(events: Sequence[Event]) -> list[str]:
    """Trials measured without having been proposed, or as another configuration, and proposals that were passed over."""
    found = []
    proposals: dict[int, Proposal] = {}
    tried: set[int] = set()
    barred: set[str] = set()
    for one in events:
        if isinstance(one, Proposal):
            waiting = [
                number
                for number, earlier in proposals.items()
                if number not in tried
                and earlier.origin != "stock"
                and earlier.configuration.fingerprint not in barred
            ]
            if waiting:
                found.append(f"trial {one.number} was proposed while {waiting} had not been measured")
            proposals.setdefault(one.number, one)
        elif isinstance(one, (Sample, Failure)):
            if isinstance(one, Failure) and one.blame == "configuration":
                barred.add(one.configuration.fingerprint)
            if one.arm.kind != "trial":
                continue
            proposed = proposals.get(one.arm.number)
            if proposed is None:
                found.append(f"trial {one.arm.number} was measured at {one.key.text} without a proposal")
            elif proposed.configuration != one.configuration:
                found.append(f"{one.key.text} measured another configuration as trial {one.arm.number}")
            tried.add(one.arm.number)
    return found


def unmeasured(events: Sequence[Event]) -> list[str]:
    """Proposals that a complete night never measured."""
    tried = {
        one.arm.number for one in events if isinstance(one, (Sample, Failure)) and one.arm.kind == "trial"
    }
    barred = {
        one.configuration.fingerprint
        for one in events
        if isinstance(one, Failure) and one.blame == "configuration"
    }
    return [
        f"trial {one.number} was proposed and never measured"
        for one in events
        if isinstance(one, Proposal)
        and one.origin != "stock"
        and one.number not in tried
        and one.configuration.fingerprint not in barred
    ]


def strange(events: Sequence[Event], *, complete: bool, allowed: int = 1) -> list[str]:
    """What so many continued nights must not hold: another beginning, or an end before everything is done.

    More than one is allowed where the torture itself was interrupted for so long that a new night must begin.
    """
    nights = sum(isinstance(one, NightBegun) for one in events)
    found = [f"{nights} nights were begun"] if nights > allowed else []
    early = [one for one in events if isinstance(one, NightEnded) and one.outcome != "complete"]
    found += [f"the night ended: {one.outcome} {one.reason}" for one in early[allowed - 1 :]]
    if complete and not (events and isinstance(events[-1], NightEnded)):
        found.append("the night did not come to its end")
    return found


def wrongly_blamed(events: Sequence[Event]) -> list[str]:
    """Failures for which a configuration is blamed; to be asked about a time in which we killed something."""
    return [
        f"{one.key.text} ({one.arm.text}) is blamed on its configuration: {one.stage}: {one.reason}"
        for one in events
        if isinstance(one, Failure) and one.blame == "configuration"
    ]
