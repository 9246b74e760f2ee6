"""The tables, as this version writes them. Every change here needs a migration beside it and a new HEAD.

All names begin with `autotune_`, so that Optuna's own tables can live in the same database. Bodies are JSON texts and
the only record; the columns beside them repeat what `status` and the uniqueness rules need, and are never read back.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, MetaData, String, Table, Text, UniqueConstraint

VERSION_TABLE = "autotune_alembic_version"
REVISIONS = ("0001", "0002", "0003")  # oldest first
HEAD = REVISIONS[-1]
PREFIX = "autotune_"
OPTUNA_TABLES = frozenset(
    {
        "alembic_version",
        "studies",
        "study_directions",
        "study_system_attributes",
        "study_user_attributes",
        "trial_heartbeats",
        "trial_intermediate_values",
        "trial_params",
        "trial_system_attributes",
        "trial_user_attributes",
        "trial_values",
        "trials",
        "version_info",
    }
)

METADATA = MetaData()

STUDIES = Table(
    "autotune_studies",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("fingerprint", String(16), nullable=False),
    Column("definition", Text, nullable=False),
    Column("created", String(40), nullable=False),
)

EVENTS = Table(
    "autotune_events",
    METADATA,
    Column("study_id", Integer, ForeignKey("autotune_studies.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # from 1, no gaps
    Column("kind", String(20), nullable=False),
    Column("at", String(40), nullable=False),
    Column("night", Integer, nullable=False),
    Column("stage", String(20)),
    Column("arm", String(20)),
    Column("trial", Integer),  # of a sample or failure of a trial
    Column("proposal", Integer),  # the trial number a proposal takes
    Column("sample_key", String(60)),  # of a sample or failure
    Column("voids", String(60)),  # the sample key that a void takes out
    Column("blame", String(20)),
    Column("requests_per_s", Float),
    Column("body", Text, nullable=False),
    UniqueConstraint("study_id", "sample_key", name="autotune_one_event_per_sample_key"),
    UniqueConstraint("study_id", "proposal", name="autotune_one_proposal_per_number"),
)

RAW = Table(
    "autotune_raw_outputs",
    METADATA,
    Column("study_id", Integer, ForeignKey("autotune_studies.id"), primary_key=True),
    Column("sample_key", String(60), primary_key=True),
    Column("text", Text, nullable=False),
)

SITTINGS = Table(
    "autotune_sittings",
    METADATA,
    Column("study_id", Integer, ForeignKey("autotune_studies.id"), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("host", String(255), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("started_at", String(64), nullable=False),
    Column("heartbeat", String(40), nullable=False),
)

STOP_REQUESTS = Table(
    "autotune_stop_requests",
    METADATA,
    Column("study_id", Integer, ForeignKey("autotune_studies.id"), primary_key=True),
    Column("at", String(40), nullable=False),
)

ORIGINS = Table(  # of studies that came in a bundle; one that was measured from here has no row
    "autotune_origins",
    METADATA,
    Column("study_id", Integer, ForeignKey("autotune_studies.id"), primary_key=True),
    Column("at", String(40), nullable=False),
    Column("sha256", String(64), nullable=False),  # of the archive
    Column("program", String(40), nullable=False),  # the version that made the bundle
    Column("redacted", Integer, nullable=False),
)

VERSION = Table(VERSION_TABLE, METADATA, Column("version_num", String(32), primary_key=True))
