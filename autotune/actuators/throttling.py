"""Whether the board is being slowed down by heat: a limit that the kernel lowered itself is nobody's setting."""

from __future__ import annotations

from autotune.actuators.target import Sight, text_of
from autotune.board.reading import is_count

_ROOT = "/sys/class/thermal/"
COOLING_PATHS = (f"{_ROOT}cooling_device*/type", f"{_ROOT}cooling_device*/cur_state")
# A fan that turns slows nothing down.
_SLOWING = ("cpufreq", "devfreq", "thermal-cpufreq", "thermal-devfreq", "Processor")


def cooled(sight: Sight) -> str:
    """The device that is being slowed down now, "" for none."""
    for path in sight.readings:
        if not (path.startswith(_ROOT) and path.endswith("/type")):
            continue
        kind = text_of(sight, path).strip()
        state = text_of(sight, path.removesuffix("type") + "cur_state").strip()
        if kind.startswith(_SLOWING) and is_count(state) and int(state) > 0:
            return kind
    return ""
