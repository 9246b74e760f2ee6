"""The nginx directives of a configuration as edits that `install` makes in the user's own files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from autotune.actuators.nginx import busy_bytes
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.wording import nginx_word
from autotune.space.catalogue import CATALOGUE, nginx
from autotune.space.catalogue.builds import BUILD
from autotune.space.value import Value

_CONTEXTS = {setting.id: "main" for setting in nginx.MAIN} | {
    setting.id: "events" for setting in nginx.EVENTS
}
_PAIRS = ("output_buffers", "large_client_header_buffers")
_VERSION = re.compile(r"nginx/([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxEdit:
    """As installer.exported.Edit has it."""

    context: str
    name: str
    words: str
    first: str = ""
    nested: bool = False
    rest: bool = False

    @property
    def as_json(self) -> dict[str, str | bool]:
        return asdict(self)


def nginx_edits(
    chosen: Mapping[str, Value], stock: Mapping[str, Value], *, own: bool, version: str
) -> tuple[NginxEdit, ...]:
    """`own`: measured on the user's own sites, where servers and locations were changed, too. Raises SettingUnsupported.

    `version`: what nginx says of itself; its own defaults are the other parts of directives with several.
    """
    numbers = _VERSION.search(version)
    parts = (int(numbers[1]), int(numbers[2]), int(numbers[3])) if numbers else (1, 99, 0)
    build = NginxBuild(version=parts, arguments="", is_root=True)
    defaults = {setting.id: build.default(setting.id) for setting in nginx.SETTINGS}
    values = {**defaults, **stock, **chosen}
    mine = [id_ for id_ in chosen if id_.startswith("nginx:") and id_ != BUILD]
    names = dict.fromkeys(CATALOGUE[id_].key.partition(".")[0] for id_ in mine)
    edits = [
        edit
        for name in names
        for edit in _of(name, [id_ for id_ in mine if _is_of(id_, name)], values, own=own)
    ]
    return tuple(dict.fromkeys(edits))


def _is_of(id_: str, name: str) -> bool:
    return CATALOGUE[id_].key.partition(".")[0] == name


def _of(name: str, ids: list[str], values: Mapping[str, Value], *, own: bool) -> Iterator[NginxEdit]:
    context = _CONTEXTS.get(ids[0], "http")
    nested = own and context == "http" and not any(CATALOGUE[id_].changes_service for id_ in ids)
    match name:
        case "listen":
            yield from (_listen_option(id_, values) for id_ in ids)
        case "upstream":
            kept = values[ids[0]]
            yield NginxEdit(
                context="upstream", name="keepalive", words="" if kept == "off" else _word(ids[0], values)
            )
        case "access_log":
            yield from _log(ids, values)
        case "worker_cpu_affinity":
            yield NginxEdit(context="main", name=name, words=_affinity(values))
        case "thread_pool":
            words = " ".join(
                f"{part}={_word(f'nginx:{name}.{part}', values)}" for part in ("threads", "max_queue")
            )
            yield NginxEdit(context="main", name=name, words=f"default {words}", first="default")
        case "open_file_cache":
            most, idle = (_word(f"nginx:{name}{part}", values) for part in ("", ".inactive"))
            words = "off" if most == "off" else f"max={most} inactive={idle}"
            yield NginxEdit(context="http", name=name, words=words)
        case "fastcgi_buffers" | "fastcgi_buffer_size" | "fastcgi_busy_buffers_size":
            words = f"{_word('nginx:fastcgi_buffers.number', values)} {_word('nginx:fastcgi_buffers.size', values)}"
            yield NginxEdit(context="http", name="fastcgi_buffers", words=words, nested=nested)
            first = _word("nginx:fastcgi_buffer_size", values)
            yield NginxEdit(context="http", name="fastcgi_buffer_size", words=first, nested=nested)
            busy = str(busy_bytes(values))
            yield NginxEdit(context="http", name="fastcgi_busy_buffers_size", words=busy, nested=nested)
        case _ if name in _PAIRS:
            words = f"{_word(f'nginx:{name}.number', values)} {_word(f'nginx:{name}.size', values)}"
            yield NginxEdit(context="http", name=name, words=words, nested=nested)
        case _:
            words = "" if values[ids[0]] == "unset" else _word(ids[0], values)
            rest = context == "http" and name != "aio"
            yield NginxEdit(context=context, name=name, words=words, nested=nested, rest=rest)


def _word(id_: str, values: Mapping[str, Value]) -> str:
    return nginx_word(CATALOGUE[id_], values[id_])


def _listen_option(id_: str, values: Mapping[str, Value]) -> NginxEdit:
    value = values[id_]
    option = CATALOGUE[id_].key.partition(".")[2]
    if value is False or value in CATALOGUE[id_].specials:
        return NginxEdit(context="listen", name=option, words="")
    return NginxEdit(context="listen", name=option, words="on" if value is True else _word(id_, values))


def _log(ids: list[str], values: Mapping[str, Value]) -> Iterator[NginxEdit]:
    """Without a buffer nginx refuses a flush time: both go. Which file a log that is to be on has, nobody here knows."""
    if values["nginx:access_log"] is False:
        if "nginx:access_log" in ids:
            yield NginxEdit(context="http", name="access_log", words="off")
        return
    if {"nginx:access_log.buffer", "nginx:access_log.flush"} & set(ids):
        unbuffered = values["nginx:access_log.buffer"] == "unset"
        for part in ("buffer", "flush"):
            id_ = f"nginx:access_log.{part}"
            gone = unbuffered or values[id_] == "unset"
            yield NginxEdit(context="access_log", name=part, words="" if gone else _word(id_, values))


def _affinity(values: Mapping[str, Value]) -> str:
    mask = values["nginx:worker_cpu_affinity"]
    if mask == "off":
        return ""
    return "auto" if mask == "auto" else f"auto {_word('nginx:worker_cpu_affinity', values)}"
