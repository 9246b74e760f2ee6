"""Tunes a web-serving Linux board overnight and tells the truth about it in the morning.

`load_study` gives what a study measured as pandas DataFrames. Importing this package loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotune.analysis.frames import StudyFrames

__all__ = ["__version__", "load_study"]
__version__ = "0.1.0"


def load_study(url: str | None, name: str) -> StudyFrames:
    """Samples, trials and steps of a study as DataFrames; `StudyFrames` says what each column is.

    `url`: the database, such as "sqlite:////home/me/autotune.db" or "postgresql://me@host/autotune"; None: the one that the
    command `autotune` uses. It is only read, beside a running night, too. Raises AutotuneError with what to do: no such
    database, no such study.
    """
    from autotune.analysis.frames import frames_of
    from autotune.storage.existing import open_existing
    from autotune.storage.store import default_url

    with open_existing(url or default_url()) as store:
        return frames_of(store.study(name), store.log(name))
