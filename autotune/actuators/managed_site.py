"""An nginx of our own: the packaged configuration, one server with the study's files, on loopback or where the load comes in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from autotune.actuators import fpm, nginx
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.packaged import Packaged, packaged
from autotune.actuators.site import ServerPlan
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Listener, LoadUrl, PhpOrder, Reading
from autotune.errors import SettingUnsupported
from autotune.experiment.study import ManagedNginx, Url
from autotune.space.value import Value

# A load's 4-tuples are in TIME_WAIT during the next; 32 addresses of 127/8 keep them apart for a minute.
_ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 34))


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedSite:
    """`online_cpus` is how many CPUs nginx counts for `auto`; `directives` has every one of the catalogue.

    `php` None: the study serves no PHP, and `php_values` is empty; else the latter has every setting of php-fpm.
    """

    server: ManagedNginx
    base: Packaged
    build: NginxBuild
    directives: Mapping[str, Value]
    moved: str
    cpus: tuple[int, ...]
    online_cpus: int
    open_files_limit: int
    php: fpm.Fpm | None
    php_values: Mapping[str, Value]

    @classmethod
    def of(
        cls,
        server: ManagedNginx,
        readings: Mapping[str, Reading],
        facts: BoardFacts,
        placement: CpuPlacement,
        online_cpus: int,
    ) -> Self:
        """Raises BoardUnfit when a packaged configuration can't be read, or the PHP that the study wants isn't there."""
        build = NginxBuild.of(facts)
        base = packaged(server.base, readings, build)
        php = fpm.Fpm.of(facts, readings) if server.has_php else None
        return cls(
            server=server,
            base=base,
            build=build,
            directives=nginx.stock_values(base, build),
            moved=nginx.server_cpu_words(base, placement),
            cpus=facts.cpus,
            online_cpus=online_cpus,
            open_files_limit=facts.open_files_limit,
            php=php,
            php_values=php.stock_values() if php else {},
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        moved = (self.moved,) if self.moved else ()
        return (*self.base.left_out, *moved, *(self.php.left_out if self.php else ()))

    @property
    def addresses(self) -> tuple[str, ...]:
        """One alone where the load comes over a network: the closing connections of the last load are in its machine's
        TIME_WAIT then, and it is asked for free ports before each run.
        """
        return (self.server.address,) if self.server.address else _ADDRESSES

    @property
    def passes_on(self) -> bool:
        return self.php is not None

    @property
    def urls(self) -> tuple[Url, ...]:
        return tuple(Url(target=file.path) for file in self.server.files)

    def stock(self, id_: str) -> tuple[Value, tuple[str, ...]]:
        of_php = id_.startswith("fpm:")
        if self.php is None and (of_php or id_ in nginx.PHP_ONLY):
            raise SettingUnsupported(fpm.NO_PHP)
        if self.php is not None and of_php:
            return self.php.stock(id_), ()
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
        order, listen = None, ""
        if self.php is not None:
            self._refuse_starving(chosen)
            inside = _ADDRESSES[0] if self.server.address else address  # php-fpm is for nobody but this nginx
            listen = fpm.listen_of(chosen, self.php_values, begun, inside, self.server.port)
            of_php = {id_: value for id_, value in chosen.items() if id_.startswith("fpm:")}
            conf = fpm.pool_text(
                of_php, self.php_values, self.php, listen=listen, owner=self.nginx_user, begun=begun
            )
            order = PhpOrder(conf=conf, listen=listen, cpus=placement.server)
        of_nginx = {id_: value for id_, value in chosen.items() if not id_.startswith("fpm:")}
        site = nginx.Site(
            address=address, port=self.server.port, begun=begun, placement=placement, php=listen
        )
        return ServerPlan(
            conf=nginx.server_text(of_nginx, self.directives, self.base, site),
            workers=nginx.worker_count({**self.directives, **of_nginx}, self.online_cpus),
            listen=(Listener(address=address, port=self.server.port),),
            php=order,
        )

    @property
    def nginx_user(self) -> str:
        """Whom root's nginx lets its workers be: the packaged directive, or the build's own default."""
        said = self.base.arguments("main", "user")
        built = re.search(r"--user=([a-z0-9_-]+)", self.build.arguments)
        return said[0] if said else (built[1] if built else "nobody")

    def _refuse_starving(self, chosen: Mapping[str, Value]) -> None:
        """A kept connection holds its child for good: with none left for the other workers their requests wait for ever."""
        values = {**self.directives, **self.php_values, **chosen}
        kept, children = values["nginx:upstream.keepalive"], values["fpm:max_children"]
        if (
            not values["nginx:fastcgi_keep_conn"]
            or not isinstance(kept, int)
            or not isinstance(children, int)
        ):
            return
        workers = nginx.worker_count(values, self.online_cpus)
        if kept * workers > children:
            raise SettingUnsupported(
                f"nginx:upstream.keepalive: {workers} workers that keep {kept} connections each hold more than"
                f" fpm:max_children, {children}, and starve each other",
                hint="fewer kept connections, or more children",
            )
