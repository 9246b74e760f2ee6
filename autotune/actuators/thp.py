"""Transparent huge pages: two files that list their words and put the one in force in brackets."""

from __future__ import annotations

from autotune.actuators.wording import kernel_text, kernel_value
from autotune.board.records import Reading, Write
from autotune.space.setting import Setting
from autotune.space.value import Value

_DIRECTORY = "/sys/kernel/mm/transparent_hugepage"


def path_of(setting: Setting) -> str:
    return f"{_DIRECTORY}/{setting.key}"


def stock_value(setting: Setting, text: str) -> Value:
    """The word in brackets. Raises ValueError when there is none."""
    return kernel_value(setting, text)


def choices(reading: Reading | None) -> tuple[str, ...]:
    """The words this kernel lists."""
    return tuple(word.strip("[]") for word in ((reading.text if reading else None) or "").split())


def write(setting: Setting, value: Value) -> Write:
    """What puts the word in force. Raises SettingUnsupported."""
    return Write(path=path_of(setting), text=kernel_text(setting, value))
