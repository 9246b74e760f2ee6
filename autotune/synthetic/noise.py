"""What disturbs ln(requests/s) of a run, apart from the board's heat and where its workers landed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from autotune.synthetic.draws import exponential, normal, uniforms

GRID_S = 20.0
"""The step of the wandering part: about the distance of two samples of a real night."""
WANDER_PER_STEP = 0.97
"""Correlation of the wandering part over one step: it forgets within about eleven minutes."""
SLOT_S = 1800.0
"""At most one episode of throttling begins in each slot of this length."""

Kind: TypeAlias = Literal["normal", "heavy-tailed", "one-sided", "drifting", "throttling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a kind of noise is made of.

    `tail`: Tukey's h, 0 is normal, 0.15 has a kurtosis of 10. `slow_share` of the runs lose an exponential amount with a
    mean of `slow_sigmas` standard deviations of the others. `drift_per_hour`: change of ln(requests/s). `wander`: share of
    the variance that changes slowly, and so the correlation of neighbouring samples. `episodes`: probability that a
    slot has an episode of throttling, of one to ten minutes and a loss of 3 to 15 %; `seen` of them are noticed by the
    board.
    """

    tail: float = 0.0
    slow_share: float = 0.0
    slow_sigmas: float = 0.0
    drift_per_hour: float = 0.0
    wander: float = 0.0
    episodes: float = 0.0
    seen: float = 0.0


SHAPES: Mapping[Kind, Shape] = MappingProxyType(
    {
        "normal": Shape(),
        "heavy-tailed": Shape(tail=0.15),
        "one-sided": Shape(slow_share=0.08, slow_sigmas=3.0),
        "drifting": Shape(drift_per_hour=-0.02, wander=0.6),
        "throttling": Shape(wander=0.2, episodes=0.5, seen=0.5),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """How much a board's runs differ. `cv`: standard deviation of ln(requests/s) of one run, whatever the kind; drift and
    throttling come on top. `drift_per_hour` and `autocorrelation` (of neighbouring samples) are added to what the kind
    has. `mishaps`: share of the samples that the environment spoils.
    """

    cv: float
    kind: Kind = "normal"
    drift_per_hour: float = 0.0
    autocorrelation: float = 0.0
    mishaps: float = 0.0

    @property
    def shape(self) -> Shape:
        """Everything that is going on, the kind's and what was added."""
        kind = SHAPES[self.kind]
        return Shape(
            tail=kind.tail,
            slow_share=kind.slow_share,
            slow_sigmas=kind.slow_sigmas,
            drift_per_hour=kind.drift_per_hour + self.drift_per_hour,
            wander=min(0.95, kind.wander + self.autocorrelation),
            episodes=kind.episodes,
            seen=kind.seen,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A time in which the board is slowed down. `loss`: of ln(requests/s). `seen`: its cooling devices tell of it."""

    begins_s: float
    ends_s: float
    loss: float
    seen: bool

    def share(self, from_s: float, to_s: float) -> float:
        """The part of a run that it covers."""
        overlap = min(self.ends_s, to_s) - max(self.begins_s, from_s)
        return max(0.0, overlap) / (to_s - from_s)


class Noise:
    """One night's disturbance. Every number depends on the seed, the name of the run and the time, and nothing else.

    The wandering part is an AR(1) process on a grid that begins with the night (`origin_s`).
    """

    def __init__(self, disturbance: Disturbance, *, seed: int, origin_s: float) -> None:
        self._shape = disturbance.shape
        self._seed = seed
        self._origin_s = origin_s
        self._wander: list[float] = []
        shape = self._shape
        self._tail_sigma = (1 - 2 * shape.tail) ** -0.75
        slow_variance = shape.slow_sigmas**2 * (2 * shape.slow_share - shape.slow_share**2)
        self._scale = disturbance.cv / math.sqrt(1 + slow_variance)
        self._own = math.sqrt(1 - shape.wander)
        self._shared = math.sqrt(shape.wander)

    def of_run(self, name: str, at_s: float) -> float:
        """The run's own deviation of ln(requests/s): standard deviation `cv`."""
        shape = self._shape
        first, second, third, *_ = uniforms(self._seed, f"run/{name}")
        z = self._own * normal(first)
        if self._shared:
            z += self._shared * self._wandering(at_s)
        if shape.tail:
            z *= math.exp(shape.tail * z * z / 2) / self._tail_sigma
        if second < shape.slow_share:
            z -= shape.slow_sigmas * exponential(third)
        return self._scale * z

    def drift(self, at_s: float) -> float:
        """By how much ln(requests/s) has drifted since the night began."""
        return self._shape.drift_per_hour * (at_s - self._origin_s) / 3600

    def episodes(self, from_s: float, to_s: float) -> tuple[Episode, ...]:
        """The episodes of throttling that touch this time."""
        if not self._shape.episodes:
            return ()
        slots = range(
            int((from_s - self._origin_s) // SLOT_S) - 1, int((to_s - self._origin_s) // SLOT_S) + 1
        )
        found = (self._episode(slot) for slot in slots)
        return tuple(one for one in found if one is not None and one.begins_s < to_s and one.ends_s > from_s)

    def _episode(self, slot: int) -> Episode | None:
        there, when, length, depth, seen, *_ = uniforms(self._seed, f"episode/{slot}")
        if there >= self._shape.episodes:
            return None
        begins_s = self._origin_s + (slot + when) * SLOT_S
        return Episode(
            begins_s=begins_s,
            ends_s=begins_s + 60 + 540 * length,
            loss=0.03 + 0.12 * depth,
            seen=seen < self._shape.seen,
        )

    def _wandering(self, at_s: float) -> float:
        """The slow part at this time: mean 0, variance 1."""
        step = max(0, int((at_s - self._origin_s) // GRID_S))
        levels = self._wander
        while len(levels) <= step:
            fresh = normal(uniforms(self._seed, f"wander/{len(levels)}")[0])
            levels.append(
                WANDER_PER_STEP * levels[-1] + math.sqrt(1 - WANDER_PER_STEP**2) * fresh if levels else fresh
            )
        return levels[step]
