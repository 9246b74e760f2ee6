"""How many rounds the attribution of the hand-tuned steps gets: what nothing else of the night needs."""

from __future__ import annotations

from typing import Final

from autotune.experiment.events import Plan, Stage
from autotune.measurement.logbook import Logbook

FEWEST: Final = 6
"""Rounds below which no step can be told to help or to harm: the sign test has no interval."""
MOST: Final = 24
SHARE: Final = 0.1
"""Of a night that tunes, where its other stages have all that they want: 6 rounds of eight steps take 8 % of eight hours with samples of 20 s."""


def rounds_within(samples: float, combinations: int) -> int:
    """How many rounds of so many combinations fit into so many samples; 0 where they would be too few to show anything."""
    rounds = int(samples / combinations) if combinations else 0
    return min(rounds, MOST) if rounds >= FEWEST else 0


def fewer_rounds(book: Logbook, plan: Plan) -> list[dict[str, int]]:
    """What a running night can still give up of it, in order: no fewer than can show something, or none, unless it has begun."""
    begun = bool(book.of_stage(book.night, Stage.ATTRIBUTION))
    return [
        {"attribution_rounds": rounds}
        for rounds in range(plan.attribution_rounds - 1, -1, -1)
        if begun or rounds == 0 or rounds >= FEWEST
    ]
