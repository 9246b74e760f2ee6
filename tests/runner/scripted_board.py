"""A held board made of words: it answers switches and loads as a test has written, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from autotune.actuators.discovery import Discovery
from autotune.actuators.site import ServerPlan
from autotune.board.clock import ClockSeen
from autotune.board.connection import Connection
from autotune.board.placement import CpuPlacement
from autotune.board.records import (
    Begun,
    Ended,
    Listener,
    LoadOrder,
    LoadSeen,
    LoadUrl,
    Run,
    ServerOrder,
    Switched,
    UrlSeen,
    Write,
)
from autotune.errors import BoardUnreachable
from autotune.experiment.study import Study, Url
from autotune.runner.session import Held
from autotune.space.value import Value

WIRE_BYTES = 1000


@dataclass(frozen=True)
class PaperSite:
    """A site at two addresses."""

    urls: tuple[Url, ...]
    left_out: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("127.0.0.2", "127.0.0.3")

    @property
    def passes_on(self) -> bool:
        return False

    def stock(self, id_: str) -> tuple[Value, tuple[str, ...]]:
        raise AssertionError(id_)

    def value_reason(self, id_: str, value: Value) -> str:
        del id_, value
        return ""

    def load_url(self, url: Url, address: str) -> LoadUrl:
        return LoadUrl(url=f"http://{address}:8088{url.target}", weight=url.weight)

    def plan(
        self, chosen: Mapping[str, Value], *, address: str, begun: Begun, placement: CpuPlacement
    ) -> ServerPlan:
        del chosen, begun, placement
        return ServerPlan(conf="events {}", workers=1, listen=(Listener(address=address, port=8088),))


def seen(order: LoadOrder, **changed: Any) -> LoadSeen:
    """A sound run of 1,000 requests/s, whose report has `changed` instead."""
    requests = int(1000 * order.duration_s)
    report = {
        "requests": requests,
        "duration_us": int(1e6 * order.duration_s),
        "bytes": requests * WIRE_BYTES,
        "errors": {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0},
        "latency_us": dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "p999", "max"), 1000.0),
    }
    run = Run(
        exit_code=0,
        stdout=f"{order.marker} {json.dumps(report | changed)}\n",
        stderr="",
        wall_s=order.duration_s,
        cpu_s=0.5,
        timed_out=False,
    )
    return LoadSeen(
        warmup=run,
        measured=run,
        counters={},
        before={"free_ports": 20_000.0},
        after={},
        server_cpu_s=0.5,
        workers_before=(1,),
        workers_after=(1,),
        connections_held=order.connections,
        error_log="",
    )


@dataclass
class ScriptedLine:
    """What a test says the board does. `bodies`: SHA-256 by target and switch; `load` answers a load."""

    bodies: Callable[[str, int], str] = lambda _target, _switch: "0" * 64
    load_answer: Callable[[LoadOrder], LoadSeen] = seen
    switches: list[ServerOrder] = field(default_factory=list)
    loads: list[LoadOrder] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    refusal: str = ""
    reachable: bool = True
    reachable_again: bool = True
    """With nothing of a configuration in force."""
    gone: bool = False
    clock_s: Callable[[], float] = lambda: 0.0

    def clock(self) -> ClockSeen:
        return ClockSeen(ahead_s=0.0, within_s=0.001, since_boot_s=self.clock_s())

    def answers_afresh(self) -> bool:
        return self.reachable

    def switch(self, writes: Sequence[Write], server: ServerOrder | None) -> Switched:
        del writes
        if server is None:
            if self.gone:
                raise BoardUnreachable("the board's agent is gone")
            self.reachable = self.reachable_again
        else:
            self.switches.append(server)
        urls = tuple(
            UrlSeen(
                url=truth.url,
                status=200,
                length=900,
                wire_bytes=WIRE_BYTES,
                sha256=self.bodies("/" + truth.url.split("/", 3)[3], len(self.switches)),
            )
            for truth in (() if server is None else server.urls)
        )
        sound = Switched(
            effects=(),
            foreign=(),
            step="",
            reason="",
            blame="",
            urls=urls,
            master_pid=2,
            worker_pids=(1,),
            error_log="",
            timings_ms={},
            guardian_restarted=False,
        )
        if self.refusal and len(self.switches) > 2:
            return replace(sound, step="canary", reason=self.refusal, blame="configuration")
        return sound

    def load(self, order: LoadOrder) -> LoadSeen:
        self.loads.append(order)
        return self.load_answer(order)

    def end(self, *, keep: bool = False) -> Ended:
        self.ended.append(keep)
        return Ended(restored=(), left=())

    def close(self) -> None:
        return


def held_on(line: ScriptedLine, study: Study, stock: Mapping[str, Value] | None = None) -> Held:
    """A held board of this line, whose site has every URL of the study's workloads."""
    urls = tuple(dict.fromkeys(Url(target=url.target) for one in study.workloads for url in one.urls))
    discovery = Discovery(
        stock=dict(stock or {}),
        missing={},
        choices={},
        targets={},
        kernel_paths={},
        site=PaperSite(urls),
        site_problem="",
    )
    begun = Begun(token="t", conf_path="/c", www_dir="/w", log_dir="/l", undone=())
    return Held(
        connection=cast("Connection", line),
        study=study,
        begun=begun,
        placement=CpuPlacement(),
        discovery=discovery,
    )
