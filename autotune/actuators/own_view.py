"""What the user's own nginx configuration says today, setting by setting."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autotune.actuators import own_listen
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.own_tree import Found, OwnDirective, OwnTree
from autotune.actuators.wording import nginx_value
from autotune.experiment.study import OwnNginx, Url, Workload
from autotune.space.catalogue import CATALOGUE
from autotune.space.catalogue import nginx as nginx_settings
from autotune.space.value import Value

MAIN = frozenset(setting.key.partition(".")[0] for setting in nginx_settings.MAIN)
EVENTS = frozenset(setting.key for setting in nginx_settings.EVENTS)
PAIRS = ("output_buffers", "large_client_header_buffers", "fastcgi_buffers")
LISTEN_OPTIONS = {
    "backlog": "backlog=",
    "reuseport": "reuseport",
    "deferred": "deferred",
    "fastopen": "fastopen=",
    "sndbuf": "sndbuf=",
    "rcvbuf": "rcvbuf=",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnView:
    """What the configuration says today. `online_cpus` is how many CPUs nginx counts for `auto`."""

    server: OwnNginx
    workloads: tuple[Workload, ...]
    tree: OwnTree
    build: NginxBuild
    found: tuple[Found, ...]
    listens: tuple[own_listen.OwnListen, ...]
    cpus: tuple[int, ...]
    online_cpus: int
    open_files_limit: int
    moved: str

    @property
    def urls(self) -> tuple[Url, ...]:
        targets = dict.fromkeys(url.target for workload in self.workloads for url in workload.urls)
        return tuple(Url(target=target) for target in targets)

    def _stock(self, id_: str) -> Value:
        setting = CATALOGUE[id_]
        name, _, part = setting.key.partition(".")
        default = self.build.default(id_)
        match name:
            case "listen":
                return self._stock_listen(part, default)
            case "upstream":
                kept = self._kept_alive(self._upstreams()[0])
                return nginx_value(setting, kept.args[0]) if kept else default
            case "access_log":
                return self._stock_log(part, default)
            case "thread_pool":
                pool = next((one for one in self._of("thread_pool") if one.args[:1] == ("default",)), None)
                return _named(id_, pool.args if pool else (), f"{part}=", default)
            case _:
                return self._stock_single(id_, name, part, default)

    def _stock_single(self, id_: str, name: str, part: str, default: Value) -> Value:
        setting = CATALOGUE[id_]
        arguments = self._arguments(name)
        if arguments is None:
            return default
        match name:
            case "open_file_cache":
                if arguments == ("off",):
                    return default
                return _named(id_, arguments, "inactive=" if part else "max=", default)
            case "worker_cpu_affinity":
                return _stock_affinity(arguments)
            case _ if name in PAIRS:
                return nginx_value(setting, arguments[0 if part == "number" else 1])
            case "aio" if len(arguments) > 1 or "=" in arguments[0]:
                raise ValueError("this configuration has its own thread pool for aio")
            case _:
                return nginx_value(setting, arguments[0])

    def _arguments(self, name: str) -> tuple[str, ...] | None:
        """At the level above all servers, or what every server says alike; None: nobody says it."""
        if name in MAIN or name in EVENTS:
            there = self._of(name)
            return there[0].args if there else None
        for one in self._in_http(name):
            if one.context == "http":
                return one.directive.args
        servers = {
            (one.directive.path, one.directive.start)
            for one in self.found
            if one.context == "http" and one.directive.name == "server"
        }
        saying = {
            (one.around[-1].path, one.around[-1].start): one.directive.args
            for one in self._in_http(name)
            if one.context == "http server"
        }
        if servers and set(saying) == servers and len(set(saying.values())) == 1:
            return next(iter(saying.values()))
        return None

    def _stock_listen(self, part: str, default: Value) -> Value:
        ports = [own_listen.port_of(url.target) for url in self.urls]
        there = own_listen.holders(self.listens)
        holder = min(there, key=lambda one: ports.index(one.port) if one.port in ports else len(ports))
        word = LISTEN_OPTIONS[part]
        for option in holder.options:
            if option == word:
                return True
            if word.endswith("=") and option.startswith(word):
                return nginx_value(CATALOGUE[f"nginx:listen.{part}"], option.removeprefix(word))
        return default

    def _stock_log(self, part: str, default: Value) -> Value:
        logs = [one.directive for one in self._in_http("access_log") if one.context == "http"]
        if not part:
            return not any(one.args == ("off",) for one in logs)
        logs = [one for one in logs or self._log_lines() if one.args != ("off",)]
        if not logs:
            return default
        if any(word.startswith("gzip") for word in logs[0].args[1:]):
            raise ValueError("the access log is compressed")
        return _named(f"nginx:access_log.{part}", logs[0].args, f"{part}=", default)

    # -- looking around -----------------------------------------------------------------------------------------------

    def _of(self, name: str) -> list[OwnDirective]:
        """Of the main or the events context."""
        return [
            one.directive
            for one in self.found
            if one.directive.name == name and one.context in ("", "events")
        ]

    def _in_http(self, name: str) -> list[Found]:
        """In http, servers and locations, not inside `if` and the like."""
        return [
            one
            for one in self.found
            if one.directive.name == name
            and one.directive.block is None
            and one.around
            and one.around[0].name == "http"
            and all(block.name in ("http", "server", "location") for block in one.around)
        ]

    def _log_lines(self) -> list[OwnDirective]:
        return [one.directive for one in self._in_http("access_log")]

    def _has(self, name: str) -> bool:
        return any(one.directive.name == name for one in self.found)

    def _block(self, name: str) -> OwnDirective | None:
        return next(
            (one.directive for one in self.found if not one.around and one.directive.name == name), None
        )

    def _needed(self, name: str) -> OwnDirective:
        block = self._block(name)
        if block is None:  # can't be: it was asked for in `of`
            raise AssertionError
        return block

    def _upstreams(self) -> list[OwnDirective]:
        return [
            one.directive
            for one in self.found
            if one.context == "http" and one.directive.name == "upstream" and one.directive.block is not None
        ]

    def _kept_alive(self, upstream: OwnDirective) -> OwnDirective | None:
        for one in self.found:
            if one.directive.name == "keepalive" and one.around and one.around[-1] is upstream:
                return one.directive
        return None

    def _kept_notes(self) -> tuple[str, ...]:
        """Where the user says otherwise for a part of the site, and it stays."""
        said = []
        for one in self.found:
            setting = CATALOGUE.get(f"nginx:{one.directive.name}")
            if setting is None or not one.around or one.around[0].name != "http" or one.context == "http":
                continue
            directive = one.directive
            in_condition = any(block.name in ("if", "limit_except") for block in one.around)
            if in_condition and directive.name != "access_log":
                said.append(f"{directive.name} of {directive.place}: stands inside `if` and stays")
            elif setting.changes_service and (directive.name != "access_log" or directive.args == ("off",)):
                said.append(
                    f"{directive.name} of {directive.place}: stays as it is for its {one.around[-1].name}"
                )
        return tuple(dict.fromkeys(said))


def _named(id_: str, arguments: tuple[str, ...], name: str, default: Value) -> Value:
    for word in arguments:
        if word.startswith(name):
            return nginx_value(CATALOGUE[id_], word.removeprefix(name))
    return default


def _stock_affinity(arguments: tuple[str, ...]) -> Value:
    match arguments:
        case ("auto",):
            return "auto"
        case ("auto", mask) if re.fullmatch("[01]+", mask):
            return int(mask, 2)
        case _:
            raise ValueError("the configuration names a CPU for every worker")
