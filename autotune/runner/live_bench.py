"""The bench on a real board: switch, canary, warm up, measure, judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autotune.actuators.switching import Effective, SwitchPlan, effects_of, plan_switch
from autotune.board.address import read_address
from autotune.board.clock import ClockWatch
from autotune.board.fitness import Tonight
from autotune.board.records import LoadOrder, LoadSeen, ServerOrder, Switched, UrlTruth
from autotune.errors import BoardUnfit, LoadGeneratorFailed, LoadHostUnreachable, SettingUnsupported
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Failure, FixedRate, GateResult, Measurement, Sample
from autotune.experiment.study import Study, Workload
from autotune.load.asked import gates_asked
from autotune.load.client_bound import cpu_busy, load_host_figures
from autotune.load.gates import Answer, Fault, Judged, judge
from autotune.load.open_loop import JudgedRate, judge_rate, rate_order
from autotune.load.wrk import load_order, new_marker, raw_text
from autotune.runner.clocks import now_text
from autotune.runner.fitness import RunFitness, Start, run_fitness
from autotune.runner.meters import agent_meter, with_watts
from autotune.runner.pushing import Pusher
from autotune.runner.session import Held
from autotune.runner.truths import Truth, truths_of
from autotune.space.configuration import Configuration

STARTED = Start()
FailureStage = Literal["plan", "write", "read-back", "nginx", "canary", "warm-up", "load", "gate", "agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A configuration that passed its canary: where it is served, what became of it, and what it answers by target."""

    address: str
    switched: Switched
    effective: Effective
    answers: Mapping[str, Answer]
    switch_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInForce:
    """Where a configuration stopped on its way, why, and who is to blame. `gate`: the one that decided, if one did."""

    stage: FailureStage
    reason: str
    blame: Literal["configuration", "environment"]
    switch_s: float = 0.0
    gate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAtRate:
    """One workload's open-loop run against what is in force, and what the gates make of it."""

    seen: LoadSeen
    judged: JudgedRate
    fitness: RunFitness


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One workload's run against what is in force, and what the gates make of it; `gates` are those of the load."""

    seen: LoadSeen
    judged: Judged
    gates: tuple[GateResult, ...]
    fitness: RunFitness


