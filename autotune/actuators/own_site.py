"""The user's own nginx: its configuration with directives changed where they stand, and all it writes led into the night's
own directory.

A setting that is about speed is changed wherever it stands in http, servers and locations. One that changes what is served
(a size limit, a log switched off, a cache of open files) is changed at the http level; where the user says otherwise for a
server or a location, that stays. Nothing inside `if`, `map` and the like is touched.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from autotune.actuators import nginx, own_listen, own_places
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.own_tree import Edits, Found, OwnDirective, OwnTree
from autotune.actuators.own_view import EVENTS, LISTEN_OPTIONS, MAIN, PAIRS, OwnView
from autotune.actuators.site import ServerPlan
from autotune.actuators.wording import nginx_word
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, EditedFile, LoadUrl, NginxFiles
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.study import OwnNginx, Url, Workload
from autotune.space.catalogue import CATALOGUE
from autotune.space.catalogue import nginx as nginx_settings
from autotune.space.value import Value

# A load's 4-tuples are in TIME_WAIT during the next; 32 addresses of 127/8 keep them apart for a minute.
_LOOPBACK = tuple(f"127.0.0.{last}" for last in range(2, 34))
_UNSET = {"worker_rlimit_nofile": "unset", "timer_resolution": "unset"}
_ALIGNED = ("nginx:connection_pool_size", "nginx:request_pool_size")
_ALIGNMENT = 16
# Pages may come from a program, and so be others a minute later.
_PASSES_ON = re.compile(
    r"(proxy|fastcgi|uwsgi|scgi|grpc|memcached)_pass|ssi|perl|js_content|content_by_lua.*|random_index"
)
_NO_PHP = "the site's own PHP-FPM isn't changed: only its nginx is"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSite(OwnView):
    """The user's nginx on one board."""

    @classmethod
    def of(
        cls,
        server: OwnNginx,
        workloads: tuple[Workload, ...],
        read: NginxFiles,
        facts: BoardFacts,
        placement: CpuPlacement,
        online_cpus: int,
    ) -> Self:
        """`read` is what the agent read of the configuration.

        Raises BoardUnfit when nginx doesn't take the configuration, or when a file of it can't be read here.
        """
        if read.problem:
            raise BoardUnfit(
                f"nginx does not take {server.config}: {read.problem.strip()}",
                hint=f"nginx -t -c {server.config}",
            )
        texts = {}
        for path, reading in read.files.items():
            if reading.text is None:
                raise BoardUnfit(
                    f"your nginx configuration can't be read: {path}: {reading.error}",
                    hint=f"ls -l {path}; run as root or through sudo",
                )
            texts[path] = reading.text
        tree = OwnTree.of(server.config, texts, read.names)
        build = NginxBuild.of(facts)
        found = tuple(tree.walk())
        site = cls(
            server=server,
            workloads=workloads,
            tree=tree,
            build=build,
            found=found,
            listens=own_listen.listens(tree, is_root=build.is_root),
            cpus=facts.cpus,
            online_cpus=online_cpus,
            open_files_limit=facts.open_files_limit,
            moved="worker_cpu_affinity: fitted to the CPUs that the study gives the server"
            if placement.server and any(_is_main(one, "worker_cpu_affinity") for one in found)
            else "",
        )
        site._refuse()
        return site

    def _refuse(self) -> None:
        for url in self.urls:
            if _is_address(url.target) and urlsplit(url.target).hostname != self.server.address:
                host = urlsplit(url.target).hostname
                raise BoardUnfit(
                    f"{url.target} is not at {self.server.address}, where your nginx is to be reached",
                    hint=f'address = "{host}" under [server], or a URL with the name of the site',
                )
        own_listen.refuse_unreached(self.listens, self.server.address, [url.target for url in self.urls])
        if self._block("http") is None:
            raise BoardUnfit(f"{self.server.config} has no http block", hint="serve a site with it first")
        if self._block("events") is None:
            raise BoardUnfit(f"{self.server.config} has no events block", hint="see `nginx -t`")
        for one in self.found:
            if _is_main(one, "master_process") and one.directive.args[:1] == ("off",):
                raise BoardUnfit(
                    f"{one.directive.place}: with `master_process off` there are no workers to be tuned",
                    hint="take it out of the configuration",
                )

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the tested copy does otherwise than the user's own, and what stays as the user has it."""
        return (
            *own_places.notes(self.tree),
            *self._kept_notes(),
            *((self.moved,) if self.moved else ()),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Taking turns only where every address of this machine leads to the same servers."""
        ports = {own_listen.port_of(url.target) for url in self.urls}
        there = [one for one in self.listens if one.port in ports and ":" not in one.address]
        everywhere = {one.port for one in there if one.address == "0.0.0.0"}  # noqa: S104 - read, not bound
        if (
            self.server.address == "127.0.0.1"
            and ports <= everywhere
            and not any(_is_address(url.target) for url in self.urls)
            and all(one.address == "0.0.0.0" for one in there)  # noqa: S104
        ):
            return _LOOPBACK
        return (self.server.address,)

    def load_url(self, url: Url, address: str) -> LoadUrl:
        del address  # a name in the URL stands for it
        return LoadUrl(url=url.target, weight=url.weight)

    @property
    def passes_on(self) -> bool:
        return any(_PASSES_ON.fullmatch(one.directive.name) for one in self.found)

    # -- what it says today -------------------------------------------------------------------------------------------

    def stock(self, id_: str) -> tuple[Value, tuple[str, ...]]:
        if id_.startswith("fpm:"):
            raise SettingUnsupported(_NO_PHP)
        if id_ == "nginx:upstream.keepalive" and not self._upstreams():
            raise SettingUnsupported("this configuration has no upstream block")
        if id_ in nginx.PHP_ONLY and id_ != "nginx:upstream.keepalive" and not self._has("fastcgi_pass"):
            raise SettingUnsupported("this configuration passes nothing on to FastCGI")
        if id_.startswith("nginx:listen.") and not own_listen.holders(self.listens):
            raise SettingUnsupported("this configuration listens on no address and port of HTTP")
        if reason := self.build.reason_missing(id_):
            raise SettingUnsupported(reason)
        offered = self.build.aio_words if id_ == "nginx:aio" else ()
        return self._stock(id_), offered

    def value_reason(self, id_: str, value: Value) -> str:
        if id_ == "nginx:worker_rlimit_nofile" and isinstance(value, int) and value > self.open_files_limit:
            return f"nginx may have {self.open_files_limit} open files here at most, {value} can't be set"
        if id_ == "nginx:access_log" and value is True and not self._stock_log("", default=True):
            return "your configuration says `access_log off`, and names no file for it"
        if id_ == "nginx:worker_cpu_affinity" and isinstance(value, int):
            there = sum(1 << cpu for cpu in self.cpus)
            return "" if value and not value & ~there else f"{value:#x} names CPUs that this board lacks"
        return ""

    # -- one configuration --------------------------------------------------------------------------------------------

    def plan(
        self, chosen: Mapping[str, Value], *, address: str, begun: Begun, placement: CpuPlacement
    ) -> ServerPlan:
        del address
        edits = Edits(self.tree)
        values = {**self._all_stock(), **chosen}
        for id_ in chosen:
            if id_.startswith("fpm:"):
                raise SettingUnsupported(f"{id_}: {_NO_PHP}")
            if id_ in _ALIGNED and isinstance(size := chosen[id_], int) and size % _ALIGNMENT:
                raise SettingUnsupported(f"{id_}: {size} is not a multiple of {_ALIGNMENT}")
        places = own_places.NightPlaces.of(begun, self.build.arguments)
        own_places.redirect(self.tree, edits, places, default_log=self._default_log(chosen, values, places))
        for id_ in chosen:
            self._change(id_, values, edits)
        self._affinity(values, edits, placement, chosen="nginx:worker_cpu_affinity" in chosen)
        if any(id_.startswith("nginx:listen.") for id_ in chosen):
            self._listen(chosen, edits)
        if any(id_.startswith("nginx:access_log") for id_ in chosen):
            self._log(chosen, values, edits, places)
        return ServerPlan(
            conf="",
            conf_path=self.server.config,
            edits=tuple(EditedFile(path=path, text=text) for path, text in edits.texts().items()),
            workers=nginx.worker_count(values, self.online_cpus),
            listen=own_listen.bound(self.listens if not chosen else self._after(chosen)),
        )

    def _all_stock(self) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for setting in nginx_settings.SETTINGS:
            try:
                values[setting.id] = self._stock(setting.id)
            except (ValueError, IndexError):
                values[setting.id] = self.build.default(setting.id)
        return values

    def _change(self, id_: str, values: Mapping[str, Value], edits: Edits) -> None:
        setting = CATALOGUE[id_]
        name = setting.key.partition(".")[0]
        if name in ("listen", "access_log", "worker_cpu_affinity"):
            return
        if name == "upstream":
            self._keepalive(values[id_], edits)
        elif name == "thread_pool":
            words = [
                f"{part}={_word(f'nginx:thread_pool.{part}', values)}" for part in ("threads", "max_queue")
            ]
            self._put_main("thread_pool", f"thread_pool default {' '.join(words)};", edits, first="default")
        elif name in MAIN:
            gone = values[id_] == _UNSET.get(name)
            self._put_main(name, "" if gone else f"{name} {_word(id_, values)};", edits)
        elif name in EVENTS:
            self._put_events(name, f"{name} {_word(id_, values)};", edits)
        elif name == "open_file_cache":
            most = _word(id_.partition(".")[0] if "." in id_ else id_, values)
            inactive = _word("nginx:open_file_cache.inactive", values)
            text = "off" if most == "off" else f"max={most} inactive={inactive}"
            self._put_http(name, f"{name} {text};", edits, nested=False)
        elif id_.startswith("nginx:fastcgi_bu"):
            number, size = (_word(f"nginx:fastcgi_buffers.{part}", values) for part in ("number", "size"))
            first = _word("nginx:fastcgi_buffer_size", values)
            self._put_http("fastcgi_buffers", f"fastcgi_buffers {number} {size};", edits, nested=True)
            self._put_http("fastcgi_buffer_size", f"fastcgi_buffer_size {first};", edits, nested=True)
            busy = nginx.busy_bytes(values)
            self._put_http(
                "fastcgi_busy_buffers_size", f"fastcgi_busy_buffers_size {busy};", edits, nested=True
            )
        elif name in PAIRS:
            number, size = (_word(f"nginx:{name}.{part}", values) for part in ("number", "size"))
            self._put_http(name, f"{name} {number} {size};", edits, nested=not setting.changes_service)
        else:
            self._put_http(
                name,
                f"{name} {_word(id_, values)}",
                edits,
                nested=not setting.changes_service,
                keeps_rest=True,
            )

    def _put_main(self, name: str, text: str, edits: Edits, *, first: str = "") -> None:
        there = [one for one in self._of(name) if not first or one.args[:1] == (first,)]
        for number, one in enumerate(there):
            edits.replace(one, "" if number else text)
        if not there and text:
            edits.into_main(text)

    def _put_events(self, name: str, text: str, edits: Edits) -> None:
        there = self._of(name)
        for one in there:
            edits.replace(one, text)
        if not there:
            edits.into(self._needed("events"), text)

    def _put_http(
        self, name: str, text: str, edits: Edits, *, nested: bool, keeps_rest: bool = False
    ) -> None:
        """At the http level, and wherever else it stands when `nested`. `keeps_rest`: arguments behind the first stay."""
        at_http = False
        for one in self._in_http(name):
            here = one.context == "http"
            at_http = at_http or here
            if not here and not nested:
                continue
            if keeps_rest:
                edits.argument(one.directive, 0, text.partition(" ")[2])
            else:
                edits.replace(one.directive, text)
        if not at_http:
            edits.into(self._needed("http"), text + (";" if keeps_rest else ""))

    def _keepalive(self, value: Value, edits: Edits) -> None:
        for upstream in self._upstreams():
            kept = self._kept_alive(upstream)
            text = "" if value == "off" else f"keepalive {value};"
            if kept:
                edits.replace(kept, text)
            elif text:
                edits.at_end_of(upstream, text)  # it must come behind the balancing method

    def _affinity(
        self, values: Mapping[str, Value], edits: Edits, placement: CpuPlacement, *, chosen: bool
    ) -> None:
        """Keeps workers on the server's CPUs: root's nginx may set any CPU, so `auto` alone would leave them."""
        name = "worker_cpu_affinity"
        wanted = values[f"nginx:{name}"]
        server = sum(1 << cpu for cpu in placement.server)
        if not chosen and (not server or not self._of(name)):
            return
        if len(placement.server) == 1 or wanted == "off":
            text = ""
        elif isinstance(wanted, int):
            mask = wanted & server if server else wanted
            if not mask:
                raise SettingUnsupported(f"nginx:{name}: {wanted:#x} names no CPU that the server may use")
            text = f"{name} auto {mask:b};"
        else:
            text = f"{name} auto {server:b};" if server else f"{name} auto;"
        self._put_main(name, text, edits)

    def _listen(self, chosen: Mapping[str, Value], edits: Edits) -> None:
        done = set()
        own = {(there.address, there.port) for there in own_listen.bound(self.listens)}
        for one in own_listen.holders(self.listens):
            directive = one.directive
            if not one.has_options and one.socket not in own:
                continue  # a wildcard's socket takes it in; with options it would want one beside that
            if directive is None:
                options = self._options((), chosen)
                if options:
                    edits.into(one.server, f"listen {one.port} {' '.join(options)};")
                continue
            if (directive.path, directive.start) in done:
                continue
            done.add((directive.path, directive.start))
            raw = self.tree.texts[directive.path]
            shown = raw[directive.words[1].start : directive.words[1].end]
            edits.replace(
                directive, " ".join(["listen", shown, *self._options(directive.args[1:], chosen)]) + ";"
            )

    def _options(self, there: tuple[str, ...], chosen: Mapping[str, Value]) -> list[str]:
        options = list(there)
        for part, word in LISTEN_OPTIONS.items():
            setting = CATALOGUE[f"nginx:listen.{part}"]
            if setting.id not in chosen:
                continue
            value = chosen[setting.id]
            options = [
                one for one in options if not (one == word or (word.endswith("=") and one.startswith(word)))
            ]
            if value is True:
                options.append(word)
            elif value is not False and value not in setting.specials:
                options.append(word + nginx_word(setting, value))
        return options

    def _after(self, chosen: Mapping[str, Value]) -> tuple[own_listen.OwnListen, ...]:
        """The listen lines as they are with these values: options may have given an address a socket of its own."""
        if not any(id_.startswith("nginx:listen.") for id_ in chosen):
            return self.listens
        edits = Edits(self.tree)
        self._listen(chosen, edits)
        texts = {**self.tree.texts, **edits.texts()}
        tree = OwnTree.of(self.tree.main, texts, self.tree.names)
        return own_listen.listens(tree, is_root=self.build.is_root)

    def _log(
        self,
        chosen: Mapping[str, Value],
        values: Mapping[str, Value],
        edits: Edits,
        places: own_places.NightPlaces,
    ) -> None:
        names = own_places.LogNames(places.log_dir)
        paths = {
            id(one.directive): names.of(one.directive.first)
            for one in self.found
            if one.around and one.directive.name == "access_log" and one.directive.args[:1] != ("off",)
        }
        top = [one.directive for one in self._in_http("access_log") if one.context == "http"]
        if "nginx:access_log" in chosen:
            for one in () if chosen["nginx:access_log"] else top:
                edits.replace(one, "access_log off;")
                paths.pop(id(one), None)
        if not {"nginx:access_log.buffer", "nginx:access_log.flush"} & set(chosen):
            return
        words = _buffer_words(values)
        for found in self.found:
            directive = found.directive
            # Two lines of one file must say the same, so those inside `if` follow.
            if (
                id(directive) not in paths
                or found.around[0].name != "http"
                or not paths[id(directive)].startswith(places.log_dir)
            ):
                continue
            rest = [
                self._raw(directive, number)
                for number, word in enumerate(directive.args)
                if number and not word.startswith(("buffer=", "flush=", "gzip"))
            ]
            if rest and rest[0].startswith("if="):
                rest.insert(0, "combined")
            format_, *conditions = rest or ["combined"]
            text = " ".join(["access_log", paths[id(directive)], format_, *words, *conditions])
            edits.replace(directive, text + ";")

    def _default_log(
        self, chosen: Mapping[str, Value], values: Mapping[str, Value], places: own_places.NightPlaces
    ) -> str:
        if chosen.get("nginx:access_log") is False:
            return "off"
        path = f"{places.log_dir}/access-http.log"
        if not {"nginx:access_log.buffer", "nginx:access_log.flush"} & set(chosen):
            return path
        return " ".join([path, "combined", *_buffer_words(values)])

    def _raw(self, directive: OwnDirective, number: int) -> str:
        word = directive.words[number + 1]
        return self.tree.texts[directive.path][word.start : word.end]


def _buffer_words(values: Mapping[str, Value]) -> list[str]:
    """Without a buffer nginx refuses a flush time: it is left out."""
    words = []
    if values["nginx:access_log.buffer"] != "unset":
        words.append(f"buffer={_word('nginx:access_log.buffer', values)}")
        if values["nginx:access_log.flush"] != "unset":
            words.append(f"flush={_word('nginx:access_log.flush', values)}")
    return words


def _is_main(one: Found, name: str) -> bool:
    return not one.around and one.directive.name == name


def _word(id_: str, values: Mapping[str, Value]) -> str:
    return nginx_word(CATALOGUE[id_], values[id_])


def _is_address(url: str) -> bool:
    """Whether the URL's host is an address: then there is no other to take turns with."""
    try:
        ipaddress.ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return True
