"""What became of the winner of the search: which of its changes automatic kept, which were pared off, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.experiment.events import Distilled, Event, Proposal
from autotune.experiment.study import Study
from autotune.measurement.distillation import LEVEL
from autotune.report.changes import Change, changes
from autotune.report.page import Table
from autotune.report.words import count_text, percent_text
from autotune.space.value import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class PareDown:
    """The night's distillation, with the winner's changes against stock in two heaps.

    `left_out`: what automatic leaves at stock, or sets otherwise than the winner did.
    """

    event: Distilled
    kept: tuple[Change, ...]
    left_out: tuple[Change, ...]

    @property
    def is_smaller(self) -> bool:
        return self.event.subset is not None and bool(self.left_out)


def pare_down(study: Study, log: Sequence[Event], night: int, stock: Mapping[str, Value]) -> PareDown | None:
    """What the night distilled; None: it did not come to that, or there was nothing to leave out."""
    event = next((one for one in reversed(log) if isinstance(one, Distilled) and one.night == night), None)
    winner = next(
        (one for one in log if isinstance(one, Proposal) and event and one.number == event.trial), None
    )
    if event is None or winner is None:
        return None
    shipped = event.configuration.against(stock).mapping
    won = winner.configuration.against(stock).mapping
    made = changes(study, stock, winner.configuration)
    stays = {id_ for id_, value in won.items() if id_ in shipped and shipped[id_] == value}
    return PareDown(
        event=event,
        kept=tuple(one for one in made if one.id in stays),
        left_out=tuple(one for one in made if one.id not in stays),
    )


def pare_down_lines(pared: PareDown | None) -> tuple[str, ...]:
    """In a sentence or two; nothing where nothing was distilled."""
    if pared is None:
        return ()
    event, of = pared.event, len(pared.kept) + len(pared.left_out)
    if not pared.is_smaller:
        return (
            f"automatic is trial {event.trial} with all of its {count_text(of, 'change')}: {event.reason}.",
        )
    told = ""
    if event.loss is not None:
        told = f": {percent_text(math.exp(-event.loss))}{_interval(event)} in {count_text(event.pairs, 'fresh pair')}"
        told += f" of the two; down to {percent_text(math.exp(-event.margin))} was allowed"
    return (
        (
            f"automatic is {len(pared.kept)} of the {count_text(of, 'change')} of trial {event.trial}, the best of the"
            f" search. The other {len(pared.left_out)} were left out{told}."
        ),
    )


def left_out_table(pared: PareDown | None) -> Table:
    """What was left out; empty where nothing was."""
    trial = f"trial {pared.event.trial}" if pared else ""
    return Table(
        title=f"Left out of automatic: in {trial}, and not needed for its gain",
        columns=("setting", "stock, and automatic", trial),
        rows=tuple((one.id, one.was or "?", one.now) for one in pared.left_out) if pared else (),
    )


def pare_down_json(pared: PareDown | None) -> dict[str, Any] | None:
    """`ratio`: automatic to the winner as it was found, with its interval; it had to be above `allowed`."""
    if pared is None:
        return None
    event = pared.event
    return {
        "trial": event.trial,
        "kept": {one.id: one.now for one in pared.kept},
        "left_out": {one.id: one.now for one in pared.left_out},
        "ratio": _ratio(event.loss),
        "low": _ratio(event.high),
        "high": _ratio(event.low),
        "level": 1 - LEVEL,
        "allowed": math.exp(-event.margin),
        "pairs": event.pairs,
        "reason": event.reason,
    }


def _ratio(loss: float | None) -> float | None:
    """Automatic to winner, of the natural log of winner to automatic."""
    return None if loss is None or not math.isfinite(loss) else math.exp(-loss)


def _interval(event: Distilled) -> str:
    low, high = _ratio(event.high), _ratio(event.low)
    if low is None or high is None:
        return ""
    return f" ({100 * (1 - LEVEL):.0f} % interval {percent_text(low).removesuffix(' %')} to {percent_text(high)})"
