"""Which deaths a virtual board dies in a night: power cuts and reboots, dealt over the night's stages and moments."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["power cut", "reboot", "reset"]
Moment: TypeAlias = Literal["begin", "switch", "load", "restore"]
MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)
STAGES: Final = ("calibration", "search", "finalists", "finals", "series")
# Out of so many deaths, how many each stage gets.
_SHARES: Final = {"calibration": 5, "search": 7, "finalists": 2, "finals": 4, "series": 2}
# A round torn by a reboot is measured anew: so many samples before the next death, and it can be finished.
_SAMPLES: Final = {
    "calibration": (2, 3),
    "search": (0, 2),
    "finalists": (2, 3),
    "finals": (3, 4),
    "series": (3, 4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardDeath:
    """One planned death. `stage`: not before the night is there, and `samples` more are taken. `delay`: 0 to 1, where in its moment.

    `held`: the controller stands still until the board was looked at after its boot; else it goes on as soon as it can.
    `with_controller`: it dies too, and is started again; `restored`: but only after an `autotune restore`.
    """

    number: int
    kind: Kind
    moment: Moment
    stage: str
    samples: int
    delay: float
    held: bool
    with_controller: bool
    restored: bool

    @property
    def text(self) -> str:
        too = " with its controller" if self.with_controller else ""
        return f"death {self.number}: {self.kind}{too} in {self.moment} ({self.stage})"


def deal(power_cuts: int, reboots: int, seed: int) -> tuple[BoardDeath, ...]:
    """All deaths in the order in which the night meets them; the same for the same numbers and seed.

    A reboot is an orderly one or the reset button's, in turns.
    """
    chance = random.Random(f"board/{seed}/{power_cuts}/{reboots}")
    kinds: list[Kind] = ["power cut"] * power_cuts
    kinds += itertools.islice(itertools.cycle(("reboot", "reset")), reboots)
    moments = itertools.cycle(MOMENTS)
    deaths = [_death(kind, next(moments), chance) for kind in kinds]
    chance.shuffle(deaths)
    stages = sorted(_stages(len(deaths)), key=STAGES.index)
    return tuple(
        replace(one, number=number, stage=stage, samples=chance.randint(*_SAMPLES[stage]))
        for number, (one, stage) in enumerate(zip(deaths, stages, strict=True), 1)
    )


def _death(kind: Kind, moment: Moment, chance: random.Random) -> BoardDeath:
    with_controller = moment != "restore" and chance.random() < 0.3
    return BoardDeath(
        number=0,
        kind=kind,
        moment=moment,
        stage=STAGES[0],
        samples=0,
        delay=chance.random(),
        held=chance.random() < 0.5,
        with_controller=with_controller,
        restored=with_controller and chance.random() < 0.5,
    )


def _stages(count: int) -> list[str]:
    row = [stage for stage, share in _SHARES.items() for _ in range(share)]
    return [row[number * len(row) // count] for number in range(count)]


def budget_for(deaths: Sequence[BoardDeath]) -> dict[str, int]:
    """The study's numbers: each stage has room for its deaths and what they tear."""
    wanted: Counter[str] = Counter()
    for one in deaths:
        wanted[one.stage] += one.samples + 1
    return {
        "calibration_pairs": max(6, wanted["calibration"] // 2 + 1),
        "candidates": max(4, wanted["search"] // 2 + 1),  # each reboot asks for another reference
        "reference_every": 3,
        "finalists": 1,
        "finalist_pairs": max(2, wanted["finalists"] // 2 + 1),
        "distillation_pairs": 0,
        "finals_rounds": 3 * max(4, wanted["finals"] // 9 + 1),
        "series_rounds": wanted["series"] // 2 + 1,
    }
