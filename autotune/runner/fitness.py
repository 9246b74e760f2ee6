"""The board's fitness around each sample: waiting until it is cool, and what its state says of each run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.board.fitness import Tonight, cooling_gate, fitness_doubts, fitness_gates, is_cool, settle
from autotune.board.records import LoadSeen
from autotune.experiment.events import Doubt, GateResult, SampleKey
from autotune.experiment.study import FitnessLimits

_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFitness:
    """What the board's state says of one run. `fault`: the gate for which it is to be taken again."""

    gates: tuple[GateResult, ...]
    fault: GateResult | None
    doubts: tuple[Doubt, ...]


def run_fitness(
    seen: LoadSeen, limits: FitnessLimits, now: Tonight, *, server_cpus: Sequence[int]
) -> RunFitness:
    """Every gate asked, and what they come to."""
    gates = fitness_gates(seen, limits, now, server_cpus=server_cpus)
    settled = settle(gates, now)
    return RunFitness(
        gates=gates, fault=settled.fault, doubts=(*settled.doubts, *fitness_doubts(seen, gates))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a sample starts: what its board is compared with, and what waiting for it came to."""

    now: Tonight = field(default_factory=Tonight)
    gate: GateResult | None = None
    fault: GateResult | None = None
    doubts: tuple[Doubt, ...] = ()
    waited_s: float = 0.0


class CoolDown:
    """Waits, a look at a time, until the board is back in the band or its time is over; then `start` says how that ended."""

    def __init__(
        self,
        limits: FitnessLimits,
        levels: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._levels = levels
        self._clock = clock
        self._key: SampleKey | None = None
        self._began_s = 0.0
        self.start = Start()

    def wait_s(self, key: SampleKey, now: Tonight) -> float:
        """Seconds until the next look before this sample; 0: it may be taken now, or no longer be waited for."""
        self.start = Start(now=now)
        if self._limits.cool_down_s == 0:
            return 0.0
        if key != self._key:
            self._key, self._began_s = key, self._clock()
        levels = self._levels()
        waited_s = self._clock() - self._began_s
        if not is_cool(levels, now, self._limits) and waited_s < self._limits.cool_down_s:
            return _LOOK_EVERY_S
        gate = cooling_gate(levels, now, self._limits, waited_s=waited_s)
        settled = settle((gate,), now)
        self.start = Start(
            now=now, gate=gate, fault=settled.fault, doubts=settled.doubts, waited_s=round(waited_s, 3)
        )
        return 0.0
