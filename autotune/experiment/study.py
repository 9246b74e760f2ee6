"""A study: the whole question, frozen, with a fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from autotune.experiment.events import Measurement
from autotune.experiment.synthetic_boards import is_synthetic
from autotune.space.build import BuildRecipe
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.record import Record
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Setting
from autotune.space.value import Value


class Placement(StrEnum):
    """Where the server and a load generator beside it run."""

    PINNED = "pinned"
    FREE = "free"


class ServedFile(Record):
    """A file of the managed site: its URL path and its size in bytes. The bytes are made from the path alone.

    One whose path ends in .php is a script that php-fpm runs: its answer has about `size_bytes`.
    """

    path: str
    size_bytes: int

    @property
    def is_php(self) -> bool:
        return self.path.endswith(".php")


class ManagedNginx(Record):
    """An nginx of our own on `port`, from the packaged configuration `base`.

    `address` "": on loopback addresses, or, with the load from elsewhere, where the load's machine reaches the board.
    """

    kind: Literal["managed"] = "managed"
    base: str = "/etc/nginx/nginx.conf"
    port: int = 8088
    address: str = ""
    files: tuple[ServedFile, ...]

    @property
    def main_file(self) -> str:
        """The configuration file that the tested nginx starts from."""
        return self.base

    @property
    def has_php(self) -> bool:
        """Whether a php-fpm of our own runs behind it."""
        return any(file.is_php for file in self.files)


class OwnNginx(Record):
    """The user's own nginx as its main configuration file `config` has it, reached at `address` (see safety.md).

    Its files stay untouched: the night runs edited copies of them in a mount namespace of its own, with the service
    stopped meanwhile.
    """

    kind: Literal["own"] = "own"
    config: str = "/etc/nginx/nginx.conf"
    address: str = "127.0.0.1"

    @property
    def main_file(self) -> str:
        """The configuration file that the tested nginx starts from."""
        return self.config


Server: TypeAlias = Annotated[ManagedNginx | OwnNginx, Field(discriminator="kind")]


class Url(Record):
    """What one request of a load fetches, and its share among the others.

    `target`: a path ("/index.php") on the managed nginx; on the user's own a whole URL ("https://www.example.org/").
    """

    target: str
    weight: float = 1.0


class Workload(Record):
    """One load: `urls` fetched over `connections` kept-alive connections by `threads` wrk threads.

    `weight` is its share in the objective.
    """

    name: str
    urls: tuple[Url, ...]
    connections: int
    threads: int
    warmup_s: float = 5.0
    duration_s: float = 15.0
    weight: float = 1.0

    @property
    def busy_s(self) -> float:
        return self.warmup_s + self.duration_s


def workload_mistake(connections: int, threads: int) -> str:
    """Why wrk can't hold this load, or "" when it can.

    wrk opens floor(connections / threads) in each thread and prints the number it was asked for: `-t8 -c100` opens 96.
    """
    if threads < 1:
        return f"wrk needs at least 1 thread, not {threads}"
    if connections < threads:
        return f"wrk needs at least one connection per thread: {connections} connections, {threads} threads"
    if connections % threads:
        opened = connections // threads * threads
        return f"{connections} connections can't be shared evenly by {threads} threads: wrk would silently open {opened}"
    return ""


Bound: TypeAlias = Literal["at least", "at most"]
ObjectiveMetric: TypeAlias = Literal["requests_per_s", "requests_per_server_cpu_s"]
GoalMetric: TypeAlias = Literal["requests_per_s", "latency_p99_s", "server_cpu_s_per_request"]
LimitMetric: TypeAlias = Literal[
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "latency_p999_s",
    "latency_max_s",
    "errors",
    "requests_per_s",
    "server_cpu_s_per_request",
    "cpu_busy",
    "power_w",
]


class Objective(Record):
    """What is maximised: the weighted geometric mean of the workloads' ratios, each to its own reference.

    requests_per_server_cpu_s is for a load that its line or its generator limits, where every configuration serves as much.
    """

    metric: ObjectiveMetric = "requests_per_s"


class LatencyCheck(Record):
    """The open-loop runs of the finals (and of finalists, where a limit speaks of latency).

    `share` of the calibration's stock throughput, the same rate for every arm; 0: no such runs. `duration_s` None: as long as
    the workload's measured run.
    """

    share: Annotated[float, Field(ge=0, le=0.95)] = 0.75
    duration_s: float | None = None


class Limit(Record):
    """What a configuration must keep to win at all. `of_stock`: `value` is a ratio to stock, else in the metric's own unit.

    `workload` "": each of them. See `at_fixed_rate` for where the figure comes from.
    """

    workload: str = ""
    metric: LimitMetric
    bound: Bound
    value: float
    of_stock: bool = False

    @property
    def at_fixed_rate(self) -> bool:
        """Whether it is judged at the fixed rate: under full load latency follows from throughput, and no CPU is idle."""
        return self.metric.startswith("latency_") or self.metric == "cpu_busy"


class HandTunedValue(Record):
    """One value of a step: fixed, or an expression over board facts ("one worker per core" is `board.server_cpus`)."""

    setting: Setting
    value: Value | Expression


class UnsupportedItem(Record):
    """Something a step asks for that no settings family here can do yet (another compiler, the NIC's interrupts)."""

    id: str
    reason: str


class HandTunedStep(Record):
    """One of the expert's cumulative changes. `published` is the text's own gain (1.256 is +25.6 %), never ours."""

    number: int
    name: str
    values: tuple[HandTunedValue, ...]
    unsupported: tuple[UnsupportedItem, ...] = ()
    published: float | None = None
    why: str


class HandTunedSequence(Record):
    """The expert's ordered, cumulative changes."""

    title: str
    source: str
    steps: tuple[HandTunedStep, ...]


class Budget(Record):
    """How many samples each stage gets. What is None is planned backwards from the deadline.

    Pairs are two samples, rounds are one sample per arm. `finals_rounds` is a multiple of 3.
    `looks`: the finals end early when every comparison is decided at one of four looks, fixed beforehand.
    `repeats`: how many samples the search may give one promising trial in all; 1: one sample each and no more.
    `attribution_rounds` None: where time allows; 0: none.
    `lease_s`: how long the board waits for a silent controller before it restores itself.
    """

    calibration_pairs: Annotated[int, Field(ge=6, le=200)] = 10
    candidates: Annotated[int, Field(ge=1, le=10_000)] | None = None
    reference_every: Annotated[int, Field(ge=2, le=50)] = 4
    repeats: Annotated[int, Field(ge=1, le=20)] = 4
    finalists: Annotated[int, Field(ge=1, le=20)] = 6
    finalist_pairs: Annotated[int, Field(ge=1, le=50)] = 4
    distillation_pairs: Annotated[int, Field(ge=0, le=200)] = 12
    finals_rounds: Annotated[int, Field(ge=12, le=300, multiple_of=3)] = 24
    looks: bool = False
    series_rounds: Annotated[int, Field(ge=0, le=100)] = 6
    attribution_rounds: Annotated[int, Field(ge=0, le=100)] | None = None
    hours: float | None = None
    lease_s: float = 60.0


class Goal(Record):
    """A target of one workload. `of_stock`: `value` is a ratio to stock, else it is in the metric's own unit."""

    workload: str
    metric: GoalMetric
    bound: Bound
    value: float
    of_stock: bool = False
    source: str = ""


class Builds(Record):
    """Where other builds of nginx come from, and the study's own recipes beside the built-in ones.

    `source`: "apt", an absolute path or an https URL of a source tarball; `sha256` of the tarball, required for a URL.
    """

    source: str = "apt"
    sha256: str = ""
    recipes: tuple[BuildRecipe, ...] = ()


class FitnessLimits(Record):
    """When a board is not fit to measure on, fixed before any night. Shares are from 0 to 1.

    `temperature_band_c`: how far above the temperature at which tonight's calibration began a run may start; the board gets
    `cool_down_s` to come back. `foreign_load`: CPU time of other programs (or taken by a hypervisor) as a share of the CPUs the
    server may use. `time_below`: of the run, below the highest clock allowed, under a governor that holds the highest.
    `slow_clock`: how far the clock a CPU really runs at may fall below tonight's first.
    """

    temperature_band_c: Annotated[float, Field(ge=0.5, le=50)] = 5.0
    cool_down_s: Annotated[float, Field(ge=0, le=3600)] = 300.0
    foreign_load: Annotated[float, Field(gt=0, le=100)] = 0.1
    time_below: Annotated[float, Field(gt=0, le=1)] = 0.05
    slow_clock: Annotated[float, Field(gt=0, lt=1)] = 0.05


class PowerMeter(Record):
    """Where watts are read during a run. auto: what the board itself has, or nothing.

    `name`: of a hwmon device ("ina226", with ":2" its second channel), or an absolute path. A file and a command are read by
    the controller as the user who runs it, never by the board's root. `scale` multiplies what was read into watts.
    """

    source: Literal["auto", "none", "rapl", "hwmon", "file", "command"] = "auto"
    name: str = ""
    command: tuple[str, ...] = ()
    scale: Annotated[float, Field(gt=0)] = 1.0


LOAD_ON_BOARD: Final = "board"


class Study(Record):
    """Board + server + workloads + space + hand-tuned sequence + objective + budget.

    `load`: where wrk runs: LOAD_ON_BOARD, "local" (this machine) or "ssh://...", which then push over the network.
    """

    name: str
    title: str = ""
    board: str = "local"
    load: str = LOAD_ON_BOARD
    server: Server
    workloads: Annotated[tuple[Workload, ...], Field(min_length=1)]
    placement: Placement = Placement.PINNED
    space: SearchSpace
    hand_tuned: HandTunedSequence
    objective: Objective = Objective()
    budget: Budget = Budget()
    seed: int = 0
    accept_noise: bool = False
    stock: Literal["as found", "capstone"] = "as found"
    stock_overrides: Configuration = Configuration()
    change_service: bool = False
    goals: tuple[Goal, ...] = ()
    limits: tuple[Limit, ...] = ()
    latency: LatencyCheck = LatencyCheck()
    fitness: FitnessLimits = FitnessLimits()
    power: PowerMeter = PowerMeter()
    builds: Builds | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether its board is made of numbers: then every output says so."""
        return is_synthetic(self.board)

    @property
    def load_is_on_board(self) -> bool:
        """Whether server and load generator share the board, and no network is between them."""
        return self.load == LOAD_ON_BOARD

    @property
    def busy_s(self) -> float:
        """Seconds of load in one sample: every workload, one after the other."""
        return sum(workload.busy_s for workload in self.workloads)

    @property
    def fixed_rate_s(self) -> float:
        """Seconds of open-loop runs in a sample that has them, beside its `busy_s`."""
        if not self.latency.share:
            return 0.0
        return sum(self.latency.duration_s or workload.duration_s for workload in self.workloads)

    def objective_of_runs(self, runs: Mapping[str, Measurement]) -> float:
        """A sample's objective: `objective_of` what the study maximises, from its run of each workload by name."""
        return self.objective_of({name: self.maximised(run) for name, run in runs.items()})

    def maximised(self, run: Measurement) -> float:
        """The figure of one run that the objective is made of. 0: no CPU time was counted where it is needed."""
        match self.objective.metric:
            case "requests_per_s":
                return run.requests_per_s
            case "requests_per_server_cpu_s":
                return run.requests_per_server_cpu_s

    def objective_of(self, figures: Mapping[str, float]) -> float:
        """The natural log of the weighted geometric mean of one figure by workload name.

        A difference of two of these is the log of the weighted geometric mean of ratios, each workload against itself.
        """
        floor = 1e-9  # the gates let no zero through; this keeps the arithmetic total all the same
        total = sum(workload.weight for workload in self.workloads)
        logs = (workload.weight * math.log(max(figures[workload.name], floor)) for workload in self.workloads)
        return math.fsum(logs) / total

    @property
    def substance(self) -> dict[str, Any]:
        """The definition as JSON without texts that only explain: a reworded catalogue must not forbid to resume."""
        kept: dict[str, Any] = _without_words(self.model_dump(mode="json"))
        return kept

    @property
    def fingerprint(self) -> str:
        """Equal exactly when every line that could change a decision or a measurement is equal.

        What stands at its default is left out, so that a line which a later autotune knows changes no older study's.
        """
        chosen = _without_words(self.model_dump(mode="json", exclude_defaults=True))
        text = json.dumps(chosen, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_WORDS = frozenset({"title", "why", "effect", "source", "bites"})


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_words(one) for key, one in value.items() if key not in _WORDS}
    return [_without_words(one) for one in value] if isinstance(value, list) else value
