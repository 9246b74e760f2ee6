"""Everything that is looked at around a measured run, beside what the run itself says: made before it, ended after it."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from autotune.agent import bystanders, canary, counters, heat, power, real_clock
from autotune.agent.nginx import Server


class Watched(NamedTuple):
    """What was seen. `counters` are differences over the run, with the CPU seconds per program among them."""

    counters: Dict[str, float]
    before: Dict[str, float]
    after: Dict[str, float]
    peaks: Dict[str, float]
    server_cpu_s: float
    busiest: List[str]
    strangers: str
    power_w: Optional[float]
    power_source: str


class RunWatch:
    """Looks first; then the run may begin, and `each_second` is called while it lasts; then `end`."""

    def __init__(self, server: Server, levels: Callable[[], Dict[str, float]], meter: str) -> None:
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

    def end(self, generator_s: float, cpus: Sequence[int]) -> Watched:
        """All of it. `generator_s`: CPU seconds of the generator, which is gone by now; `cpus`: the server's."""
        power_w = self._meter.mean_w()
        server_s = self._server.cpu_s() - self._server_s
        behind_s = self._server.cpu_s_behind() - self._behind_s
        counted = counters.difference(self._counters, counters.counters())
        self.each_second()
        after = {**self._levels(), **real_clock.rates(cpus)}
        ran = bystanders.others(self._processes, bystanders.look())
        counted["cpu.server_s"] = round(server_s - behind_s, 6)
        counted["cpu.others_s"] = round(ran.cpu_s, 6)
        counted["cpu.kernel_threads_s"] = round(ran.kernel_s, 6)
        counted["cpu.agent_s"] = round(ran.agent_s, 6)
        counted["cpu.generator_s"] = round(generator_s, 6)
        if behind_s:
            counted["cpu.php_fpm_s"] = round(behind_s, 6)
        return Watched(
            counted,
            self._before,
            after,
            self._peaks,
            server_s,
            ran.busiest,
            canary.strangers(self._server),
            power_w,
            self._meter.source,
        )
