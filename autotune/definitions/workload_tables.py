"""Reads what is loaded: [workload] or [[workload]]."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from autotune.definitions.access_log import BASE, BASE_ACCEPTED, MOST, LogUnfit, urls_from_log
from autotune.definitions.server_table import URL_PATH, URL_PATH_ACCEPTED
from autotune.definitions.table import Table
from autotune.experiment.study import ManagedNginx, OwnNginx, Url, Workload, workload_mistake

LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_LABEL_ACCEPTED: Final = "up to 64 letters, digits, spaces, dots, dashes and underscores"
# What wrk and nginx take as it stands: a URL with a host, printable, without quotes, blanks or a fragment.
_WHOLE_URL: Final = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~!$&()*+,;=:@%/?-]*", re.ASCII
)
_WHOLE_URL_ACCEPTED: Final = 'a whole URL of your nginx, such as "https://www.example.org/index.html"'
_LOG: Final = re.compile(r"/[^\x00-\x1f]+")
_MOST_WORKLOADS: Final = 8
_MOST_URLS: Final = 200
_MOST_CONNECTIONS: Final = 8_192  # three times as many local ports must be free
_MOST_THREADS: Final = 64
_LEAST_WEIGHT, _LARGEST_WEIGHT = 0.001, 1_000.0
_NEEDS: Final = "with name, path, connections and threads"
_NEEDS_URL: Final = "with path (or url, on your own nginx)"


def read_workloads(top: Table, server: ManagedNginx | OwnNginx) -> tuple[Workload, ...]:
    """The loads of the study, in order; what is wrong is noted."""
    if not isinstance(top.content.get("workload"), list):
        return (_workload(top.table("workload", needs=_NEEDS), server),)
    tables = top.tables("workload", needs=_NEEDS)
    if len(tables) > _MOST_WORKLOADS:
        top.refuse("workload", f"{len(tables)} workloads", f"at most {_MOST_WORKLOADS}")
    workloads = tuple(_workload(one, server) for one in tables[:_MOST_WORKLOADS])
    seen: set[str] = set()
    for table, workload in zip(tables, workloads, strict=False):
        if workload.name and workload.name in seen:
            table.refuse("name", "an earlier workload has this name", "a name of its own for each workload")
        seen.add(workload.name)
    return workloads


def _workload(table: Table, server: ManagedNginx | OwnNginx) -> Workload:
    if table.has("placement"):
        table.refuse(
            "placement",
            "belongs at the top of the study, where it holds for all workloads",
            'placement = "pinned" or "free" above the first [table]',
        )
    table.only(
        "name", "path", "url", "access_log", "count", "base", "connections", "threads", "warmup", "duration", "weight",
        *(("placement",) if table.has("placement") else ()),
    )  # fmt: skip
    urls = _urls(table, server)
    _one_origin(table, urls)
    before = len(table.mistakes)
    connections = table.whole("connections", 1, _MOST_CONNECTIONS)
    threads = table.whole("threads", 1, _MOST_THREADS)
    if len(table.mistakes) == before and (problem := workload_mistake(connections, threads)):
        table.refuse("connections", problem, "a multiple of threads")
    duration_s = table.seconds("duration", 1, 3600, default_s=15)
    if duration_s != int(duration_s):
        table.refuse("duration", "not whole seconds", "whole seconds such as 2s or 15s")
    return Workload(
        name=table.text("name", pattern=LABEL, accepted=_LABEL_ACCEPTED),
        urls=urls,
        connections=connections,
        threads=threads,
        warmup_s=table.seconds("warmup", 0.1, 600, default_s=5),
        duration_s=duration_s,
        weight=table.number("weight", _LEAST_WEIGHT, _LARGEST_WEIGHT, default=1.0),
    )


def _urls(table: Table, server: ManagedNginx | OwnNginx) -> tuple[Url, ...]:
    """`path = "..."` for one, [[workload.url]] tables for several, or the most requested of an access log."""
    if table.has("access_log"):
        return _logged(table, server)
    for key in ("count", "base"):
        if table.has(key):
            table.refuse(key, "belongs to access_log", "beside access_log")
    if not isinstance(table.content.get("url"), list):
        if table.has("url") and table.has("path"):
            table.refuse("url", "stands beside path", "one of the two, or several [[workload.url]]")
        return (Url(target=_target(table, server)),)
    if table.has("path"):
        table.refuse(
            "path", f"stands beside [[{table.key('url')}]]", f"either path, or [[{table.key('url')}]]"
        )
    tables = table.tables("url", needs=_NEEDS_URL)
    if len(tables) > _MOST_URLS:
        table.refuse("url", f"{len(tables)} URLs", f"at most {_MOST_URLS}")
    found: list[Url] = []
    for one in tables[:_MOST_URLS]:
        one.only("path", "url", "weight")
        target = _target(one, server)
        if target and any(target == other.target for other in found):
            one.refuse("path" if one.has("path") else "url", "stands here twice", "one entry with its weight")
        found.append(
            Url(
                target=target,
                weight=one.number("weight", _LEAST_WEIGHT, _LARGEST_WEIGHT, default=1.0),
            )
        )
    return tuple(found)


def _logged(table: Table, server: ManagedNginx | OwnNginx) -> tuple[Url, ...]:
    for key in ("path", "url"):
        if table.has(key):
            table.refuse(key, "stands beside access_log", "one of the two")
    if not isinstance(server, OwnNginx):
        table.refuse(
            "access_log", "the managed nginx serves its own files only", 'kind = "own" under [server]'
        )
        return ()
    before = len(table.mistakes)
    accepted = 'the path of an access log, such as "/var/log/nginx/access.log"'
    path = table.text("access_log", pattern=_LOG, accepted=accepted, longest=1_000)
    count = table.whole("count", 1, MOST, default=20)
    base = table.text("base", pattern=BASE, accepted=BASE_ACCEPTED, longest=300)
    if base and not _port_is_sound(base):
        table.refuse("base", "its port is no port", "a port from 1 to 65535, or none")
    if len(table.mistakes) > before:
        return ()
    try:
        return urls_from_log(Path(path), count, base)
    except LogUnfit as problem:
        table.refuse("access_log", str(problem), "a log in nginx's combined format")
        return ()


def _one_origin(table: Table, urls: tuple[Url, ...]) -> None:
    """wrk loads one server: scheme, host and port are the same throughout a workload."""
    origins = list(dict.fromkeys("/".join(url.target.split("/")[:3]) for url in urls if "://" in url.target))
    if len(origins) > 1:
        table.refuse(
            "url",
            f"its URLs are of {len(origins)} servers: {', '.join(origins[:4])}",
            "one scheme, host and port for all URLs of a workload; another [[workload]] for each other",
        )


def _target(table: Table, server: ManagedNginx | OwnNginx) -> str:
    if isinstance(server, OwnNginx):
        if table.has("path"):
            table.refuse(
                "path", "your own nginx may have several servers", f"url = {_WHOLE_URL_ACCEPTED[2:]}"
            )
            return ""
        target = table.text("url", pattern=_WHOLE_URL, accepted=_WHOLE_URL_ACCEPTED, longest=1_000)
        if target and not _port_is_sound(target):
            table.refuse("url", "its port is no port", "a port from 1 to 65535, or none")
        return target
    if table.has("url"):
        table.refuse("url", "the managed nginx has one server of its own", f"path = {URL_PATH_ACCEPTED}")
        return ""
    path = table.text("path", pattern=URL_PATH, accepted=URL_PATH_ACCEPTED, longest=200)
    served = [file.path for file in server.files]
    if path and served and path not in served:
        accepted = "one of the [[server.file]] paths: " + ", ".join(served)
        table.refuse("path", f"not a served file{table.suggestion(path, served)}", accepted)
    return path


def _port_is_sound(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
