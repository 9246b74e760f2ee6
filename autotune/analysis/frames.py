"""A study as pandas DataFrames, for questions that no page answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from autotune.analysis.dataset import values_in_force
from autotune.experiment.events import Event, Failure, FixedRate, Measurement, Sample
from autotune.experiment.study import Study
from autotune.measurement.comparison import compare
from autotune.measurement.logbook import read_log
from autotune.measurement.scores import scores_of
from autotune.space.value import Value

_Row: TypeAlias = dict[str, Any]  # one row of a frame by column; pandas gives each column its type
_WIDEST = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFrames:
    """`samples`, `trials` and `steps` of the study `name`. Ratios are to stock unless said otherwise: 1.05 is 5 % more.

    samples: one row per run, so a sample of two workloads has two; a failed attempt has one row, without figures
      night                      int64                night of the study, from 1
      stage                      string               calibration, search, finalists, distillation, finals, series or attribution
      block                      int64                pair, round or place in the search, from 0
      position                   int64                place within the block, from 0
      attempt                    int64                0, or the number of the re-take
      at                         datetime64[us, UTC]  when it was stored
      arm                        string               stock, hand-tuned, automatic, step, alone (one step), without (all but one), trial or subset
      number                     Int64                of the step, trial or subset
      state                      string               counted, void (declared so afterwards) or failed
      blame                      string               of a failed one: configuration or environment
      reason                     string               why it is void or failed
      gates                      string               gates that it did not pass
      workload                   string               name of the load
      requests                   Int64                answered requests
      requests_per_s             float64              1/s
      bytes                      Int64                bytes received, headers included
      duration_s                 float64              s
      latency_mean_s             float64              s, under full load, closed loop
      latency_p50_s              float64              s
      latency_p90_s              float64              s
      latency_p95_s              float64              s
      latency_p99_s              float64              s
      latency_p999_s             float64              s
      latency_max_s              float64              s
      errors                     Int64                connect, read, write, status and timeout errors
      server_cpu_s               float64              CPU seconds of the server
      client_cpu_s               float64              CPU seconds of the load generator
      requests_per_server_cpu_s  float64              1/s
      cpu_busy                   float64              share of the server's CPUs that was not idle, 0 to 1
      power_w                    float64              W, mean of the run
      fixed_rate_per_s           float64              1/s that were due in the run at a fixed rate
      fixed_answered_per_s       float64              1/s that were answered in it
      fixed_latency_p50_s        float64              s, from the moment a request was due
      fixed_latency_p99_s        float64              s
      fixed_latency_p999_s       float64              s
      fixed_latency_max_s        float64              s
      objective                  float64              ln of what the study maximises, all workloads together
      switch_s                   float64              s that the switch to this configuration took

    trials: one row per candidate of the search; stock is trial 0
      number                     int64                trial number
      night                      int64                night that proposed it
      at                         datetime64[us, UTC]  when it was proposed
      origin                     string               stock, hand-tuned, start-up or sampler
      samples                    int64                runs that its score comes from
      ratio                      float64              drift taken out
      score                      float64              ln of ratio
      error                      float64              standard error of score
      shrunken                   float64              score less the luck that the best of many has
      failed                     bool                 its configuration failed by its own fault
      unstable                   bool                 its runs differ too much: it can't win
      suspect                    bool                 all its runs lie around a jump of stock's level
      (a parameter's id)         as its values        value in force; a type of pandas where all are alike, else object

    steps: one row per hand-tuned step and night, over the step before
      night                      int64                night of the study
      number                     int64                step of the sequence
      name                       string               its name
      state                      string               full, partial, already so or not available
      applied                    int64                items in force here
      of                         int64                items of the step
      ratio                      float64              to the step before
      low                        float64              95 % interval of ratio
      high                       float64              95 % interval of ratio
      n                          int64                rounds that it comes from
      published                  float64              ratio that the text tells, never measured here
      only                       float64              of the attribution: this step alone, to stock
      without                    float64              all steps, to all but this one
      share                      float64              what it brings on average over all orders, as a ratio
      share_low                  float64              95 % interval of share
      share_high                 float64              95 % interval of share
      verdict                    string               of share: helps, harms, nothing to be seen or not measured
    """

    name: str
    samples: pd.DataFrame
    trials: pd.DataFrame
    steps: pd.DataFrame


def documented(frame: str) -> dict[str, tuple[str, str]]:
    """Type and meaning of each column of `samples`, `trials` or `steps`, as StudyFrames says them."""
    found: dict[str, tuple[str, str]] = {}
    part = (StudyFrames.__doc__ or "").split(f"\n    {frame}: ", 1)[1].split("\n\n", 1)[0]
    for line in part.splitlines()[1:]:
        name, type_, meaning = line[6:33].strip(), line[33:54].strip(), line[54:].strip()
        if name:
            found[name] = (type_, meaning)
    return found


def frames_of(study: Study, log: Sequence[Event]) -> StudyFrames:
    """Everything that the log tells in figures; empty frames with all their columns where there is nothing yet."""
    trials = _frame("trials", _trials(study, log))
    for parameter in study.space.parameters:
        if parameter.id in trials:
            trials[parameter.id] = _typed(trials[parameter.id])
    return StudyFrames(
        name=study.name,
        samples=_frame("samples", _samples(log)),
        trials=trials,
        steps=_frame("steps", _steps(study, log)),
    )


def _frame(name: str, rows: Iterable[_Row]) -> pd.DataFrame:
    """A frame with the documented columns first, each of its documented type, whatever the rows have."""
    types = {column: type_ for column, (type_, _) in documented(name).items() if not column.startswith("(")}
    several = list(rows)
    others = [column for column in (several[0] if several else ()) if column not in types]
    frame = pd.DataFrame(several, columns=[*types, *others], dtype=object)
    for column, type_ in types.items():
        if type_.startswith("datetime64"):
            frame[column] = pd.to_datetime(frame[column], format="ISO8601", utc=True).astype(type_)
        else:
            frame[column] = frame[column].astype(type_)
    return frame


def _samples(log: Sequence[Event]) -> Iterator[_Row]:
    voids = {one.key: one.reason for one in read_log(log).voids}
    for event in log:
        if not isinstance(event, (Sample, Failure)):
            continue
        failed = [gate.name for gate in event.gates if gate.passed is False]
        row: _Row = {
            "night": event.key.night,
            "stage": str(event.key.stage),
            "block": event.key.block,
            "position": event.key.position,
            "attempt": event.key.attempt,
            "at": event.at,
            "arm": event.arm.kind,
            "number": None if event.arm.kind in ("stock", "hand-tuned", "automatic") else event.arm.number,
            "gates": ", ".join(failed),
            "switch_s": event.switch_s,
        }
        if isinstance(event, Failure):
            yield row | {"state": "failed", "blame": event.blame, "reason": event.reason}
            continue
        reason = voids.get(event.key)
        row |= {"state": "counted" if reason is None else "void", "reason": reason}
        for workload, run in event.measurements.items():
            paced = event.fixed_rate.get(workload)
            yield row | {"workload": workload, "objective": event.objective} | _run(run) | _paced(paced)


def _run(run: Measurement) -> _Row:
    figures = run.model_dump(exclude={"counters", "errors"})
    return figures | {
        "errors": run.errors.total,
        "requests_per_server_cpu_s": run.requests_per_server_cpu_s,
    }


def _paced(run: FixedRate | None) -> _Row:
    if run is None:
        return {}
    return {
        "fixed_rate_per_s": run.rate_per_s,
        "fixed_answered_per_s": run.answered_per_s,
        "fixed_latency_p50_s": run.latency_p50_s,
        "fixed_latency_p99_s": run.latency_p99_s,
        "fixed_latency_p999_s": run.latency_p999_s,
        "fixed_latency_max_s": run.latency_max_s,
    }


def _trials(study: Study, log: Sequence[Event]) -> Iterator[_Row]:
    book = read_log(log)
    scores, in_force = scores_of(book), values_in_force(book)
    for number, proposal in sorted(book.proposals.items()):
        known = scores.get(number)
        values: Mapping[str, Value] = in_force.get(
            number, proposal.configuration.over(book.stock(proposal.night))
        )
        score = math.nan if known is None else known.score
        yield {
            "number": number,
            "night": proposal.night,
            "at": proposal.at,
            "origin": proposal.origin,
            "samples": 0 if known is None else known.n,
            "ratio": math.exp(score),
            "score": score,
            "error": math.nan if known is None else known.error,
            "shrunken": math.nan if known is None else known.shrunken,
            "failed": known is not None and known.failed,
            "unstable": known is not None and known.unstable,
            "suspect": known is not None and known.suspect,
            **{id_: values.get(id_) for id_ in study.space.ids},
        }


def _typed(column: pd.Series) -> pd.Series:
    """The values of one parameter in a type of pandas, where they are all alike."""
    kinds = {type(value) for value in column if value is not None}
    if kinds == {bool}:
        return column.astype("boolean")
    if kinds == {str}:
        return column.astype("string")
    if kinds == {int} and all(value is None or abs(value) < _WIDEST for value in column):
        return column.astype("Int64")
    return column.astype("Float64") if kinds in ({float}, {int, float}) else column


def _steps(study: Study, log: Sequence[Event]) -> Iterator[_Row]:
    for night in sorted(read_log(log).begun):
        found = compare(study, log, night)
        shares = {one.number: one for one in found.attribution.steps}
        for step in found.steps:
            share = shares[step.number]
            yield {
                "night": night,
                **dataclasses.asdict(step),
                "only": share.only.ratio,
                "without": share.without.ratio,
                "share": share.share.ratio,
                "share_low": share.share.low,
                "share_high": share.share.high,
                "verdict": share.verdict,
            }
