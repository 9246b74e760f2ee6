"""Where things are: the state directory, a study's log file, and the files that a short name stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from autotune.cli.output import say
from autotune.errors import AutotuneError, StorageError, UsageError
from autotune.storage.places import spool_path, state_dir

if TYPE_CHECKING:
    from autotune.definitions.shipped import ShippedKind
    from autotune.experiment.study import Study
    from autotune.storage.store import Store

StorageOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="AUTOTUNE_STORAGE",
        metavar="URL",
        help="Database with the studies, as an SQLAlchemy URL. Default: SQLite in the state directory.",
        show_default=False,
    ),
]


def storage_url(storage: str) -> str:
    """The URL to open: what was asked for, or the default."""
    from autotune.storage.store import default_url

    return storage or default_url()


def open_store(storage: str, *, read_only: bool = True) -> Store:
    """The database, which must be there already. `read_only`: nothing is written, unless it is an older program's."""
    from autotune.storage.existing import open_existing

    return open_existing(storage_url(storage), read_only=read_only)


def open_study(storage: str, name: str) -> Store:
    """The database for reading, once it has what a night of this study had to keep in its spool."""
    from autotune.storage.spool import Spool

    store = open_store(storage)
    spool = spool_path(name, store.shown)
    if not spool.exists():
        return store
    try:
        with open_store(storage, read_only=False) as writable, Spool(writable, name) as kept:
            if kept.is_free():  # a night that runs sees to its own
                for text in kept.told(kept.store_in(writable)):
                    say(text)
    except StorageError as problem:
        say(f"{spool} may hold what was measured and can't be stored now: {problem.message}")
    return store


def log_path(store: Store, study: str) -> Path:
    """The study's log file: beside the database, or in the state directory when that is on a server."""
    beside = state_dir() if store.path is None else store.path.parent
    return beside / f"{study}.log"


def definition_path(name: str, kind: ShippedKind) -> Path:
    """The file that `name` stands for: a path, or the name of a shipped study or space."""
    from autotune.board.address import is_address
    from autotune.definitions.shipped import shipped_dir, shipped_names

    if is_address(name):
        raise UsageError(
            f"{name} is a board, not a file",
            hint=f'Copy the shipped files out, `autotune init DIR`, and put board = "{name}" at the head of one.',
        )
    path = Path(name)
    if name.endswith(".toml") or "/" in name:
        return path
    shipped = shipped_dir(kind)
    if name in shipped_names(kind):
        return shipped / f"{name}.toml"
    noun = "study" if kind == "studies" else "space"
    raise UsageError(
        f"{name!r} is neither a file nor a shipped {noun}",
        hint=f"Shipped: {', '.join(shipped_names(kind)) or 'none'}. A file of your own ends in .toml.",
    )


def study_file(name: str) -> Study:
    """The study in this file or of this shipped name. Raises DefinitionError with every mistake."""
    from autotune.definitions.study_file import read_study

    return read_study(definition_path(name, "studies"))


def complete_study_file(incomplete: str) -> list[str]:
    """Shell completion: shipped studies and TOML files here."""
    return _complete(incomplete, "studies")


def _complete(incomplete: str, kind: ShippedKind) -> list[str]:
    here = [str(path) for path in Path().glob(f"{incomplete}*") if path.suffix == ".toml" or path.is_dir()]
    from autotune.definitions.shipped import shipped_names

    return [name for name in shipped_names(kind) if name.startswith(incomplete)] + here


def complete_space_file(incomplete: str) -> list[str]:
    """Shell completion: shipped spaces and TOML files here."""
    return _complete(incomplete, "search_spaces")


def complete_study_name(incomplete: str) -> list[str]:
    """Shell completion: the studies in the default database; nothing when there is none."""
    try:
        with open_store(os.environ.get("AUTOTUNE_STORAGE", "")) as store:
            return [name for name in store.names() if name.startswith(incomplete)]
    except AutotuneError:
        return []


StudyFile: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A study file (.toml), or the name of a shipped study.",
        autocompletion=complete_study_file,
    ),
]
StudyName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of a study in the database.", autocompletion=complete_study_name
    ),
]
