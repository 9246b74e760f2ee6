"""Kernel values below /proc/sys: their files, their stock values, and what is to be written."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.actuators.target import Sight, Target, found_text
from autotune.actuators.wording import kernel_text, kernel_value, safe_word
from autotune.board.records import Reading
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value

AVAILABLE_CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_available_congestion_control"
ALLOWED_CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
# Exists in the first network namespace only.
MACHINE_WIDE = "/proc/sys/net/core/netdev_max_backlog"
CONGESTION_CONTROL = "sysctl:net.ipv4.tcp_congestion_control"

# Setting one of a pair turns the other off (Linux, Documentation/admin-guide/sysctl/vm.rst); 0 means "the other rules".
_RIVALS = {
    "sysctl:vm.dirty_ratio": "sysctl:vm.dirty_bytes",
    "sysctl:vm.dirty_background_ratio": "sysctl:vm.dirty_background_bytes",
}
_EITHER = frozenset(_RIVALS) | frozenset(_RIVALS.values())


def path_of(setting: Setting) -> str:
    """The file of a key: dots are slashes."""
    return "/proc/sys/" + "/".join(safe_word(setting, part) for part in setting.key.split("."))


def stock_value(setting: Setting, text: str) -> Value:
    """The value in a file's text. Raises ValueError when the setting can't hold it."""
    value = kernel_value(setting, text)
    return "unset" if setting.id in _EITHER and value == 0 else value


def paths_to_read(setting: Setting) -> tuple[str, ...]:
    """The file of a key, and those that say which of its words may be used."""
    if setting.id != CONGESTION_CONTROL:
        return (path_of(setting),)
    return (path_of(setting), AVAILABLE_CONGESTION_CONTROL, ALLOWED_CONGESTION_CONTROL, MACHINE_WIDE)


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when this kernel has no such file, ValueError when the setting can't hold its value."""
    path = path_of(setting)
    text = found_text(sight, path)

    def texts(value: Value) -> dict[str, str]:
        wanted = kernel_text(setting, value)
        return {} if wanted == "unset" else {path: wanted}

    return Target(
        setting=setting,
        paths=(path,),
        stock=stock_value(setting, text),
        texts=texts,
        value=lambda read: stock_value(setting, read[path]),
        choices=choices(setting, sight.readings),
    )


def choices(setting: Setting, readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """The words this kernel takes for a setting whose words depend on the board; () when any of its words may do.

    Outside the first network namespace even root may choose only what is allowed to everyone.
    """
    if setting.id != CONGESTION_CONTROL:
        return ()
    available = _words(readings, AVAILABLE_CONGESTION_CONTROL)
    if _words(readings, MACHINE_WIDE):
        return tuple(sorted(available))
    return tuple(sorted(available & (_words(readings, ALLOWED_CONGESTION_CONTROL) or available)))


def _words(readings: Mapping[str, Reading], path: str) -> set[str]:
    reading = readings.get(path)
    return set(((reading.text if reading else None) or "").split())


def refuse_rivals(values: dict[str, Value]) -> None:
    """Raises SettingUnsupported when two values are chosen of which the kernel keeps only one."""
    for one, other in _RIVALS.items():
        if values.get(one, "unset") != "unset" and values.get(other, "unset") != "unset":
            raise SettingUnsupported(
                f"{one} and {other} can't both be set: the kernel turns the first off when the second is written",
                hint="choose one of them",
            )
