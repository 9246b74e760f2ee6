"""A database of the first tables, when a study had one workload, is read and gone on with."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from storage_examples import a_proposal, a_sample, a_study

from autotune.errors import DefinitionError
from autotune.experiment.events import Sample
from autotune.storage.store import Store

# As that version's alembic left them.
TABLES = """
CREATE TABLE autotune_alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE autotune_studies (id INTEGER PRIMARY KEY, name VARCHAR(200) NOT NULL UNIQUE,
  fingerprint VARCHAR(16) NOT NULL, definition TEXT NOT NULL, created VARCHAR(40) NOT NULL);
CREATE TABLE autotune_events (study_id INTEGER NOT NULL REFERENCES autotune_studies (id), seq INTEGER NOT NULL,
  kind VARCHAR(20) NOT NULL, at VARCHAR(40) NOT NULL, night INTEGER NOT NULL, stage VARCHAR(20), arm VARCHAR(20),
  trial INTEGER, proposal INTEGER, sample_key VARCHAR(60), voids VARCHAR(60), blame VARCHAR(20), requests_per_s FLOAT,
  body TEXT NOT NULL, PRIMARY KEY (study_id, seq),
  CONSTRAINT autotune_one_event_per_sample_key UNIQUE (study_id, sample_key),
  CONSTRAINT autotune_one_proposal_per_number UNIQUE (study_id, proposal));
CREATE TABLE autotune_raw_outputs (study_id INTEGER NOT NULL, sample_key VARCHAR(60) NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (study_id, sample_key));
CREATE TABLE autotune_sittings (study_id INTEGER NOT NULL PRIMARY KEY, pid INTEGER NOT NULL, host VARCHAR(255) NOT NULL,
  boot_id VARCHAR(64) NOT NULL, started_at VARCHAR(64) NOT NULL, heartbeat VARCHAR(40) NOT NULL);
CREATE TABLE autotune_stop_requests (study_id INTEGER NOT NULL PRIMARY KEY, at VARCHAR(40) NOT NULL);
INSERT INTO autotune_alembic_version VALUES ('0001');
"""
RATE = 12_345.6


def old_definition() -> dict[str, Any]:
    """The kitchen study in the words of that version."""
    new = a_study().model_dump(mode="json")
    (load,) = new["workloads"]
    old = {}
    for key, value in new.items():
        if key == "workloads":
            old["workload"] = {
                "name": load["name"],
                "path": load["urls"][0]["target"],
                "connections": load["connections"],
                "threads": load["threads"],
                "warmup_s": load["warmup_s"],
                "duration_s": load["duration_s"],
                "placement": new["placement"],
            }
        elif key not in ("placement", "goals", "builds", "limits", "latency"):
            old[key] = value
    for later in ("distillation_pairs", "attribution_rounds"):
        del old["budget"][later]
    return old


def old_sample(block: int) -> tuple[str, str]:
    """The body of a stored sample and its key."""
    new = a_sample(block, requests_per_s=RATE).model_dump(mode="json")
    for later in ("objective", "fixed_rate", "gates"):
        del new[later]
    old = {
        ("measurement" if key == "measurements" else key): value["small"] if key == "measurements" else value
        for key, value in new.items()
    }
    return json.dumps(old, separators=(",", ":")), a_sample(block).key.text


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A database that the program of before left behind: a study, a proposal and 1,200 samples."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        connection.execute(
            "INSERT INTO autotune_studies VALUES (1, 'kitchen', 'its own', ?, '2026-01-01T00:00:00+00:00')",
            (json.dumps(old_definition()),),
        )
        proposal = a_proposal(3)
        connection.execute(
            "INSERT INTO autotune_events (study_id, seq, kind, at, night, proposal, body) VALUES (1, 1, ?, ?, 1, 3, ?)",
            (proposal.kind, proposal.at, proposal.model_dump_json()),
        )
        for seq in range(2, 1202):
            body, key = old_sample(seq)
            connection.execute(
                "INSERT INTO autotune_events (study_id, seq, kind, at, night, stage, arm, sample_key, requests_per_s,"
                " body) VALUES (1, ?, 'sample', '2026-01-31T23:00:00+00:00', 1, 'search', 'stock', ?, ?, ?)",
                (seq, key, RATE, body),
            )
    return f"sqlite:///{path}"


def test_its_study_and_samples_are_read_in_the_new_shape(old: str) -> None:
    with Store.open(old) as store:
        assert store.study("kitchen") == a_study()
        proposal, *samples = store.log("kitchen")
    assert proposal == a_proposal(3)
    assert len(samples) == 1200
    for sample in samples:
        assert isinstance(sample, Sample)
        assert list(sample.measurements) == ["small"]
        assert sample.objective == math.log(RATE)
        assert sample.rate == pytest.approx(RATE)


def test_the_same_definition_goes_on_and_another_is_still_refused(old: str) -> None:
    with Store.open(old) as store:
        store.enter(a_study())
        with pytest.raises(DefinitionError, match="connections: 64 in the database, 32 in the file"):
            store.enter(a_study(connections=32))
        first = store.log("kitchen")[1]
        store.append("kitchen", first)  # a commit whose outcome was unknown, said again
        assert len(store.log("kitchen")) == 1201


def test_what_only_reads_brings_it_up_to_date_too(old: str) -> None:
    from autotune.cli.places import open_store

    with open_store(old) as store:
        assert store.summary("kitchen").samples == 1200
    with Store.open(old, read_only=True) as store:
        assert store.study("kitchen") == a_study()
