"""nginx: what the packaged configuration says today, and the text of a configuration with directives laid over it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.packaged import Directive, Packaged, build_text
from autotune.actuators.wording import nginx_value, nginx_word, safe_address, safe_path
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun
from autotune.errors import SettingUnsupported
from autotune.space.catalogue import CATALOGUE, nginx
from autotune.space.value import Value

_CONTEXT = (
    {setting.id: "main" for setting in nginx.MAIN}
    | {setting.id: "events" for setting in nginx.EVENTS}
    | {setting.id: "http" for setting in (*nginx.HTTP, *nginx.FASTCGI)}
)
PHP_ONLY = frozenset(setting.id for setting in nginx.FASTCGI)
# Removing the directive is how these words are said.
_ABSENT = frozenset({("nginx:worker_rlimit_nofile", "unset"), ("nginx:timer_resolution", "unset")})
_PAIRS = ("output_buffers", "large_client_header_buffers")
_UPSTREAM = "autotune_php"
_ALIGNED = ("nginx:connection_pool_size", "nginx:request_pool_size")
_ALIGNMENT = 16
_TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the tested nginx listens, what it serves, and which CPUs it may use. `php`: php-fpm's socket or address,
    "" without.
    """

    address: str
    port: int
    begun: Begun
    placement: CpuPlacement
    php: str = ""


def stock_value(id_: str, base: Packaged, build: NginxBuild) -> Value:
    """The value in force with the packaged configuration. Raises ValueError when the setting can't hold it."""
    setting = CATALOGUE[id_]
    directive, _, part = setting.key.partition(".")
    default = build.default(id_)
    if directive in ("listen", "upstream"):
        return default  # the site, and so its listen line, is the study's own
    if directive == "access_log":
        return _stock_log(part, base, default)
    arguments = base.arguments(_CONTEXT[id_], directive)
    match directive:
        case "thread_pool":
            arguments = next(
                (one.args for one in base.main if one.name == directive and one.args[:1] == ("default",)),
                None,
            )
            return _named(id_, arguments, f"{part}=", default)
        case "open_file_cache":
            if arguments == ("off",) or arguments is None:
                return default
            return _named(id_, arguments, "inactive=" if part else "max=", default)
        case "worker_cpu_affinity":
            return _stock_affinity(arguments, default)
        case _ if arguments is None:
            return default
        case _ if directive in (*_PAIRS, "fastcgi_buffers"):
            return nginx_value(setting, arguments[0 if part == "number" else 1])
        case _:
            return nginx_value(setting, arguments[0])


def stock_values(base: Packaged, build: NginxBuild) -> dict[str, Value]:
    """The value of every directive in the catalogue; nginx's own default where the setting can't hold the packaged one."""
    values = {}
    for setting in nginx.SETTINGS:
        try:
            values[setting.id] = stock_value(setting.id, base, build)
        except ValueError:
            values[setting.id] = build.default(setting.id)
    return values


def server_cpu_words(base: Packaged, placement: CpuPlacement) -> str:
    """What becomes of the packaged worker_cpu_affinity under this placement; empty when it stays."""
    if not placement.server or base.arguments("main", "worker_cpu_affinity") is None:
        return ""
    return "worker_cpu_affinity: fitted to the CPUs that the study gives the server"


def worker_count(values: Mapping[str, Value], online_cpus: int) -> int:
    """How many workers nginx starts: `auto` counts the online CPUs, not those it may use."""
    wanted = values["nginx:worker_processes"]
    return wanted if isinstance(wanted, int) else max(1, online_cpus)


def server_text(chosen: Mapping[str, Value], stock: Mapping[str, Value], base: Packaged, site: Site) -> str:
    """The whole configuration of the tested nginx. Without a choice, every value of the packaged one is unchanged.

    Raises SettingUnsupported when a value can't be had.
    """
    for id_ in _ALIGNED:
        if isinstance(size := chosen.get(id_), int) and size % _ALIGNMENT:
            raise SettingUnsupported(f"{id_}: {size} is not a multiple of {_ALIGNMENT}")
    values = {**stock, **chosen}
    log_dir = safe_path(site.begun.log_dir)
    main = _Context(base.main)
    events = _Context(base.events)
    http = _Context(base.http)
    contexts = {"main": main, "events": events, "http": http}
    for id_ in chosen:
        directive, _, part = CATALOGUE[id_].key.partition(".")
        if (
            part
            or id_ in PHP_ONLY
            or directive in ("listen", "access_log", "open_file_cache", "worker_cpu_affinity")
        ):
            continue
        arguments = () if (id_, chosen[id_]) in _ABSENT else (_word(id_, values),)
        contexts[_CONTEXT[id_]].put(directive, arguments)
    for directive, context, make in _COMPOUND:
        if any(CATALOGUE[id_].key.partition(".")[0] == directive for id_ in chosen):
            contexts[context].put(directive, make(values), first=_POOL if directive == "thread_pool" else "")
    _affinity(main, values, "nginx:worker_cpu_affinity" in chosen, site.placement)

    own = (
        Directive(name="daemon", args=("off",)),
        Directive(
            name="pid",
            args=(posixpath.join(posixpath.dirname(safe_path(site.begun.conf_path)), "nginx.pid"),),
        ),
        Directive(name="error_log", args=(f"{log_dir}/error.log", base.error_level)),
    )
    for name in _TEMP_PATHS:
        http.put(f"{name}_temp_path", (f"{log_dir}/{name}",))
    http.put("access_log", _log(f"{log_dir}/access.log", chosen, values, base))
    if site.php:
        http.add(_upstream(values, site.php))
    http.add(
        Directive(
            name="server",
            block=(
                Directive(name="listen", args=_listen(values, site)),
                Directive(name="root", args=(safe_path(site.begun.www_dir),)),
                *((_php_location(chosen, values),) if site.php else ()),
            ),
        )
    )
    return build_text(
        (
            *own,
            *main.directives,
            Directive(name="events", block=events.directives),
            Directive(name="http", block=http.directives),
        )
    )


