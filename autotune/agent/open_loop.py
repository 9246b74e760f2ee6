"""The open-loop generator: requests due at a fixed rate, whatever the server does, timed from the moment they were due.

It is our own, in Lua for Debian's `luajit`, the compiler that wrk runs its scripts on: wrk2 doesn't build on AArch64 and is in
no registry; vegeta, oha and fortio aren't in Debian 12; h2load --rps counts from the actual sending, so a stall hides.
"""

from __future__ import annotations

import os
import pkgutil
from typing import Callable, Sequence

from autotune.agent.faults import Fault
from autotune.agent.generator import NOT_RUN, Generator, looks
from autotune.agent.line import Line
from autotune.agent.orders import Load, is_address
from autotune.agent.places import write_text
from autotune.agent.protocol import Run

PROGRAM = "luajit"
_FILES = ("open_loop", "open_loop_line", "open_loop_answer", "open_loop_tally")
# How long after its end a run waits for answers: then what is missing counts with the time it has waited so far.
_DRAIN_S = 2.0
_CONNECT_S, _END_EXTRA_S = 5.0, 15.0


def write_open_loop(run_dir: str) -> None:
    """Puts the generator's text where `OpenLoop` expects it."""
    for name in _FILES:
        text = pkgutil.get_data("autotune.agent", f"{name}.lua")
        if text is None:
            raise Fault("failed", f"the agent came without {name}.lua", "this is a bug of ours")
        write_text(f"{run_dir}/{name}.lua", text.decode("ascii"))


def processes_for(connections: int, threads: int, cpus: int) -> int:
    """How many processes share the load: at most one for each thread asked for and each CPU, all with equal parts."""
    return next(count for count in range(min(threads, cpus), 0, -1) if connections % count == 0)


class OpenLoop:
    """One load at the order's rate. Its run-in is part of the measured run: the same process on the same connections."""

    def __init__(
        self, program: str, run_dir: str, order: Load, line: Line, record: Callable[[int, int], None]
    ) -> None:
        self._generator = Generator(order.cpus, line, record)
        self._order = order
        self._argv = open_loop_argv(program, run_dir, order)

    def warm_up(self) -> Run:
        return NOT_RUN

    def measure(self, at_half: Callable[[int], None], each_second: Callable[[], None]) -> Run:
        """`at_half` is handed its pid half-way."""
        order = self._order
        whole_s = order.warmup_s + order.duration_s
        longest_s = _CONNECT_S + whole_s + _DRAIN_S + _END_EXTRA_S
        moments = looks(whole_s, order.warmup_s + order.duration_s / 2, at_half, each_second)
        return self._generator.run(self._argv, longest_s, moments)


def open_loop_argv(program: str, run_dir: str, order: Load) -> Sequence[str]:
    """The command that runs this load; the files below `run_dir` are there already."""
    name = "" if is_address(order.host) else order.host  # TLS names no address (RFC 6066, 3)
    cpus = len(order.cpus) or len(os.sched_getaffinity(0))
    return (
        program,
        f"{run_dir}/open_loop.lua",
        order.marker,
        order.address,
        str(order.port),
        order.origin.partition("//")[2],
        name if order.scheme == "https" else "-",
        repr(order.rate_per_s),
        str(order.connections),
        str(processes_for(order.connections, order.threads, cpus)),
        repr(order.warmup_s),
        repr(order.duration_s),
        repr(_DRAIN_S),
        f"{run_dir}/requests",
    )
