"""Where one setting of the kernel lives on one board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement
from autotune.board.records import Reading
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a family may look at to find its settings. `interface`: the network card that the load comes over, "" for
    none (loopback). `placement`: which CPUs the server has.
    """

    facts: BoardFacts
    readings: Mapping[str, Reading]
    placement: CpuPlacement
    interface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One setting as this board has it.

    `stock`: the value now. `reason`: why this board can't take a value that keeps the setting's limits ("": it can).
    `texts` says what goes into which path for a value ({} when leaving the board alone does),
    `value` what a read-back of all `paths` means; the latter raises ValueError for what the setting can't hold.
    A path is a kernel file, or one of the agent's own words for what is no file (see agent/kernel_files.py).
    """

    setting: Setting
    paths: tuple[str, ...]
    stock: Value
    texts: Callable[[Value], Mapping[str, str]]
    value: Callable[[Mapping[str, str]], Value]
    choices: tuple[str, ...] = ()
    reason: Callable[[Value], str] = lambda _: ""


def text_of(sight: Sight, path: str) -> str:
    """The text of a file that was read, "" when it couldn't be."""
    reading = sight.readings.get(path)
    return (reading.text if reading else None) or ""


def found_text(sight: Sight, path: str) -> str:
    """The text of a file that was read. Raises SettingUnsupported when it isn't there."""
    reading = sight.readings.get(path)
    if reading is None or reading.text is None:
        why = reading.error if reading and reading.error else "it is not there"
        raise SettingUnsupported(f"this kernel has no {path} here ({why})")
    return reading.text


def no_use_over_loopback(setting: Setting) -> SettingUnsupported:
    return SettingUnsupported(f"no use over loopback: {setting.loopback}")