class _Context:
    """The directives of one context, in order. A directive that is put takes the place of the packaged one."""

    def __init__(self, directives: Iterable[Directive]) -> None:
        self._directives = list(directives)

    @property
    def directives(self) -> tuple[Directive, ...]:
        return tuple(self._directives)

    def add(self, directive: Directive) -> None:
        self._directives.append(directive)

    def put(self, name: str, arguments: tuple[str, ...], *, first: str = "") -> None:
        """No arguments: the directive goes. `first`: only one whose first argument is that one gives way."""
        places = [
            place
            for place, one in enumerate(self._directives)
            if one.name == name and (not first or one.args[:1] == (first,))
        ]
        for place in reversed(places):
            del self._directives[place]
        if arguments:
            self._directives.insert(
                places[0] if places else len(self._directives), Directive(name=name, args=arguments)
            )


_POOL = "default"


def _word(id_: str, values: Mapping[str, Value]) -> str:
    return nginx_word(CATALOGUE[id_], values[id_])


def _pair(directive: str) -> Callable[[Mapping[str, Value]], tuple[str, ...]]:
    return lambda values: (
        _word(f"nginx:{directive}.number", values),
        _word(f"nginx:{directive}.size", values),
    )


def _thread_pool(values: Mapping[str, Value]) -> tuple[str, ...]:
    threads = _word("nginx:thread_pool.threads", values)
    return (_POOL, f"threads={threads}", f"max_queue={_word('nginx:thread_pool.max_queue', values)}")


def _open_file_cache(values: Mapping[str, Value]) -> tuple[str, ...]:
    most = _word("nginx:open_file_cache", values)
    if most == "off":
        return ("off",)
    return (f"max={most}", f"inactive={_word('nginx:open_file_cache.inactive', values)}")


_COMPOUND: tuple[tuple[str, str, Callable[[Mapping[str, Value]], tuple[str, ...]]], ...] = (
    ("thread_pool", "main", _thread_pool),
    ("open_file_cache", "http", _open_file_cache),
    *((name, "http", _pair(name)) for name in _PAIRS),
)


def _affinity(main: _Context, values: Mapping[str, Value], chosen: bool, placement: CpuPlacement) -> None:  # noqa: FBT001
    """Keeps workers on the server's CPUs: root's nginx may set any CPU, so `auto` alone would leave them."""
    name = "worker_cpu_affinity"
    wanted = values[f"nginx:{name}"]
    server = sum(1 << cpu for cpu in placement.server)
    if not chosen and not server:
        return
    if len(placement.server) == 1 or wanted == "off":
        main.put(name, ())
    elif isinstance(wanted, int):
        mask = wanted & server if server else wanted
        if not mask:
            raise SettingUnsupported(f"nginx:{name}: {wanted:#x} names no CPU that the server may use")
        main.put(name, ("auto", f"{mask:b}"))
    else:
        main.put(name, ("auto", f"{server:b}") if server else ("auto",))


def _listen(values: Mapping[str, Value], site: Site) -> tuple[str, ...]:
    """Only what differs from nginx's own default, so that stock stays a plain `listen address:port`."""
    if not 1 <= site.port <= 65_535:
        raise SettingUnsupported(f"{site.port} is not a port")
    options = []
    for setting in nginx.LISTEN:
        value = values[setting.id]
        option = setting.key.partition(".")[2]
        if value is False or value in setting.specials:
            continue
        if value is True:
            options.append(option)
        elif (option, value) != ("backlog", 511):
            options.append(f"{option}={nginx_word(setting, value)}")
    return (f"{safe_address(site.address)}:{site.port}", *options)


def _upstream(values: Mapping[str, Value], php: str) -> Directive:
    where = f"unix:{safe_path(php)}" if php.startswith("/") else php
    kept = values["nginx:upstream.keepalive"]
    return Directive(
        name="upstream",
        args=(_UPSTREAM,),
        block=(
            Directive(name="server", args=(where,)),
            *(() if kept == "off" else (Directive(name="keepalive", args=(str(kept),)),)),
        ),
    )


