"""The night's memory: the study's log in its database, and in the spool while that takes nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Literal

from autotune.errors import StorageAway, StorageError, StorageLost
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.runner.clocks import Pace
from autotune.runner.notices import Said, Watcher
from autotune.runner.stopping import Stopped
from autotune.search.mirror import write_mirror
from autotune.storage.spool import Kept, Spool, Stored
from autotune.storage.store import Store

# A server that restarts, a copy being made: not worth giving the board back. Each try has the store's own patience besides.
DATABASE_PATIENCE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_ASKED_AGAIN_AFTER_S = 30.0
# A synthetic night has dozens of samples a second: nobody looks more often than so.
_BEAT_EVERY_S = 1.0


class Memory:
    """Every event of the study, in order. What is in `log` is in the database, or for as long in a file of this machine: safe from the
    death of any program. From a power cut of this machine, too, but for the last commits of SQLite (WAL, synchronous=NORMAL).
    """

    def __init__(self, study: str, store: Store, watcher: Watcher) -> None:
        self._study = study
        self._store = store
        self._watch = watcher
        self._spool = Spool(store, study)
        self._pending: list[Kept] = []
        self._kept = 0  # how many of them are in the spool
        self._beats = Pace(_BEAT_EVERY_S)
        self._quiet_until = 0.0
        try:
            self._say_what_became(self._spool.store_in(store))
            self.log = store.log(study)
        except BaseException:
            self._spool.close()
            raise
        try:
            self._spool.prepare()
        except StorageError as problem:
            self._say(
                "warning",
                f"if the database fails tonight, a sample may be lost: {problem.message} ({problem.hint})",
            )

    def append(self, event: Event, raw: str, wait: Callable[[float], None]) -> None:
        """The event is in the database when this returns. `wait` passes the time between two tries, and may raise.

        Raises StorageAway when the database takes nothing for a while, any other StorageError at once: then the event is
        in the spool, and goes into the database with the next `catch_up`.
        """
        self.log.append(event)
        self._pending.append(Kept(seq=len(self.log), event=event, raw=raw))
        until = time.monotonic() + DATABASE_PATIENCE_S
        told = ""
        while True:
            try:
                self.catch_up()
            except StorageAway as away:
                if time.monotonic() >= until:
                    raise
                if away.message != told:
                    told = away.message
                    self._say("warning", f"{told}; trying again")
            else:
                return
            wait(1.0)

    def catch_up(self) -> None:
        """Puts into the database what it did not take before. Asking it twice for the same changes nothing."""
        try:
            while self._pending:
                self._store.append(self._study, self._pending[0].event, self._pending[0].raw)
                del self._pending[0]
        except StorageLost:
            everything = [Kept(seq=number, event=event) for number, event in enumerate(self.log, 1)]
            self._pending = everything[: -len(self._pending)] + self._pending
            self._forget_kept()
            self._keep()
            raise
        except StorageError:
            self._keep()
            raise
        self._forget_kept()

    def wait_until_back(self, away: StorageAway, wait: Callable[[float], None], patience_s: float) -> None:
        """Returns when the database has taken everything. `wait` passes the time, and raises Stopped when none is left.

        Raises StorageAway when it did not in time, any other StorageError when this process may not write there any more.
        """
        until, pause_s = time.monotonic() + patience_s, _FIRST_PAUSE_S
        while True:
            try:
                wait(pause_s)
            except Stopped as stopped:
                raise self._given_up(away, f"until {stopped}") from away
            try:
                self._store.beat(self._study)
                return self.catch_up()
            except StorageAway as still:
                if time.monotonic() > until:
                    raise self._given_up(still, f"for {patience_s / 3600:.0f} h") from still
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def beat(self) -> None:
        """Says that this process still runs the study, now and then. Raises StorageError when another has taken over."""
        if self._beats.is_due():
            self._unless_away(lambda: self._store.beat(self._study))

    def stop_requested(self) -> bool:
        """Whether `autotune stop` was said. A database that is away says nothing: that alone ends no night."""
        asked: list[bool] = []
        self._unless_away(lambda: asked.append(self._store.stop_requested(self._study)))
        return any(asked)

    def mirror(self, study: Study) -> None:
        """Optuna's own tables follow; the night never reads them, so nothing here may end it."""
        try:
            write_mirror(study, self.log, self._store.url)
        except Exception as problem:  # noqa: BLE001 - a copy for other tools is never worth a night
            self._say("warning", f"Optuna's mirror could not be written: {problem}")

    def close(self) -> None:
        """Says where to find what the database has not taken. Never raises."""
        if self._kept:
            self._say(
                "warning",
                f"what the database did not take is kept in {self._spool.path}; {self._next} stores it",
            )
        self._spool.close()

    # Inside

    @property
    def _next(self) -> str:
        return f"`autotune resume {self._study}{self._store.option}`"

    def _given_up(self, away: StorageAway, how_long: str) -> StorageAway:
        return StorageAway(
            f"{away.message}, {how_long}; the board is restored",
            hint=f"{away.hint}; then {self._next} stores what was kept, and goes on",
        )

    def _unless_away(self, ask: Callable[[], None]) -> None:
        """Each try may last as long as the store's patience, so it isn't asked again at once."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            ask()
        except StorageAway:
            self._quiet_until = time.monotonic() + _ASKED_AGAIN_AFTER_S

    def _forget_kept(self) -> None:
        if self._kept:
            self._kept = 0
            with contextlib.suppress(StorageError):  # what the database has is never stored from there again
                self._spool.clear()

    def _keep(self) -> None:
        try:
            for one in self._pending[self._kept :]:
                self._spool.keep(one)
                self._kept += 1
        except StorageError as problem:
            self._say("error", f"what was measured last is in this program's memory only: {problem.message}")

    def _say_what_became(self, stored: Stored) -> None:
        for text in self._spool.told(stored):
            self._say("warning", text)

    def _say(self, level: Literal["warning", "error"], text: str) -> None:
        self._watch(Said(level=level, text=text))
