"""The journal: what a night changes, written down before it is changed. One JSON object per line, append only.

`/run/autotune/journal` exists from BEGIN to CLEAN and then disappears. A ballast file beside it keeps room for the
restore's own lines when the file system is full.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, Dict, Iterable, List, Literal, NamedTuple, Optional, Sequence, Set

from autotune.agent import allowed
from autotune.agent.faults import Fault
from autotune.agent.kernel_files import group_of
from autotune.agent.places import Places, check_own_file, sync_dir

Entry = Dict[str, Any]
_BALLAST_BYTES = 1 << 20
_SIZE_CAP = 256 << 20
_TOKEN = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,199}")


def is_token(name: str) -> bool:
    """Whether this can be the name of a night's directories."""
    return _TOKEN.fullmatch(name) is not None


class Recorded(NamedTuple):
    """A process group that was to be started; `start` 0 while its first process was not known yet."""

    pgid: int
    start: int


class Stopped(NamedTuple):
    """A service that ran and was to be stopped, and where it listened. `half`: a stop began, and no end of it is told."""

    name: str
    manager: str
    listen: List[List[Any]]
    half: bool = False


class Story(NamedTuple):
    """What the journal tells. `originals` in the order of capture; a path absent at capture has None."""

    state: Literal["none", "clean", "open", "torn"]
    begin: Entry
    originals: Dict[str, Optional[str]]
    created: List[str]
    processes: List[Recorded]
    problem: str
    services: Sequence[Stopped] = ()
    stopping: Sequence[Recorded] = ()
    kept: bool = False

    @property
    def token(self) -> str:
        return str(self.begin["token"])


NO_STORY = Story("none", {}, {}, [], [], "")


