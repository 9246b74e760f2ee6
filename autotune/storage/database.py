"""The database behind a URL: opened, recognised, brought up to date, and its complaints said in our words."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.pool import StaticPool

from autotune.errors import StorageAway, StorageError, StorageOlder
from autotune.storage.places import state_dir
from autotune.storage.tables import HEAD, METADATA, OPTUNA_TABLES, PREFIX, REVISIONS, VERSION, VERSION_TABLE

LOCK_PATIENCE_S = 30.0
_SQLITE_MAGIC = b"SQLite format 3\x00"
_CREATION_LOCK = 0x6175746F  # one number of ours for PostgreSQL's advisory locks
_PASSING = ("locked", "lock timeout", "is full", "disk i/o error", "unable to open")
_ELSEWHERE = "name another database with --storage or AUTOTUNE_STORAGE"


def default_url() -> str:
    """AUTOTUNE_STORAGE when it is set, else an SQLite file in `$XDG_STATE_HOME/autotune`."""
    if asked := os.environ.get("AUTOTUNE_STORAGE", ""):
        return asked
    return f"sqlite:///{state_dir() / 'autotune.db'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a database is. `path` None: not a file. `shown` has no password in it."""

    url: URL
    path: Path | None
    shown: str

    @classmethod
    def of(cls, text: str) -> Place:
        """Raises StorageError for what is no URL of an SQLite file or a PostgreSQL database."""
        try:
            url = make_url(text)
        except (exc.ArgumentError, ValueError):
            raise StorageError(
                f"{text!r} is not a database URL",
                hint=f"for a file: sqlite:///{Path(text).absolute()}"
                if text and "://" not in text
                else "accepted: sqlite:////absolute/path.db or postgresql://user@host/database",
            ) from None
        backend = url.get_backend_name()
        if backend == "sqlite":
            memory = url.database in (None, "", ":memory:")
            path = None if memory else Path(url.database or "").absolute()
            return cls(url=url.set(drivername="sqlite+pysqlite"), path=path, shown=str(path or "memory"))
        if backend in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
            return cls(url=url, path=None, shown=url.render_as_string(hide_password=True))
        raise StorageError(
            f"studies can't be kept in {backend}",
            hint="accepted: sqlite:////absolute/path.db or postgresql://user@host/database",
        )


def open_engine(place: Place, *, create: bool, read_only: bool, patience_s: float) -> Engine:
    """An engine whose database is ours and up to date. Raises StorageError with the next thing to do.

    Makes a missing directory and a missing SQLite file when `create`. With `read_only` it takes no write lock and
    writes nothing, so that it works beside a running night and on a read-only directory.
    """
    if place.path is not None:
        _check_file(place.path, create=create and not read_only, read_only=read_only)
    engine = _engine(place, read_only=read_only, patience_s=patience_s)
    try:
        with complaints(place):
            _bring_up_to_date(engine, place, create=create, read_only=read_only)
    except BaseException:
        engine.dispose()
        raise
    return engine


def reading(engine: Engine) -> Engine:
    """The same engine for transactions that only read: they never wait for a writer."""
    return engine.execution_options(autotune_reading=True)


