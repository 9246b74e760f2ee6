"""Reads [server]: an nginx of our own with the files it serves."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from autotune.definitions.table import Table
from autotune.experiment.study import ManagedNginx, ServedFile
from autotune.space.value import size_text

URL_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
URL_PATH_ACCEPTED: Final = (
    "a path such as /test_1k.html: letters, digits, dots, dashes, underscores, no part beginning with a dot"
)
ADDRESS_ACCEPTED: Final = 'an IPv4 address of the board, such as "192.168.1.20"'
_BASE: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_MOST_FILES: Final = 32
_MOST_BYTES: Final = 4 << 20  # all files travel to the agent in one line of its protocol
_NEEDS_FILE: Final = "with path and size"


def read_managed(table: Table) -> ManagedNginx:
    """The managed server of this table; what is wrong is noted."""
    table.only("kind", "base", "port", "address", "file")
    base = table.text(
        "base",
        default="/etc/nginx/nginx.conf",
        pattern=_BASE,
        accepted="an absolute path of letters, digits, dots, dashes and underscores, no part beginning with a dot",
        longest=200,
    )
    port = table.whole("port", 1024, 65535, default=8088)
    address = table.text("address", default="", accepted=ADDRESS_ACCEPTED, longest=15)
    if table.has("address") and not _is_reachable(address):
        table.refuse("address", "no IPv4 address that another machine could reach", ADDRESS_ACCEPTED)
        address = ""
    tables = table.tables("file", needs=_NEEDS_FILE)
    if len(tables) > _MOST_FILES:
        table.refuse("file", f"{len(tables)} files", f"at most {_MOST_FILES}")
    files = tuple(_served_file(one) for one in tables[:_MOST_FILES])
    total = sum(file.size_bytes for file in files)
    if total > _MOST_BYTES:
        table.refuse(
            "file", f"{size_text(total)} together", f"files of at most {size_text(_MOST_BYTES)} together"
        )
    for one, file in zip(tables, files, strict=False):
        others = [other.path for other in files if other is not file]
        if file.path and file.path in others:
            one.refuse("path", "served twice", "a path of its own for each file")
        if file.path and any(other.startswith(file.path + "/") for other in others):
            one.refuse("path", "a directory of another file's path", "a path that no other begins with")
    return ManagedNginx(base=base, port=port, address=address, files=files)


def _is_reachable(address: str) -> bool:
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_multicast or found.is_unspecified or found.is_reserved)


def _served_file(table: Table) -> ServedFile:
    table.only("path", "size")
    path = table.text("path", pattern=URL_PATH, accepted=URL_PATH_ACCEPTED, longest=200)
    return ServedFile(path=path, size_bytes=table.size_bytes("size", 1, _MOST_BYTES))
