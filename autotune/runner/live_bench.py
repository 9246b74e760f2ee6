"""The bench on a real board: switch, canary, warm up, measure, judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autotune.actuators.switching import Effective, SwitchPlan, effects_of, plan_switch
from autotune.board.records import LoadOrder, LoadSeen, ServerOrder, Switched, UrlSeen, UrlTruth
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Failure, FixedRate, Measurement, Sample
from autotune.experiment.study import Study, Url, Workload
from autotune.load.gates import Answer, Judged, judge
from autotune.load.open_loop import JudgedRate, judge_rate, rate_order
from autotune.load.wrk import load_order, new_marker, raw_text
from autotune.runner.clocks import now_text
from autotune.runner.session import Held
from autotune.space.configuration import Configuration

_OK = 200
FailureStage = Literal["plan", "write", "read-back", "nginx", "canary", "warm-up", "load", "gate", "agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What stock answers for a URL; `status` 0: not known yet."""

    url: Url
    status: int = 0
    length: int = 0
    sha256: str = ""
    loose: bool = False


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
    """Where a configuration stopped on its way, why, and who is to blame."""

    stage: FailureStage
    reason: str
    blame: Literal["configuration", "environment"]
    switch_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAtRate:
    """One workload's open-loop run against what is in force, and what the gates make of it."""

    seen: LoadSeen
    judged: JudgedRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One workload's run against what is in force, and what the gates make of it."""

    seen: LoadSeen
    judged: Judged


