"""Whether CPUs may take their deepest sleep."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autotune.actuators.target import Sight, Target, found_text, text_of
from autotune.actuators.wording import checked
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value

_STATE = re.compile(r"(/sys/devices/system/cpu/cpu(\d+)/cpuidle/state)(\d+)/disable")


def paths_to_read(_setting: Setting) -> tuple[str, ...]:
    states = "/sys/devices/system/cpu/cpu*/cpuidle/state*"
    return (f"{states}/disable", f"{states}/name")


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported where CPUs sleep in one way or in none, ValueError when CPUs differ.

    Polling is no sleep: without its only sleeping state a CPU would spin whenever it has nothing to do.
    """
    states: dict[int, list[int]] = {}
    for path, reading in sight.readings.items():
        polls = text_of(sight, path.removesuffix("disable") + "name").strip() == "POLL"
        if (match := _STATE.fullmatch(path)) and reading.text is not None and not polls:
            states.setdefault(int(match[2]), []).append(int(match[3]))
    deepest = {cpu: max(mine) for cpu, mine in states.items() if len(mine) > 1}
    if not deepest:
        raise SettingUnsupported(
            "this machine's CPUs have no second way to sleep, so the deepest can't be turned off"
        )
    paths = tuple(
        f"/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}/disable"
        for cpu, state in sorted(deepest.items())
    )

    def value(read: Mapping[str, str]) -> Value:
        disabled = {read[path].strip() != "0" for path in paths if path in read}
        if len(disabled) != 1:
            raise ValueError("the deepest idle state is off on some CPUs only")
        return not disabled.pop()

    return Target(
        setting=setting,
        paths=paths,
        stock=value({path: found_text(sight, path) for path in paths}),
        texts=lambda wanted: dict.fromkeys(paths, "0" if checked(setting, wanted) else "1"),
        value=value,
    )
