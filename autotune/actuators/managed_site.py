"""An nginx of our own: the packaged configuration, one server with the study's files, loopback addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from autotune.actuators import nginx
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.packaged import Packaged, packaged
from autotune.actuators.site import ServerPlan
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Listener, LoadUrl, Reading
from autotune.errors import SettingUnsupported
from autotune.experiment.study import ManagedNginx, Url
from autotune.space.value import Value

# A load's 4-tuples are in TIME_WAIT during the next; 32 addresses of 127/8 keep them apart for a minute.
_ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 34))


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedSite:
    """`online_cpus` is how many CPUs nginx counts for `auto`; `directives` has every one of the catalogue."""

    server: ManagedNginx
    base: Packaged
    build: NginxBuild
    directives: Mapping[str, Value]
    moved: str
    cpus: tuple[int, ...]
    online_cpus: int
    open_files_limit: int

    @classmethod
    def of(
        cls,
        server: ManagedNginx,
        readings: Mapping[str, Reading],
        facts: BoardFacts,
        placement: CpuPlacement,
        online_cpus: int,
    ) -> Self:
        """Raises BoardUnfit when the packaged configuration can't be read."""
        build = NginxBuild.of(facts)
        base = packaged(server.base, readings, build)
        return cls(
            server=server,
            base=base,
            build=build,
            directives=nginx.stock_values(base, build),
            moved=nginx.server_cpu_words(base, placement),
            cpus=facts.cpus,
            online_cpus=online_cpus,
            open_files_limit=facts.open_files_limit,
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        return (*self.base.left_out, self.moved) if self.moved else self.base.left_out

    @property
    def addresses(self) -> tuple[str, ...]:
        return _ADDRESSES

    @property
    def urls(self) -> tuple[Url, ...]:
        return tuple(Url(target=file.path) for file in self.server.files)

    def stock(self, id_: str) -> tuple[Value, tuple[str, ...]]:
        if reason := self.build.reason_missing(id_):
            raise SettingUnsupported(reason)
        offered = self.build.aio_words if id_ == "nginx:aio" else ()
        return nginx.stock_value(id_, self.base, self.build), offered

    def value_reason(self, id_: str, value: Value) -> str:
        if id_ == "nginx:worker_rlimit_nofile" and isinstance(value, int) and value > self.open_files_limit:
            return f"nginx may have {self.open_files_limit} open files here at most, {value} can't be set"
        if id_ == "nginx:worker_cpu_affinity" and isinstance(value, int):
            there = sum(1 << cpu for cpu in self.cpus)
            return "" if value and not value & ~there else f"{value:#x} names CPUs that this board lacks"
        return ""

    def load_url(self, url: Url, address: str) -> LoadUrl:
        return LoadUrl(url=f"http://{address}:{self.server.port}{url.target}", weight=url.weight)

    def plan(
        self, chosen: Mapping[str, Value], *, address: str, begun: Begun, placement: CpuPlacement
    ) -> ServerPlan:
        site = nginx.Site(address=address, port=self.server.port, begun=begun, placement=placement)
        return ServerPlan(
            conf=nginx.server_text(chosen, self.directives, self.base, site),
            workers=nginx.worker_count({**self.directives, **chosen}, self.online_cpus),
            listen=(Listener(address=address, port=self.server.port),),
        )