class LiveBench:
    """Measures on a held board. What stock answers to a GET is learned once, before anything is changed."""

    def __init__(self, held: Held) -> None:
        if held.discovery.site is None:
            raise BoardUnfit(held.discovery.site_problem, hint="see `autotune doctor`")
        self._held = held
        self._site = held.discovery.site
        self._turn = 0
        self._truth: tuple[Truth, ...] = ()

    def learn_truth(self) -> None:
        """What the canary's answers must be: those of the live server, where there was one, else of stock started twice.

        A body that differs from answer to answer is compared by status and class of length only. Raises BoardUnfit when
        stock doesn't run, doesn't serve the study's URLs, or doesn't answer as the live server did.
        """
        live = self._held.live
        if live:
            self._truth = _truths(self._site.urls, live)
            # A page made by a program, or kept in a cache that the night's copy begins without, may be another by now.
            asked = [replace(one, loose=one.loose or self._site.passes_on) for one in self._truth]
            self._truth = _truths(self._site.urls, [*live, self._start_stock(asked).urls])
            return
        unknown = tuple(Truth(url=url) for url in self._site.urls)
        self._truth = _truths(self._site.urls, [self._start_stock(unknown).urls for _ in range(2)])

    def measure(self, order: Measure) -> Outcome:
        try:
            return self._measured(order)
        except BoardUnfit as problem:  # the agent could not do as asked: no room, no memory for a process
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
                stage=switched.step,  # type: ignore[arg-type]
                reason=switched.reason,
                blame=switched.blame,  # type: ignore[arg-type]
                switch_s=switch_s,
            )
        effective = effects_of(configuration, self._held.discovery, switched.effects)
        if effective.refused:
            return NotInForce(
                stage="read-back", reason=effective.refused, blame="configuration", switch_s=switch_s
            )
        answers = {
            truth.url.target: Answer(wire_bytes=seen.wire_bytes, loose=truth.loose)
            for truth, seen in zip(self._truth, switched.urls, strict=True)
        }
        return InForce(
            address=address, switched=switched, effective=effective, answers=answers, switch_s=switch_s
        )

    def load(self, workload: Workload, there: InForce) -> Loaded:
        """Warms up and measures one workload. Raises BoardUnfit when the agent can't do as asked."""
        order = self._load_order(workload, there)
        seen = self._held.connection.load(order)
        return Loaded(seen=seen, judged=judge(seen, order, answers=_answers(workload, there)))

    def load_at_rate(self, workload: Workload, there: InForce, rate_per_s: float) -> LoadedAtRate:
        """One open-loop run of a workload, after its closed-loop one. Raises BoardUnfit when the agent can't do as asked."""
        duration_s = self._rate_s(workload)
        order = rate_order(self._load_order(workload, there), rate_per_s, duration_s, new_marker())
        seen = self._held.connection.load(order)
        return LoadedAtRate(seen=seen, judged=judge_rate(seen, order, answers=_answers(workload, there)))

    def _load_order(self, workload: Workload, there: InForce) -> LoadOrder:
        urls = tuple(self._site.load_url(url, there.address) for url in workload.urls)
        return load_order(
            workload, urls, there.address, self._held.placement, new_marker(), seed=self._held.study.seed
        )

    def _rate_s(self, workload: Workload) -> float:
        return self._held.study.latency.duration_s or workload.duration_s

    def _measured(self, order: Measure) -> Outcome:
        began = time.monotonic()
        study = self._held.study
        there = self.put_in_force(order.configuration)
        if isinstance(there, NotInForce):
            return _failed(order, there)
        measurements: dict[str, Measurement] = {}
        doubts = [*there.effective.doubts, *_foreign(there.switched)]
        raw = ""
        # Always in the study's order: what one leaves behind, it leaves behind in every sample.
        for workload in study.workloads:
            loaded = self.load(workload, there)
            judged, alone = loaded.judged, len(study.workloads) == 1
            raw += raw_text(loaded.seen) if alone else f"==== {workload.name}\n{raw_text(loaded.seen)}\n"
            if judged.measurement is None:
                failed = NotInForce(
                    stage=judged.stage,  # type: ignore[arg-type]
                    reason=judged.reason if alone else f"{workload.name}: {judged.reason}",
                    blame=judged.blame,  # type: ignore[arg-type]
                    switch_s=there.switch_s,
                )
                return _failed(order, failed, raw)
            if study.maximised(judged.measurement) <= 0:
                uncounted = NotInForce(
                    stage="load",
                    reason=f"{workload.name}: no CPU time of the server was counted, and the study maximises requests per"
                    " server CPU second",
                    blame="environment",
                    switch_s=there.switch_s,
                )
                return _failed(order, uncounted, raw)
            measurements[workload.name] = judged.measurement
            doubts += _named(judged.doubts, workload, study)
        fixed_rate: dict[str, FixedRate] = {}
        # After all of the closed-loop runs, so that those of the finals find the board as those of the search did.
        paced = (
            [] if self._cannot_pace(order) else [one for one in study.workloads if one.name in order.rates]
        )
        for workload in paced:
            rate_per_s = order.rates[workload.name]
            at_rate = self.load_at_rate(workload, there, rate_per_s)
            raw += f"==== {workload.name} at {rate_per_s:.1f} requests/s\n{raw_text(at_rate.seen)}\n"
            if fault := at_rate.judged.fault:
                failed = NotInForce(
                    stage=fault.stage,
                    reason=f"{workload.name} at {rate_per_s:.0f} requests/s: {fault.reason}",
                    blame=fault.blame,
                    switch_s=there.switch_s,
                )
                return _failed(order, failed, raw)
            if at_rate.judged.fixed_rate:
                fixed_rate[workload.name] = at_rate.judged.fixed_rate
            doubts += _named(at_rate.judged.doubts, workload, study)
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
            overhead_s=max(0.0, time.monotonic() - began - study.busy_s - sum(map(self._rate_s, paced))),
            doubts=tuple(dict.fromkeys(doubts)),
        )
        return Outcome(event=sample, raw=raw)

    def _cannot_pace(self, order: Measure) -> bool:
        """Without luajit there is no figure at a fixed rate; preflight has said so, and refused where a limit needs one."""
        if not order.rates:
            return True
        luajit = self._held.connection.facts.luajit
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


def _truths(urls: Sequence[Url], answers: Sequence[Sequence[UrlSeen]]) -> tuple[Truth, ...]:
    """From each URL's answers, asked more than once. Raises BoardUnfit for one that isn't always 200.

    A redirect is not the page: wrk doesn't follow it, and counts it as a success.
    """
    truths = []
    for url, *seen in zip(urls, *answers, strict=True):
        if {one.status for one in seen} != {_OK}:
            told = ", then ".join(dict.fromkeys(str(one.status) for one in seen))
            raise BoardUnfit(
                f"{url.target} answers {told}, not 200: that is not the page",
                hint="put URLs into the study that serve a page themselves, without a redirect",
            )
        same = len({(one.sha256, one.length) for one in seen}) == 1
        truths.append(
            Truth(
                url=url,
                status=seen[0].status,
                length=seen[0].length,
                sha256=seen[0].sha256 if same else "",
                loose=not same,
            )
        )
    return tuple(truths)


def _failed(order: Measure, failed: NotInForce, raw: str = "") -> Outcome:
    return Outcome(
        event=Failure(
            key=order.key,
            at=now_text(),
            arm=order.arm,
            configuration=order.configuration,
            stage=failed.stage,
            reason=failed.reason,
            blame=failed.blame,
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
