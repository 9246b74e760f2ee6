"""Where this machine keeps what is autotune's: the state directory, and the spool in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def state_dir() -> Path:
    """`$XDG_STATE_HOME/autotune`, by default `~/.local/state/autotune`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path("~/.local/state").expanduser()
    return root / "autotune"


def spool_path(study: str, database: str) -> Path:
    """The spool of a study in a database, as that is shown: every pair has a file of its own."""
    return state_dir() / "spool" / f"{study}.{hashlib.sha256(database.encode()).hexdigest()[:8]}.jsonl"
