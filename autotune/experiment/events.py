"""Everything that happens in a study, one record each. The log of these is the only truth about a study.

Times are ISO-8601 UTC texts (`at`); durations are monotonic seconds. Every decision that depends on the clock or on a
library's random state is an event *before* it is acted on, so that the same log always leads to the same next step.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from autotune.space.configuration import Configuration
from autotune.space.record import Record
from autotune.space.search_space import Dropped
from autotune.space.value import Value


class Stage(StrEnum):
    """The stages that measure, in the order of the night."""

    CALIBRATION = "calibration"
    SEARCH = "search"
    FINALISTS = "finalists"
    DISTILLATION = "distillation"
    FINALS = "finals"
    SERIES = "series"
    ATTRIBUTION = "attribution"


RETAKES = 3
"""How often a sample is taken again after failures of the environment."""


class SampleKey(Record):
    """The place of one sample in the study: unique in the database, so nothing can be stored twice.

    `block` counts pairs, rounds or search positions from 0; `position` is the place within it; `attempt` counts
    re-takes after environmental failures from 0.
    """

    night: int
    stage: Stage
    block: int
    position: int
    attempt: int = 0

    @property
    def is_last(self) -> bool:
        """Whether no further attempt follows this one."""
        return self.attempt >= RETAKES

    @property
    def text(self) -> str:
        return f"{self.night}/{self.stage}/{self.block}/{self.position}/{self.attempt}"


class Doubt(Record):
    """A reason not to believe a number fully, with the next thing to do about it."""

    code: str
    text: str
    next: str = ""


class ErrorCounts(Record):
    """wrk's own counters of one run."""

    connect: int = 0
    read: int = 0
    write: int = 0
    status: int = 0
    timeout: int = 0

    @property
    def total(self) -> int:
        return self.connect + self.read + self.write + self.status + self.timeout


class GateResult(Record):
    """What one gate saw of a sample: `value` beside its `limit`, in the unit that the gate's name says; None: not a number.

    `passed` None: the board could not tell.
    """

    name: str
    passed: bool | None
    value: float | None = None
    limit: float | None = None
    detail: str = ""


class FixedRate(Record):
    """One open-loop run: requests are due at `rate_per_s` whatever the server does.

    Latencies count from the moment a request was *due*, so a stall counts for every request that it held up.
    `answered_per_s` below the asked rate: the server (or, with `client_busy` near 1, the generator) can't keep up.
    `cpu_busy`: as in Measurement.
    """

    rate_per_s: float
    answered: int
    answered_per_s: float
    duration_s: float
    latency_mean_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p95_s: float
    latency_p99_s: float
    latency_p999_s: float
    latency_max_s: float
    errors: ErrorCounts
    client_busy: float = 0.0
    cpu_busy: float | None = None


class Measurement(Record):
    """One measured run. Latencies are wrk's own, from a closed loop. CPU seconds of server and generator apart.

    `cpu_busy`: share of the CPUs that the server may use which were not idle, 0 to 1; `power_w`: mean power of the board
    during the run. None: not to be had.
    """

    requests: int
    requests_per_s: float
    bytes: int
    duration_s: float
    latency_mean_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p95_s: float
    latency_p99_s: float
    latency_p999_s: float
    latency_max_s: float
    errors: ErrorCounts
    server_cpu_s: float
    client_cpu_s: float
    cpu_busy: float | None = None
    power_w: float | None = None
    counters: dict[str, float] = {}

    @property
    def requests_per_server_cpu_s(self) -> float:
        return self.requests / self.server_cpu_s if self.server_cpu_s > 0 else 0.0


class Arm(Record):
    """What is being measured, apart from where in the night: stock, hand-tuned, automatic, a step with those before it, a step
    alone, all steps without one, a trial, or a subset of the winning trial's changes (by its place in the night's Subsets).
    """

    kind: Literal["stock", "hand-tuned", "automatic", "step", "alone", "without", "trial", "subset"]
    number: int = 0

    @property
    def text(self) -> str:
        match self.kind:
            case "step" | "trial" | "subset":
                return f"{self.kind} {self.number}"
            case "alone":
                return f"step {self.number} alone"
            case "without":
                return f"all steps but {self.number}"
            case _:
                return self.kind


class AppliedStep(Record):
    """A hand-tuned step as it is on this board.

    `state`: full; partial (k of n items in force); already so (the cumulative configuration equals that of the step
    before, because the board has it); not available (no item can be had here). `configuration` is cumulative.
    """

    number: int
    name: str
    state: Literal["full", "partial", "already so", "not available"]
    applied: int
    of: int
    missing: tuple[Dropped, ...] = ()
    configuration: Configuration
    published: float | None = None


class NightBegun(Record):
    """A sitting begins. Holds all of the board that later decisions need, so that they need no board.

    `stock` has the value of every usable setting as read tonight; `facts` the board and workload facts that
    expressions use; `steps` the hand-tuned sequence as it applies here; `space_ids` the parameters that can be tuned; `offered` the words this
    board takes, where they depend on the board. `purpose` baseline: only the hand-tuned steps are measured.
    `line_mbit_per_s`: speed of the network card that the load comes over; None: loopback, or a card that doesn't tell.
    """

    kind: Literal["night begun"] = "night begun"
    night: int
    at: str
    purpose: Literal["tune", "baseline"] = "tune"
    deadline: str | None = None
    stock: dict[str, Value]
    facts: dict[str, Value]
    space_ids: tuple[str, ...]
    offered: dict[str, tuple[str, ...]] = {}
    dropped: tuple[Dropped, ...] = ()
    steps: tuple[AppliedStep, ...] = ()
    hand_tuned: Configuration = Configuration()
    hand_tuned_outside: tuple[Dropped, ...] = ()
    board: dict[str, str] = {}
    line_mbit_per_s: int | None = None
    doubts: tuple[Doubt, ...] = ()


