"""The queue before a network card (tc:<device>/root), asked and set over rtnetlink, so no program is needed for it.

It reads "default KIND" (the kernel's own; "default mq KIND" with a queue for each of the card's), "KIND" (one that this
module set, known by its handle) or "custom KIND": someone configured it, its options are unknown, so it is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from typing import List, NamedTuple, Optional

KINDS = ("fq", "fq_codel", "pfifo_fast")
DEFAULT_QDISC = "/proc/sys/net/core/default_qdisc"

_NEW, _DEL, _GET, _ERROR, _DONE = 36, 37, 38, 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_HEADER, _TCMSG, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxxxiIII"), struct.Struct("=HH")
_TCA_KIND = 1
_TIMEOUT_S = 5.0
# Below 8000:, where the kernel's own numbering begins. One per kind: the kernel refuses another kind under a handle in use.
_HANDLES = {kind: (0x7A01 + place) << 16 for place, kind in enumerate(KINDS)}
_MQ_HANDLES = {kind: (0x7A11 + place) << 16 for place, kind in enumerate(KINDS)}
_DEFAULT = re.compile(r"default (mq )?([a-z0-9_]{1,15})")


class _Qdisc(NamedTuple):
    kind: str
    handle: int
    parent: int


def read(device: str) -> Optional[str]:
    """What rules now, in the words above; None without such an interface. Raises OSError, also for one that is down."""
    index = _index(device)
    return None if index is None else _words(_of(index))


def write(device: str, text: str) -> None:
    """Sets one of KINDS, or brings the kernel's own back and proves it. Raises OSError with the reason."""
    index = _index(device)
    if index is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    now = _words(_of(index))
    if now.startswith("custom ") and not _DEFAULT.fullmatch(text):
        raise OSError(errno.EBUSY, f"someone configured it ({now[7:]}); it is left alone")
    if now == text:
        return
    if text in KINDS:
        _set(index, text)
    elif _DEFAULT.fullmatch(text):
        _give_back(index, text, now)
    else:
        raise OSError(errno.EINVAL, f"{text!r} is none of {', '.join(KINDS)}")


def by_hand(device: str, original: str) -> str:
    """The command that does the same."""
    if original in KINDS:
        return f"tc qdisc replace dev {device} root handle {_HANDLES[original] >> 16:x}: {original}"
    return f"tc qdisc del dev {device} root"


def _index(device: str) -> Optional[int]:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return None


def _words(found: List[_Qdisc]) -> str:
    roots = [one for one in found if one.parent == _ROOT]
    if not roots:
        raise OSError(errno.ENETDOWN, "it has no queue while the interface is down")
    root = roots[0]
    children = [one for one in found if one.parent not in (_ROOT, _INGRESS)]
    if root.kind == "mq":
        kinds = {one.kind for one in children}
        if len(kinds) == 1:
            [kind] = kinds
            if root.handle == 0 and not any(one.handle for one in children):
                return f"default mq {kind}"
            if root.handle == _MQ_HANDLES.get(kind):
                return kind
    elif not children:
        if root.handle == 0:
            return f"default {root.kind}"
        if root.handle == _HANDLES.get(root.kind):
            return root.kind
    return f"custom {root.kind}"


def _set(index: int, kind: str) -> None:
    try:
        if not any(one.parent == _ROOT and one.kind == "mq" for one in _of(index)):
            _replace(index, _ROOT, _HANDLES[kind], kind)
            return
        # A queue for each of the card's stays that; each gets the kind.
        handle = _MQ_HANDLES[kind]
        _replace(index, _ROOT, handle, "mq")
        try:
            for one in _of(index):
                if one.parent & 0xFFFF0000 == handle:
                    _replace(index, one.parent, 0, kind)
        except OSError:
            _delete(index)
            raise
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"this kernel has no {kind} (module sch_{kind})") from None


def _give_back(index: int, text: str, now: str) -> None:
    """The kernel attaches what net.core.default_qdisc says when the one that was set is gone. So where that is another by
    now, it is the right one for that moment; whoever captures this path captures it too, in case we die in between.
    """
    kind = text.rpartition(" ")[2]
    default = _read_default()
    other = default not in ("", kind) and kind != "noqueue"
    if other:
        _write_default(kind)
    try:
        if now.startswith("default "):
            _replace(index, _ROOT, _HANDLES["pfifo_fast"], "pfifo_fast")  # its own can't be deleted
        _delete(index)
    finally:
        if other:
            _write_default(default)
    got = _words(_of(index))
    if got != text:
        raise OSError(errno.EINVAL, f"the kernel attached {got}, not {text}")


def _read_default() -> str:
    """Empty in a network namespace other than the first, which has no such file."""
    with contextlib.suppress(OSError), open(DEFAULT_QDISC, encoding="ascii") as file:
        return file.read().strip()
    return ""


def _write_default(kind: str) -> None:
    with open(DEFAULT_QDISC, "w", encoding="ascii") as file:
        file.write(kind)


# -- rtnetlink ----------------------------------------------------------------------------------------------------------


def _replace(index: int, parent: int, handle: int, kind: str) -> None:
    name = kind.encode("ascii") + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(name), _TCA_KIND) + name + b"\0" * (-len(name) % 4)
    _ask(_NEW, _ACK | _CREATE | _REPLACE, _TCMSG.pack(0, index, handle, parent, 0) + attribute)


def _delete(index: int) -> None:
    _ask(_DEL, _ACK, _TCMSG.pack(0, index, 0, _ROOT, 0))


def _of(index: int) -> List[_Qdisc]:
    """All of one interface. The kernel lists those of every interface, whatever is asked."""
    found = []
    for body in _ask(_GET, _DUMP, _TCMSG.pack(0, index, 0, 0, 0)):
        _, of, handle, parent, _ = _TCMSG.unpack_from(body)
        if of == index:
            found.append(_Qdisc(_kind(body), handle, parent))
    return found


def _kind(body: bytes) -> str:
    at = _TCMSG.size
    while at + _ATTRIBUTE.size <= len(body):
        length, type_ = _ATTRIBUTE.unpack_from(body, at)
        if type_ == _TCA_KIND:
            return body[at + _ATTRIBUTE.size : at + length].rstrip(b"\0").decode("ascii", "replace")
        at += max(length + -length % 4, _ATTRIBUTE.size)
    return ""


def _ask(type_: int, flags: int, body: bytes) -> List[bytes]:
    """The bodies of the answer. Raises OSError with the kernel's refusal."""
    bodies: List[bytes] = []
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as line:
        line.settimeout(_TIMEOUT_S)
        line.bind((0, 0))
        line.send(_HEADER.pack(_HEADER.size + len(body), type_, flags | _REQUEST, 1, 0) + body)
        while True:
            data = line.recv(1 << 16)
            while len(data) >= _HEADER.size:
                length, kind, _, _, _ = _HEADER.unpack_from(data)
                content = data[_HEADER.size : length]
                if kind == _DONE:
                    return bodies
                if kind == _ERROR:
                    refusal = -struct.unpack_from("=i", content)[0]
                    if refusal:
                        raise OSError(refusal, os.strerror(refusal))
                    return bodies
                bodies.append(content)
                data = data[max(length + -length % 4, _HEADER.size) :]
