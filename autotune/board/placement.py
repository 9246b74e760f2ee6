"""Which CPUs the server gets and which the load generator beside it."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.board.facts import BoardFacts
from autotune.experiment.events import Doubt
from autotune.experiment.study import Placement, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuPlacement:
    """CPU numbers for each side; () means all CPUs."""

    server: tuple[int, ...] = ()
    generator: tuple[int, ...] = ()


_ONE_CORE = Doubt(
    code="one core",
    text="the CPUs are threads of one core, so server and load generator slow each other down",
    next="push from a second machine; requests per server CPU-second are no way out here",
)


def place_for(facts: BoardFacts, study: Study) -> CpuPlacement:
    """The board's CPUs as the study asks for: with the load from elsewhere all of them are the server's."""
    return place(facts, study.placement) if study.load_is_on_board else CpuPlacement()


def generator_cpus(facts: BoardFacts, placement: Placement) -> tuple[int, ...]:
    """The CPUs of a generator that has a machine for itself. Pinned: those of the fastest kind, so that no run of it wanders
    to another kind; free: () for all.
    """
    return () if placement is Placement.FREE else facts.big_cpus()


def place(facts: BoardFacts, placement: Placement) -> CpuPlacement:
    """Pinned: two disjoint sets, the generator's first. Free, or with one CPU only: everything for both.

    Where CPUs differ (big.LITTLE) the server gets the fastest kind and the generator the rest: no sample may find a
    worker on another kind of core than the last. Where all are alike the generator gets a third (at least one): pushing
    small files, wrk eats about 45 % of a shared machine, and it must not be the limit before the server is. Whole cores,
    so that no thread of the server's shares one with the generator's; of one core alone the threads are shared out,
    because either way both share it, and pinned the figures are quieter.
    """
    cpus = tuple(sorted(facts.cpus))
    if placement is Placement.FREE or len(cpus) < 2:
        return CpuPlacement()
    big = facts.big_cpus()
    if len(big) < len(cpus):
        return CpuPlacement(server=big, generator=tuple(cpu for cpu in cpus if cpu not in big))
    cores = _cores(facts)
    if len(cores) == 1:
        cores = [(cpu,) for cpu in cpus]
    spared = max(1, round(len(cores) / 3))
    return CpuPlacement(server=_joined(cores[spared:]), generator=_joined(cores[:spared]))


def _cores(facts: BoardFacts) -> list[tuple[int, ...]]:
    """Usable CPUs by core, the core of the lowest CPU first."""
    told = [tuple(cpu for cpu in sorted(core) if cpu in facts.cpus) for core in facts.cores]
    known = {cpu for core in told for cpu in core}
    return sorted([core for core in told if core] + [(cpu,) for cpu in facts.cpus if cpu not in known])


def _joined(cores: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(cpu for core in cores for cpu in core))


def doubts_for(facts: BoardFacts, study: Study) -> tuple[Doubt, ...]:
    """Why the board's CPUs can't be had as the study asks for; empty when they can."""
    return placement_doubts(facts, study.placement) if study.load_is_on_board else ()


def placement_doubts(facts: BoardFacts, placement: Placement) -> tuple[Doubt, ...]:
    """Why the placement that the workload asks for is not to be had here; empty when it is."""
    if placement is Placement.FREE:
        return ()
    if len(facts.cpus) >= 2:
        return () if len(_cores(facts)) > 1 else (_ONE_CORE,)
    return (
        Doubt(
            code="not pinned",
            text="there is one CPU only, so server and load generator share it and disturb each other",
            next='say placement = "free", or measure on a machine with two CPUs or more',
        ),
    )
