"""A database that must be there already, opened by whoever only reads: an older program's is brought up to date first."""

from __future__ import annotations

from autotune.errors import StorageOlder
from autotune.storage.store import Store


def open_existing(url: str, *, read_only: bool = True) -> Store:
    """The database at `url`. `read_only`: nothing is written, unless it is an older program's. Raises StorageError."""
    try:
        return Store.open(url, create=False, read_only=read_only)
    except StorageOlder:
        Store.open(url, create=False).close()
        return Store.open(url, create=False, read_only=read_only)
