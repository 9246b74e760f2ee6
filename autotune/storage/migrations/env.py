"""Run by alembic: brings our tables to the newest version on the connection that `database.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from autotune.storage.tables import METADATA, PREFIX, VERSION_TABLE


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or (name is not None and name.startswith(PREFIX))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    include_name=_ours,
    render_as_batch=True,  # SQLite can't alter a column in place
)
with context.begin_transaction():
    context.run_migrations()
