"""What a configuration means on a board that has no load generator beside its server any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autotune.experiment.events import NightBegun
from autotune.experiment.study import Placement, Study
from autotune.space.configuration import Configuration

_WORKERS: Final = "nginx:worker_processes"
_AFFINITY: Final = "nginx:worker_cpu_affinity"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsInstalled:
    """`notes`: where it differs from what was measured, and why."""

    configuration: Configuration
    notes: tuple[str, ...]


def as_installed(study: Study, begun: NightBegun, configuration: Configuration) -> AsInstalled:
    """Pinned, the server had some of the CPUs; installed, it has them all. One worker for each of its CPUs stays that."""
    had, there = begun.facts.get("board.server_cpus"), begun.facts.get("board.cpus")
    if study.placement is not Placement.PINNED or not isinstance(had, int) or not isinstance(there, int):
        return AsInstalled(configuration=configuration, notes=())
    values, notes = dict(configuration.mapping), []
    shared = f"in the night the server had {had} of {there} CPUs, the generator the rest"
    if had < there:
        if (workers := values.get(_WORKERS)) == had:
            values[_WORKERS] = "auto"
            notes.append(
                f"{_WORKERS}: measured with {workers}, installed as auto: one for each CPU either way; {shared}."
            )
        elif workers not in (None, "auto"):
            notes.append(f"{_WORKERS}: {workers} as measured, though {shared}.")
        if _AFFINITY in values:
            notes.append(f"{_AFFINITY}: as measured, though {shared}.")
        notes += [
            f"{id_}: `workers` are all CPUs now; {shared}."
            for id_, value in values.items()
            if value == "workers"
        ]
    return AsInstalled(configuration=Configuration.of(values), notes=tuple(notes))
