"""Where a board is: this machine, or one at the other end of ssh."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from autotune.errors import UsageError

ACCEPTED: Final = (
    '"local" (this machine), or "ssh://user@host:port", where user and port may be left out and host may be a name '
    "of your ssh configuration"
)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,32})?\]")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PREFIX: Final = "ssh://"


@dataclass(frozen=True, slots=True)
class LocalBoard:
    """This machine."""

    @property
    def text(self) -> str:
        return "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshBoard:
    """A machine that the system's ssh client reaches. `user` "" and `port` 0: as ssh's own configuration says."""

    host: str
    user: str = ""
    port: int = 0

    @property
    def text(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{_PREFIX}{user}{host}{port}"


BoardAddress: TypeAlias = LocalBoard | SshBoard


def is_address(text: str) -> bool:
    """Whether this is meant as the address of another machine."""
    return text.startswith(_PREFIX)


def restore_command(board: str) -> str:
    """What a user types to have this board put back."""
    return f"autotune restore {board}" if is_address(board) else "autotune restore"


def read_address(text: str) -> BoardAddress:
    """The address in a study's or a command line's words.

    No part may begin with a dash or hold anything that ssh or a shell reads as more than a name. Raises UsageError.
    """
    if text == "local":
        return LocalBoard()
    if not text.startswith(_PREFIX):
        raise _refused(text, "it is neither local nor ssh://")
    rest = text.removeprefix(_PREFIX).removesuffix("/")
    user, at, rest = rest.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise _refused(text, f"{user!r} is no user's name")
    found = re.fullmatch(r"(?P<host>\[.*\]|[^:]*)(?::(?P<port>.*))?", rest)
    host, port = (found["host"], found["port"]) if found else (rest, None)
    if not _HOST.fullmatch(host):
        raise _refused(text, f"{host!r} is no host's name or address (an IPv6 address stands in [ ])")
    if port is not None and not (_PORT.fullmatch(port) and int(port) < 1 << 16):
        raise _refused(text, f"{port!r} is no port from 1 to 65535")
    return SshBoard(host=host.strip("[]"), user=user, port=int(port or 0))


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"the board {text!r} can't be reached: {why}", hint=f"accepted: {ACCEPTED}")