class LiveBench:
    """Measures on a held board. What stock answers to a GET is learned once, before anything is changed."""

    def __init__(self, held: Held) -> None:
        if held.discovery.site is None:
            raise BoardUnfit(held.discovery.site_problem, hint="see `autotune doctor`")
        self._held = held
        self._site = held.discovery.site
        self._pusher = Pusher(held.connection, held.load_host)
        self._turn = 0
        self._truth: tuple[Truth, ...] = ()
        self._clock = ClockWatch(read_address(held.study.board), held.connection.clock)

    def learn_truth(self) -> None:
        """What the canary's answers must be: those of the live server, where there was one, else of stock started twice.

        A body that differs from answer to answer is compared by status and class of length only. Raises BoardUnfit when
        stock doesn't run, doesn't serve the study's URLs, or doesn't answer as the live server did.
        """
        live = self._held.live
        if live:
            self._truth = truths_of(self._site.urls, live)
            # A page made by a program, or kept in a cache that the night's copy begins without, may be another by now.
            asked = [replace(one, loose=one.loose or self._site.passes_on) for one in self._truth]
            self._truth = truths_of(self._site.urls, [*live, self._start_stock(asked).urls])
            return
        unknown = tuple(Truth(url=url) for url in self._site.urls)
        self._truth = truths_of(self._site.urls, [self._start_stock(unknown).urls for _ in range(2)])

    def measure(self, order: Measure, start: Start = STARTED) -> Outcome:
        if start.fault:
            return _failed(order, _unfit(start.fault), gates=(start.fault,))
        try:
            return self._measured(order, start)
        except LoadHostUnreachable:
            raise
        except (
            BoardUnfit,
            LoadGeneratorFailed,
        ) as problem:  # an agent could not do as asked: no room, no memory for a process
            return _failed(order, NotInForce(stage="agent", reason=problem.message, blame="environment"))

    def put_in_force(self, configuration: Configuration) -> InForce | NotInForce:
        """Switches to a configuration and proves it by its canary; the empty one is stock.

        Raises BoardUnfit when the agent can't do as asked.
        """
        began = time.monotonic()
        address = self._next_address()
        try:
            plan = self._plan(configuration, address)
        except SettingUnsupported as problem:
            return NotInForce(stage="plan", reason=problem.message, blame="configuration")
        switched = self._held.connection.switch(plan.writes, self._order(plan, address, self._truth))
        switch_s = time.monotonic() - began
        if switched.step:
            return NotInForce(
                stage=switched.step,
                reason=switched.reason,
                blame=switched.blame or "environment",
                switch_s=switch_s,
            )
        effective = effects_of(configuration, self._held.discovery, switched.effects)
        if effective.refused:
            return NotInForce(
                stage="read-back", reason=effective.refused, blame="configuration", switch_s=switch_s
            )
        if not self._held.connection.answers_afresh():
            return NotInForce(
                stage="canary",
                reason="no new connection to the board comes about any more",
                blame=self._who_keeps_others_out(),
                switch_s=switch_s,
            )
        if unreached := self._pusher.unreached(address, switched.urls):
            return NotInForce(stage="canary", reason=unreached, blame="environment", switch_s=switch_s)
        answers = {
            truth.url.target: Answer(wire_bytes=seen.wire_bytes, loose=truth.loose)
            for truth, seen in zip(self._truth, switched.urls, strict=True)
        }
        return InForce(
            address=address, switched=switched, effective=effective, answers=answers, switch_s=switch_s
        )

    def _who_keeps_others_out(self) -> Literal["configuration", "environment"]:
        """A configuration does when all is well without it; a board that is going down does, too.

        Raises BoardUnreachable where the old line is gone as well.
        """
        self._held.connection.switch((), None)
        return "configuration" if self._held.connection.answers_afresh() else "environment"

    def load(self, workload: Workload, there: InForce, now: Tonight = STARTED.now) -> Loaded:
        """Warms up and measures one workload. Raises BoardUnfit when the agent can't do as asked."""
        order = self._load_order(workload, there)
        seen = self._run(order)
        answers = _answers(workload, there)
        judged = judge(seen, order, answers=answers)
        judged = replace(judged, fault=self._pusher.excused(judged.fault, there.address, there.switched.urls))
        return Loaded(
            seen=seen,
            judged=replace(
                judged, measurement=judged.measurement and self._with_board(judged.measurement, seen)
            ),
            gates=gates_asked(seen, order, judged, answers=answers),
            fitness=self._fitness(seen, now),
        )

    def load_at_rate(
        self, workload: Workload, there: InForce, rate_per_s: float, now: Tonight = STARTED.now
    ) -> LoadedAtRate:
        """One open-loop run of a workload, after its closed-loop one. Raises BoardUnfit when the agent can't do as asked."""
        duration_s = self._rate_s(workload)
        order = rate_order(self._load_order(workload, there), rate_per_s, duration_s, new_marker())
        seen = self._run(order)
        judged = judge_rate(seen, order, answers=_answers(workload, there))
        judged = replace(judged, fault=self._pusher.excused(judged.fault, there.address, there.switched.urls))
        return LoadedAtRate(seen=seen, judged=judged, fitness=self._fitness(seen, now))

    def _run(self, order: LoadOrder) -> LoadSeen:
        return with_watts(self._held.study.power, lambda: self._pusher.load(order))

    def _fitness(self, seen: LoadSeen, now: Tonight) -> RunFitness:
        return run_fitness(seen, self._held.study.fitness, now, server_cpus=self._held.placement.server)

    def _with_board(self, measurement: Measurement, seen: LoadSeen) -> Measurement:
        """What the board says of the run besides its load generator."""
        peaks = {f"peak.{name}": value for name, value in seen.peaks.items()}
        return measurement.model_copy(
            update={
                "cpu_busy": cpu_busy(seen.counters, self._held.placement.server),
                "power_w": seen.power_w,
                "counters": {**measurement.counters, **peaks, **load_host_figures(seen)},
            }
        )

    def _load_order(self, workload: Workload, there: InForce) -> LoadOrder:
        study = self._held.study
        urls = tuple(self._site.load_url(url, there.address) for url in workload.urls)
        order = load_order(workload, urls, there.address, self._held.placement, new_marker(), seed=study.seed)
        return replace(order, power=agent_meter(study.power))

    def _rate_s(self, workload: Workload) -> float:
        return self._held.study.latency.duration_s or workload.duration_s

    def _measured(self, order: Measure, start: Start) -> Outcome:
        began = time.monotonic()
        study = self._held.study
        there = self.put_in_force(order.configuration)
        if isinstance(there, NotInForce):
            return _failed(order, there)
        measurements: dict[str, Measurement] = {}
        doubts = [*there.effective.doubts, *_foreign(there.switched), *start.doubts]
        gates = [] if start.gate is None else [start.gate]
        raw = ""
        # Always in the study's order: what one leaves behind, it leaves behind in every sample.
        for workload in study.workloads:
            loaded = self.load(workload, there, start.now)
            judged, alone = loaded.judged, len(study.workloads) == 1
            raw += raw_text(loaded.seen) if alone else f"==== {workload.name}\n{raw_text(loaded.seen)}\n"
            gates += _named_gates((*loaded.gates, *loaded.fitness.gates), "" if alone else workload.name)
            if failed := _stopped(
                judged.fault, loaded.fitness, "" if alone else workload.name, there.switch_s
            ):
                return _failed(order, failed, raw, gates)
            if judged.measurement is None:  # can't be: a run without a fault has one
                raise AssertionError
            if study.maximised(judged.measurement) <= 0:
                uncounted = NotInForce(
                    stage="load",
                    reason=f"{workload.name}: no CPU time of the server was counted, and the study maximises requests per"
                    " server CPU second",
                    blame="environment",
                    switch_s=there.switch_s,
                )
                return _failed(order, uncounted, raw, gates)
            measurements[workload.name] = judged.measurement
            doubts += _named((*judged.doubts, *loaded.fitness.doubts), workload, study)
        fixed_rate: dict[str, FixedRate] = {}
        # After all of the closed-loop runs, so that those of the finals find the board as those of the search did.
        paced = (
            [] if self._cannot_pace(order) else [one for one in study.workloads if one.name in order.rates]
        )
        for workload in paced:
            rate_per_s = order.rates[workload.name]
            at_rate = self.load_at_rate(workload, there, rate_per_s, start.now)
            raw += f"==== {workload.name} at {rate_per_s:.1f} requests/s\n{raw_text(at_rate.seen)}\n"
            whose = f"{workload.name} at {rate_per_s:.0f} requests/s"
            gates += _named_gates((*at_rate.judged.gates, *at_rate.fitness.gates), whose)
            given_up = _given_up(at_rate.judged.fault, start.now)
            fault = None if given_up else at_rate.judged.fault
            if failed := _stopped(fault, at_rate.fitness, whose, there.switch_s):
                return _failed(order, failed, raw, gates)
            if at_rate.judged.fixed_rate:
                fixed_rate[workload.name] = at_rate.judged.fixed_rate.model_copy(
                    update={"cpu_busy": cpu_busy(at_rate.seen.counters, self._held.placement.server)}
                )
            doubts += _named((*given_up, *at_rate.judged.doubts, *at_rate.fitness.doubts), workload, study)
        doubts += self._clock.doubts()
        sample = Sample(
            key=order.key,
            at=now_text(),
            arm=order.arm,
            configuration=order.configuration,
            effective=there.effective.configuration.against(self._held.discovery.stock),
            measurements=measurements,
            fixed_rate=fixed_rate,
            objective=study.objective_of_runs(measurements),
            switch_s=there.switch_s,
            overhead_s=start.waited_s
            + max(0.0, time.monotonic() - began - study.busy_s - sum(map(self._rate_s, paced))),
            gates=tuple(gates),
            doubts=tuple(dict.fromkeys(doubts)),
        )
        return Outcome(event=sample, raw=raw)

    def _cannot_pace(self, order: Measure) -> bool:
        """Without luajit there is no figure at a fixed rate; preflight has said so, and refused where a limit needs one."""
        if not order.rates:
            return True
        luajit = self._pusher.facts.luajit
        return luajit is None or not luajit.runs

    def _plan(self, configuration: Configuration, address: str) -> SwitchPlan:
        return plan_switch(
            configuration,
            self._held.discovery,
            study=self._held.study,
            address=address,
            begun=self._held.begun,
            placement=self._held.placement,
        )

    def _start_stock(self, wanted: Sequence[Truth]) -> Switched:
        address = self._next_address()
        plan = self._plan(Configuration(), address)
        switched = self._held.connection.switch(plan.writes, self._order(plan, address, wanted))
        if switched.step:
            raise BoardUnfit(
                f"stock nginx does not pass ({switched.step}): {switched.reason}",
                hint=f"try `nginx -t -c {self._held.study.server.main_file}`, and see what else listens on its port",
            )
        if unreached := self._pusher.unreached(address, switched.urls):
            raise LoadGeneratorFailed(
                unreached,
                hint=f"see what lies between: a firewall on the board, or another machine at {address}",
            )
        return switched

    def _next_address(self) -> str:
        self._turn += 1
        return self._site.addresses[self._turn % len(self._site.addresses)]

    def _order(self, plan: SwitchPlan, address: str, truths: Sequence[Truth]) -> ServerOrder:
        server = plan.server
        return ServerOrder(
            conf=server.conf,
            conf_path=server.conf_path,
            edits=server.edits,
            build=server.build,
            workers=server.workers,
            listen=server.listen,
            cpus=self._held.placement.server,
            urls=tuple(self._at(address, truth) for truth in truths),
            php=server.php,
        )

    def _at(self, address: str, truth: Truth) -> UrlTruth:
        return UrlTruth(
            url=self._site.load_url(truth.url, address).url,
            address=address,
            status=truth.status,
            length=truth.length,
            sha256=truth.sha256,
            loose=truth.loose,
        )