class Journal:
    """The journal open for appending, by whoever holds the lock."""

    def __init__(self, places: Places, handle: int) -> None:
        self._places = places
        self._handle = handle

    @classmethod
    def create(cls, places: Places, begin: Entry) -> Journal:
        """A new journal with its BEGIN, durable before this returns. Raises Fault."""
        try:
            _make_ballast(places)
            handle = os.open(places.journal, _APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as problem:
            drop_ballast(places)
            raise _fault(places, problem) from None
        journal = cls(places, handle)
        journal.append([begin], sync=True)
        sync_dir(places.run_dir)
        return journal

    @classmethod
    def reopen(cls, places: Places) -> Journal:
        """The journal that is there, its torn last line cut off so that the next line stands alone. Raises Fault."""
        try:
            handle = os.open(places.journal, _APPEND)
            check_own_file(os.fstat(handle), places.journal, places.uid)
            with open(places.journal, "rb") as file:
                os.ftruncate(handle, file.read().rfind(b"\n") + 1)
        except OSError as problem:
            raise _fault(places, problem) from None
        return cls(places, handle)

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Adds the entries in one write; with `sync`, they are on the disk when this returns. Raises Fault."""
        data = b"".join(json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n" for entry in entries)
        if not data:
            return
        try:
            self._write(data)
        except OSError as problem:
            raise _fault(self._places, problem) from None
        if sync:
            os.fsync(self._handle)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._handle, data) :]
            except OSError:
                if not drop_ballast(self._places):
                    raise

    def close(self) -> None:
        os.close(self._handle)

    def finish(self) -> None:
        """CLEAN, then no journal at all. A death in between leaves a clean journal, which means the same."""
        with contextlib.suppress(Fault):  # where even this line has no room, its removal says it
            self.append([{"entry": "CLEAN"}], sync=True)
        self.close()
        remove_journal(self._places)


def remove_journal(places: Places) -> None:
    """No journal any more, and no ballast."""
    drop_ballast(places)
    os.unlink(places.journal)
    sync_dir(places.run_dir)


_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def _make_ballast(places: Places) -> None:
    drop_ballast(places)
    handle = os.open(places.ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, _BALLAST_BYTES)
    finally:
        os.close(handle)


def drop_ballast(places: Places) -> bool:
    """Whether there was one."""
    try:
        os.unlink(places.ballast)
    except OSError:
        return False
    return True


def _fault(places: Places, problem: OSError) -> Fault:
    return Fault(
        "journal",
        f"the journal {places.journal} can't be written ({problem.strerror}), so nothing more is changed",
        f"df -h {places.run_dir}; ls -l {places.run_dir}",
    )


def read_journal(places: Places) -> Story:
    """What the journal tells; changes nothing. A torn last line is ignored, a torn line before it makes the story torn."""
    try:
        handle = os.open(places.journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return NO_STORY
    except OSError as problem:
        raise _fault(places, problem) from None
    with open(handle, "rb") as file:
        check_own_file(os.fstat(handle), places.journal, places.uid)
        return parse(file.read(_SIZE_CAP))


def parse(data: bytes) -> Story:
    """The story in a journal's bytes. Never raises: what can't be understood makes it torn, with the line's number."""
    lines = data.split(b"\n")
    torn_tail = lines.pop()  # b"" unless the last line was never finished
    entries: List[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            _check(entry, first=not entries)
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            if number == len(lines) and not torn_tail:
                break
            return NO_STORY._replace(state="torn", problem=f"line {number} can't be understood ({problem})")
        entries.append(entry)
    return _tell(entries)


def _tell(entries: List[Entry]) -> Story:
    if not entries:
        return NO_STORY._replace(state="clean")
    originals: Dict[str, Optional[str]] = {}
    created: List[str] = []
    processes: Dict[int, Recorded] = {}
    services: Dict[str, Stopped] = {}
    stopping: List[Recorded] = []
    halves: Set[str] = set()
    for entry in entries:
        kind = entry["entry"]
        if kind == "WILL":
            originals.setdefault(entry["path"], entry["original"])
        elif kind == "CREATED":
            created.append(entry["path"])
        elif kind == "PROCESS" and entry["pgid"]:
            processes[entry["pgid"]] = Recorded(entry["pgid"], entry["start"])
        elif kind == "SERVICE":
            services.setdefault(entry["name"], Stopped(entry["name"], entry["manager"], entry["listen"]))
        elif kind == "STOPPING":
            stopping.append(Recorded(entry["pgid"], entry["start"]))
            halves.add(entry["name"])
        elif kind == "STOPPED":
            halves.discard(entry["name"])
    stopped = [one._replace(half=one.name in halves) for one in services.values()]
    state: Literal["clean", "open"] = "clean" if entries[-1]["entry"] == "CLEAN" else "open"
    kept = any(entry["entry"] == "KEPT" for entry in entries)
    groups = list(processes.values())
    return Story(state, entries[0], originals, created, groups, "", stopped, stopping, kept)


def _check(entry: Entry, *, first: bool) -> None:
    """Raises ValueError, KeyError or TypeError for an entry that this agent can't have written."""
    if not isinstance(entry, dict):
        raise TypeError("not an object")
    kind = entry["entry"]
    if first != (kind == "BEGIN"):
        raise ValueError("BEGIN is not the first entry" if first else "a second BEGIN")
    if kind == "BEGIN":
        if not is_token(entry["token"]):
            raise ValueError("no token")
        for key in ("boot_id", "netns", "study", "holder"):
            if not isinstance(entry[key], str):
                raise TypeError(key)
    elif kind == "WILL":
        _check_captured(entry["path"])
        original = entry["original"]
        if original is not None and not isinstance(original, str):
            raise TypeError("original")
        if not allowed.is_original(original):
            raise ValueError("an original that no kernel file had")
    elif kind == "CREATED":
        if not isinstance(entry["path"], str):
            raise TypeError("path")
    elif kind == "SERVICE":
        _check_service(entry)
    elif kind == "STOPPED":
        _check_name(entry)
    elif kind in ("PROCESS", "STOPPING"):
        if kind == "STOPPING":
            _check_name(entry)
        if not isinstance(entry["pgid"], int) or not isinstance(entry["start"], int) or entry["pgid"] < 0:
            raise TypeError("pgid")
    elif kind not in ("DID", "KEPT", "RESTORED", "CLEAN"):
        raise ValueError(f"unknown entry {str(kind)[:20]!r}")


def _check_service(entry: Entry) -> None:
    """A plain name; whether it is one that may be started is asked before anything is run (services.is_known)."""
    _check_name(entry)
    if entry["manager"] not in ("systemd", "init"):
        raise ValueError("no service")
    if not isinstance(entry["listen"], list):
        raise TypeError("listen")
    for address, port in entry["listen"]:
        if not isinstance(address, str) or not isinstance(port, int) or not 0 < port < 65536:
            raise TypeError("listen")


def _check_name(entry: Entry) -> None:
    if not _NAME.fullmatch(entry["name"]):
        raise ValueError("no name")


def _check_captured(path: str) -> None:
    """A path that may be written, or one that moves with such a path and is only ever put back."""
    refusals: List[str] = []
    for member in (path, *group_of(path).table):
        try:
            allowed.check_form(member)
        except Fault as fault:
            refusals.append(fault.message)
        else:
            return
    raise ValueError(refusals[0])
