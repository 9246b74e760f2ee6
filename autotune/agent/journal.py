"""The journal: what a night changes, written down before it is changed. One JSON object per line, append only.

`/run/autotune/journal` exists from BEGIN to CLEAN and then disappears. A ballast file beside it keeps room for the
restore's own lines when the file system is full.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from typing import IO, Any, Dict, Iterable, List, Literal, NamedTuple, Optional, Sequence, Set

from autotune.agent import allowed
from autotune.agent.faults import Fault
from autotune.agent.kernel_files import group_of
from autotune.agent.places import Places, open_own, sync_dir

Entry = Dict[str, Any]
_BALLAST_BYTES = 1 << 20
# A night writes some kilobytes for each switch, so a week of them stays far below.
_SIZE_CAP, _LINE_CAP = 256 << 20, 16 << 20
_BACKWARDS = 1 << 16
_WORDS_CAP = 400
_PIDS = 1 << 31
_BEGIN = ("study", "night", "boot_id", "netns", "token", "holder", "kept", "since")
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
        self._room = _SIZE_CAP - os.fstat(handle).st_size

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
            handle = open_own(places.journal, places.uid, os.O_RDWR | os.O_APPEND)
            os.ftruncate(handle, _end_of_last_line(handle))
        except OSError as problem:
            raise _fault(places, problem) from None
        return cls(places, handle)

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Adds the entries, all or none; with `sync`, they are on the disk when this returns. Raises Fault."""
        lines = [json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n" for entry in entries]
        data = b"".join(lines)
        if not data:
            return
        self._room -= len(data)
        if self._room < 0 or max(map(len, lines)) > _LINE_CAP:  # it could not be read back
            raise Fault(
                "journal",
                f"the journal {self._places.journal} has grown too long, so nothing more is changed",
            )
        end = os.fstat(self._handle).st_size
        try:
            self._write(data)
            if sync:
                os.fsync(self._handle)
        except OSError as problem:
            # A line that stays half written would be torn in the middle as soon as there is room for the next one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, end)
            raise _fault(self._places, problem) from None

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


def _end_of_last_line(handle: int) -> int:
    """Where the last finished line ends."""
    end = os.fstat(handle).st_size
    while end:
        start = max(0, end - _BACKWARDS)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _fault(places: Places, problem: OSError) -> Fault:
    return Fault(
        "journal",
        f"the journal {places.journal} can't be written ({problem.strerror}), so nothing more is changed",
        f"df -h {places.run_dir}; ls -l {places.run_dir}",
    )


def read_journal(places: Places) -> Story:
    """What the journal tells; changes nothing. A torn last line is ignored, a torn line before it makes the story torn."""
    try:
        handle = open_own(places.journal, places.uid)
    except FileNotFoundError:
        return NO_STORY
    except OSError as problem:
        raise _fault(places, problem) from None
    with open(handle, "rb") as file:
        if os.fstat(handle).st_size > _SIZE_CAP:
            return _torn(f"it is longer than {_SIZE_CAP >> 20} MiB, which no night writes")
        return _parse(file)


def parse(data: bytes) -> Story:
    """The story in a journal's bytes. Never raises: what can't be understood makes it torn, with the line's number."""
    return _parse(io.BytesIO(data))


def _parse(file: IO[bytes]) -> Story:
    """Line by line, so that a long journal takes no more memory than what it tells."""
    telling = _Telling()
    number = 0
    while line := file.readline(_LINE_CAP + 1):
        number += 1
        if not line.endswith(b"\n"):
            if len(line) > _LINE_CAP:
                return _torn(f"line {number} is longer than any that a night writes")
            break  # the last line, never finished
        try:
            entry = json.loads(line)
            _check(entry, first=number == 1)
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            if file.read(1):
                return _torn(f"line {number} can't be understood ({problem})")
            break
        telling.hear(entry)
    return telling.story()


def _torn(problem: str) -> Story:
    return NO_STORY._replace(state="torn", problem=problem)


class _Telling:
    """What the entries heard so far tell."""

    def __init__(self) -> None:
        self._begin: Entry = {}
        self._last = ""
        self._originals: Dict[str, Optional[str]] = {}
        self._created: List[str] = []
        self._processes: Dict[int, Recorded] = {}
        self._services: Dict[str, Stopped] = {}
        self._stopping: List[Recorded] = []
        self._halves: Set[str] = set()
        self._kept = False

    def hear(self, entry: Entry) -> None:
        kind = self._last = entry["entry"]
        if kind == "BEGIN":
            self._begin = {key: entry[key] for key in _BEGIN if key in entry}
        elif kind == "WILL":
            self._originals.setdefault(entry["path"], entry["original"])
        elif kind == "CREATED":
            self._created.append(entry["path"])
        elif kind == "PROCESS" and entry["pgid"]:
            self._processes[entry["pgid"]] = Recorded(entry["pgid"], entry["start"])
        elif kind == "SERVICE":
            self._services.setdefault(
                entry["name"], Stopped(entry["name"], entry["manager"], entry["listen"])
            )
        elif kind == "STOPPING":
            self._stopping.append(Recorded(entry["pgid"], entry["start"]))
            self._halves.add(entry["name"])
        elif kind == "STOPPED":
            self._halves.discard(entry["name"])
        elif kind == "KEPT":
            self._kept = True

    def story(self) -> Story:
        return Story(
            "clean" if self._last in ("", "CLEAN") else "open",
            self._begin,
            self._originals,
            self._created,
            list(self._processes.values()),
            "",
            [one._replace(half=one.name in self._halves) for one in self._services.values()],
            self._stopping,
            self._kept,
        )


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
        for key in ("boot_id", "netns", "study", "holder", *(("since",) if "since" in entry else ())):
            _check_words(entry[key], key)
    elif kind == "WILL":
        path, original = entry["path"], entry["original"]
        if not isinstance(path, str):
            raise TypeError("path")
        _check_captured(path)
        if original is not None and not isinstance(original, str):
            raise TypeError("original")
        if not allowed.is_original(path, original):
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
        if not _is_number(entry["pgid"], _PIDS) or not _is_number(entry["start"], 1 << 63):
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
        if not isinstance(address, str) or not _is_number(port, 65536) or not port:
            raise TypeError("listen")


def _is_number(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _check_words(value: Any, key: str) -> None:
    """What is shown to a user: as `begin` wrote it, without anything that steers a terminal."""
    if not isinstance(value, str):
        raise TypeError(key)
    if len(value) > _WORDS_CAP or not value.isascii() or not value.isprintable():
        raise ValueError(f"no words for {key}")


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
