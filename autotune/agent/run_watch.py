"""Everything that is looked at around a measured run, beside what the run itself says: made before it, ended after it.

A Watch begins before the warm-up. When the load comes from another machine, its controller has the board's answer to `run` in
hand before it orders the measured run, and orders `end` after that run's answer has come: so the window of the counters holds
the whole run, and is longer by about three ways of a message. The server does nothing in that time, so its CPU seconds are the run's.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

from autotune.agent import bystanders, canary, counters, heat, power, real_clock
from autotune.agent.faults import Fault
from autotune.agent.kernel_log import KernelLog
from autotune.agent.nginx import Server
from autotune.agent.protocol import Watched

Place = Tuple[str, int]


class Elsewhere:
    """The server of a load host's load: it is on another machine, so nothing of it is seen here."""

    cpus: Tuple[int, ...] = ()

    def workers(self) -> List[int]:
        return []

    def cpu_s(self) -> float:
        return 0.0

    def cpu_s_behind(self) -> float:
        return 0.0

    def error_log(self) -> str:
        return ""


class Watch:
    """From before the warm-up to after the measured run. Must be closed."""

    def __init__(self, server: Union[Server, Elsewhere]) -> None:
        self._server = server
        self._workers_before = server.workers()
        self._kernel_log = KernelLog()
        self._run: Optional[RunWatch] = None

    def begin_run(self, where: Optional[Place], meter: str) -> None:
        """The measured run is about to begin. `where`: the server that local ports lead to, on the generator's machine."""
        self._run = RunWatch(self._server, lambda: counters.levels(where), meter)

    def each_second(self) -> None:
        """To be called once a second of the measured run."""
        if self._run is not None:
            self._run.each_second()

    def end_run(self, generator_s: float) -> Watched:
        """`generator_s`: CPU seconds of the generator, which is gone by now, or is none of this machine's. Raises Fault."""
        if self._run is None:
            raise Fault("refused", "no measured run has begun", "a mistake of the controller")
        run, self._run = self._run, None
        return run.end(generator_s, self._workers_before, self._kernel_log)

    def close(self) -> None:
        self._kernel_log.close()


class RunWatch:
    """Looks first; then the run may begin, and `each_second` is called while it lasts; then `end`."""

    def __init__(
        self, server: Union[Server, Elsewhere], levels: Callable[[], Dict[str, float]], meter: str
    ) -> None:
        self._server = server
        self._levels = levels
        self._before = levels()
        self._peaks: Dict[str, float] = {}
        self._processes = bystanders.look()
        self._counters = counters.counters()
        self._server_s, self._behind_s = server.cpu_s(), server.cpu_s_behind()
        self._meter = power.Meter(meter)

    def each_second(self) -> None:
        """The heat may be gone again before the run is over."""
        for name, value in heat.heat().items():
            self._peaks[name] = max(value, self._peaks.get(name, value))
        self._meter.look()

    def end(self, generator_s: float, workers_before: Sequence[int], kernel_log: KernelLog) -> Watched:
        """All of it; `generator_s` as in Watch."""
        power_w = self._meter.mean_w()
        server_s = self._server.cpu_s() - self._server_s
        behind_s = self._server.cpu_s_behind() - self._behind_s
        counted = counters.difference(self._counters, counters.counters())
        self.each_second()
        after = {**self._levels(), **real_clock.rates(self._server.cpus)}
        ran = bystanders.others(self._processes, bystanders.look())
        counted["cpu.server_s"] = round(server_s - behind_s, 6)
        counted["cpu.others_s"] = round(ran.cpu_s, 6)
        counted["cpu.kernel_threads_s"] = round(ran.kernel_s, 6)
        counted["cpu.agent_s"] = round(ran.agent_s, 6)
        counted["cpu.generator_s"] = round(generator_s, 6)
        if behind_s:
            counted["cpu.php_fpm_s"] = round(behind_s, 6)
        strangers = ""
        if isinstance(self._server, Server):
            after["log_room_bytes"] = float(self._server.log_room_bytes())
            strangers = canary.strangers(self._server)
        return {
            "counters": counted,
            "before": self._before,
            "after": after,
            "peaks": self._peaks,
            "server_cpu_s": server_s,
            "workers_before": list(workers_before),
            "workers_after": self._server.workers(),
            "error_log": self._server.error_log(),
            "busiest": ran.busiest,
            "strangers": strangers,
            "kernel_log": kernel_log.lines(),
            "power_w": power_w,
            "power_source": self._meter.source,
        }
