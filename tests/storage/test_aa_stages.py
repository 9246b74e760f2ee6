"""The A/A stages of every study in a database, counted together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from autotune.experiment.events import Event, Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.calibration import AARecord
from autotune.storage.store import Store
from night_example import a_night, a_study


def a_database(path: Path, nights: Sequence[tuple[Study, Sequence[Event]]]) -> str:
    url = f"sqlite:///{path}"
    with Store.open(url) as store:
        for study, log in nights:
            store.enter(study)
            for event in log:
                store.append(study.name, event)
    return url


def tilted(log: Sequence[Event]) -> list[Event]:
    """The night with A always a tenth faster than B: a false alarm, since both were stock."""
    return [
        event.model_copy(update={"objective": event.objective + 0.1})
        if isinstance(event, Sample)
        and event.key.stage is Stage.CALIBRATION
        and event.key.position == event.key.block % 2
        else event
        for event in log
    ]


def test_an_empty_database_has_no_stage(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        assert store.aa_record() == AARecord(stages=0, false_alarms=0)


def test_false_alarms_are_counted_over_all_studies_of_real_boards(tmp_path: Path) -> None:
    quiet, loud, invented = (
        a_study("quiet"),
        a_study("loud"),
        a_study("synthetic", board="synthetic:rock5b"),
    )
    log = a_night(quiet)
    url = a_database(tmp_path / "a.db", [(quiet, log), (loud, tilted(log)), (invented, tilted(log))])
    with Store.open(url, read_only=True) as store:
        assert store.aa_record() == AARecord(stages=2, false_alarms=1)


def test_a_stage_that_was_cut_off_is_none_yet(tmp_path: Path) -> None:
    study = a_study()
    url = a_database(tmp_path / "a.db", [(study, a_night(study, until=9))])
    with Store.open(url, read_only=True) as store:
        assert store.aa_record().stages == 0


def test_a_study_that_cannot_be_read_spoils_nothing(tmp_path: Path) -> None:
    study, other = a_study(), a_study("newer")
    url = a_database(tmp_path / "a.db", [(study, a_night(study)), (other, a_night(other, until=10))])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        body = json.dumps({"kind": "night begun", "moon": "full"})
        connection.execute("UPDATE autotune_events SET body = ? WHERE study_id = 2 AND seq = 1", (body,))
    with Store.open(url, read_only=True) as store:
        assert store.aa_record().stages == 1
