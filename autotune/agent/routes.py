"""How this machine reaches others: from which of its addresses, over which network card, and whether a connection comes about.

The kernel is asked through rtnetlink, as `ip route get` does; nothing is changed and no packet is sent. IPv4 only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Dict, Iterator, List, Sequence, Tuple

from autotune.agent.protocol import Route, RouteReply

# linux/rtnetlink.h, linux/netlink.h
_GETADDR, _GETROUTE, _NEWADDR, _NEWROUTE = 22, 26, 20, 24
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_RTA_DST, _RTA_OIF, _RTA_PREFSRC, _IFA_ADDRESS, _IFA_LOCAL = 1, 4, 7, 1, 2
_RTN_UNICAST = 1
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ATTRIBUTE = struct.Struct("=HH")
_ANSWERS_WITHIN_S = 2.0
_CONNECTS_WITHIN_S = 3.0
_CHUNK = 1 << 16


def routes(targets: Sequence[str], port: int) -> RouteReply:
    """The way to each target, and this machine's own addresses. A connection to `port` is tried unless that is 0."""
    return {"addresses": _addresses(), "routes": [_route(target, port) for target in targets]}


def _route(target: str, port: int) -> Route:
    try:
        source, interface = _way_to(target)
    except OSError as problem:
        return {"to": target, "source": "", "interface": "", "problem": problem.strerror or str(problem)}
    why = _connection_problem(target, port) if port else ""
    return {"to": target, "source": source, "interface": interface, "problem": why}


def _connection_problem(target: str, port: int) -> str:
    """Why no connection comes about; "" when one does, or is refused, which only a machine that was reached can do."""
    try:
        with socket.create_connection((target, port), timeout=_CONNECTS_WITHIN_S):
            return ""
    except ConnectionRefusedError:
        return ""
    except socket.timeout:
        return "no answer (a firewall, or nobody there)"
    except OSError as problem:
        return problem.strerror or str(problem)


def _way_to(target: str) -> Tuple[str, str]:
    """Our own address on the way there, and the card's name. Raises OSError: no way, or a target that is this machine."""
    wanted = socket.inet_aton(target)
    asked = _ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    asked += _ATTRIBUTE.pack(_ATTRIBUTE.size + 4, _RTA_DST) + wanted
    for body in _ask(_GETROUTE, _REQUEST, asked, _NEWROUTE):
        attributes = _attributes(body[_ROUTE.size :])
        if _ROUTE.unpack_from(body)[7] == _RTN_UNICAST and {_RTA_OIF, _RTA_PREFSRC} <= set(attributes):
            index = struct.unpack("=I", attributes[_RTA_OIF])[0]
            return socket.inet_ntoa(attributes[_RTA_PREFSRC]), socket.if_indextoname(index)
        raise OSError(errno.EINVAL, "it is this machine itself, or no single machine")
    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


def _addresses() -> List[str]:
    """This machine's addresses but those of loopback, in the kernel's order; none where it does not tell."""
    found = []
    try:
        for body in _ask(_GETADDR, _REQUEST | _DUMP, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0), _NEWADDR):
            attributes = _attributes(body[_ADDRESS.size :])
            raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS) or b""
            if len(raw) == 4 and raw[0] != 127:
                found.append(socket.inet_ntoa(raw))
    except OSError:
        return []
    return found


def _ask(kind: int, flags: int, body: bytes, answer: int) -> Iterator[bytes]:
    """The bodies of the kernel's answers of the type `answer`. Raises OSError with the kernel's own reason."""
    family = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, family, socket.NETLINK_ROUTE) as line:
        line.settimeout(_ANSWERS_WITHIN_S)
        line.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        while True:
            data = line.recv(_CHUNK)
            while data:
                length, what = _HEADER.unpack_from(data)[:2]
                inner = data[_HEADER.size : length]
                if what == _DONE:
                    return
                if what == _ERROR:
                    code = -struct.unpack_from("=i", inner)[0]
                    raise OSError(code, os.strerror(code))
                if what == answer:
                    yield inner
                    if not flags & _DUMP:
                        return
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Dict[int, bytes]:
    found: Dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found
