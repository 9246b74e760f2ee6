"""Every error a user can meet, its exit code and the next thing to try.

AutotuneError                1  our bug, when raised bare
├── UsageError               2  the command line asks for something that makes no sense
├── DefinitionError          3  a study, space or sequence file is wrong (carries every mistake found)
├── BoardUnreachable         4  no line to the board, or it is gone
│   ├── BoardMisunderstood   4  what comes from there is not what an agent says
│   ├── NotPermitted         4  the board answers, but we may not do this
│   └── BoardBusy            4  another tuner holds the board
├── BoardUnfit               5  the board can't be measured on, or nginx won't run there
│   └── SettingUnsupported   5  this board can't carry this setting
├── BoardLeftChanged         6  something could not be put back
├── LoadGeneratorFailed      7  wrk is missing or won't run
│   └── LoadHostUnreachable  4  no line to the machine that the load comes from, or it is gone
│       └── LoadHostMisunderstood  what comes from there is not what an agent says
├── StorageError             8  the database
│   ├── StorageAway          8  it does not take anything now: locked, full, or its server is away
│   ├── StorageLost          8  its file is gone, and what it held could not be saved
│   └── BundleRefused        8  an archive is no bundle, or not a sound one
└── Interrupted    129/130/143  stopped by a signal
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class AutotuneError(Exception):
    """What went wrong in one sentence, and in `hint` the next command or edit to try."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        # It may name a file or quote a line that is no UTF-8, and is shown and stored.
        message, hint = (text.encode("utf-8", "replace").decode("utf-8") for text in (message, hint))
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AutotuneError):
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a definition: where, what was written, and what would be accepted."""

    file: str
    key: str
    value: str
    problem: str
    accepted: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        shown = f" = {self.value}" if self.value else ""
        accepted = f" Accepted: {self.accepted}." if self.accepted else ""
        return f"{where}{shown}: {self.problem}.{accepted}"


class DefinitionError(AutotuneError):
    """A definition file is wrong; `mistakes` holds every mistake found in one reading."""

    exit_code = 3

    def __init__(self, mistakes: tuple[Mistake, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes), hint=hint)
        self.mistakes = mistakes


class BoardUnreachable(AutotuneError):
    exit_code = 4


class BoardLost(BoardUnreachable):
    """It was there, and was lost while it was being taken."""


class BoardMisunderstood(BoardUnreachable):
    pass


class NotPermitted(BoardUnreachable):
    pass


class BoardBusy(BoardUnreachable):
    pass


class BoardUnfit(AutotuneError):
    exit_code = 5


class SettingUnsupported(BoardUnfit):
    pass


class BoardLeftChanged(AutotuneError):
    exit_code = 6


class LoadGeneratorFailed(AutotuneError):
    exit_code = 7


class LoadHostUnreachable(LoadGeneratorFailed):
    exit_code = 4  # like a board's: it may be there again in a minute


class LoadHostMisunderstood(LoadHostUnreachable):
    pass


class StorageError(AutotuneError):
    exit_code = 8


class StorageAway(StorageError):
    pass


class StorageLost(StorageError):
    pass


class BundleRefused(StorageError):
    pass


class StorageOlder(StorageError):
    """The database is of an older program: whoever may write brings it up to date by opening it."""


class Interrupted(AutotuneError):
    """A signal ended the night; the board is restored, unless `away` says what became of one that is out of reach.

    `exit_code` is 128 + the signal's number.
    """

    def __init__(self, message: str, *, signal_number: int, hint: str = "", away: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number
        self.away = away
        self.exit_code = 128 + signal_number  # type: ignore[misc]