class Plan(Record):
    """How many samples each stage gets from here on. A later plan of the same night replaces an earlier one.

    `reference_every`: the most trials between two stock samples; `repeats`: the most samples of one trial in the search.
    """

    kind: Literal["plan"] = "plan"
    night: int
    at: str
    calibration_pairs: int
    candidates: int
    reference_every: int
    repeats: int = 1
    finalists: int
    finalist_pairs: int
    distillation_pairs: int = 0
    finals_rounds: int
    series_rounds: int
    attribution_rounds: int = 0
    sample_s: float
    reason: str = ""


class Proposal(Record):
    """A candidate, under its trial number. Stored before it is measured."""

    kind: Literal["proposal"] = "proposal"
    night: int
    number: int
    at: str
    origin: Literal["stock", "hand-tuned", "start-up", "sampler"]
    configuration: Configuration
    ask_s: float = 0.0


class Sample(Record):
    """One applied-and-measured configuration. `effective` is what the board had in force where it differs from stock.

    `measurements`: one run for each of the study's workloads, by name. `objective`: natural log of their weighted
    geometric mean of what the study maximises (`Study.objective_of_runs`): the only number that decisions look at. `fixed_rate`: the open-loop
    runs at the rates that the order asked for, by workload. `gates`: every gate that was asked, passed or not.
    """

    kind: Literal["sample"] = "sample"
    key: SampleKey
    at: str
    arm: Arm
    configuration: Configuration
    effective: Configuration
    measurements: dict[str, Measurement]
    fixed_rate: dict[str, FixedRate] = {}
    objective: float
    switch_s: float
    overhead_s: float
    gates: tuple[GateResult, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def rate(self) -> float:
        """The weighted geometric mean of what the study maximises (its requests/s, mostly); with one workload, its own."""
        return math.exp(self.objective)

    @property
    def main(self) -> Measurement:
        """The first workload's run."""
        return next(iter(self.measurements.values()))


class Failure(Record):
    """A sample that gave no number. `blame` decides what follows.

    configuration: nginx refused it, the canary failed, errors under load: never tried again in this study.
    environment: throttling, foreign load, a process died under us: taken again, at most 3 times.
    """

    kind: Literal["failure"] = "failure"
    key: SampleKey
    at: str
    arm: Arm
    configuration: Configuration
    stage: Literal["plan", "write", "read-back", "nginx", "canary", "warm-up", "load", "gate", "agent"]
    reason: str
    blame: Literal["configuration", "environment"]
    gate: str = ""
    gates: tuple[GateResult, ...] = ()
    switch_s: float = 0.0


class Void(Record):
    """A stored sample that must not count, and why. It is taken again under the next attempt."""

    kind: Literal["void"] = "void"
    key: SampleKey
    at: str
    reason: str


class Ranking(Record):
    """An order of trials, best first, with the scores it was made from (natural log of the ratio to stock)."""

    kind: Literal["ranking"] = "ranking"
    night: int
    at: str
    purpose: Literal["finalists", "winner"]
    trials: tuple[int, ...]
    scores: tuple[float, ...]


class Subsets(Record):
    """Nested subsets of the winning trial's changes, smallest first, that may be all that earns its place.

    `trial` is the winner; `reason` says how they were nominated.
    """

    kind: Literal["subsets"] = "subsets"
    night: int
    at: str
    trial: int
    configurations: tuple[Configuration, ...]
    reason: str = ""


class Distilled(Record):
    """What will be shipped, called automatic from here on: the winner pared down, or the winner itself.

    `subset`: its place in the night's Subsets, None for the winner itself. `loss`: natural log of winner over it in the fresh
    pairs, with its 80 % interval (so it is above `high` in 1 case of 10); it may lose at most `margin` (None: not measured).
    """

    kind: Literal["distilled"] = "distilled"
    night: int
    at: str
    trial: int
    configuration: Configuration
    subset: int | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    margin: float
    reason: str = ""


class Gap(Record):
    """Time in which nothing was measured: the controller died, the board was away. A reference follows.

    `boot`: the board's boot id, where it has started anew since the one before; "" where it hasn't.
    """

    kind: Literal["gap"] = "gap"
    night: int
    at: str
    seconds: float
    reason: str
    boot: str = ""


class NightEnded(Record):
    """A sitting is over. `complete`: all stages done. `abandoned`: a later sitting began before it was finished."""

    kind: Literal["night ended"] = "night ended"
    night: int
    at: str
    outcome: Literal["complete", "refused", "systemic failure", "abandoned"]
    reason: str = ""


Event: TypeAlias = Annotated[
    NightBegun | Plan | Proposal | Sample | Failure | Void | Ranking | Subsets | Distilled | Gap | NightEnded,
    Field(discriminator="kind"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
