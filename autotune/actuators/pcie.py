"""PCI Express power saving: a module parameter with the word in force in brackets."""

from __future__ import annotations

from autotune.actuators.target import Sight, Target, found_text
from autotune.actuators.wording import kernel_text, kernel_value
from autotune.space.setting import Setting

POLICY = "/sys/module/pcie_aspm/parameters/policy"


def paths_to_read(_setting: Setting) -> tuple[str, ...]:
    return (POLICY,)


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when this kernel has no such file."""
    text = found_text(sight, POLICY)
    return Target(
        setting=setting,
        paths=(POLICY,),
        stock=kernel_value(setting, text),
        texts=lambda value: {POLICY: kernel_text(setting, value)},
        value=lambda read: kernel_value(setting, read[POLICY]),
        choices=tuple(word.strip("[]") for word in text.split()),
    )
