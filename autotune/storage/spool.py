"""What the database could not take, kept in a file of this machine until it can.

The file is made, and its room taken, before the night measures anything, so that a disk that is full at three o'clock
finds it there. One JSON line per event; the room behind them is NUL bytes. Whoever has it open holds its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from autotune.errors import StorageError
from autotune.experiment.events import Event
from autotune.space.record import Record
from autotune.storage.places import spool_path
from autotune.storage.store import Store

ROOM_BYTES = 4 << 20
"""Some hundred samples with their raw outputs; one is what a night leaves here."""
_LOCK_PATIENCE_S = 5.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Kept(Record):
    """An event that belongs into the study's log as its `seq`-th (from 1), with the load generator's raw output."""

    seq: int
    event: Event
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a spool: so many `events` the database still lacked and has now; `aside` is the file with those that
    don't fit a log which went on without them.
    """

    events: int
    aside: Path | None = None


class Spool:
    """The spool of one study in one database. Every method raises StorageError when the file doesn't do as asked."""

    def __init__(self, store: Store, study: str) -> None:
        self.path = spool_path(study, store.shown)
        self._study = study
        self._handle = -1
        self._used = 0  # bytes of whole lines
        self._dirty = 0  # bytes that aren't NUL

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_there(self) -> bool:
        """Whether a night has left such a file; only reading it tells whether there is anything in it."""
        return self.path.exists()

    def is_free(self) -> bool:
        """Whether no other process has it now; it is ours then."""
        return self._take()

    def prepare(self) -> None:
        """Takes the room that events will need, and the lock."""
        self._open()
        with self._complaints("no room can be taken for it"):
            os.posix_fallocate(self._handle, 0, ROOM_BYTES)
            os.fsync(self._handle)

    def keep(self, kept: Kept) -> None:
        """The event is on this machine's disk when this returns."""
        self.kept()
        line = kept.model_dump_json().encode("utf-8") + b"\n"
        with self._complaints("it can't be written"):
            self._write(line, self._used)

    def kept(self) -> tuple[Kept, ...]:
        """The events in it, oldest first. A last line that is torn was never wholly kept, and is passed over."""
        self._open()
        with self._complaints("it can't be read"):
            data = _whole(self._handle).rstrip(b"\0")
        *whole, torn = data.split(b"\n")
        lines = [*whole, torn] if torn else whole
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(Kept.model_validate_json(line))
            except ValidationError as problem:
                if number == len(lines):
                    break
                raise StorageError(
                    f"line {number} of the spool {self.path} can't be read: {problem.errors()[0]['msg']}",
                    hint=f"keep a copy, and move it away: mv {self.path} {self.path}.broken",
                ) from None
        self._used, self._dirty = sum(len(line) + 1 for line in lines[: len(found)]), len(data)
        return tuple(found)

    def store_in(self, store: Store) -> Stored:
        """Puts into the database what it lacks, each event once however often this is tried, and empties the file."""
        if not self.is_there:
            return Stored(events=0)
        log, new = store.log(self._study), 0
        for one in self.kept():
            if one.seq <= len(log) and log[one.seq - 1] == one.event:
                continue
            if one.seq != len(log) + 1:
                return Stored(events=new, aside=self._set_aside())
            store.append(self._study, one.event, one.raw)
            log.append(one.event)
            new += 1
        self.clear()
        return Stored(events=new)

    def told(self, stored: Stored) -> tuple[str, ...]:
        """What became of it, one sentence each."""
        said: tuple[str, ...] = ()
        if stored.events:
            what = "an event" if stored.events == 1 else f"{stored.events} events"
            said = (f"stored {what} that {self.path} had kept while the database took nothing",)
        if stored.aside is not None:
            said += (f"the study went on without what its spool had kept, which is left in {stored.aside}",)
        return said

    def clear(self) -> None:
        """Nothing is in it any more; its room stays taken."""
        self.kept()
        with self._complaints("it can't be written"):
            self._write(b"\0" * self._dirty, 0)

    def close(self) -> None:
        """Gives up the lock, and the file when nothing is in it. Never raises."""
        if self._handle < 0:
            return
        with contextlib.suppress(StorageError, OSError):
            if not self.kept():
                self.path.unlink()
        os.close(self._handle)
        self._handle = -1

    # Inside

    def _open(self) -> None:
        """The file, ours alone until it is closed."""
        until = time.monotonic() + _LOCK_PATIENCE_S
        while not self._take():
            if time.monotonic() > until:
                raise StorageError(
                    f"the spool {self.path} is in use by another process",
                    hint=f"see `autotune status {self._study}`",
                )
            time.sleep(0.05)

    def _take(self) -> bool:
        """Whether the file is ours now."""
        if self._handle >= 0:
            return True
        with self._complaints("it can't be made"):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, _FLAGS, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StorageError(
                    f"the spool {self.path} is no plain file",
                    hint=f"move it away: mv {self.path} {self.path}.odd",
                )
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(handle, self.path):  # not one that its last owner has just taken away
                self._handle = handle
        except BlockingIOError:
            return False
        finally:
            if self._handle < 0:
                os.close(handle)
        return self._handle >= 0

    def _write(self, data: bytes, at: int) -> None:
        while data:
            written = os.pwrite(self._handle, data, at)
            data, at = data[written:], at + written
        os.fsync(self._handle)

    def _set_aside(self) -> Path:
        """Out of the way, for whoever wants to look at it."""
        aside = self.path.with_suffix(f".{time.time_ns()}.aside")
        with self._complaints("it can't be moved aside"):
            self.path.rename(aside)
            os.ftruncate(self._handle, self._used)
        os.close(self._handle)
        self._handle = -1
        return aside

    @contextlib.contextmanager
    def _complaints(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise StorageError(
                f"the spool {self.path}: {what}: {problem.strerror}",
                hint=f"see `df -h {self.path.parent}`, or name another place with XDG_STATE_HOME",
            ) from problem


def _whole(handle: int) -> bytes:
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
