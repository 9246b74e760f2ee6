"""The nights of one study beside each other: what each of them says by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autotune.experiment.events import Event, NightBegun, NightEnded
from autotune.experiment.study import Study
from autotune.measurement.comparison import compare
from autotune.report.finals_parts import ratio_interval
from autotune.report.page import Table
from autotune.report.words import local_time_text, verdict_text


def nights_table(study: Study, log: Sequence[Event], shown: int) -> Table:
    """One row per night with automatic against stock; empty while there is only one. `shown`: the night a page is of."""
    nights = nights_of(log)
    rows = []
    for begun in nights if len(nights) > 1 else ():
        pair = compare(study, log, begun.night).pair("automatic", "stock")
        told = (ratio_interval(pair), str(pair.n), verdict_text(study, pair.verdict)) if pair else ("-",) * 3
        ended = outcome_of(log, begun.night) or "not over"
        rows.append((str(begun.night), local_time_text(begun.at), begun.purpose, ended, *told))
    return Table(
        title=f"Nights of this study; this page is of night {shown}",
        columns=("night", "began", "for", "ended", "automatic / stock", "n", "verdict"),
        rows=tuple(rows),
        right=frozenset({"night", "n"}),
        note="Each verdict is of one night's paired samples; nights are never pooled. Another page: autotune compare"
        f" {study.name} --night N"
        if rows
        else "",
    )


def nights_json(log: Sequence[Event]) -> list[dict[str, Any]]:
    """The nights that have begun; `outcome` None: not over."""
    return [
        {
            "night": begun.night,
            "at": begun.at,
            "purpose": begun.purpose,
            "outcome": outcome_of(log, begun.night) or None,
        }
        for begun in nights_of(log)
    ]


def nights_of(log: Sequence[Event]) -> tuple[NightBegun, ...]:
    return tuple(event for event in log if isinstance(event, NightBegun))


def outcome_of(log: Sequence[Event], night: int) -> str:
    """How it ended; "" while it is not over."""
    return next((one.outcome for one in log if isinstance(one, NightEnded) and one.night == night), "")
