"""Studies that came in a bundle are told from those that were measured from here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "autotune_origins",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autotune_studies.id"), primary_key=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("program", sa.String(40), nullable=False),
        sa.Column("redacted", sa.Integer, nullable=False),
    )
