"""The bench on a real board: switch, canary, warm up, measure, judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from autotune.actuators.switching import SwitchPlan, effects_of, plan_switch
from autotune.board.records import ServerOrder, Switched, UrlTruth
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Failure, Measurement, Sample
from autotune.experiment.study import Url
from autotune.load.gates import Answer, judge
from autotune.load.wrk import load_order, new_marker, raw_text
from autotune.runner.session import Held
from autotune.space.configuration import Configuration

FailureStage = Literal["plan", "write", "read-back", "nginx", "canary", "warm-up", "load", "gate", "agent"]


def now_text() -> str:
    """The time as events carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What stock answers for a URL; `status` 0: not known yet."""

    url: Url
    status: int = 0
    length: int = 0
    sha256: str = ""
    loose: bool = False


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
        """Starts stock twice and keeps what it serves as the canary's truth.

        A body that differs between the two is compared by status and length only. Raises BoardUnfit when stock
        doesn't run or doesn't serve the study's files.
        """
        first, second = self._start_stock(), self._start_stock()
        truths = []
        for url, one, two in zip(self._site.urls, first.urls, second.urls, strict=True):
            if one.status != 200 or two.status != 200:
                raise BoardUnfit(f"stock answers {one.status} for {url.target}, not 200")
            same = one.sha256 == two.sha256
            truths.append(
                Truth(
                    url=url,
                    status=one.status,
                    length=one.length,
                    sha256=one.sha256 if same else "",
                    loose=not same,
                )
            )
        self._truth = tuple(truths)

    def measure(self, order: Measure) -> Outcome:
        try:
            return self._measured(order)
        except SettingUnsupported as problem:
            return self._failed(order, "plan", problem.message, "configuration")
        except (
            BoardUnfit
        ) as problem:  # the agent could not do as it was asked: no room, no memory for a process
            return self._failed(order, "agent", problem.message, "environment")

    def _measured(self, order: Measure) -> Outcome:
        began = time.monotonic()
        study = self._held.study
        address = self._next_address()
        plan = plan_switch(
            order.configuration,
            self._held.discovery,
            study=study,
            address=address,
            begun=self._held.begun,
            placement=self._held.placement,
        )
        switched = self._held.connection.switch(plan.writes, self._order(plan, address, self._truth))
        switch_s = time.monotonic() - began
        if switched.step:
            return self._failed(order, switched.step, switched.reason, switched.blame, switch_s)  # type: ignore[arg-type]
        effective = effects_of(order.configuration, self._held.discovery, switched.effects)
        if effective.refused:
            return self._failed(order, "read-back", effective.refused, "configuration", switch_s)

        answers = {
            truth.url.target: Answer(wire_bytes=seen.wire_bytes, loose=truth.loose)
            for truth, seen in zip(self._truth, switched.urls, strict=True)
        }
        measurements: dict[str, Measurement] = {}
        doubts = [*effective.doubts, *_foreign(switched)]
        raw = ""
        for workload in study.workloads:
            urls = tuple(self._site.load_url(url, address) for url in workload.urls)
            load = load_order(workload, urls, address, self._held.placement, new_marker(), seed=study.seed)
            seen = self._held.connection.load(load)
            judged = judge(seen, load, answers=[answers[url.target] for url in workload.urls])
            raw += f"==== {workload.name}\n{raw_text(seen)}\n"
            if judged.measurement is None:
                reason = f"{workload.name}: {judged.reason}" if len(study.workloads) > 1 else judged.reason
                failed = self._failed(order, judged.stage, reason, judged.blame, switch_s)  # type: ignore[arg-type]
                return failed.model_copy(update={"raw": raw})
            measurements[workload.name] = judged.measurement
            doubts += judged.doubts
        sample = Sample(
            key=order.key,
            at=now_text(),
            arm=order.arm,
            configuration=order.configuration,
            effective=effective.configuration.against(self._held.discovery.stock),
            measurements=measurements,
            objective=study.objective_of({name: one.requests_per_s for name, one in measurements.items()}),
            switch_s=switch_s,
            overhead_s=max(0.0, time.monotonic() - began - study.busy_s),
            doubts=tuple(dict.fromkeys(doubts)),
        )
        return Outcome(event=sample, raw=raw)

    def _start_stock(self) -> Switched:
        study = self._held.study
        address = self._next_address()
        plan = plan_switch(
            Configuration(),
            self._held.discovery,
            study=study,
            address=address,
            begun=self._held.begun,
            placement=self._held.placement,
        )
        wanted = tuple(Truth(url=url) for url in self._site.urls)
        switched = self._held.connection.switch(plan.writes, self._order(plan, address, wanted))
        if switched.step:
            raise BoardUnfit(
                f"stock nginx does not pass ({switched.step}): {switched.reason}",
                hint=f"try `nginx -t -c {study.server.main_file}`, and see what else listens on its port",
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

    def _failed(
        self,
        order: Measure,
        stage: FailureStage,
        reason: str,
        blame: Literal["configuration", "environment"],
        switch_s: float = 0.0,
    ) -> Outcome:
        return Outcome(
            event=Failure(
                key=order.key,
                at=now_text(),
                arm=order.arm,
                configuration=order.configuration,
                stage=stage,
                reason=reason,
                blame=blame,
                switch_s=switch_s,
            )
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
