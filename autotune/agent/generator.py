"""A load generator as a process: started, followed while the line stays alive, and gone when its run is over.

The kernel kills it when its agent dies, so none outlives one that was killed itself, on a load host without a guardian too.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import time
from typing import Callable, Dict, List, Sequence, Tuple

from autotune.agent import processes
from autotune.agent.line import Line
from autotune.agent.processes import Child
from autotune.agent.protocol import Run

_OUTPUT_CAP = 256 * 1024
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_RUN: Run = {"exit_code": 0, "stdout": "", "stderr": "", "wall_s": 0.0, "cpu_s": 0.0, "timed_out": False}


class Generator:
    """Starts runs of a load generator on `cpus`; `prepare` is done in each child right before its program runs."""

    def __init__(
        self,
        cpus: Sequence[int],
        line: Line,
        record: Callable[[int, int], None],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._cpus = cpus
        self._line = line
        self._record = record
        self._prepare = prepare
        self._libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork

    def run(
        self, argv: Sequence[str], longest_s: float, moments: Sequence[Tuple[float, Callable[[Child], None]]]
    ) -> Run:
        """One run, killed after `longest_s`; each of `moments` is done so many seconds after its start, in their order.

        Raises Leave when the controller goes or a signal comes; no generator outlives that.
        """
        began = time.monotonic()
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        try:
            child = processes.spawn(
                argv,
                cpus=self._cpus,
                stdout=out_write,
                stderr=error_write,
                record=self._record,
                prepare=self._before_it_runs,
            )
        except BaseException:
            os.close(out_read)
            os.close(error_read)
            raise
        finally:
            os.close(out_write)
            os.close(error_write)
        output = {out_read: bytearray(), error_read: bytearray()}
        todo = [(began + after_s, action) for after_s, action in moments]
        todo.append((began + longest_s, lambda late: late.signal_group(signal.SIGKILL)))
        try:
            timed_out = self._follow(child, output, todo)
        finally:
            _end(child)
            for handle in (out_read, error_read):
                os.close(handle)
        return {
            "exit_code": child.exit_code or 0,
            "stdout": output[out_read].decode("utf-8", "replace"),
            "stderr": output[error_read].decode("utf-8", "replace"),
            "wall_s": time.monotonic() - began,
            "cpu_s": child.cpu_s,
            "timed_out": timed_out,
        }

    def _before_it_runs(self) -> None:
        """In the child."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self._prepare()

    def _follow(
        self,
        child: Child,
        output: Dict[int, bytearray],
        todo: List[Tuple[float, Callable[[Child], None]]],
    ) -> bool:
        """Collects what it prints until it ends; whether it had to be killed."""
        open_handles = list(output)
        while open_handles or child.poll() is None:
            now = time.monotonic()
            if todo and now >= todo[0][0]:
                todo.pop(0)[1](child)
                continue
            wait_s = todo[0][0] - now if todo else 1.0
            # With its pipes closed it ends any moment; SIGCHLD wakes us then, and the poll covers a missed one.
            for handle in self._line.pause(wait_s if open_handles else min(wait_s, 0.05), open_handles):
                data = os.read(handle, 1 << 16)
                if not data:
                    open_handles.remove(handle)
                room = _OUTPUT_CAP - len(output[handle])
                output[handle] += data[:room]
        return not todo


def looks(
    length_s: float, half_s: float, at_half: Callable[[int], None], each_second: Callable[[], None]
) -> List[Tuple[float, Callable[[Child], None]]]:
    """The moments of a run at which something is looked at: its half, where the pid is told, and every whole second."""
    moments: List[Tuple[float, Callable[[Child], None]]] = [
        (float(second), lambda _: each_second()) for second in range(1, math.ceil(length_s))
    ]
    moments.append((half_s, lambda child: at_half(child.pid)))
    return sorted(moments, key=lambda one: one[0])


def _end(child: Child) -> None:
    """Nothing of it is left when this returns; not even when the controller has gone meanwhile."""
    until = time.monotonic() + 5
    while child.group_alive() and time.monotonic() < until:
        child.signal_group(signal.SIGKILL)
        time.sleep(0.001)
