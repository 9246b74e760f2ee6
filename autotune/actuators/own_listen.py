"""Where the user's own nginx listens: which sockets it binds, and which `listen` line carries their options."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from autotune.actuators.own_tree import Found, OwnDirective, OwnTree
from autotune.board.records import Listener
from autotune.errors import BoardUnfit

_PORT = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
# Any of these gives an address a socket of its own beside a wildcard's.
_OWN_SOCKET = re.compile(
    r"bind|deferred|reuseport|(backlog|fastopen|sndbuf|rcvbuf|setfib|accept_filter|ipv6only|so_keepalive)=.*"
)
_MOST_PORTS = 2_000
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnListen:
    """One address and port of a `listen` line of TCP. `directive` None: nginx's own default, in a server without one."""

    address: str
    port: int
    server: OwnDirective
    directive: OwnDirective | None
    is_http: bool

    @property
    def socket(self) -> tuple[str, int]:
        return self.address, self.port

    @property
    def options(self) -> tuple[str, ...]:
        return self.directive.args[1:] if self.directive else ()

    @property
    def has_options(self) -> bool:
        return any(_OWN_SOCKET.fullmatch(option) for option in self.options)

    @property
    def is_wildcard(self) -> bool:
        return self.address in ("0.0.0.0", "::")  # noqa: S104 - read, not bound


def listens(tree: OwnTree, *, is_root: bool) -> tuple[OwnListen, ...]:
    """Every `listen` of TCP in the configuration, in order; unix sockets and QUIC are left out."""
    found: list[OwnListen] = []
    servers: dict[tuple[str, int], Found] = {}
    told: set[tuple[str, int]] = set()
    for one in tree.walk():
        name, around = one.directive.name, one.around
        if name == "server" and one.directive.block is not None and one.context in ("http", "stream", "mail"):
            servers[one.directive.path, one.directive.start] = one
        if (
            name != "listen"
            or not around
            or around[-1].name != "server"
            or around[0].name not in ("http", "stream", "mail")
        ):
            continue
        told.add((around[-1].path, around[-1].start))
        if "quic" in one.directive.args[1:] or "udp" in one.directive.args[1:]:
            continue
        for address, port in sockets(one.directive.args[0] if one.directive.args else ""):
            found.append(
                OwnListen(
                    address=address,
                    port=port,
                    server=around[-1],
                    directive=one.directive,
                    is_http=around[0].name == "http",
                )
            )
    for place, server in servers.items():
        if place not in told and server.context == "http":
            port = 80 if is_root else 8000
            found.append(
                OwnListen(
                    address="0.0.0.0",  # noqa: S104 - nginx's default, read and not bound
                    port=port,
                    server=server.directive,
                    directive=None,
                    is_http=True,
                )
            )
    return tuple(found)


def sockets(word: str) -> Iterator[tuple[str, int]]:
    """The addresses and ports of a `listen` line's first argument; nothing for a unix socket or what nobody can read."""
    if word.startswith("unix:"):
        return
    address, ports = "0.0.0.0", "80"  # noqa: S104 - read, not bound
    if word.startswith("["):
        address, _, rest = word[1:].partition("]")
        ports = rest.removeprefix(":") or "80"
    elif ":" in word:
        address, _, ports = word.rpartition(":")
    elif _PORT.fullmatch(word):
        ports = word
    else:
        address = word
    address = {"*": "0.0.0.0", "localhost": "127.0.0.1"}.get(address, address)  # noqa: S104
    found = _PORT.fullmatch(ports)
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        return  # a host name: nginx asks the resolver, we don't
    if found:
        first = int(found["first"])
        last = int(found["last"] or first)
        for port in range(first, min(last, first + _MOST_PORTS) + 1):
            yield address, port


def bound(found: Iterable[OwnListen]) -> tuple[Listener, ...]:
    """The sockets that nginx opens: a wildcard takes the port's other addresses in, unless they have options of their own."""
    everything = tuple(found)
    kinds = {(one.port, one.is_http): set[str]() for one in everything}
    with_options = {(one.socket, one.is_http) for one in everything if one.has_options}
    for one in everything:
        if one.is_wildcard:
            kinds[one.port, one.is_http].add(one.address)
    sockets_ = {}
    for one in everything:
        wildcard = "::" if ":" in one.address else "0.0.0.0"  # noqa: S104 - compared, not bound
        taken_in = wildcard in kinds[one.port, one.is_http] and not one.is_wildcard
        if not taken_in or (one.socket, one.is_http) in with_options:
            sockets_[one.socket] = Listener(address=one.address, port=one.port)
    return tuple(sockets_.values())


def holders(found: Iterable[OwnListen]) -> tuple[OwnListen, ...]:
    """For every http socket the one line that carries its options: the line that has some, else the first.

    nginx refuses options on a second line of the same address and port.
    """
    chosen: dict[tuple[str, int], OwnListen] = {}
    for one in found:
        if not one.is_http:
            continue
        before = chosen.get(one.socket)
        if (
            before is None
            or (one.has_options and not before.has_options)
            or (before.directive is None and one.directive is not None)
        ):
            chosen[one.socket] = one
    return tuple(chosen.values())


def port_of(url: str) -> int:
    """The port that a URL leads to, said or its scheme's own."""
    parts = urlsplit(url)
    return parts.port or _PORTS.get(parts.scheme, 80)


def refuse_unreached(found: Iterable[OwnListen], address: str, urls: Iterable[str]) -> None:
    """A load from another machine comes in at `address`. Raises BoardUnfit for a URL whose port nobody listens on there."""
    if ipaddress.ip_address(address).is_loopback:
        return
    open_ports = {one.port for one in found if one.is_wildcard or one.address == address}
    for url in urls:
        port = port_of(url)
        if port not in open_ports:
            raise BoardUnfit(
                f"your nginx does not listen on {address}, port {port}, where {url} is to be fetched",
                hint='let it listen there, or say another address = "..." under [server]',
            )
