"""What the night tells whoever watches. One way: a watcher can't change anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence about what happens: for the log file and plain output."""

    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the night stands, after every event.

    `sample` of `samples` counts this stage. `current` and `best` are ratios to stock (1.05 is 5 % faster) with half
    the width of their rough 95 % interval; None while unknown. `time_left_s` None: no estimate yet.
    """

    study: str
    stage: str
    sample: int
    samples: int
    current: float | None
    current_pm: float | None
    best: float | None
    best_pm: float | None
    failures: int
    time_left_s: float | None
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The loop goes round: told before every sample and about once a second while it waits."""


Notice: TypeAlias = Said | Progress | Alive
Watcher: TypeAlias = Callable[[Notice], None]
