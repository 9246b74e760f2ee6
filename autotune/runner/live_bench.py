"""The bench on a real board: switch, canary, warm up, measure, judge."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

from autotune.actuators.switching import effects_of, plan_switch
from autotune.board.records import ServerOrder, Switched, UrlTruth
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Failure, Sample
from autotune.load.gates import judge
from autotune.load.wrk import load_order, new_marker, raw_text
from autotune.runner.session import Held
from autotune.space.configuration import Configuration

# wrk's 4-tuples of one sample are in TIME_WAIT during the next; 32 addresses of 127/8 keep them apart for a minute.
ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 34))

FailureStage = Literal["plan", "write", "read-back", "nginx", "canary", "warm-up", "load", "gate", "agent"]


def now_text() -> str:
    """The time as events carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class LiveBench:
    """Measures on a held board. What stock answers to a GET is learned once, before anything is changed."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._turn = 0
        self._truth: tuple[UrlTruth, ...] = ()

    def learn_truth(self) -> None:
        """Starts stock twice and keeps what it serves as the canary's truth.

        A body that differs between the two is compared by status and length only. Raises BoardUnfit when stock
        doesn't run or doesn't serve the study's files.
        """
        first, second = self._start_stock(), self._start_stock()
        truths = []
        for one, two in zip(first.urls, second.urls, strict=True):
            if one.status != 200 or two.status != 200:
                raise BoardUnfit(f"stock answers {one.status} for {_path(one.url)}, not 200")
            same = one.sha256 == two.sha256
            truths.append(
                UrlTruth(
                    url=_path(one.url),
                    status=one.status,
                    length=one.length,
                    sha256=one.sha256 if same else "",
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
        server = ServerOrder(
            conf=plan.conf,
            workers=plan.workers,
            address=address,
            port=study.server.port,
            cpus=self._held.placement.server,
            urls=tuple(self._at(address, truth) for truth in self._truth),
        )
        switched = self._held.connection.switch(plan.writes, server)
        switch_s = time.monotonic() - began
        if switched.step:
            return self._failed(order, switched.step, switched.reason, switched.blame, switch_s)  # type: ignore[arg-type]
        effective = effects_of(order.configuration, self._held.discovery, switched.effects)
        if effective.refused:
            return self._failed(order, "read-back", effective.refused, "configuration", switch_s)

        url = f"http://{address}:{study.server.port}{study.workload.path}"
        load = load_order(study.workload, url, self._held.placement, new_marker())
        seen = self._held.connection.load(load)
        wire_bytes = next(one.wire_bytes for one in switched.urls if _path(one.url) == study.workload.path)
        judged = judge(seen, load, wire_bytes=wire_bytes)
        raw = raw_text(seen)
        if judged.measurement is None:
            failed = self._failed(order, judged.stage, judged.reason, judged.blame, switch_s)  # type: ignore[arg-type]
            return failed.model_copy(update={"raw": raw})
        busy_s = study.workload.warmup_s + study.workload.duration_s
        sample = Sample(
            key=order.key,
            at=now_text(),
            arm=order.arm,
            configuration=order.configuration,
            effective=effective.configuration.against(self._held.discovery.stock),
            measurement=judged.measurement,
            switch_s=switch_s,
            overhead_s=max(0.0, time.monotonic() - began - busy_s),
            doubts=(*effective.doubts, *judged.doubts, *_foreign(switched)),
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
        wanted = (UrlTruth(url=file.path, status=0, length=0, sha256="") for file in study.server.files)
        server = ServerOrder(
            conf=plan.conf,
            workers=plan.workers,
            address=address,
            port=study.server.port,
            cpus=self._held.placement.server,
            urls=tuple(self._at(address, truth) for truth in wanted),
        )
        switched = self._held.connection.switch(plan.writes, server)
        if switched.step:
            raise BoardUnfit(
                f"stock nginx does not pass ({switched.step}): {switched.reason}",
                hint=f"try `nginx -t -c {study.server.base}`, and see what else listens on port {study.server.port}",
            )
        return switched

    def _next_address(self) -> str:
        self._turn += 1
        return ADDRESSES[self._turn % len(ADDRESSES)]

    def _at(self, address: str, truth: UrlTruth) -> UrlTruth:
        url = f"http://{address}:{self._held.study.server.port}{truth.url}"
        return UrlTruth(url=url, status=truth.status, length=truth.length, sha256=truth.sha256)

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


def _path(url: str) -> str:
    """The path of one of our own URLs: http://address:port/path."""
    return "/" + url.split("/", 3)[3]


def _foreign(switched: Switched) -> tuple[Doubt, ...]:
    return tuple(
        Doubt(
            code="foreign change",
            text=f"{path} was changed by someone else during the night",
            next="find out who writes it (irqbalance, tuned, an admin)",
        )
        for path in switched.foreign
    )
