"""One kernel file: its value in a form that can be compared and written back, and the settings that move together.

What is no file is named as if it were one: tc:<device>/root (see qdisc.py), ethtool:<device>/<feature> (see ethtool.py).
"""

from __future__ import annotations

import os
import shlex
from typing import Iterator, List, Mapping, NamedTuple, Optional, Tuple

from autotune.agent import clocks, ethtool, qdisc

THP = "/sys/kernel/mm/transparent_hugepage/"
VM = "/proc/sys/vm/"
IPV4 = "/proc/sys/net/ipv4/"
_READ_CAP = 1 << 16
_BRACKETED = (THP, "/sys/module/pcie_aspm/parameters/policy")
_MASKS = ("/rps_cpus", "/xps_cpus", "/smp_affinity")


class Group(NamedTuple):
    """Settings that move together: captured and restored as one.

    A group is a function of a path alone, so a restore finds it with nothing but the journal. Its members are those
    originals that are of the group, in the group's order: what moves others comes before them (see `in_order`).

    `exclusive`: writing one member sets the other to 0, and writing 0 brings nothing back, so only the member that was
    not 0 is written. `table`: members known by name; they are always captured together.
    """

    name: str
    exclusive: bool = False
    table: Tuple[str, ...] = ()


# Making a congestion control the default puts it among those that any program may choose, for good (tcp_cong.c marks it
# non-restricted), so that list goes back with the default.
# Turning transparent huge pages on or off makes the kernel recompute vm.min_free_kbytes (67584 became 19832 on a 24 GB
# machine); it comes back with THP only if nobody had set it by hand.
GROUPS = (
    Group("dirty", True, (VM + "dirty_ratio", VM + "dirty_bytes")),
    Group("dirty background", True, (VM + "dirty_background_ratio", VM + "dirty_background_bytes")),
    Group("congestion", False, (IPV4 + "tcp_congestion_control", IPV4 + "tcp_allowed_congestion_control")),
    Group("huge pages", False, (THP + "enabled", VM + "min_free_kbytes")),
)
_GROUP_OF = {member: group for group in GROUPS for member in group.table}


def group_of(path: str) -> Group:
    """The group of a path; a group of its own when nothing moves with it."""
    return _GROUP_OF.get(path) or Group(clocks.domain(path) or path)


def in_order(group: Group, texts: Mapping[str, Optional[str]]) -> List[str]:
    """The paths among `texts` that are of the group, in the order in which these texts are to be written."""
    mine = [path for path in texts if group_of(path) == group]
    if group.table:
        return sorted(mine, key=group.table.index)
    return sorted(mine, key=lambda path: clocks.rank(path, texts, read_value))


def captured_with(path: str) -> List[str]:
    """The path, and what writing it would move."""
    return list(group_of(path).table) or [path, *clocks.moved_by(path, read_value)]


def captured_before(path: str) -> Tuple[str, ...]:
    """What writing this path back changes for a moment, so that it is journaled too, in case we die in between."""
    return (qdisc.DEFAULT_QDISC,) if path.startswith("tc:") else ()


def word_of(path: str) -> Tuple[str, str, str]:
    """The parts of a word for what is no file: scheme, device, thing; the scheme of a file is "file"."""
    if path.startswith("/"):
        return "file", "", ""
    scheme, _, rest = path.partition(":")
    device, _, thing = rest.partition("/")
    return scheme, device, thing


def normalise(path: str, raw: str) -> str:
    """What was read, as one would write it: the chosen word of a bracketed list, elements with single spaces between,
    a CPU mask without leading zeros (the kernel pads it to as many CPUs as it could have).
    """
    words = raw.split()
    if path.endswith(_MASKS) and words:
        return words[0].lstrip("0,") or "0"
    if path.startswith(_BRACKETED):
        for word in words:
            if word.startswith("[") and word.endswith("]"):
                return word[1:-1]
    return " ".join(words)


def read_value(path: str) -> Optional[str]:
    """The normalised value; None when there is no such file. Raises OSError when it is there and can't be read."""
    scheme, device, thing = word_of(path)
    if scheme == "tc":
        return qdisc.read(device)
    if scheme == "ethtool":
        return ethtool.read(device, thing)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return normalise(path, os.read(handle, _READ_CAP).decode("ascii", "replace"))
    finally:
        os.close(handle)


def write_value(path: str, text: str) -> None:
    """Writes the value in one write. Raises OSError with the kernel's refusal."""
    scheme, device, thing = word_of(path)
    if scheme == "tc":
        return qdisc.write(device, text)
    if scheme == "ethtool":
        return ethtool.write(device, thing, text)
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode("ascii") + b"\n")
    finally:
        os.close(handle)


def is_at(path: str, value: Optional[str]) -> bool:
    """Whether the path has this value now."""
    try:
        return read_value(path) == value
    except OSError:
        return False


def writes_back(group: Group, originals: Mapping[str, Optional[str]]) -> Iterator[Tuple[str, str]]:
    """The writes that bring a group back, in order. Each looks at the board only when its turn has come."""
    known = [member for member in in_order(group, originals) if originals[member] is not None]
    if group.exclusive:
        counted = [member for member in known if originals[member] != "0"]
        if not counted and known:
            # Both were 0: only a change of the first one clears the second.
            yield known[0], "1"
        known = counted or known[:1]
    for member in known:
        original = originals[member]
        if original is not None and not is_at(member, original):
            yield member, original


def by_hand(path: str, original: Optional[str]) -> str:
    """The command that puts a value back by hand; whatever the journal says stands quoted in it."""
    scheme, device, thing = word_of(path)
    if scheme == "tc":
        return qdisc.by_hand(device, original or "")
    if scheme == "ethtool":
        return ethtool.by_hand(device, thing, original or "")
    return f"echo {shlex.quote(original or '')} > {shlex.quote(path)}"
