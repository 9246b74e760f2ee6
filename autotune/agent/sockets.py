"""Sockets as /proc/net/tcp has them: who listens where, and how many connections lead to a server."""

from __future__ import annotations

import os
import socket
import struct
from typing import List, NamedTuple, Set

_CHUNK = 1 << 16
_LISTEN = b"0A"
_ESTABLISHED = 1
_STATES = range(1, 13)


class Listener(NamedTuple):
    address: str
    port: int
    inode: int


def listeners(address: str, port: int) -> List[Listener]:
    """Every socket that could take a connection to this IPv4 address and port: on it, or on all addresses."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _listening_lines(table):
            words = line.split()
            where, _, number = words[1].partition(b":")
            if int(number, 16) != port:
                continue
            text = _address_text(where)
            if text in (address, "0.0.0.0", "::", "::ffff:" + address):
                found.append(Listener(text, port, int(words[9])))
    return found


def _listening_lines(path: str) -> List[bytes]:
    """The table's first part: the kernel lists listeners before everything else, which can be 30,000 lines more."""
    lines: List[bytes] = []
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return lines  # a kernel without IPv6
    try:
        rest = b""
        heading = True
        while True:
            chunk = os.read(handle, _CHUNK)
            if not chunk:
                return lines
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole[heading:]:
                if line.split()[3] != _LISTEN:
                    return lines
                lines.append(line)
            heading = heading and not whole
    finally:
        os.close(handle)


def _address_text(where: bytes) -> str:
    """The kernel prints each four bytes of an address as a number in the machine's own byte order."""
    words = (int(where[start : start + 8], 16) for start in range(0, len(where), 8))
    raw = b"".join(struct.pack("=I", word) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def owned_inodes(pid: int) -> Set[int]:
    """The inodes of a process's open sockets; empty when it is gone or not ours to look into."""
    directory = f"/proc/{pid}/fd"
    inodes: Set[int] = set()
    try:
        names = os.listdir(directory)
    except OSError:
        return inodes
    for name in names:
        try:
            target = os.readlink(f"{directory}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes


def owner_text(taken: List[Listener]) -> str:
    """The programs behind listeners, for a message; looking through all processes, so only for a message."""
    wanted = {one.inode for one in taken}
    names = []
    for name in os.listdir("/proc"):
        if name.isdigit() and owned_inodes(int(name)) & wanted:
            try:
                with open(f"/proc/{name}/comm", encoding="ascii", errors="replace") as file:
                    names.append(f"{file.read().strip()} (pid {name})")
            except OSError:
                continue
    return ", ".join(names[:5]) or "a program that we may not look into"


def connections_to(address: str, port: int, *, any_state: bool = False) -> int:
    """Connections with this remote end: the clients' side, established or (with `any_state`) also closing."""
    with open("/proc/net/tcp", "rb") as file:
        table = file.read()
    word = struct.unpack("=I", socket.inet_aton(address))[0]
    remote = b"%08X:%04X" % (word, port)
    states = _STATES if any_state else (_ESTABLISHED,)
    return sum(table.count(b" %s %02X " % (remote, state)) for state in states)
