"""The boards that are made of numbers: what they offer, and the truth about every configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from autotune.errors import BoardUnfit
from autotune.experiment.events import Doubt
from autotune.experiment.study import Study, Workload
from autotune.experiment.synthetic_boards import LABEL, PREFIX, SYNTHETIC_BOARDS
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value, value_text
from autotune.synthetic import rock5b, rock5b_stock, rock5b_workers
from autotune.synthetic.effects import Page, Values, pages_of, wire_bytes
from autotune.synthetic.failing import Failing, rock5b_failing
from autotune.synthetic.heat import Heat
from autotune.synthetic.noise import Disturbance

_OF_PHP = ("fpm:", "nginx:fastcgi_", "nginx:upstream.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of one configuration under one workload, without any noise and on a chip of 75 degrees.

    `spread`: standard deviation of ln(requests/s) between starts of nginx. `latency_sigma`: of the logarithm of the latencies.
    """

    requests_per_s: float
    server_cpu_s_per_request: float
    wire_bytes: float
    spread: float
    latency_sigma: float
    power_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """How a board answers to values: the part of it that is code. `gain`: ln(requests/s) of a page, less a constant."""

    gain: Callable[[Values, Page], float]
    failing: Callable[[Values, Sequence[Page]], Failing | None]
    spread: Callable[[Values], float]
    latency_sigma: Callable[[Values, Page], float]
    power_w: Callable[[Values], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticBoard:
    """An imagined board. `stock`: every setting it has, as found; `offered`: the words it takes, where they depend on the
    board. `rates` and `cpu_s`: requests/s and server CPU seconds per request of a 1 KB, a 100 KB and a PHP page with the
    values `anchor`, where they were published. `coupled`: settings whose best values depend on each other.
    `heat` None: its temperature changes nothing.
    """

    name: str
    title: str
    stock: Mapping[str, Value]
    offered: Mapping[str, tuple[str, ...]]
    character: Character
    disturbance: Disturbance
    rates: tuple[float, float, float] = rock5b.CAPSTONE_RATES
    cpu_s: tuple[float, float, float] = rock5b.CAPSTONE_CPU_S
    anchor: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    coupled: tuple[tuple[str, ...], ...] = ()
    cpus: int = rock5b_stock.CPUS
    big_cpus: int = len(rock5b_stock.BIG_CPUS)
    memory_bytes: int = rock5b_stock.MEMORY_BYTES
    open_files: int = rock5b_stock.OPEN_FILES
    heat: Heat | None = None
    doubts: tuple[Doubt, ...] = (
        Doubt(code="synthetic", text=LABEL, next="Take a real board for a real answer."),
    )

    @property
    def description(self) -> dict[str, str]:
        """The board in a few words, kept with the night."""
        return {
            "host": f"{PREFIX}{self.name}",
            "synthetic": LABEL,
            "model": self.title,
            "kernel": "none (synthetic)",
            "machine": "none (synthetic)",
            "cpus": str(self.cpus),
            "memory": f"{self.memory_bytes / 2**30:.1f} GiB",
            "nginx": "none (synthetic)",
            "wrk": "none (synthetic)",
        }

    def facts(self, study: Study) -> dict[str, Value]:
        """The board and workload facts that conditions, rules and hand-tuned values may speak of."""
        return {
            "board.cpus": self.cpus,
            "board.server_cpus": self.cpus,
            "board.big_cpus": self.big_cpus,
            "board.memory_bytes": self.memory_bytes,
            "board.open_files": self.open_files,
            "workload.connections": max(one.connections for one in study.workloads),
            "workload.threads": max(one.threads for one in study.workloads),
        }

    def stock_of(self, study: Study) -> dict[str, Value]:
        """The values as found, with what the study's `stock` lays over them; without what makes no sense in this study."""
        found = {id_: value for id_, value in self.stock.items() if not self.lacking(id_, study)}
        return found | {id_: value for id_, value in study.stock_overrides.mapping.items() if id_ in found}

    def lacking(self, id_: str, study: Study) -> str:
        """Why this setting can't be had in this study; empty when it can."""
        if id_ not in self.stock:
            return f"{PREFIX}{self.name} has no such setting"
        if id_.startswith(_OF_PHP) and not any(
            page.is_php for workload in study.workloads for page in pages_of(study, workload)
        ):
            return "no workload of this study fetches a PHP page"
        return ""

    def refusal(self, id_: str, value: Value, study: Study) -> str:
        """Why this board can't take this value in this study; empty when it can."""
        if reason := self.lacking(id_, study):
            return reason
        try:
            CATALOGUE[id_].check(value)
        except ValueError as problem:
            return str(problem)
        words = self.offered.get(id_, ())
        if words and value not in words and value != self.stock[id_]:
            return f"this board offers {', '.join(words)}, not {value_text(value)}"
        return ""

    def truth(self, values: Values, study: Study, workload: Workload) -> Truth:
        """The truth about these values in force (all of them, stock's too)."""
        pages = pages_of(study, workload)
        anchor = {**self.stock, **self.anchor}
        gains = [self.character.gain(values, page) - self.character.gain(anchor, page) for page in pages]
        # A mix takes the time of its parts: rates add up as their reciprocals do.
        seconds = [
            page.share / (self._between(self.rates, page) * math.exp(gain))
            for page, gain in zip(pages, gains, strict=True)
        ]
        # What makes a server faster mostly spares it work: the text's CPU per request fell by 1.34 times as much.
        cpu_s = math.fsum(
            page.share * self._between(self.cpu_s, page) * math.exp(-1.34 * gain)
            for page, gain in zip(pages, gains, strict=True)
        )
        rate = 1 / math.fsum(seconds)
        sigma = max(self.character.latency_sigma(values, page) for page in pages)
        return Truth(
            requests_per_s=rate,
            server_cpu_s_per_request=min(cpu_s, 0.98 * self.cpus / rate),
            wire_bytes=wire_bytes(study, workload),
            spread=self.character.spread(values),
            latency_sigma=sigma,
            power_w=self.character.power_w(values),
        )

    def objective(self, configuration: Configuration, study: Study) -> float:
        """The study's true objective (natural log of requests/s, as `Study.objective_of` has it) over this board's stock."""
        values = configuration.over(self.stock_of(study))
        return study.objective_of(
            {one.name: self.truth(values, study, one).requests_per_s for one in study.workloads}
        )

    def failing(self, values: Values, study: Study) -> Failing | None:
        """Where these values in force fail under any of the study's workloads; None: nowhere."""
        pages = [page for workload in study.workloads for page in pages_of(study, workload)]
        return self.character.failing(values, pages)

    @staticmethod
    def _between(figures: tuple[float, float, float], page: Page) -> float:
        small, large, php = figures
        if page.is_php:
            return php
        return math.exp((1 - page.largeness) * math.log(small) + page.largeness * math.log(large))


_COUPLED = (
    ("nginx:worker_processes", "nginx:worker_cpu_affinity", "nginx:listen.reuseport"),
    ("nginx:sendfile", "nginx:output_buffers.size"),
    ("sysctl:net.ipv4.tcp_congestion_control", "nginx:tcp_nopush"),
    ("irq:nic.affinity", "net:nic.rps_cpus"),
    ("net:nic.rps_cpus", "net:nic.rps_flow_cnt", "sysctl:net.core.rps_sock_flow_entries"),
    ("nginx:fastcgi_keep_conn", "nginx:upstream.keepalive", "fpm:max_children"),
)

_ROCK5B = SyntheticBoard(
    name="rock5b",
    title="synthetic Rock 5B+ (RK3588: four small cores, two pairs of large ones)",
    stock=rock5b_stock.STOCK,
    offered=rock5b_stock.OFFERED,
    anchor=rock5b.CAPSTONE,
    character=Character(
        gain=rock5b.gain,
        failing=rock5b_failing,
        spread=rock5b_workers.spread,
        latency_sigma=rock5b.latency_sigma,
        power_w=rock5b.busy_w,
    ),
    coupled=_COUPLED,
    heat=Heat(),
    disturbance=Disturbance(
        cv=0.008, kind="heavy-tailed", drift_per_hour=-0.002, autocorrelation=0.3, mishaps=0.006
    ),
)


def plain_board(
    effects: Mapping[str, Callable[[Value], float]] | None = None,
    *,
    name: str = "null",
    disturbance: Disturbance = _ROCK5B.disturbance,
) -> SyntheticBoard:
    """A board with the Rock 5B+'s settings, where nothing fails or gets warm and only these settings count.

    `effects`: by setting id, what a value adds to ln(requests/s). {}: all configurations are equal.
    """
    counting = dict(effects or {})

    def gain(values: Values, page: Page) -> float:
        del page
        return math.fsum(worth(values[id_]) for id_, worth in counting.items())

    return SyntheticBoard(
        name=name,
        title="synthetic board on which " + (", ".join(counting) or "no setting") + " makes a difference",
        stock=rock5b_stock.STOCK,
        offered=rock5b_stock.OFFERED,
        character=Character(
            gain=gain,
            failing=lambda _values, _pages: None,
            spread=lambda _values: 0.0,
            latency_sigma=lambda _values, _page: 0.66,
            power_w=lambda _values: 12.0,
        ),
        disturbance=disturbance,
    )


def synthetic_board(name: str) -> SyntheticBoard:
    """The board of this name ("rock5b"); one of `SYNTHETIC_BOARDS`. Raises BoardUnfit with those there are."""
    match name.removeprefix(PREFIX):
        case "rock5b":
            return _ROCK5B
        case "null":
            return plain_board()
        case other:
            known = ", ".join(f"{PREFIX}{one}" for one in SYNTHETIC_BOARDS)
            raise BoardUnfit(f"there is no synthetic board {other!r}", hint=f"there are {known}")
