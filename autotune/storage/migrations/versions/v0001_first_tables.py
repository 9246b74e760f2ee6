"""The first tables: studies, events, raw outputs, sittings, stop requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "autotune_studies",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
    )
    op.create_table(
        "autotune_events",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autotune_studies.id"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("night", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(20)),
        sa.Column("arm", sa.String(20)),
        sa.Column("trial", sa.Integer),
        sa.Column("proposal", sa.Integer),
        sa.Column("sample_key", sa.String(60)),
        sa.Column("voids", sa.String(60)),
        sa.Column("blame", sa.String(20)),
        sa.Column("requests_per_s", sa.Float),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("study_id", "sample_key", name="autotune_one_event_per_sample_key"),
        sa.UniqueConstraint("study_id", "proposal", name="autotune_one_proposal_per_number"),
    )
    op.create_table(
        "autotune_raw_outputs",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autotune_studies.id"), primary_key=True),
        sa.Column("sample_key", sa.String(60), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "autotune_sittings",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autotune_studies.id"), primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("started_at", sa.String(64), nullable=False),
        sa.Column("heartbeat", sa.String(40), nullable=False),
    )
    op.create_table(
        "autotune_stop_requests",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autotune_studies.id"), primary_key=True),
        sa.Column("at", sa.String(40), nullable=False),
    )
