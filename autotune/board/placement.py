"""Which CPUs the server gets and which the load generator beside it."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.board.facts import BoardFacts
from autotune.experiment.events import Doubt
from autotune.experiment.study import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuPlacement:
    """CPU numbers for each side; () means all CPUs."""

    server: tuple[int, ...] = ()
    generator: tuple[int, ...] = ()


def place(facts: BoardFacts, placement: Placement) -> CpuPlacement:
    """Pinned: two disjoint sets, the generator's first. Free, or with one CPU only: everything for both.

    Where CPUs differ (big.LITTLE) the server gets the fastest kind and the generator the rest: no sample may find a
    worker on another kind of core than the last. Where all are alike the generator gets a third (at least one): pushing
    small files, wrk eats about 45 % of a shared machine, and it must not be the limit before the server is.
    """
    cpus = tuple(sorted(facts.cpus))
    if placement is Placement.FREE or len(cpus) < 2:
        return CpuPlacement()
    big = facts.big_cpus()
    if len(big) < len(cpus):
        return CpuPlacement(server=big, generator=tuple(cpu for cpu in cpus if cpu not in big))
    spared = max(1, round(len(cpus) / 3))
    return CpuPlacement(server=cpus[spared:], generator=cpus[:spared])


def placement_doubts(facts: BoardFacts, placement: Placement) -> tuple[Doubt, ...]:
    """Why the placement that the workload asks for is not to be had here; empty when it is."""
    if placement is Placement.FREE or len(facts.cpus) >= 2:
        return ()
    return (
        Doubt(
            code="not pinned",
            text="there is one CPU only, so server and load generator share it and disturb each other",
            next='say placement = "free", or measure on a machine with two CPUs or more',
        ),
    )
