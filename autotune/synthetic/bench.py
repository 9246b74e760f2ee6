"""A bench made of numbers: takes an order, lets virtual time pass, and returns what a board with this truth would show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import (
    Doubt,
    Failure,
    FixedRate,
    GateResult,
    Measurement,
    NightBegun,
    Sample,
)
from autotune.experiment.study import Study, Workload
from autotune.space.configuration import Configuration
from autotune.synthetic.boards import SyntheticBoard, Truth
from autotune.synthetic.clock import VirtualClock
from autotune.synthetic.draws import normal, uniforms
from autotune.synthetic.failing import Failing
from autotune.synthetic.heat import IDLE_W
from autotune.synthetic.noise import Disturbance, Noise
from autotune.synthetic.runs import closed_loop, open_loop

SWITCH_S: Final = 0.7
CHECKS_S: Final = 0.3
CANARY_PATIENCE_S: Final = 5.0
TEMPERATURE: Final = "temperature"
THROTTLED: Final = "throttled by cooling"
# After so many attempts, each on a cooler board, it is the configuration that is too hot: its figure counts, with a doubt.
_OWN_HEAT_FROM: Final = 2
_MISHAPS: Final = (
    ("workers died", "gate", "8 workers before the run, 7 after it"),
    (
        "clock step",
        "gate",
        "wrk's clock says the run took 16.204 s, the monotonic clock 15.001 s (limit 0.5 s apart)",
    ),
    ("foreign load", "gate", "another process used 1.3 CPUs during the run"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is true of one configuration, worked out once. `truths`: by workload."""

    effective: Configuration
    failing: Failing | None
    truths: dict[str, Truth]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One workload's run. `throttled`: how much of it the board noticed, 0 to 1."""

    measurement: Measurement
    throttled: float
    chip_c: float