def _answers(workload: Workload, there: InForce) -> list[Answer]:
    return [there.answers[url.target] for url in workload.urls]


def _named(doubts: Sequence[Doubt], workload: Workload, study: Study) -> list[Doubt]:
    """The doubts of one workload's run, which say whose they are where there are several."""
    if len(study.workloads) == 1:
        return list(doubts)
    return [one.model_copy(update={"text": f"{workload.name}: {one.text}"}) for one in doubts]


def _given_up(fault: Fault | None, now: Tonight) -> tuple[Doubt, ...]:
    """An open-loop generator that fails at this place as it did before is broken: its figure is given up, not the sample."""
    if fault is None or fault.stage != "load" or fault.blame != "environment" or now.again != fault.gate:
        return ()
    return (
        Doubt(
            code="no fixed rate",
            text=f"the open-loop generator failed twice, so there is no latency at a fixed rate ({fault.reason})",
            next="Try `luajit -v`, and apt-get install --reinstall luajit",
        ),
    )


def _stopped(fault: Fault | None, fitness: RunFitness, whose: str, switch_s: float) -> NotInForce | None:
    """What stops a run: a fault of the load that can't be the configuration's, the board's state, a fault that can."""
    head = f"{whose}: " if whose else ""
    if fitness.fault and (fault is None or fault.blame == "configuration"):
        return replace(_unfit(fitness.fault, head), switch_s=switch_s)
    if fault is None:
        return None
    return NotInForce(
        stage=fault.stage,
        reason=head + fault.reason,
        blame=fault.blame,
        switch_s=switch_s,
        gate=fault.gate,
    )


def _unfit(gate: GateResult, head: str = "") -> NotInForce:
    return NotInForce(
        stage="gate", reason=f"{head}{gate.name}: {gate.detail}", blame="environment", gate=gate.name
    )


def _named_gates(gates: Sequence[GateResult], whose: str) -> list[GateResult]:
    """Whose run each was asked of, where there are several."""
    if not whose:
        return list(gates)
    return [gate.model_copy(update={"name": f"{whose}: {gate.name}"}) for gate in gates]


def _failed(order: Measure, failed: NotInForce, raw: str = "", gates: Sequence[GateResult] = ()) -> Outcome:
    return Outcome(
        event=Failure(
            key=order.key,
            at=now_text(),
            arm=order.arm,
            configuration=order.configuration,
            stage=failed.stage,
            reason=failed.reason,
            blame=failed.blame,
            gate=failed.gate,
            gates=tuple(gates),
            switch_s=failed.switch_s,
        ),
        raw=raw,
    )


def _foreign(switched: Switched) -> tuple[Doubt, ...]:
    return tuple(
        Doubt(
            code="foreign change",
            text=f"{path} was changed by someone else during the night",
            next="find out who writes it (irqbalance, tuned, an admin)",
        )
        for path in switched.foreign
    )
