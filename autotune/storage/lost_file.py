"""A database file that is deleted or replaced while it is open: noticed, and saved from the connection that still has it.

SQLite goes on writing into a deleted file without a word, and all of it is gone with the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from sqlalchemy.engine import Engine

from autotune.errors import StorageError, StorageLost
from autotune.storage.tables import VERSION_TABLE


class OpenFile:
    """The file behind an open engine, and how to know it again."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine
        self._known = _identity(path)

    def require(self) -> None:
        """Raises StorageError when the file is no longer the one that was opened, with the place of what was saved; StorageLost
        when nothing was.
        """
        now = _identity(self._path)
        if now == self._known:
            return
        what = "replaced by another file" if now else "deleted"
        saved = self._save(self._path if now is None else self._path.with_name(f"{self._path.name}.saved"))
        if saved is None:
            raise StorageLost(
                f"the database {self._path} was {what} while it was in use, and what it held could not be saved",
                hint="find out who did that, and begin again",
            )
        raise StorageError(
            f"the database {self._path} was {what} while it was in use; all that was measured is saved in {saved}",
            hint="the same command again goes on"
            if saved == self._path
            else f"go on with --storage sqlite:///{saved}",
        )

    def _save(self, into: Path) -> Path | None:
        """Writes the database that only our connection still sees; None when that can't be done."""
        try:
            for left in (f"{into}-wal", f"{into}-shm"):
                # SQLite would take a log without its database for the new one's.
                with contextlib.suppress(FileNotFoundError):
                    Path(left).unlink()
            with contextlib.closing(self._engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,))
                if cursor.fetchone() is None:  # a connection of its own making, after the file was gone
                    return None
                cursor.execute("VACUUM INTO ?", (str(into),))
        except (OSError, sqlite3.Error):
            return None
        return into


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there; None for none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino
