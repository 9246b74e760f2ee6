"""Every sample of a night: a row for each to look at, and what stands behind it (gates, doubts, raw output), packed."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from autotune.experiment.events import Failure, Sample
from autotune.report.gate_parts import gates_text
from autotune.report.heat_picture import temperature_c
from autotune.report.page import printable
from autotune.report.words import objective_words, percent_text, rate_text

if TYPE_CHECKING:
    from autotune.report.night_report import NightReport

PACKED: Final = 200
"""So many samples share one packet: small enough for a phone to open, large enough to pack well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One attempt as texts, in the order of `sample_columns`. `state`: counted, void or failed."""

    cells: tuple[str, ...]
    state: str


def sample_columns(told: NightReport) -> tuple[str, ...]:
    figure = objective_words(told.study).figure
    return (
        "no.",
        "time",
        "stage",
        "round",
        "arm",
        figure,
        "to stock",
        "p99",
        "CPU s",
        "°C",
        "gates",
        "counts",
    )


def sample_rows(told: NightReport) -> Iterator[SampleRow]:
    """Every attempt of the night, first to last. `to stock` is of the search alone: drift removed."""
    from autotune.measurement.bounds import latency_p99_s
    from autotune.measurement.by_workload import geometric_mean

    ratios = {one.key: one.ratio for one in told.points if not math.isnan(one.ratio)}
    for number, (event, _) in enumerate(told.attempts, 1):
        key = event.key
        head = (str(number), _clock(event.at), str(key.stage), str(key.block + 1), event.arm.text)
        if isinstance(event, Failure):
            reason = f"failed ({event.blame}): {event.reason}"
            yield SampleRow(
                cells=(*head, "-", "-", "-", "-", "-", gates_text(event.gates), reason), state="failed"
            )
            continue
        heat = temperature_c(event)
        ratio = ratios.get(key.text)
        void = told.voids.get(key.text)
        yield SampleRow(
            cells=(
                *head,
                rate_text(event.rate),
                "-" if ratio is None else percent_text(ratio),
                f"{geometric_mean(told.study, event, latency_p99_s) * 1000:.2f} ms",
                f"{sum(run.server_cpu_s for run in event.measurements.values()):.2f}",
                "-" if heat is None else f"{heat:.1f}",
                gates_text(event.gates),
                "yes" if void is None else f"void: {void}",
            ),
            state="counted" if void is None else "void",
        )


def rows_html(rows: Sequence[SampleRow], texts: Collection[int]) -> str:
    """The rows of a table's body; the columns at `texts` are words, the others numbers. (A template is too slow for so many.)"""
    opening = (
        ["<td>" if at in texts else '<td class="right">' for at in range(len(rows[0].cells))] if rows else []
    )
    lines = []
    for row in rows:
        cells = "".join(
            f"{td}{escape(printable(cell))}</td>" for td, cell in zip(opening, row.cells, strict=True)
        )
        lines.append(
            f"<tr>{cells}</tr>" if row.state == "counted" else f'<tr class="{row.state}">{cells}</tr>'
        )
    return "\n".join(lines)


def packets(told: NightReport) -> Iterator[str]:
    """What stands behind the rows, PACKED of them at a time: gzip in base64 of a JSON document.

    `gates`: each distinct (name, passed, limit, detail); `samples`: of each attempt its gates as [which, value], its doubts, its raw
    output. Said so because the gates of all samples are nearly the same.
    """
    attempts = iter(told.attempts)
    while several := [event for event, _ in islice(attempts, PACKED)]:
        text = json.dumps(_packet(told, several), ensure_ascii=False, separators=(",", ":"))
        # mtime 0: the same night gives the same file.
        yield base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 9, mtime=0)).decode("ascii")


def _packet(told: NightReport, several: Sequence[Sample | Failure]) -> dict[str, Any]:
    gates: dict[tuple[str, bool | None, str, str], int] = {}
    samples = []
    for event in several:
        asked = []
        for gate in event.gates:
            limit = "" if gate.limit is None else f"{gate.limit:g}"
            which = gates.setdefault((gate.name, gate.passed, limit, gate.detail), len(gates))
            asked.append([which, "" if gate.value is None else f"{gate.value:g}"])
        doubts = [printable(one.text) for one in event.doubts] if isinstance(event, Sample) else []
        samples.append([asked, doubts, printable(told.raw.get(event.key.text, ""))])
    told_gates = [
        (printable(name), passed, limit, printable(detail)) for name, passed, limit, detail in gates
    ]
    return {"gates": told_gates, "samples": samples}


def _clock(at: str) -> str:
    """An event's stamp as local time of day."""
    return datetime.fromisoformat(at).astimezone().strftime("%m-%d %H:%M:%S")
