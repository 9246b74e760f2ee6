"""Where this machine keeps what is autotune's: the state directory, and the spool in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from autotune.errors import StorageError


def state_dir() -> Path:
    """`$XDG_STATE_HOME/autotune`, by default `~/.local/state/autotune`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else home_dir() / ".local/state"
    return root / "autotune"


def home_dir() -> Path:
    """The user's own directory. Raises StorageError where there is none: a number without a name, and no $HOME."""
    try:
        return Path.home()
    except RuntimeError:
        raise StorageError(
            f"user {os.geteuid()} has no home directory, so there is no place for what is to be kept",
            hint="name one for this user: HOME=/some/directory before the same command",
        ) from None


def spool_path(study: str, database: str) -> Path:
    """The spool of a study in a database, as that is shown: every pair has a file of its own, by whatever way a file is named."""
    if database.startswith("/"):
        database = os.path.realpath(database)
    return state_dir() / "spool" / f"{study}.{hashlib.sha256(database.encode()).hexdigest()[:8]}.jsonl"
