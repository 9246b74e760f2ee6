"""The store: studies, their event logs, and who runs them now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import Connection, Engine

from autotune.errors import BoardBusy, StorageError, UsageError
from autotune.experiment.events import (
    EVENT,
    Event,
    Failure,
    Proposal,
    Sample,
    SampleKey,
)
from autotune.experiment.study import Study
from autotune.storage.database import LOCK_PATIENCE_S, Place, complaints, default_url, open_engine, reading
from autotune.storage.difference import refusal
from autotune.storage.lost_file import OpenFile
from autotune.storage.origins import Carried, Origin, insert, origin_of
from autotune.storage.rows import columns_of, says, storable
from autotune.storage.summary import Sitting, StudySummary, summary_of
from autotune.storage.tables import EVENTS, RAW, SITTINGS, STOP_REQUESTS, STUDIES

if TYPE_CHECKING:
    from autotune.measurement.calibration import AARecord

__all__ = ["Sitting", "Store", "StudySummary", "default_url"]

_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_AT_ONCE = 500  # events; all of a large study's at once would need its memory almost twice


class Store:
    """Everything autotune remembers, behind one URL. Every writing method is one commit; all raise StorageError."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine = engine
        self._reading = reading(engine)
        self._place = place
        self._file = None if place.path is None else OpenFile(place.path, engine)
        self._ids: dict[str, int] = {}
        self._logs: dict[str, list[Event]] = {}
        self._mine: dict[str, tuple[int, str, str, str]] = {}

    @classmethod
    def open(
        cls, url: str, *, create: bool = True, read_only: bool = False, patience_s: float = LOCK_PATIENCE_S
    ) -> Self:
        """Opens the database, making it (and its directory) when `create`.

        `read_only` neither takes the write lock nor writes: right for everything that only tells. `patience_s` is how
        long another program's lock is waited for.
        """
        place = Place.of(url)
        return cls(open_engine(place, create=create, read_only=read_only, patience_s=patience_s), place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    @property
    def url(self) -> str:
        """The whole URL, password included: for opening it again, not for showing."""
        return self._place.url.render_as_string(hide_password=False)

    @property
    def shown(self) -> str:
        """Where it is, in a form that may be printed."""
        return self._place.shown

    @property
    def option(self) -> str:
        """What a command needs to find it again: " --storage URL", or "" where it does by itself."""
        if self._place.shown == Place.of(default_url()).shown:
            return ""
        return f" --storage {self._place.url.render_as_string().replace('+pysqlite', '').replace('+psycopg', '')}"

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a database on a server."""
        return self._place.path

    # Studies

    def enter(self, study: Study) -> None:
        """Makes the study known, or finds it with the same definition.

        Raises DefinitionError with every differing key when the name is taken by another definition.
        """
        with self._changes() as connection:
            row = self._row(connection, study.name)
            if row is None:
                connection.execute(
                    sa.insert(STUDIES).values(
                        name=study.name,
                        fingerprint=study.fingerprint,
                        definition=study.model_dump_json(),
                        created=_now(),
                    )
                )
                return
            # Two programs may take a fingerprint differently, or have other defaults: the definitions are compared.
            stored = self._definition(row)
            if stored.substance != study.substance:
                raise refusal(stored, study)

    def study(self, name: str) -> Study:
        """The study as it was when it was entered."""
        with self._look() as connection:
            row = self._row(connection, name)
            if row is None:
                raise self._unknown(connection, name)
            return self._definition(row)

    def names(self) -> tuple[str, ...]:
        """The studies, oldest first."""
        with self._look() as connection:
            return tuple(connection.execute(sa.select(STUDIES.c.name).order_by(STUDIES.c.id)).scalars())

    def summary(self, name: str) -> StudySummary:
        with self._look() as connection:
            row = self._row(connection, name)
            if row is None:
                raise self._unknown(connection, name)
            return summary_of(
                connection,
                row.id,
                name=name,
                created=row.created,
                board=json.loads(row.definition).get("board", "local"),
                sitting=self._sitting(connection, row.id),
                carried=origin_of(connection, row.id) is not None,
            )

    def aa_record(self) -> AARecord:
        """How often stock against itself looked different, over all A/A stages of real boards in this database."""
        from autotune.storage.aa_stages import record_of  # brings scipy, which nothing else here needs

        with self._look() as connection:
            return record_of(connection)

    # Events

    def log(self, name: str) -> list[Event]:
        """Every event of the study, in the order in which they were stored."""
        known = self._logs.setdefault(name, [])
        with self._look() as connection:
            mine = EVENTS.c.study_id == self._id(connection, name)
            rest = sa.select(EVENTS.c.body).where(mine, EVENTS.c.seq > len(known)).order_by(EVENTS.c.seq)
            bodies = connection.execute(rest).scalars().all()
        for at in range(0, len(bodies), _AT_ONCE):
            several = bodies[at : at + _AT_ONCE]
            try:
                known += _EVENTS.validate_json(f"[{','.join(several)}]")
            except ValidationError as problem:
                raise self._unreadable(name, len(known), several) from problem
        return list(known)

    def append(self, name: str, event: Event, raw: str = "") -> None:
        """Stores the event, and with a sample or failure the load generator's raw output, in one commit.

        The same event again (a commit whose outcome was unknown) changes nothing; another event under the same sample
        key, or another proposal under the same number, is refused. A database file that was deleted or replaced
        meanwhile is saved with this event in it, and said.
        """
        self._append(name, event, raw)
        if self._file is not None:
            self._file.require()

    def _append(self, name: str, event: Event, raw: str) -> None:
        body = event.model_dump_json()
        with self._changes() as connection:
            study_id = self._id(connection, name, lock=True)
            if self._is_stored(connection, name, study_id, event, body):
                return
            last = connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(EVENTS.c.seq), 0)).where(EVENTS.c.study_id == study_id)
            ).scalar_one()
            connection.execute(
                sa.insert(EVENTS).values(study_id=study_id, seq=last + 1, body=body, **columns_of(event))
            )
            if raw and isinstance(event, (Sample, Failure)):
                connection.execute(
                    sa.insert(RAW).values(study_id=study_id, sample_key=event.key.text, text=storable(raw))
                )

    def raw(self, name: str, key: SampleKey) -> str:
        """The load generator's own words about one sample; "" when there are none."""
        with self._look() as connection:
            found = connection.execute(
                sa.select(RAW.c.text).where(
                    RAW.c.study_id == self._id(connection, name), RAW.c.sample_key == key.text
                )
            ).scalar()
            return found or ""

    def raw_texts(self, name: str) -> dict[str, str]:
        """`raw` of everything in the study that has some, by the text of its key."""
        with self._look() as connection:
            mine = RAW.c.study_id == self._id(connection, name)
            rows = connection.execute(sa.select(RAW.c.sample_key, RAW.c.text).where(mine)).all()
            return {row.sample_key: row.text for row in rows}

    # Bundles

    def origin(self, name: str) -> Origin | None:
        """The bundle that the study came in; None: it was measured from here."""
        with self._look() as connection:
            return origin_of(connection, self._id(connection, name))

    def carry_in(self, carried: Carried, origin: Origin) -> None:
        """Enters a study that was measured elsewhere, whole or not at all. Raises UsageError when its name is taken."""
        name = carried.study.name
        with self._changes() as connection:
            if self._row(connection, name) is not None:
                raise UsageError(
                    f"{self._place.shown} has a study {name} already; nothing was stored",
                    hint=f"Give it another name: --as {name}-2",
                )
            insert(connection, carried, origin)

    # Who runs it

    def sit(
        self,
        name: str,
        *,
        pid: int,
        host: str,
        boot_id: str,
        started_at: str,
        is_alive: Callable[[Sitting], bool] | None = None,
    ) -> None:
        """Notes that this process runs the study from now on, in the place of whoever did.

        `is_alive` is asked about another process that sits there, under the write lock: when it says yes, BoardBusy.
        """
        with self._changes() as connection:
            study_id = self._id(connection, name, lock=True)
            other = self._sitting(connection, study_id)
            mine = (pid, host, boot_id, started_at)
            if other is not None and is_alive is not None and _process(other) != mine and is_alive(other):
                raise BoardBusy(
                    f"study {name} is already running: process {other.pid} on {other.host}",
                    hint=f"watch it with `autotune status {name}`, end it with `autotune stop {name}`",
                )
            connection.execute(sa.delete(SITTINGS).where(SITTINGS.c.study_id == study_id))
            connection.execute(
                sa.insert(SITTINGS).values(
                    study_id=study_id,
                    pid=pid,
                    host=host,
                    boot_id=boot_id,
                    started_at=started_at,
                    heartbeat=_now(),
                )
            )
        self._mine[name] = mine

    def beat(self, name: str) -> None:
        """Says that the process that sat down still lives. Raises StorageError when another has taken its place."""
        with self._changes() as connection:
            study_id = self._id(connection, name)
            sitting = self._sitting(connection, study_id)
            if sitting is None or _process(sitting) != self._mine.get(name, _process(sitting)):
                who = f"process {sitting.pid} on {sitting.host}" if sitting else "nobody"
                raise StorageError(
                    f"this process doesn't run study {name} any more: {who} does",
                    hint=f"see `autotune status {name}`",
                )
            connection.execute(
                sa.update(SITTINGS).where(SITTINGS.c.study_id == study_id).values(heartbeat=_now())
            )

    def leave(self, name: str) -> None:
        """Nobody runs the study now, unless another process has taken the place."""
        with self._changes() as connection:
            study_id = self._id(connection, name)
            sitting = self._sitting(connection, study_id)
            if sitting is not None and _process(sitting) == self._mine.pop(name, _process(sitting)):
                connection.execute(sa.delete(SITTINGS).where(SITTINGS.c.study_id == study_id))

    def sitting(self, name: str) -> Sitting | None:
        """Who sat down last and hasn't left; None: nobody. A process that was killed is still here."""
        with self._look() as connection:
            return self._sitting(connection, self._id(connection, name))

    def request_stop(self, name: str) -> None:
        """Asks whoever runs the study to end after the present sample."""
        with self._changes() as connection:
            study_id = self._id(connection, name, lock=True)
            if not self._is_stop_asked(connection, study_id):
                connection.execute(sa.insert(STOP_REQUESTS).values(study_id=study_id, at=_now()))

    def stop_requested(self, name: str) -> bool:
        with self._look() as connection:
            return self._is_stop_asked(connection, self._id(connection, name))

    def clear_stop(self, name: str) -> None:
        with self._changes() as connection:
            connection.execute(
                sa.delete(STOP_REQUESTS).where(STOP_REQUESTS.c.study_id == self._id(connection, name))
            )

    # Inside

    @contextmanager
    def _changes(self) -> Iterator[Connection]:
        with complaints(self._place), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _look(self) -> Iterator[Connection]:
        with complaints(self._place), self._reading.begin() as connection:
            yield connection

    def _row(self, connection: Connection, name: str) -> Any:
        return connection.execute(sa.select(STUDIES).where(STUDIES.c.name == _storable(name))).one_or_none()

    def _id(self, connection: Connection, name: str, *, lock: bool = False) -> int:
        """The study's number. `lock`: PostgreSQL holds its row until the commit (SQLite holds the whole file anyway)."""
        if not lock and name in self._ids:
            return self._ids[name]
        query = sa.select(STUDIES.c.id).where(STUDIES.c.name == _storable(name))
        found: int | None = connection.execute(query.with_for_update() if lock else query).scalar()
        if found is None:
            raise self._unknown(connection, name)
        self._ids[name] = found
        return found

    def _unknown(self, connection: Connection, name: str) -> StorageError:
        names = connection.execute(sa.select(STUDIES.c.name).order_by(STUDIES.c.id)).scalars().all()
        there = f"there are: {', '.join(names)}" if names else "there are none yet: `autotune run STUDY.toml`"
        return StorageError(f"no study is called {name!r} in {self._place.shown}", hint=there)

    def _definition(self, row: Any) -> Study:
        try:
            return Study.model_validate_json(row.definition)
        except ValidationError as problem:
            raise StorageError(
                f"this autotune can't read the definition of study {row.name} in {self._place.shown}:"
                f" {problem.errors()[0]['msg']}",
                hint="use the autotune that began it, or begin a study with a new name",
            ) from problem

    def _unreadable(self, name: str, known: int, bodies: Any) -> StorageError:
        for seq, body in enumerate(bodies, known + 1):
            try:
                EVENT.validate_json(body)
            except ValidationError as problem:
                return StorageError(
                    f"event {seq} of study {name} in {self._place.shown} can't be read: {problem.errors()[0]['msg']}",
                    hint="use the autotune that wrote it, or begin a study with a new name",
                )
        return StorageError(f"the events of study {name} in {self._place.shown} can't be read")

    def _is_stored(self, connection: Connection, name: str, study_id: int, event: Event, body: str) -> bool:
        query = sa.select(EVENTS.c.body).where(EVENTS.c.study_id == study_id)
        match event:
            case Sample() | Failure():
                what = f"sample {event.key.text}"
                query = query.where(EVENTS.c.sample_key == event.key.text)
            case Proposal():
                what = f"trial {event.number}"
                query = query.where(EVENTS.c.proposal == event.number)
            case _:
                last = connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(1)).scalar()
                return last is not None and says(last, body)
        stored = connection.execute(query).scalar()
        if stored is not None and not says(stored, body):
            raise StorageError(
                f"study {name} already has another {what}",
                hint=f"two programs may be writing to {self._place.shown}: see `autotune status {name}`",
            )
        return stored is not None

    def _sitting(self, connection: Connection, study_id: int) -> Sitting | None:
        row = connection.execute(sa.select(SITTINGS).where(SITTINGS.c.study_id == study_id)).one_or_none()
        if row is None:
            return None
        return Sitting(
            pid=row.pid,
            host=row.host,
            boot_id=row.boot_id,
            started_at=row.started_at,
            heartbeat=row.heartbeat,
        )

    def _is_stop_asked(self, connection: Connection, study_id: int) -> bool:
        query = sa.select(STOP_REQUESTS.c.study_id).where(STOP_REQUESTS.c.study_id == study_id)
        return connection.execute(query).scalar() is not None


def _process(sitting: Sitting) -> tuple[int, str, str, str]:
    return sitting.pid, sitting.host, sitting.boot_id, sitting.started_at


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _storable(name: str) -> str:
    """`name` as a database can be asked for it: bytes that are no UTF-8 become "?", which no study's name has."""
    return name.encode("utf-8", "replace").decode()