def _check_file(path: Path, *, create: bool, read_only: bool) -> None:
    mode = _mode_of(path)
    if stat.S_ISDIR(mode):
        raise StorageError(
            f"{path} is a directory, not a database", hint=f"try sqlite:///{path / 'autotune.db'}"
        )
    if mode and not stat.S_ISREG(mode):
        raise StorageError(f"{path} is not a plain file, so it can't be a database", hint=_ELSEWHERE)
    if not mode:
        if not create:
            raise StorageError(
                f"there is no database at {path} yet: nothing has been run",
                hint="`autotune run STUDY.toml` makes it",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StorageError(
                f"the directory {path.parent} can't be made: {problem.strerror}", hint=_ELSEWHERE
            ) from problem
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise StorageError(f"no database can be made in {path.parent}: it is read-only", hint=_ELSEWHERE)
        return
    try:
        with path.open("rb") as file:
            magic = file.read(len(_SQLITE_MAGIC))
    except OSError as problem:
        raise StorageError(
            f"{path} can't be read: {problem.strerror}",
            hint=f"see who may with `ls -l {path}`, or {_ELSEWHERE}",
        ) from problem
    if magic not in (b"", _SQLITE_MAGIC):
        raise StorageError(f"{path} is not an SQLite database", hint=_ELSEWHERE)
    if not read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        what = path if not os.access(path, os.W_OK) else f"the directory {path.parent}"
        raise StorageError(
            f"the database {path} can't be written: {what} is read-only",
            hint=f"make it writable for this user, or {_ELSEWHERE}",
        )


def _mode_of(path: Path) -> int:
    """What kind of thing stands there; 0 for nothing. Raises StorageError where that is not to be seen."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0
    except OSError as problem:
        raise StorageError(
            f"the database {path} can't be reached: {problem.strerror}",
            hint=f"see who may go there with `ls -ld {path.parent}`, or {_ELSEWHERE}",
        ) from problem


def _engine(place: Place, *, read_only: bool, patience_s: float) -> Engine:
    options: dict[str, Any] = {}
    if place.path is not None:
        options["connect_args"] = {"timeout": patience_s}
    elif place.url.get_backend_name() == "sqlite":
        options["poolclass"] = StaticPool
        options["connect_args"] = {"check_same_thread": False}
    else:
        # A server behind a cut cable says nothing at all: without these, a commit waits for it for a quarter of an hour.
        options["connect_args"] = {
            "connect_timeout": max(2, int(patience_s)),
            "application_name": "autotune",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": max(2, int(patience_s)) * 1000,
        }
        options["pool_pre_ping"] = True
    url = place.url
    if place.path is not None and read_only:
        url = _read_only_url(place)
    try:
        engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as missing:
        raise StorageError(
            f"PostgreSQL needs the Python package {missing.name}",
            hint="install it with: pip install 'autotune-board[postgres]'",
        ) from missing
    if place.url.get_backend_name() == "sqlite":
        _speak_to_sqlite(engine, file=place.path is not None, read_only=read_only, patience_s=patience_s)
    else:
        _speak_to_postgresql(engine, read_only=read_only, patience_s=patience_s)
    # Nothing may have been pooled before the listeners above, or it would go on without them.
    engine.dispose()
    return engine


def _read_only_url(place: Place) -> URL:
    """SQLite's own read-only form. Where not even the index of the write-ahead log can be made, the file is frozen."""
    path = str(place.path)
    quoted = "".join(one if one not in "%?#" else f"%{ord(one):02x}" for one in path)
    query: dict[str, str] = {"mode": "ro", "uri": "true"}
    log = Path(f"{path}-wal")
    if not os.access(Path(path).parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        query["immutable"] = "1"
    return place.url.set(database=f"file:{quoted}", query=query)


def _speak_to_sqlite(engine: Engine, *, file: bool, read_only: bool, patience_s: float) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: the listener below does
        if file and not read_only:
            _switch_to_wal(connection, patience_s)
            connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        only_reads = read_only or connection.get_execution_options().get("autotune_reading", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def _switch_to_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """SQLite doesn't wait for a lock when it changes the journal mode, so this does."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def _speak_to_postgresql(engine: Engine, *, read_only: bool, patience_s: float) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(patience_s * 1000)}")
            # Who is cut off between a lock and its commit would hold it for hours, and be in his own way when he is back.
            cursor.execute(f"SET idle_in_transaction_session_timeout = {int(patience_s * 1000)}")
            if read_only:
                cursor.execute("SET default_transaction_read_only = on")
        connection.commit()


def _bring_up_to_date(engine: Engine, place: Place, *, create: bool, read_only: bool) -> None:
    with reading(engine).begin() as connection:
        state = _recognise(connection, place)
    if state == HEAD:
        return
    if read_only:
        if state:
            raise StorageOlder(
                f"{place.shown} was written by an older autotune",
                hint="any autotune command that may write there brings it up to date",
            )
        raise StorageError(
            f"{place.shown} holds no studies: nothing has been run",
            hint="`autotune run STUDY.toml` makes them",
        )
    if not state and not create:
        raise StorageError(
            f"{place.shown} holds no studies: nothing has been run",
            hint="`autotune run STUDY.toml` makes them",
        )
    with engine.begin() as connection:
        if place.url.get_backend_name() != "sqlite":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        state = _recognise(connection, place)  # another process may have been faster
        if not state:
            METADATA.create_all(connection)
            connection.execute(sa.insert(VERSION).values(version_num=HEAD))
        elif state != HEAD:
            upgrade(connection)


def _recognise(connection: Connection, place: Place) -> str:
    """The version of our tables; "" for a database that is empty or holds Optuna's tables only."""
    names = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in names:
        found = connection.execute(sa.select(VERSION.c.version_num)).scalars().all()
        version = found[0] if found else "base"
        if version != "base" and version not in REVISIONS:
            raise StorageError(
                f"{place.shown} was written by a newer autotune (its tables are version {version}, this program knows"
                f" {HEAD})",
                hint=f"install the newer autotune again, or {_ELSEWHERE}",
            )
        return version
    if ours := sorted(name for name in names if name.startswith(PREFIX)):
        raise StorageError(
            f"{place.shown} has the table {ours[0]} but not the one that tells its version", hint=_ELSEWHERE
        )
    if foreign := sorted(names - OPTUNA_TABLES):
        some = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise StorageError(
            f"{place.shown} belongs to another program: its tables are {some}", hint=_ELSEWHERE
        )
    return ""


def upgrade(connection: Connection) -> None:
    """Brings older tables of ours to HEAD, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def complaints(place: Place) -> Iterator[None]:
    """What the database has to complain about, as a StorageError that names it and says what to do."""
    try:
        yield
    except exc.DBAPIError as problem:
        cause = problem.orig or problem
        text = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        error = _translated(place, text)
        if _is_away(place, problem, text):
            raise StorageAway(error.message, hint=error.hint) from problem
        raise error from problem


def _is_away(place: Place, problem: exc.DBAPIError, text: str) -> bool:
    """Whether the same may succeed later: another one's lock, a full or missing disk, a server that restarts."""
    if any(sign in text.lower() for sign in _PASSING):
        return True
    return place.path is None and (
        problem.connection_invalidated or isinstance(problem, exc.OperationalError)
    )


def _translated(place: Place, text: str) -> StorageError:
    where = place.shown
    lower = text.lower()
    for sign, message, hint in (
        (
            "locked",
            f"the database {where} is locked by another program",
            f"`fuser {where}` shows which; end it and run the same command again",
        ),
        (
            "lock timeout",
            f"the database {where} is locked by another program",
            "end it and run the command again",
        ),
        (
            "readonly",
            f"the database {where} is read-only",
            f"make it writable for this user, or {_ELSEWHERE}",
        ),
        (
            "read-only",
            f"the database {where} is read-only",
            f"make it writable for this user, or {_ELSEWHERE}",
        ),
        ("not a database", f"{where} is not an SQLite database", _ELSEWHERE),
        (
            "malformed",
            f"the database {where} is damaged ({text})",
            f"keep a copy, then save what can be read with `sqlite3 {where} .recover`, or {_ELSEWHERE}",
        ),
        (
            "is full",
            f"no room left for the database {where}",
            "free some disk space and run the same command again",
        ),
        (
            "unable to open",
            f"the database {where} can't be opened",
            f"see who may read and write it with `ls -l {where}`, or {_ELSEWHERE}",
        ),
        (
            "does not exist",
            f"the database {where} can't be used: {text}",
            "make it with `createdb`, or check the URL given with --storage",
        ),
        ("password", f"the database {where} doesn't let us in: {text}", "check user and password in the URL"),
    ):
        if sign in lower:
            return StorageError(message, hint=hint)
    hint = (
        _ELSEWHERE
        if place.path
        else "check that the server runs and that the URL given with --storage is right"
    )
    return StorageError(f"the database {where} can't be used: {text}", hint=hint)
