"""Transparent huge pages: two files that list their words and put the one in force in brackets."""

from __future__ import annotations

from autotune.actuators.target import Sight, Target, found_text
from autotune.actuators.wording import kernel_text, kernel_value
from autotune.space.setting import Setting

_DIRECTORY = "/sys/kernel/mm/transparent_hugepage"


def path_of(setting: Setting) -> str:
    return f"{_DIRECTORY}/{setting.key}"


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when this kernel has no such file, ValueError when no word is in brackets."""
    path = path_of(setting)
    text = found_text(sight, path)
    return Target(
        setting=setting,
        paths=(path,),
        stock=kernel_value(setting, text),
        texts=lambda value: {path: kernel_text(setting, value)},
        value=lambda read: kernel_value(setting, read[path]),
        choices=tuple(word.strip("[]") for word in text.split()),
    )
