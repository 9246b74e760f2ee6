"""The report as data: every run as a row of CSV, and all that the page shows as one JSON document."""

from __future__ import annotations

import dataclasses
from typing import Any

from autotune.analysis.frames import frames_of
from autotune.experiment.events import Sample
from autotune.report.comparison_page import comparison_json
from autotune.report.gate_parts import gates_json, steps_json
from autotune.report.learned_parts import Learned, learned_json
from autotune.report.night_report import NightReport

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def samples_csv(told: NightReport) -> str:
    """One row per run of the night, with the columns of `autotune.load_study`'s samples, lines ended by newlines.

    A text that a spreadsheet would take for a formula stands behind an apostrophe.
    """
    frame = frames_of(told.study, told.log).samples
    frame = frame[frame["night"] == told.night]
    for column in ("reason", "gates", "workload"):
        frame[column] = frame[column].map(_as_text, na_action="ignore")
    text: str = frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    return text


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def report_json(told: NightReport, learned: Learned) -> dict[str, Any]:
    """Everything that the page tells, as data; the answer and its doubts as `autotune compare --json` has them."""
    return {
        **comparison_json(told.study, told.log, told.comparison, told.record),
        "title": told.study.title,
        "fingerprint": told.study.fingerprint,
        "nights": told.nights,
        "began": told.begun.at,
        "ended": None if told.ended is None else told.ended.model_dump(mode="json"),
        "board": dict(told.begun.board),
        "dropped": [one.model_dump() for one in told.begun.dropped],
        "finals": [
            {"round": block, **{name.replace("-", "_"): one.rate for name, one in values.items()}}
            for block, values in told.rounds.items()
        ],
        "steps_so_far": [dataclasses.asdict(one) for one in told.levels],
        "search": [dataclasses.asdict(one) for one in told.points],
        **learned_json(learned),
        "gates": gates_json(told.log, told.night),
        "jumps_of_stock": steps_json(told.log, told.night),
        "gaps": [gap.model_dump(mode="json") for gap, _ in told.gaps],
        "samples": [
            {
                "place": event.key.text,
                **event.model_dump(mode="json", exclude={"kind", "key", "configuration", "effective"}),
                "settings": dict(event.configuration.values),
                "void": told.voids.get(event.key.text) if isinstance(event, Sample) else None,
                "raw": told.raw.get(event.key.text, ""),
            }
            for event, _ in told.attempts
        ],
    }
