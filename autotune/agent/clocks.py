"""How clocks move each other: a governor has tunables of its own, which come and go with it, and limits can't cross.

All CPU clocks are one domain, because policies can share their governors' tunables; another device's clock is its own.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from typing import Callable, List, Mapping, Optional, Tuple

Read = Callable[[str], Optional[str]]

CPUFREQ = "/sys/devices/system/cpu/cpufreq/"
_POLICY = re.compile(CPUFREQ + r"(policy[0-9]{1,3})/")
_TUNABLE = re.compile(
    CPUFREQ + r"(?:(policy[0-9]{1,3})/)?((?!policy|stats)[a-z][a-z0-9_-]*)/([a-z][a-z0-9_]*)"
)
_DEVFREQ = re.compile(r"/sys/(?:class|devices/.*)/devfreq/[^/]+/")
_THRESHOLDS = ("upthreshold", "downdifferential")
_MIN, _MAX = "scaling_min_freq", "scaling_max_freq"
_THERMAL = "/sys/class/thermal/"
# Also as older kernels and ACPI name it; a fan slows nothing down.
_SLOWS_CPUS = ("cpufreq", "thermal-cpufreq", "Processor")


def domain(path: str) -> str:
    """What is moved together with this path, by name; "" when it is no clock."""
    if path.startswith(CPUFREQ):
        return CPUFREQ
    device = _DEVFREQ.match(path)
    return device[0] if device else ""


def is_governor(path: str) -> bool:
    return path.endswith(("/scaling_governor", "/governor"))


def is_limit(path: str) -> bool:
    return path.endswith(("/" + _MIN, "/" + _MAX))


def rank(path: str, texts: Mapping[str, Optional[str]], read: Read) -> Tuple[int, str]:
    """Where a write belongs: governors, their tunables, the upper limits, the lower ones.

    A lower limit goes first where the upper one is to come below where the lower one is now.
    """
    if is_governor(path):
        return 0, path
    if path.endswith("/" + _MAX):
        return 3, path
    if path.endswith("/" + _MIN):
        upper = _number(texts.get(path[: -len(_MIN)] + _MAX))
        now = _number(read(path))
        return (2 if upper is not None and now is not None and upper < now else 4), path
    return 1, path


def moved_by(path: str, read: Read) -> List[str]:
    """What is captured along with a path: a governor's tunables, for they vanish with it; the other limit."""
    if is_limit(path):
        return [path.replace(_MIN, _MAX) if path.endswith(_MIN) else path.replace(_MAX, _MIN)]
    if path.endswith("/scaling_governor"):
        own = path.rpartition("/")[0]
        governor = read(path)
        return [*_tunables(f"{own}/{governor}"), *_tunables(f"{CPUFREQ}{governor}")]
    device = _DEVFREQ.match(path)
    if device and is_governor(path):
        return [device[0] + name for name in _THRESHOLDS if os.path.exists(device[0] + name)]
    return []


def was_absent(path: str, originals: Mapping[str, Optional[str]], read: Read) -> bool:
    """Whether a tunable that is there now was not, before a governor was changed: its governor ruled nowhere."""
    tunable = _TUNABLE.fullmatch(path)
    if not tunable:
        return False
    own, governor, _ = tunable.groups()
    rulers = [f"{CPUFREQ}{own}/scaling_governor"] if own else glob.glob(CPUFREQ + "policy*/scaling_governor")
    return governor not in [originals[one] if one in originals else read(one) for one in rulers]


def cooled_by(path: str, read: Read) -> str:
    """The cooling device that slows the CPUs of a limit now, "" for none: a throttled limit is not the original."""
    if not is_limit(path):
        return ""
    for device in sorted(glob.glob(_THERMAL + "cooling_device*")):
        kind, state = read(device + "/type") or "", _number(read(device + "/cur_state"))
        if kind.startswith(_SLOWS_CPUS) and state:
            return kind
    return ""


def _tunables(directory: str) -> List[str]:
    """The files of a governor's directory that can be read and written back."""
    found = (path for path in sorted(glob.glob(directory + "/*")) if _TUNABLE.fullmatch(path))
    return [path for path in found if _is_kept(os.lstat(path).st_mode)]


def _is_kept(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IWUSR) and bool(mode & stat.S_IRUSR)


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text and text.isdigit() else None
