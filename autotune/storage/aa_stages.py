"""Every A/A stage that a database holds: how often stock against itself looked different."""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import Connection

from autotune.experiment.events import Event, NightBegun, Stage
from autotune.experiment.synthetic_boards import is_synthetic
from autotune.measurement.calibration import AARecord, Calibration, aa_record, calibration
from autotune.storage.tables import EVENTS, STUDIES

_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
FEWEST_PAIRS = 6
"""A stage that was interrupted before so many pairs is none yet."""


def record_of(connection: Connection) -> AARecord:
    """The record over all studies of real boards. Reads the events of the stages alone.

    A study whose events this program can't read is left out: it has nothing to do with the others.
    """
    found: list[Calibration] = []
    for row in connection.execute(sa.select(STUDIES.c.id, STUDIES.c.definition)).all():
        if is_synthetic(str(json.loads(row.definition).get("board", ""))):
            continue
        found += [one for one in _calibrations(connection, row.id) if one.pairs >= FEWEST_PAIRS]
    return aa_record(found)


def _calibrations(connection: Connection, study_id: int) -> Iterator[Calibration]:
    bodies = connection.execute(
        sa.select(EVENTS.c.body)
        .where(
            EVENTS.c.study_id == study_id,
            sa.or_(
                EVENTS.c.kind.in_(("night begun", "plan", "void")), EVENTS.c.stage == Stage.CALIBRATION.value
            ),
        )
        .order_by(EVENTS.c.seq)
    ).scalars()
    try:
        log = _EVENTS.validate_json(f"[{','.join(bodies)}]")
    except ValidationError:
        return
    for event in log:
        if isinstance(event, NightBegun) and (seen := calibration(log, event.night)) is not None:
            yield seen
