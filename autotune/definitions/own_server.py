"""Reads [server] of kind "own": the user's own nginx.

[server]
kind = "own"
config = "/etc/nginx/nginx.conf"         # the main configuration file your nginx starts from
address = "127.0.0.1"                    # where it is reached; with load from elsewhere the one on the way to the load
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from autotune.definitions.table import Table
from autotune.experiment.study import OwnNginx

_CONFIG: Final = re.compile(r"(?:/[A-Za-z0-9_.@+-]*[A-Za-z0-9_@+-])+")


def read_own(table: Table) -> OwnNginx:
    """The user's own server of this table; what is wrong is noted."""
    usual = OwnNginx()
    table.only("kind", "config", "address")
    config = table.text(
        "config",
        default=usual.config,
        pattern=_CONFIG,
        accepted='an absolute path, such as "/etc/nginx/nginx.conf"',
        longest=200,
    )
    accepted = 'an IP address of this board, such as "127.0.0.1"'
    address = table.text("address", default=usual.address, accepted=accepted, longest=64)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        table.refuse("address", "not an IP address", accepted)
        address = usual.address
    return OwnNginx(config=config, address=address)
