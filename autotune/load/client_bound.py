"""Is the generator the limit? Said as a doubt: requests per server CPU-second still speak when it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autotune.board.fitness import cpus_of
from autotune.board.records import FarLoadSeen, LoadOrder, LoadSeen
from autotune.experiment.events import Doubt

GENERATOR_BUSY: Final = 0.90
# Sharing its CPUs, the generator is held back by the server when it took this much of what the server left.
_OF_WHAT_WAS_LEFT: Final = 0.90
_STILL_SPEAKS: Final = (
    "Compare requests per server CPU-second, which still speaks, or push from a second machine."
)

_STRONGER: Final = "Compare requests per server CPU-second, which still speaks; or more threads, a stronger load host, a quieter one."


def generator_busy(seen: LoadSeen, order: LoadOrder) -> float:
    """How much of the CPUs it can use at once the generator used, from 0 to 1; 0 where it has no CPUs of its own.

    Sharing its CPUs with the server, a generator is slowed down by it, and its share says less: see `client_bound`.
    """
    return _busy(seen, min(len(order.cpus), order.threads))


def _busy(seen: LoadSeen, usable: int) -> float:
    if usable == 0 or seen.measured.wall_s <= 0:
        return 0.0
    return seen.measured.cpu_s / (seen.measured.wall_s * usable)


def client_bound(seen: LoadSeen, order: LoadOrder) -> tuple[Doubt, ...]:
    """Why the figure may be the generator's limit as much as the server's; () where nothing says so."""
    if isinstance(seen, FarLoadSeen):
        return _bound_from_afar(seen, order)
    if order.cpus:
        busy = generator_busy(seen, order)
        return _bound(f"wrk's own CPUs were {100 * busy:.0f} % busy") if busy > GENERATOR_BUSY else ()
    cpus = cpus_of(seen.counters)
    # Each of its threads had a CPU for nearly the whole run, whoever it shared them with: it could not do more.
    busy = _busy(seen, min(len(cpus) or order.threads, order.threads))
    if busy > GENERATOR_BUSY:
        return _bound(f"wrk's threads were running for {100 * busy:.0f} % of the run")
    if not cpus:
        return ()
    idle_s = sum(_idle_s(seen.counters, cpu) for cpu in cpus)
    took_s = seen.measured.cpu_s
    if took_s <= _OF_WHAT_WAS_LEFT * (took_s + idle_s):
        return ()
    share = took_s / (seen.measured.wall_s * len(cpus)) if seen.measured.wall_s > 0 else 0.0
    return (
        Doubt(
            code="no CPU to spare",
            text=f"server and wrk share {len(cpus)} CPUs, hardly any of which was idle, and wrk took {100 * share:.0f} % of them: "
            "the figure is of both together, and a part of a gain may be the client's",
            next=_STILL_SPEAKS,
        ),
    )


def _bound_from_afar(seen: FarLoadSeen, order: LoadOrder) -> tuple[Doubt, ...]:
    """A machine of its own: its CPUs may also be taken by others there, or by the network's interrupts."""
    host = seen.load_host
    cpus = order.cpus or tuple(cpus_of(host.counters))
    busy = _busy(seen, min(len(cpus) or order.threads, order.threads))
    if busy > GENERATOR_BUSY:
        text = f"wrk's threads were running for {100 * busy:.0f} % of the run on the load host"
        return _bound(text, _STRONGER)
    total = cpu_busy(host.counters, cpus) or 0.0
    if total > GENERATOR_BUSY:
        others = f" (others there: {', '.join(host.busiest)})" if host.busiest else ""
        return _bound(f"the load host's CPUs were {100 * total:.0f} % busy{others}", _STRONGER)
    return ()


def load_host_figures(seen: LoadSeen) -> dict[str, float]:
    """What is kept of the machine that the load came from; {} when that is the board."""
    if not isinstance(seen, FarLoadSeen):
        return {}
    host = seen.load_host
    kept = {
        "cpu_busy": cpu_busy(host.counters, ()),
        "others_s": host.counters.get("cpu.others_s"),
        "load1": host.after.get("load1"),
    }
    return {f"load_host.{name}": value for name, value in kept.items() if value is not None}


def cpu_busy(counters: Mapping[str, float], server_cpus: tuple[int, ...]) -> float | None:
    """Share of the CPUs that the server may use (() for all) which were not idle; None where they were not counted."""
    cpus = server_cpus or tuple(cpus_of(counters))
    total_s = sum(
        value for name, value in counters.items() if name.partition(".")[0] in {f"cpu{cpu}" for cpu in cpus}
    )
    if total_s <= 0:
        return None
    return max(0.0, 1 - sum(_idle_s(counters, cpu) for cpu in cpus) / total_s)


def _idle_s(counters: Mapping[str, float], cpu: int) -> float:
    return counters.get(f"cpu{cpu}.idle_s", 0.0) + counters.get(f"cpu{cpu}.iowait_s", 0.0)


def _bound(how: str, next_: str = _STILL_SPEAKS) -> tuple[Doubt, ...]:
    text = f"{how} (limit {100 * GENERATOR_BUSY:.0f} %): the figure is the generator's limit as much as the server's"
    return (Doubt(code="client-bound", text=text, next=next_),)
