"""Where a study stands, read from the columns beside the events: fast with ten thousand samples."""

from __future__ import annotations

import bisect
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotune.storage.tables import EVENTS

# A night beats before every sample, and a sample takes seconds to minutes.
_SILENCE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """The process that runs a study now, or ran it when it died.

    `started_at`: the process's own start time as its host tells it (field 22 of /proc/PID/stat), so that a process
    number used again is not taken for it. `heartbeat`: ISO-8601 UTC.
    """

    pid: int
    host: str
    boot_id: str
    started_at: str
    heartbeat: str

    @property
    def is_beating(self) -> bool:
        """Whether it has said so within ten minutes; all that can be known of a process on another host."""
        silent = datetime.now(UTC) - datetime.fromisoformat(self.heartbeat)
        return silent.total_seconds() < _SILENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """Where a study stands.

    `best` is a ratio to stock: of the finals once there are any (`best_is_final`), else of the ranking's first, else the rough
    drift-corrected ratio of the trial that looks best so far, which over-states. None: nothing to say yet. A night that is over
    without finals of its own leaves those of the night before. `samples`, `failures`, `trials` are of all nights, those with
    `night_` of the last one. `carried`: it came in a bundle. `night` 0: none has begun. `purpose` of that night: tune or baseline. `outcome` "": the latest night is not over. `last_at` "": no event yet.
    """

    name: str
    created: str
    board: str
    sitting: Sitting | None
    carried: bool = False
    stage: str = "not begun"
    night: int = 0
    samples: int = 0
    failures: int = 0
    trials: int = 0
    night_samples: int = 0
    night_failures: int = 0
    night_trials: int = 0
    best: float | None = None
    best_trial: int | None = None
    best_is_final: bool = False
    deadline: str | None = None
    outcome: str = ""
    last_at: str = ""
    purpose: str = "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The figure of StudySummary with the trial that it is of; None: there is none."""

    ratio: float | None = None
    trial: int | None = None
    is_final: bool = False


_COLUMNS = (
    EVENTS.c.seq,
    EVENTS.c.kind,
    EVENTS.c.at,
    EVENTS.c.night,
    EVENTS.c.stage,
    EVENTS.c.arm,
    EVENTS.c.trial,
    EVENTS.c.sample_key,
    EVENTS.c.voids,
    EVENTS.c.blame,
    EVENTS.c.requests_per_s,
)


def summary_of(
    connection: Connection,
    study_id: int,
    *,
    name: str,
    created: str,
    board: str,
    sitting: Sitting | None,
    carried: bool,
) -> StudySummary:
    """Where the study with this id stands."""
    rows = connection.execute(
        sa.select(*_COLUMNS).where(EVENTS.c.study_id == study_id).order_by(EVENTS.c.seq)
    ).all()
    if not rows:
        return StudySummary(name=name, created=created, board=board, sitting=sitting, carried=carried)
    bodies = _bodies(connection, study_id, rows)
    void = {row.voids for row in rows if row.voids is not None}
    samples = [row for row in rows if row.kind == "sample" and row.sample_key not in void]
    begun = bodies.get("night begun", {})
    ended = bodies.get("night ended", {})
    night = int(begun.get("night", 0))
    outcome = str(ended.get("outcome", "")) if ended.get("night") == night else ""
    best = _best(samples, rows, bodies.get("ranking", {}), night, is_over=bool(outcome))
    failures = [row for row in rows if row.kind == "failure"]
    trials = [row for row in rows if row.kind == "proposal"]
    return StudySummary(
        name=name,
        created=created,
        board=board,
        sitting=sitting,
        carried=carried,
        stage=_stage(rows, bodies.get("ranking", {}), night, outcome),
        night=night,
        samples=len(samples),
        failures=len(failures),
        trials=len(trials),
        night_samples=sum(row.night == night for row in samples),
        night_failures=sum(row.night == night for row in failures),
        night_trials=sum(row.night == night for row in trials),
        best=best.ratio,
        best_trial=best.trial,
        best_is_final=best.is_final,
        deadline=begun.get("deadline"),
        outcome=outcome,
        last_at=rows[-1].at,
        purpose=str(begun.get("purpose", "tune")),
    )


def _bodies(connection: Connection, study_id: int, rows: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """The latest event of each kind that a column can't tell all about."""
    latest = {row.kind: row.seq for row in rows if row.kind in ("night begun", "night ended", "ranking")}
    found = connection.execute(
        sa.select(EVENTS.c.kind, EVENTS.c.body).where(
            EVENTS.c.study_id == study_id, EVENTS.c.seq.in_(latest.values())
        )
    )
    return {row.kind: json.loads(row.body) for row in found}


def _stage(rows: Sequence[Any], ranking: Mapping[str, Any], night: int, outcome: str) -> str:
    if outcome:
        return "ended"
    for row in reversed(rows):
        if row.night != night:
            continue
        if row.stage is not None:
            return str(row.stage)
        if row.kind == "ranking":
            return "distillation" if ranking.get("purpose") == "winner" else "finalists"
        if row.kind == "subsets":
            return "distillation"
        if row.kind == "distilled":
            return "finals"
        if row.kind == "proposal":
            return "search"
    return "calibration"


def _best(
    samples: Sequence[Any], rows: Sequence[Any], ranking: Mapping[str, Any], night: int, *, is_over: bool
) -> _Best:
    ranked: Sequence[int] = ranking.get("trials", ()) if ranking.get("night") == night else ()
    finals = _finals_ratios(samples)
    told = night if not is_over or night in finals else max(finals, default=night)
    if told in finals:
        return _Best(ratio=finals[told], trial=ranked[0] if ranked and told == night else None, is_final=True)
    if ranked:
        return _Best(ratio=math.exp(ranking["scores"][0]), trial=ranked[0])
    barred = {row.trial for row in rows if row.kind == "failure" and row.blame == "configuration"}
    scores = {trial: fmean(found) for trial, found in _rough_scores(samples).items() if trial not in barred}
    if not scores:
        return _Best()
    first = max(scores, key=lambda trial: (scores[trial], -trial))
    return _Best(ratio=math.exp(scores[first]), trial=first)


def _finals_ratios(samples: Sequence[Any]) -> dict[int, float]:
    """Automatic to stock in the finals of each night that has some of both."""
    finals: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in samples:
        if row.stage == "finals" and row.requests_per_s > 0:
            finals[row.night, row.arm].append(math.log(row.requests_per_s))
    return {
        night: math.exp(fmean(logs) - fmean(finals[night, "stock"]))
        for (night, arm), logs in list(finals.items())
        if arm == "automatic" and finals[night, "stock"]
    }


def _rough_scores(samples: Sequence[Any]) -> dict[int, list[float]]:
    """ln(trial / stock) of every sample of a trial, stock being drawn straight between its neighbours in the night."""
    levels: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for row in samples:
        if row.arm == "stock" and row.requests_per_s > 0:
            levels[row.night].append((row.seq, math.log(row.requests_per_s)))
    scores: dict[int, list[float]] = defaultdict(list)
    for row in samples:
        known = levels[row.night]
        if row.arm != "trial" or row.requests_per_s <= 0 or not known:
            continue
        after = bisect.bisect(known, (row.seq, 0.0))
        (left_seq, left), (right_seq, right) = known[max(0, after - 1)], known[min(after, len(known) - 1)]
        share = (row.seq - left_seq) / (right_seq - left_seq) if right_seq != left_seq else 0.0
        scores[row.trial].append(math.log(row.requests_per_s) - (left + share * (right - left)))
    return scores
