"""Where a study comes from: measured from here, or carried here in a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.storage.rows import columns_of, storable
from autotune.storage.tables import EVENTS, ORIGINS, RAW, STUDIES

_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Of a study that came in a bundle: the archive's hash, the version that made it, and whether names were taken out."""

    sha256: str
    program: str
    redacted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A whole study, outside of any database. `raws`: the load generator's outputs by the text of the sample's key."""

    study: Study
    log: tuple[Event, ...]
    raws: Mapping[str, str]


def origin_of(connection: Connection, study_id: int) -> Origin | None:
    """None: the study was measured from here."""
    row = connection.execute(sa.select(ORIGINS).where(ORIGINS.c.study_id == study_id)).one_or_none()
    if row is None:
        return None
    return Origin(sha256=row.sha256, program=row.program, redacted=bool(row.redacted))


def insert(connection: Connection, carried: Carried, origin: Origin) -> None:
    """Enters the study with everything it has, inside the caller's transaction. Its name must be free."""
    study, now = carried.study, datetime.now(UTC).isoformat(timespec="milliseconds")
    connection.execute(
        sa.insert(STUDIES).values(
            name=study.name, fingerprint=study.fingerprint, definition=study.model_dump_json(), created=now
        )
    )
    study_id = connection.execute(sa.select(STUDIES.c.id).where(STUDIES.c.name == study.name)).scalar_one()
    _insert_events(connection, study_id, carried.log)
    texts = [
        {"study_id": study_id, "sample_key": key, "text": storable(text)}
        for key, text in carried.raws.items()
    ]
    for first in range(0, len(texts), _AT_ONCE):
        connection.execute(sa.insert(RAW), texts[first : first + _AT_ONCE])
    connection.execute(
        sa.insert(ORIGINS).values(
            study_id=study_id,
            at=now,
            sha256=origin.sha256,
            program=origin.program,
            redacted=int(origin.redacted),
        )
    )


def _insert_events(connection: Connection, study_id: int, log: Sequence[Event]) -> None:
    empty = {column.name: None for column in EVENTS.columns}
    for first in range(0, len(log), _AT_ONCE):
        rows = [
            {**empty, "study_id": study_id, "seq": seq, "body": event.model_dump_json(), **columns_of(event)}
            for seq, event in enumerate(log[first : first + _AT_ONCE], first + 1)
        ]
        connection.execute(sa.insert(EVENTS), rows)
