"""All that a night's report tells, gathered once: its forms (HTML, Markdown, CSV, JSON) only say it differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, Failure, Gap, NightBegun, NightEnded, Sample
from autotune.experiment.study import Study
from autotune.measurement.calibration import AARecord
from autotune.measurement.comparison import Comparison, compare
from autotune.measurement.finals import FinalRounds, final_rounds
from autotune.measurement.history import SearchPoint, StepLevel, search_points, step_levels
from autotune.measurement.logbook import read_log, seconds_of

_MINUTES_UP_TO_S = 5400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NightClock:
    """From the night's beginning to its last event, and time along the pictures: hours, of a short night minutes."""

    begun_s: float
    ended_s: float

    @property
    def took_s(self) -> float:
        return self.ended_s - self.begun_s

    @property
    def unit_s(self) -> float:
        return 60.0 if self.took_s <= _MINUTES_UP_TO_S else 3600.0

    @property
    def words(self) -> str:
        return "minutes into the night" if self.unit_s == 60.0 else "hours into the night"

    @property
    def whole(self) -> tuple[float, float]:
        """From a little before the night to a little after it: the same in every picture."""
        room_s = 0.01 * max(self.took_s, 60.0)
        return self.place(self.begun_s - room_s), self.place(self.ended_s + room_s)

    def place(self, at_s: float) -> float:
        return (at_s - self.begun_s) / self.unit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """One night of a study. `log`: the whole study's. `attempts`: every sample and failure of the night with its time in
    seconds, void ones too; `voids`: why some don't count, by their place; `raw`: the load generator's own words by place.
    """

    study: Study
    log: Sequence[Event]
    night: int
    nights: int
    begun: NightBegun
    ended: NightEnded | None
    comparison: Comparison
    record: AARecord | None
    rounds: FinalRounds
    points: tuple[SearchPoint, ...]
    levels: tuple[StepLevel, ...]
    attempts: tuple[tuple[Sample | Failure, float], ...]
    gaps: tuple[tuple[Gap, float], ...]
    clock: NightClock
    voids: Mapping[str, str]
    raw: Mapping[str, str]

    @property
    def samples(self) -> list[Sample]:
        """The samples that count."""
        return [one for one, _ in self.attempts if isinstance(one, Sample) and one.key.text not in self.voids]


def night_report(
    study: Study,
    log: Sequence[Event],
    night: int | None = None,
    *,
    raw: Mapping[str, str] | None = None,
    record: AARecord | None = None,
) -> NightReport | None:
    """The report of one night: the one asked for, else the one that `compare` speaks of. None: no such night has begun."""
    comparison = compare(study, log, night)
    book = read_log(log)
    number = comparison.night
    if number not in book.begun:
        return None
    attempts, begun, ended = _attempts(log, number), book.begun[number], book.ended.get(number)
    begun_s = seconds_of(begun.at)
    stamps = (begun_s, *(at_s for _, at_s in attempts), *([seconds_of(ended.at)] if ended else ()))
    return NightReport(
        study=study,
        log=log,
        night=number,
        nights=len(book.begun),
        begun=begun,
        ended=ended,
        clock=NightClock(begun_s=begun_s, ended_s=max(stamps)),
        comparison=comparison,
        record=None if study.is_synthetic else record,
        rounds=final_rounds(book, number),
        points=search_points(book, number),
        levels=step_levels(book, number),
        attempts=attempts,
        gaps=tuple((gap, seconds_of(gap.at)) for _, gap in book.gaps if gap.night == number),
        voids={one.key.text: one.reason for one in book.voids if one.key.night == number},
        raw=raw or {},
    )


def _attempts(log: Sequence[Event], night: int) -> tuple[tuple[Sample | Failure, float], ...]:
    mine = (one for one in log if isinstance(one, (Sample, Failure)) and one.key.night == night)
    return tuple((one, seconds_of(one.at)) for one in mine)


def board_text(told: NightReport) -> str:
    """What board it is, in a line; "" where its log doesn't say."""
    known = {name: value for name, value in told.begun.board.items() if not value.startswith("none")}
    shown = {
        "model": "{}",
        "machine": "{}",
        "cpus": "{} CPUs",
        "memory": "{}",
        "kernel": "kernel {}",
        "nginx": "{}",
    }
    return ", ".join(
        words.format(known[name].removeprefix("nginx version: "))
        for name, words in shown.items()
        if name in known
    )
