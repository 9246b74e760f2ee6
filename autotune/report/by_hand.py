"""What `install` can't do for a person: each in a sentence that says where it is done by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autotune.space.catalogue.builds import BUILD, DISTRIBUTION
from autotune.space.value import Value

BUILD_FILE: Final = "BUILD.md"
_SOCKET: Final = "fpm:listen.socket"


def by_hand_lines(chosen: Mapping[str, Value]) -> tuple[str, ...]:
    """() when `install` does all of it."""
    lines = []
    if chosen.get(BUILD, DISTRIBUTION) != DISTRIBUTION:
        lines.append(
            f"nginx was another build: {BUILD_FILE} says how it is made and put in the place of yours."
        )
    if _SOCKET in chosen:
        kind = "a unix socket" if chosen[_SOCKET] == "unix" else "a TCP port"
        lines.append(
            f"php-fpm listened on {kind}: `listen` in the pool's file below /etc/php, and fastcgi_pass or the"
            " upstream's server in nginx, which must say the same."
        )
    if chosen.get("nginx:access_log") is True:
        lines.append(
            "The access log was on: which file it goes to is yours to say, so no access_log line is written."
        )
    return tuple(lines)
