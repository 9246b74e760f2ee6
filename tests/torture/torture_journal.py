"""The agent's journal followed while it is written: every path it names, and what the agent is doing just now."""

from __future__ import annotations

import ctypes
import json
import os
import select
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

RUN_DIR: Final = Path("/run/autotune")
# linux/inotify.h
_IN_MODIFY, _IN_CLOSE_WRITE, _IN_CREATE, _IN_DELETE, _IN_OPEN = 0x2, 0x8, 0x100, 0x200, 0x20
_IN_NONBLOCK, _IN_CLOEXEC = 0x800, 0x80000
_EVENT = struct.Struct("iIII")


class Phase(Enum):
    """What the journal says the agent does."""

    NOTHING = "no journal"
    BEGUN = "begun"
    SWITCH = "switch"
    LOAD = "load"
    RESTORE = "restore"


@dataclass
class Story:
    """The lines of a controller's present journal so far. `wills`: paths captured; `fresh`: those of the switch under way;
    `loads`: how many, also of earlier journals of the same controller."""

    phase: Phase = Phase.NOTHING
    wills: int = 0
    fresh: int = 0
    loads: int = 0
    begun: bool = False
    nginx: int = 0  # process group of the last nginx; 0 while it is not known
    php: int = 0  # the same of the last php-fpm
    _announced: list[str] = field(default_factory=list)  # in the order in which they are started
    _rest: bytes = b""
    _unclaimed: int = 0

    def read(self, data: bytes) -> list[dict[str, object]]:
        """Takes in what was appended; the whole lines in it. A torn last line is kept for later."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        entries: list[dict[str, object]] = [json.loads(line) for line in lines]
        for entry in entries:
            self._take(entry)
        return entries

    def _take(self, entry: dict[str, object]) -> None:
        match str(entry["entry"]):
            case "BEGIN":
                self.phase, self.begun = Phase.BEGUN, True
            case "WILL":
                # A switch captures what it meets first just before it says that it will start an nginx.
                self.wills += 1
                self._unclaimed += 1
            case "PROCESS" if entry["pgid"] == 0:
                program = str(entry["program"])
                if program.endswith("/nginx"):
                    self.phase, self.nginx, self.php = Phase.SWITCH, 0, 0
                    self.fresh, self._unclaimed = self._unclaimed, 0
                    self._announced = ["nginx"]
                elif "php-fpm" in program:
                    self._announced.insert(0, "php")  # announced with nginx, started before it
                else:
                    self.phase, self._announced = Phase.LOAD, []
                    self.loads += 1
            case "PROCESS" if self._announced:
                started = self._announced.pop(0)
                if started == "nginx":
                    self.nginx = int(str(entry["pgid"]))
                else:
                    self.php = int(str(entry["pgid"]))
            case "RESTORED" | "CLEAN":
                self.phase = Phase.RESTORE
            case _:
                pass


@dataclass
class JournalWatch:
    """Follows every journal that appears in this machine. Call `pump` often: nothing happens in between.

    `paths`: original by path, of every WILL line ever seen. Each journal's bytes are kept in `copy`. `switch_s`: how long
    the last switches took, from the line that announces nginx to the one that announces wrk.
    """

    copy: Path
    paths: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    story: Story = field(default_factory=Story)
    journals: int = 0
    gone_s: float = 0.0
    switch_s: float = 0.02
    _switched_s: float = 0.0
    _file: BinaryIO | None = None
    _watched: bool = False

    def __post_init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._add(RUN_DIR.parent, _IN_CREATE)

    def _add(self, where: Path, mask: int) -> None:
        if self._libc.inotify_add_watch(self._handle, os.fsencode(where), mask) < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {where}")

    @property
    def begun(self) -> bool:
        """Whether a journal was begun since `story` was made anew."""
        return self.story.begun

    @property
    def journal(self) -> Path:
        return RUN_DIR / "journal"

    def pump(self, seconds: float = 0.0, *handles: int) -> None:
        """Takes in what has happened; waits up to `seconds` for something to happen, here or on one of the handles."""
        if self._handle in select.select([self._handle, *handles], [], [], seconds)[0]:
            for mask, name in self._events():
                self._see(mask, name)
        self._read()

    def _events(self) -> Iterator[tuple[int, str]]:
        data = os.read(self._handle, 1 << 16)
        while data:
            _, mask, _, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()
            data = data[_EVENT.size + length :]
            yield mask, name

    def _see(self, mask: int, name: str) -> None:
        if name == RUN_DIR.name and mask & _IN_CREATE and not self._watched:
            self._watched = True
            self._add(RUN_DIR, _IN_MODIFY | _IN_CLOSE_WRITE | _IN_CREATE | _IN_DELETE)
            if self.journal.exists():
                self._open()
        elif name != self.journal.name:
            return
        elif mask & _IN_CREATE:
            self._read()
            self._open()
        elif mask & _IN_DELETE:
            self._read()
            self.story.phase = Phase.NOTHING
            self.gone_s = time.monotonic()
        elif mask & _IN_CLOSE_WRITE:
            # The agent holds it open from begin to end: it, or whoever takes over from it, now restores.
            self._read()
            if self.story.phase is not Phase.NOTHING:
                self.story.phase = Phase.RESTORE

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        try:
            self._file = self.journal.open("rb", buffering=0)
        except FileNotFoundError:
            self._file = None
            return
        self.journals += 1
        self.story = Story(loads=self.story.loads)

    def _read(self) -> None:
        if self._file is None:
            return
        data = self._file.read()
        if not data:
            return
        with self.copy.open("ab") as copy:
            copy.write(data)
        before = self.story.phase
        entries = self.story.read(data)
        now_s = time.monotonic()
        if self.story.phase is Phase.SWITCH and before is not Phase.SWITCH:
            self._switched_s = now_s
        elif self.story.phase is Phase.LOAD and before is Phase.SWITCH:
            self.switch_s += 0.3 * (now_s - self._switched_s - self.switch_s)
        for entry in entries:
            if entry["entry"] == "WILL":
                original = entry["original"]
                self._captured(str(entry["path"]), None if original is None else str(original))

    def _captured(self, path: str, original: str | None) -> None:
        known = self.paths.setdefault(path, original)
        if known != original:
            self.problems.append(f"{path} was captured as {original!r}, earlier as {known!r}")
