"""Clocks of other devices, above all the memory's (dmc on Rockchip's vendor kernel)."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.actuators.target import Sight, Target, found_text, text_of
from autotune.actuators.wording import kernel_text, kernel_value, safe_word
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value

_ROOT = "/sys/class/devfreq"


def paths_to_read(setting: Setting) -> tuple[str, ...]:
    device = f"{_ROOT}/{safe_word(setting, setting.instance)}"
    own = f"{device}/{setting.part}"
    return tuple(dict.fromkeys((own, f"{device}/governor", f"{device}/available_governors")))


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when this kernel has no such device or threshold."""
    device = f"{_ROOT}/{safe_word(setting, setting.instance)}"
    path = f"{device}/{setting.part}"
    if not text_of(sight, f"{device}/governor"):
        raise SettingUnsupported(
            f"this kernel sets no clock of {setting.instance} (the memory's is the vendor kernel's alone)"
        )
    text = found_text(sight, path)

    def value(read: Mapping[str, str]) -> Value:
        return kernel_value(setting, read[path])

    return Target(
        setting=setting,
        paths=(path,),
        stock=value({path: text}),
        texts=lambda wanted: {} if wanted == "unset" else {path: kernel_text(setting, wanted)},
        value=value,
        choices=tuple(text_of(sight, f"{device}/available_governors").split())
        if setting.part == "governor"
        else (),
    )