class SyntheticBench:
    """Measures on a board made of numbers; `clock` moves by what a real sample would take.

    What a sample shows depends on the seed, its key, its configuration, the time, and how warm the board is. The last comes
    from the sample before: `last` is the latest sample or failure of a night that goes on (None: a board that has been
    idle), so that a night which was cut shows the same numbers as one that was not.
    """

    def __init__(
        self,
        board: SyntheticBoard,
        study: Study,
        begun: NightBegun,
        clock: VirtualClock,
        *,
        seed: int,
        disturbance: Disturbance | None = None,
        last: Sample | Failure | None = None,
    ) -> None:
        self._board = board
        self._study = study
        self._stock = begun.stock
        self._clock = clock
        self._disturbance = disturbance or board.disturbance
        self._seed = seed
        origin = VirtualClock.at_text(begun.at)
        self._noise = Noise(self._disturbance, seed=seed, origin_s=origin.now_s)
        self._known: dict[Configuration, _Known] = {}
        self._sink_c, self._sink_at_s = self._left_by(last)

    def measure(self, order: Measure) -> Outcome:
        known = self._known_of(order.configuration)
        began_s = self._clock.now_s
        first, second, *_ = uniforms(self._seed, f"mishap/{order.key.text}")
        self._pass(SWITCH_S, IDLE_W)
        if known.failing is not None and known.failing.stage != "load":
            if known.failing.stage == "canary":
                self._pass(CANARY_PATIENCE_S, IDLE_W)
            return self._failed(order, known.failing.stage, known.failing.reason, "configuration")
        if first < self._disturbance.mishaps:
            self._pass(self._study.workloads[0].busy_s, self._power_w(known))
            gate, stage, said = _MISHAPS[int(second * len(_MISHAPS))]
            return self._failed(order, stage, f"{gate}: {said}", "environment", gate=gate)
        if known.failing is not None:
            self._pass(self._study.workloads[0].busy_s, self._power_w(known))
            failing = known.failing
            return self._failed(order, "load", failing.reason, "configuration", gate=failing.gate)
        return self._sample(order, known, began_s)

    def _sample(self, order: Measure, known: _Known, began_s: float) -> Outcome:
        study = self._study
        measurements: dict[str, Measurement] = {}
        fixed: dict[str, FixedRate] = {}
        throttled, hottest_c = 0.0, 0.0
        for workload in study.workloads:
            run = self._run(order, known.truths[workload.name], workload)
            measurements[workload.name] = run.measurement
            throttled, hottest_c = max(throttled, run.throttled), max(hottest_c, run.chip_c)
            if workload.name in order.rates:
                capacity = run.measurement.requests_per_s
                fixed[workload.name] = self._open_loop(order, known.truths[workload.name], workload, capacity)
        cooling = GateResult(name=THROTTLED, passed=throttled == 0, value=round(throttled, 3), limit=0.0)
        if throttled and order.key.attempt < _OWN_HEAT_FROM:
            said = f"{THROTTLED}: the CPUs were slowed down at {hottest_c:.0f} degrees"
            return self._failed(order, "gate", said, "environment", gate=THROTTLED, gates=(cooling,))
        self._pass(CHECKS_S, IDLE_W)
        return Outcome(
            event=Sample(
                key=order.key,
                at=self._clock.at,
                arm=order.arm,
                configuration=order.configuration,
                effective=known.effective,
                measurements=measurements,
                fixed_rate=fixed,
                objective=study.objective_of_runs(measurements),
                switch_s=SWITCH_S,
                overhead_s=max(0.0, round(self._clock.now_s - began_s - study.busy_s, 3)),
                gates=(self._temperature(), cooling),
                doubts=(_throttles(throttled),) if throttled else (),
            )
        )

    def _run(self, order: Measure, truth: Truth, workload: Workload) -> _Run:
        """Warm-up and measured run, with all that disturbs them."""
        name = f"{order.key.text}/{workload.name}"
        self._pass(workload.warmup_s, truth.power_w)
        from_s, before_c = self._clock.now_s, self._chip_c(truth.power_w)
        self._pass(workload.duration_s, truth.power_w)
        after_c = self._chip_c(truth.power_w)
        chip_c = (before_c + after_c) / 2
        throttled = 0.0
        placed, busy, *_ = uniforms(self._seed, f"start/{order.key.text}")
        deviation = truth.spread * _placed(placed)
        deviation += self._noise.of_run(name, from_s) + self._noise.drift(from_s)
        if self._board.heat is not None:
            deviation -= self._board.heat.loss(chip_c)
            throttled = self._board.heat.throttled(chip_c)
        for episode in self._noise.episodes(from_s, self._clock.now_s):
            share = episode.share(from_s, self._clock.now_s)
            deviation -= episode.loss * share
            throttled = max(throttled, share if episode.seen else 0.0)
        measurement = closed_loop(
            workload,
            truth,
            truth.requests_per_s * math.exp(deviation),
            cpus=self._board.cpus,
            busy_factor=math.exp(0.3 * self._disturbance.cv * normal(busy)),
            power_w=round(truth.power_w + 0.05 * normal(busy), 2),
            levels={"before.temp_soc_c": round(before_c, 1), "after.temp_soc_c": round(after_c, 1)}
            if self._board.heat is not None
            else {},
        )
        return _Run(measurement=measurement, throttled=throttled, chip_c=chip_c)

    def _open_loop(self, order: Measure, truth: Truth, workload: Workload, capacity: float) -> FixedRate:
        rate_per_s = order.rates[workload.name]
        duration_s = self._study.latency.duration_s or workload.duration_s
        used = min(1.0, rate_per_s / capacity)
        self._pass(duration_s, IDLE_W + used * (truth.power_w - IDLE_W))
        # The same start of nginx as in the closed loop, disturbed anew.
        anew = normal(uniforms(self._seed, f"open/{order.key.text}/{workload.name}")[0])
        capacity *= math.exp(0.5 * self._disturbance.cv * anew)
        return open_loop(
            workload,
            truth,
            capacity,
            cpus=self._board.cpus,
            rate_per_s=rate_per_s,
            duration_s=duration_s,
        )

    def _failed(
        self,
        order: Measure,
        stage: str,
        reason: str,
        blame: Literal["configuration", "environment"],
        *,
        gate: str = "",
        gates: tuple[GateResult, ...] = (),
    ) -> Outcome:
        return Outcome(
            event=Failure(
                key=order.key,
                at=self._clock.at,
                arm=order.arm,
                configuration=order.configuration,
                stage=stage,
                reason=reason,
                blame=blame,
                gate=gate,
                gates=(self._temperature(), *gates),
                switch_s=SWITCH_S,
            )
        )

    def _known_of(self, configuration: Configuration) -> _Known:
        known = self._known.get(configuration)
        if known is None:
            values = configuration.over(self._stock)
            known = _Known(
                effective=configuration.against(self._stock),
                failing=self._board.failing(values, self._study),
                truths={
                    one.name: self._board.truth(values, self._study, one) for one in self._study.workloads
                },
            )
            self._known[configuration] = known
        return known

    # Heat

    def _left_by(self, last: Sample | Failure | None) -> tuple[float, float]:
        """The heat sink and since when, as the sample before left it."""
        now_s = self._clock.now_s
        if self._board.heat is None:
            return 0.0, now_s
        for gate in last.gates if last is not None else ():
            if gate.name == TEMPERATURE and gate.value is not None and last is not None:
                return gate.value, VirtualClock.at_text(last.at).now_s
        return round(self._board.heat.idle_c(now_s), 3), now_s

    def _pass(self, seconds: float, power_w: float) -> None:
        """Lets time pass at this power; a pause since the last call was idle."""
        heat = self._board.heat
        now_s = self._clock.now_s
        self._clock.advance(seconds)
        if heat is not None:
            cooled_c = heat.later_c(self._sink_c, IDLE_W, now_s - self._sink_at_s, now_s)
            self._sink_c = heat.later_c(cooled_c, power_w, seconds, now_s)
        self._sink_at_s = self._clock.now_s

    def _temperature(self) -> GateResult:
        """The heat sink now. Rounded as it is stored, so that whoever goes on from the store goes on exactly here."""
        if self._board.heat is None:
            return GateResult(name=TEMPERATURE, passed=None, detail="this board has no sensor")
        self._sink_c = round(self._sink_c, 3)
        return GateResult(name=TEMPERATURE, passed=True, value=self._sink_c, limit=self._board.heat.trip_c)

    def _chip_c(self, power_w: float) -> float:
        return 0.0 if self._board.heat is None else self._board.heat.chip_c(self._sink_c, power_w)

    def _power_w(self, known: _Known) -> float:
        return known.truths[self._study.workloads[0].name].power_w


def _throttles(throttled: float) -> Doubt:
    return Doubt(
        code="throttles",
        text=f"throttled {100 * throttled:.0f} % even after cooling down: its own heat",
        next="Give the board a fan, or a configuration that is not as hot.",
    )


def _placed(uniform: float) -> float:
    """How lucky the workers were with their cores: a few levels, mean 0 and variance 1."""
    return float(int(uniform * 16).bit_count() - 2)
