"""Reading a request's body: every field has its type and its limits before anything is done with it."""

from __future__ import annotations

import base64
import binascii
import os
import re
import socket
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from autotune.agent.canary import PORTS, URL
from autotune.agent.faults import Fault
from autotune.agent.power import SOURCE
from autotune.agent.protocol import UrlTruth

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,7}")
_NO_BYTES = re.compile(
    "[\0\ud800-\udc7f\udd00-\udfff]"
)  # other surrogates stand for bytes that were no UTF-8
_MARKER = re.compile(r"[A-Za-z0-9]{4,64}")
_SHA256 = re.compile(r"([0-9a-f]{64})?")
_LOAD_URLS_CAP, _SHARES_CAP = 500, 10_000
_TARGETS_CAP = 64
WATCH_STEPS = ("warm-up", "run", "end")
_PATHS_CAP, _WRITES_CAP, _FILES_CAP, _URLS_CAP = 2000, 500, 200, 50
_LEASE_CAP_S, _RUN_CAP_S, _RATE_CAP_PER_S = 86400.0, 3600.0, 1e7


class NightOrder(NamedTuple):
    study: str
    night: int
    holder: str
    lease_s: float
    files: Dict[str, bytes]
    services: Tuple[str, ...] = ()
    kept: bool = False


class PhpOrder(NamedTuple):
    """The php-fpm of a switch: its configuration text, where it must accept, and its CPUs."""

    conf: str
    listen: str
    cpus: Tuple[int, ...]


class NginxOrder(NamedTuple):
    conf: str
    conf_path: str
    edits: Dict[str, str]
    build: str
    workers: int
    listen: Tuple[Tuple[str, int], ...]
    cpus: Tuple[int, ...]
    urls: List[UrlTruth]
    php: Optional[PhpOrder] = None


class Switch(NamedTuple):
    writes: List[Tuple[str, str]]
    server: List[NginxOrder]  # none or one


class Watch(NamedTuple):
    step: str
    power: str


class Ways(NamedTuple):
    targets: Tuple[str, ...]
    port: int


class Load(NamedTuple):
    """`host` is what the URLs name, `address` where it is; each target (path and query) has a whole-number share.

    `rate_per_s` 0: as fast as the server answers.
    """

    scheme: str
    host: str
    port: int
    origin: str
    address: str
    targets: Tuple[Tuple[str, int], ...]
    seed: int
    threads: int
    connections: int
    warmup_s: float
    duration_s: float
    marker: str
    cpus: Tuple[int, ...]
    rate_per_s: float
    power: str

    @property
    def url(self) -> str:
        return self.origin + self.targets[0][0]


def paths(body: Dict[str, Any]) -> List[str]:
    found = _list(body, "paths", _PATHS_CAP)
    for path in found:
        _is(path, str, "paths")
    return found


