"""Studies with several workloads: stored definitions and samples of one workload take the new shape."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STUDIES = sa.table("autotune_studies", sa.column("id"), sa.column("definition"), sa.column("fingerprint"))
_EVENTS = sa.table(
    "autotune_events", sa.column("study_id"), sa.column("seq"), sa.column("kind"), sa.column("body")
)
_AT_ONCE = 500
# Texts that only explain, as they were left out of fingerprints when this was written.
_WORDS = frozenset({"title", "why", "effect", "source", "bites"})


def upgrade() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(_STUDIES)).all():
        old = json.loads(row.definition)
        name = old["workload"]["name"]
        new = _study(old)
        connection.execute(
            sa.update(_STUDIES)
            .where(_STUDIES.c.id == row.id)
            .values(definition=_text(new), fingerprint=_fingerprint(new))
        )
        _rewrite_samples(connection, row.id, name)


def _rewrite_samples(connection: sa.Connection, study: int, workload: str) -> None:
    last = 0
    while True:
        rows = connection.execute(
            sa.select(_EVENTS)
            .where(_EVENTS.c.study_id == study, _EVENTS.c.kind == "sample", _EVENTS.c.seq > last)
            .order_by(_EVENTS.c.seq)
            .limit(_AT_ONCE)
        ).all()
        if not rows:
            return
        for row in rows:
            connection.execute(
                sa.update(_EVENTS)
                .where(_EVENTS.c.study_id == study, _EVENTS.c.seq == row.seq)
                .values(body=_text(_sample(json.loads(row.body), workload)))
            )
        last = rows[-1].seq


def _study(old: dict[str, Any]) -> dict[str, Any]:
    """The definition with `workloads`, and the placement at its top."""
    new: dict[str, Any] = {}
    for key, value in old.items():
        if key != "workload":
            new[key] = value
            continue
        workload = dict(value)
        placement = workload.pop("placement", "pinned")
        urls = [{"target": workload.pop("path"), "weight": 1.0}]
        new["workloads"] = [{"name": workload.pop("name"), "urls": urls, **workload, "weight": 1.0}]
        new["placement"] = placement
    return {**new, "goals": [], "builds": None}


def _sample(old: dict[str, Any], workload: str) -> dict[str, Any]:
    """The sample with `measurements` by workload, and its objective: ln(requests/s)."""
    new: dict[str, Any] = {}
    for key, value in old.items():
        if key == "measurement":
            new["measurements"] = {workload: value}
            new["objective"] = math.log(max(value["requests_per_s"], 1e-9))
        else:
            new[key] = value
    return new


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fingerprint(study: dict[str, Any]) -> str:
    text = json.dumps(_without_words(study), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_words(one) for key, one in value.items() if key not in _WORDS}
    return [_without_words(one) for one in value] if isinstance(value, list) else value
