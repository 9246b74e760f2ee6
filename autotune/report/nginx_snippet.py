"""The nginx directives of a configuration as a text to copy from, each with what it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.actuators.wording import nginx_word
from autotune.report.page import printable
from autotune.space.catalogue import CATALOGUE, nginx
from autotune.space.value import Value

_CONTEXTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("main", frozenset(setting.id for setting in nginx.MAIN)),
    ("events", frozenset(setting.id for setting in nginx.EVENTS)),
    ("http", frozenset(setting.id for setting in nginx.HTTP + nginx.FASTCGI)),
)
_LISTEN = frozenset(setting.id for setting in nginx.LISTEN)


def nginx_text(chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> str:
    """The chosen directives by context, as a file that nginx itself can read. Raises SettingUnsupported.

    `chosen`: nginx settings that differ from `stock`, which also holds the other parts of directives with several.
    """
    values = {**stock, **chosen}
    lines: list[str] = []
    for context, ids in _CONTEXTS:
        mine = [id_ for id_ in chosen if id_ in ids]
        inside = _context_lines(mine, values, stock)
        if context == "main":
            lines += ["# main: at the top level", *inside, ""]
        elif context == "events":
            lines += ["events {", *_indented(inside), "}", ""]
        else:
            listen = _listen_lines([id_ for id_ in chosen if id_ in _LISTEN], values, stock)
            server = ["server {", *_indented(listen), "}"] if listen else []
            # A server block without a listen line of its own would open port 80: it stays a comment.
            lines += ["http {", *_indented([*inside, *(f"# {line}" for line in server)]), "}"]
    return "\n".join(lines) + "\n"


def comment(text: str) -> str:
    """The text as the rest of one comment line, whatever is in it."""
    return printable(text).replace("\n", " ")


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _context_lines(ids: Sequence[str], values: Mapping[str, Value], stock: Mapping[str, Value]) -> list[str]:
    lines: list[str] = []
    for directive in dict.fromkeys(CATALOGUE[id_].key.partition(".")[0] for id_ in ids):
        mine = [id_ for id_ in ids if CATALOGUE[id_].key.partition(".")[0] == directive]
        was = ", ".join(_was(id_, stock) for id_ in mine)
        serving = "  CHANGES WHAT IS SERVED" if any(CATALOGUE[id_].changes_service for id_ in mine) else ""
        written = _directive(directive, values)
        if written.startswith("#"):
            lines.append(f"{written}  ({was}){serving}")
        else:
            lines.append(f"{written}  # {was}{serving}")
    return lines


def _was(id_: str, stock: Mapping[str, Value]) -> str:
    part = CATALOGUE[id_].key.partition(".")[2]
    name = f"{part} " if part else ""
    return comment(f"{name}was {CATALOGUE[id_].show(stock[id_])}" if id_ in stock else f"{name}was not known")


def _word(id_: str, values: Mapping[str, Value]) -> str:
    return nginx_word(CATALOGUE[id_], values[id_])


def _directive(name: str, values: Mapping[str, Value]) -> str:
    """One directive with all its parts, or a comment that says to remove it or where its words belong."""
    id_ = f"nginx:{name}"
    match name:
        case "output_buffers" | "large_client_header_buffers" | "fastcgi_buffers":
            return f"{name} {_word(f'{id_}.number', values)} {_word(f'{id_}.size', values)};"
        case "thread_pool":
            threads, queue = _word(f"{id_}.threads", values), _word(f"{id_}.max_queue", values)
            return f"{name} default threads={threads} max_queue={queue};"
        case "open_file_cache":
            most = _word(id_, values)
            inactive = f" inactive={_word(f'{id_}.inactive', values)}" if f"{id_}.inactive" in values else ""
            return f"{name} off;" if most == "off" else f"{name} max={most}{inactive};"
        case "access_log":
            return _access_log(values)
        case "worker_cpu_affinity":
            mask = values[id_]
            if mask == "off":
                return f"# remove {name}"
            return f"{name} auto{'' if mask == 'auto' else ' ' + _word(id_, values)};"
        case "upstream":
            idle = values["nginx:upstream.keepalive"]
            word = (
                "no keepalive" if idle == "off" else f"keepalive {_word('nginx:upstream.keepalive', values)};"
            )
            return f"# in the upstream block of php-fpm: {word}"
        case "fastcgi_busy_buffers_size" if values[id_] == "auto":
            return f"# remove {name}"
        case _ if values[id_] == "unset":
            return f"# remove {name}"
        case _:
            return f"{name} {_word(id_, values)};"


def _access_log(values: Mapping[str, Value]) -> str:
    """The log's path and format are the site's own, so its words are told, not written."""
    if values.get("nginx:access_log") is False:
        return "access_log off;"
    buffer = values.get("nginx:access_log.buffer", "unset")
    if buffer == "unset":
        return "# remove buffer= and flush= from your access_log line"
    words = [f"buffer={_word('nginx:access_log.buffer', values)}"]
    if values.get("nginx:access_log.flush", "unset") != "unset":
        words.append(f"flush={_word('nginx:access_log.flush', values)}")
    return f"# add to your access_log line, after its format: {' '.join(words)}"


def _listen_lines(ids: Sequence[str], values: Mapping[str, Value], stock: Mapping[str, Value]) -> list[str]:
    if not ids:
        return []
    words, gone = [], []
    for id_ in ids:
        option = CATALOGUE[id_].key.partition(".")[2]
        value = values[id_]
        if value is False or value in CATALOGUE[id_].specials:
            gone.append(option)
        else:
            words.append(option if value is True else f"{option}={_word(id_, values)}")
    was = ", ".join(_was(id_, stock) for id_ in ids)
    lines = [f"listen ... {' '.join(words)};  # add to your own listen line; {was}"] if words else []
    if gone:
        lines.append(f"# remove from your own listen line: {' '.join(gone)} ({was})")
    return lines