def night(body: Dict[str, Any]) -> NightOrder:
    files = {}
    for one in _list(body, "files", _FILES_CAP):
        name = _text(one, "name", 800)
        if not _NAME.fullmatch(name):
            raise _wrong(f"{name[:80]!r} is not a plain relative file name")
        try:
            files[name] = base64.b64decode(_text(one, "content_base64", 1 << 23), validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(f"the content of {name} is not base64") from None
    return NightOrder(
        _printable(_text(body, "study", 200)),
        _integer(body, "night", 0, 1_000_000),
        _printable(_text(body, "holder", 300)),
        _number(body, "lease_s", 0.2, _LEASE_CAP_S),
        files,
        _names(body, "services"),
        body.get("kept") is True,
    )


def switch(body: Dict[str, Any]) -> Switch:
    listed = _list(body, "writes", _WRITES_CAP)
    writes = [(_text(one, "path", 400), _text(one, "text", 4096)) for one in listed]
    named = [path for path, _ in writes]
    if len(set(named)) < len(named):
        raise _wrong("a path is written twice in one switch")
    server = body.get("server")
    return Switch(writes, [] if server is None else [_server(server)])


def _server(body: Any) -> NginxOrder:
    listen = tuple(
        (_text(one, "address", 45), _integer(one, "port", 1, 65535)) for one in _list(body, "listen", 100)
    )
    if not listen:
        raise _wrong("the server listens nowhere")
    conf, conf_path = _text(body, "conf", 1 << 20), _text(body, "conf_path", 400)
    edits = {_text(one, "path", 400): _text(one, "text", 1 << 20) for one in _list(body, "edits", 500)}
    if bool(conf) == bool(conf_path) or (edits and not conf_path):
        raise _wrong(
            "a server has either a configuration of its own, or the path of the user's and its edits"
        )
    urls = truths(body)
    for one in urls:
        if not serves(listen, one["address"], _port_of(one["url"])):
            raise _wrong(f"{one['url'][:80]!r} is not served where this server listens")
    return NginxOrder(
        conf,
        conf_path,
        edits,
        _text(body, "build", 64),
        _integer(body, "workers", 1, 1024),
        listen,
        _cpus(body),
        urls,
        None if body.get("php") is None else _php(body["php"]),
    )


def truths(body: Dict[str, Any]) -> List[UrlTruth]:
    """The URLs of a switch or a check, each with where it is and what it must answer."""
    urls: List[UrlTruth] = []
    for one in _list(body, "urls", _URLS_CAP):
        url, sha256 = _text(one, "url", 2000), _text(one, "sha256", 64)
        found = URL.fullmatch(url)
        if not found or not 0 < int(found["port"] or 1) <= 65535:
            raise _wrong(f"{url[:80]!r} is not a plain http or https URL")
        if not _SHA256.fullmatch(sha256):
            raise _wrong(f"{sha256!r} is not a SHA-256")
        urls.append(
            {
                "url": url,
                "address": _address(one, found["host"].strip("[]")),
                "status": _integer(one, "status", 0, 599),
                "length": _integer(one, "length", 0, 1 << 40),
                "sha256": sha256,
                "loose": bool(_get(one, "loose")),
            }
        )
    return urls


def _port_of(url: str) -> int:
    found = URL.fullmatch(url)
    return int(found["port"] or PORTS[found["scheme"]]) if found else 0


def _covers(at: Tuple[str, int], where: Tuple[str, int]) -> bool:
    """Whether a listener takes connections to an address and port."""
    wild = at[0] == "::" or (at[0] == "0.0.0.0" and ":" not in where[0])
    return at[1] == where[1] and (wild or at[0] == where[0])


def serves(listen: Tuple[Tuple[str, int], ...], address: str, port: int) -> bool:
    """Whether any of these listeners takes connections to an address and port."""
    return any(_covers(at, (address, port)) for at in listen)


def _php(body: Any) -> PhpOrder:
    return PhpOrder(_text(body, "conf", 1 << 16), _text(body, "listen", 200), _cpus(body))


def load(body: Dict[str, Any]) -> Load:
    marker = _text(body, "marker", 64)
    if not _MARKER.fullmatch(marker):
        raise _wrong("the marker is not made of letters and digits")
    threads, connections = _integer(body, "threads", 1, 1024), _integer(body, "connections", 1, 100_000)
    if connections % threads:
        raise _wrong(f"{connections} connections can't be shared evenly by {threads} threads")
    origin, targets = _load_urls(body)
    scheme, host, port = origin["scheme"], origin["host"], origin["port"]
    return Load(
        scheme,
        host.strip("[]"),
        int(port or PORTS[scheme]),
        f"{scheme}://{host}" + (f":{port}" if port else ""),
        _address(body, host.strip("[]")),
        targets,
        _integer(body, "seed", 0, 1 << 64),
        threads,
        connections,
        _number(body, "warmup_s", 0.0, _RUN_CAP_S),
        _number(body, "duration_s", 0.1, _RUN_CAP_S),
        marker,
        _cpus(body),
        _number(body, "rate_per_s", 0.0, _RATE_CAP_PER_S),
        _power(body),
    )


def watch(body: Dict[str, Any]) -> Watch:
    step = _text(body, "step", 20)
    if step not in WATCH_STEPS:
        raise _wrong(f"{step!r} is no step of a watch")
    return Watch(step, _power(body))


def ways(body: Dict[str, Any]) -> Ways:
    targets = _list(body, "to", _TARGETS_CAP)
    for one in targets:
        _is(one, str, "to")
        if ":" in one or not is_address(one):
            raise _wrong(f"{one[:80]!r} is not an IPv4 address")
    return Ways(tuple(targets), _integer(body, "port", 0, 65535))


def _power(body: Dict[str, Any]) -> str:
    power = _text(body, "power", 100)
    if not SOURCE.fullmatch(power):
        raise _wrong(f"{power!r} is no meter of a board")
    return power


def _load_urls(body: Dict[str, Any]) -> Tuple["re.Match[str]", Tuple[Tuple[str, int], ...]]:
    """The first URL's parts, and every target with its share. All of one origin; each once."""
    first = None
    targets: Dict[str, int] = {}
    for one in _list(body, "urls", _LOAD_URLS_CAP):
        url, share = _text(one, "url", 2000), _number(one, "weight", 1, _SHARES_CAP)
        found = URL.fullmatch(url)
        if not found or not 0 < int(found["port"] or 1) <= 65535:
            raise _wrong(f"{url[:80]!r} is not a plain http or https URL")
        first = first or found
        if any(found[part] != first[part] for part in ("scheme", "host", "port")):
            raise _wrong(f"{url[:80]!r} is of another server than {first[0][:80]!r}")
        if found["target"] in targets:
            raise _wrong(f"{url[:80]!r} is twice in one load")
        if share != int(share):
            raise _wrong(f"the share of {url[:80]!r} is not a whole number")
        targets[found["target"]] = int(share)
    if first is None:
        raise _wrong("there is no URL to load")
    if sum(targets.values()) > _SHARES_CAP:
        raise _wrong(f"the shares come to {sum(targets.values())}, at most {_SHARES_CAP} are taken")
    return first, tuple(targets.items())


def _address(body: Dict[str, Any], host: str) -> str:
    """Where the host is; one that is an address itself is nowhere else."""
    text = _text(body, "address", 45)
    if not is_address(text):
        raise _wrong(f"{text!r} is not an IP address")
    if is_address(host) and host != text:
        raise _wrong(f"{host} is not at {text}")
    return text


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a name."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _cpus(body: Dict[str, Any]) -> Tuple[int, ...]:
    cpus = _list(body, "cpus", 4096)
    usable = os.sched_getaffinity(0)
    for cpu in cpus:
        if not isinstance(cpu, int) or cpu not in usable:
            raise _wrong(f"CPU {cpu!r} is not one of {sorted(usable)}")
    return tuple(sorted(cpus))


def _names(body: Dict[str, Any], key: str) -> Tuple[str, ...]:
    names = _list(body, key, 20) if key in body else []
    for name in names:
        _is(name, str, key)
    return tuple(names)


def _list(body: Dict[str, Any], key: str, cap: int) -> List[Any]:
    found = _get(body, key)
    _is(found, list, key)
    if len(found) > cap:
        raise _wrong(f"{key} has {len(found)} items, at most {cap} are taken")
    return list(found)


def _text(body: Any, key: str, cap: int) -> str:
    found = _get(body, key)
    _is(found, str, key)
    if len(found) > cap:
        raise _wrong(f"{key} has {len(found)} characters, at most {cap} are taken")
    if _NO_BYTES.search(found):
        raise _wrong(f"{key} holds a NUL, or what is no text")
    return str(found)


def _integer(body: Any, key: str, low: int, high: int) -> int:
    found = _get(body, key)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise _wrong(f"{key} is not a whole number from {low} to {high}")
    return found


def _number(body: Any, key: str, low: float, high: float) -> float:
    found = _get(body, key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not low <= found <= high:
        raise _wrong(f"{key} is not a number from {low:g} to {high:g}")
    return float(found)


def _get(body: Any, key: str) -> Any:
    _is(body, dict, f"what should hold {key}")
    if key not in body:
        raise _wrong(f"{key} is missing")
    return body[key]


def _is(value: Any, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise _wrong(f"{what} is not a {kind.__name__}")


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() and one.isascii() else "?" for one in text)


def _wrong(message: str) -> Fault:
    return Fault("refused", message, "a mistake of the controller; nothing was changed")