def _php_location(chosen: Mapping[str, Value], values: Mapping[str, Value]) -> Directive:
    """As Debian's own snippet for PHP has it, with the chosen directives where nothing can override them."""
    own: list[Directive] = []
    if "nginx:fastcgi_keep_conn" in chosen:
        own.append(Directive(name="fastcgi_keep_conn", args=(_word("nginx:fastcgi_keep_conn", values),)))
    if any(id_.startswith("nginx:fastcgi_bu") for id_ in chosen):
        own += [
            Directive(name="fastcgi_buffers", args=_pair("fastcgi_buffers")(values)),
            Directive(name="fastcgi_buffer_size", args=(_word("nginx:fastcgi_buffer_size", values),)),
            Directive(name="fastcgi_busy_buffers_size", args=(str(busy_bytes(values)),)),
        ]
    return Directive(
        name="location",
        args=("~", r"\.php$"),
        block=(
            *own,
            *(Directive(name="fastcgi_param", args=pair) for pair in _FASTCGI_PARAMS),
            Directive(name="fastcgi_pass", args=(_UPSTREAM,)),
        ),
    )


# Debian's /etc/nginx/fastcgi.conf; the nginx.org package has no such file.
_FASTCGI_PARAMS = (
    ("SCRIPT_FILENAME", "$document_root$fastcgi_script_name"),
    ("QUERY_STRING", "$query_string"),
    ("REQUEST_METHOD", "$request_method"),
    ("CONTENT_TYPE", "$content_type"),
    ("CONTENT_LENGTH", "$content_length"),
    ("SCRIPT_NAME", "$fastcgi_script_name"),
    ("REQUEST_URI", "$request_uri"),
    ("DOCUMENT_URI", "$document_uri"),
    ("DOCUMENT_ROOT", "$document_root"),
    ("SERVER_PROTOCOL", "$server_protocol"),
    ("REQUEST_SCHEME", "$scheme"),
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("SERVER_SOFTWARE", "nginx/$nginx_version"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("SERVER_ADDR", "$server_addr"),
    ("SERVER_PORT", "$server_port"),
    ("SERVER_NAME", "$server_name"),
    ("REDIRECT_STATUS", "200"),
)


def busy_bytes(values: Mapping[str, Value]) -> int:
    """fastcgi_busy_buffers_size: nginx wants max(buffer_size, one buffer) <= busy <= all buffers but one.

    "auto" is nginx's own default, twice the former, cut to the latter. Raises SettingUnsupported when nothing fits.
    """
    number, size = (_whole(values, f"nginx:fastcgi_buffers.{part}") for part in ("number", "size"))
    least, most = max(size, _whole(values, "nginx:fastcgi_buffer_size")), (number - 1) * size
    if least > most:
        raise SettingUnsupported(
            f"nginx:fastcgi_buffer_size: {least} bytes don't fit into fastcgi_buffers {number} {size} less one: {most}",
            hint="more or larger nginx:fastcgi_buffers, or a smaller nginx:fastcgi_buffer_size",
        )
    if values["nginx:fastcgi_busy_buffers_size"] == "auto":
        return min(2 * least, most)
    busy = _whole(values, "nginx:fastcgi_busy_buffers_size")
    if not least <= busy <= most:
        raise SettingUnsupported(
            f"nginx:fastcgi_busy_buffers_size: {busy} is not from {least} (the largest buffer) to {most} (all but one)",
            hint='leave it "auto", which is fitted to the buffers',
        )
    return busy


def _whole(values: Mapping[str, Value], id_: str) -> int:
    value = values[id_]
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingUnsupported(f"{id_}: {value!r} is not a whole number")
    return value


def _log(
    path: str, chosen: Mapping[str, Value], values: Mapping[str, Value], base: Packaged
) -> tuple[str, ...]:
    """The packaged log with its format and conditions. Without a buffer nginx refuses a flush time: it is left out."""
    if not values["nginx:access_log"]:
        return ("off",)
    buffer, flush = "nginx:access_log.buffer", "nginx:access_log.flush"
    if buffer not in chosen and flush not in chosen:
        return (path, *base.log)
    words = []
    if values[buffer] != "unset":
        words.append(f"buffer={_word(buffer, values)}")
        if values[flush] != "unset":
            words.append(f"flush={_word(flush, values)}")
    kept = [word for word in base.log[1:] if not word.startswith(("buffer=", "flush=", "gzip"))]
    return (path, base.log[0], *words, *kept)


def _stock_log(part: str, base: Packaged, default: Value) -> Value:
    if not part:
        return base.log_on
    if any(word.startswith("gzip") for word in base.log):
        raise ValueError("the packaged access log is compressed")
    return _named(f"nginx:access_log.{part}", base.log, f"{part}=", default)


def _stock_affinity(arguments: tuple[str, ...] | None, default: Value) -> Value:
    match arguments:
        case None:
            return default
        case ("auto",):
            return "auto"
        case ("auto", mask):
            return int(mask, 2)
        case _:
            raise ValueError("the packaged configuration names a CPU for every worker")


def _named(id_: str, arguments: tuple[str, ...] | None, name: str, default: Value) -> Value:
    for word in arguments or ():
        if word.startswith(name):
            return nginx_value(CATALOGUE[id_], word.removeprefix(name))
    return default
