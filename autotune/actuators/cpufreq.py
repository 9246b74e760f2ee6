"""CPU clocks: one policy per cluster as the kernel groups them, its governor, the governor's tunables, and its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from autotune.actuators.cpu_sets import big_cpus, cpu_list
from autotune.actuators.target import Sight, Target, found_text, text_of
from autotune.actuators.throttling import COOLING_PATHS, cooled
from autotune.actuators.wording import kernel_text, kernel_value
from autotune.errors import SettingUnsupported
from autotune.space.setting import Setting
from autotune.space.value import Value

_ROOT = "/sys/devices/system/cpu/cpufreq"
_POLICY = re.compile(rf"{_ROOT}/policy(\d+)/")
_TUNABLE = re.compile(rf"{_ROOT}/(policy\d+/)?(?!policy)\w+/\w+$")
_LIMITS = {"max_freq": "scaling_max_freq", "min_freq": "scaling_min_freq"}
# Wherever one governor has its tunables, all have them.
_TELLING = ("schedutil/rate_limit_us", "ondemand/sampling_rate", "conservative/sampling_rate")
_DESCRIPTION = (
    "related_cpus",
    "scaling_governor",
    "scaling_available_governors",
    "scaling_available_frequencies",
    "scaling_min_freq",
    "scaling_max_freq",
)


@dataclass(frozen=True, slots=True)
class Policy:
    """CPUs that share a clock. `name` as the kernel has it (policy4)."""

    name: str
    cpus: tuple[int, ...]
    governor: str
    governors: tuple[str, ...]
    frequencies: tuple[str, ...]

    def path(self, file: str) -> str:
        return f"{_ROOT}/{self.name}/{file}"


def paths_to_read(setting: Setting) -> tuple[str, ...]:
    """What describes every policy, the setting's own files, and (for limits) whether the board is being cooled."""
    described = tuple(f"{_ROOT}/policy*/{file}" for file in _DESCRIPTION)
    if setting.part in _LIMITS:
        return (*described, *COOLING_PATHS)
    if setting.part == "governor":
        return described
    tunables = dict.fromkeys((setting.part.replace(".", "/"), *_TELLING))
    return (*described, *(f"{_ROOT}/{place}{one}" for one in tunables for place in ("policy*/", "")))


def policies(sight: Sight) -> tuple[Policy, ...]:
    """Every policy of this board, by number."""
    numbers = sorted({int(match[1]) for path in sight.readings if (match := _POLICY.match(path))})
    found = []
    for number in numbers:
        name = f"policy{number}"

        def words(file: str, name: str = name) -> tuple[str, ...]:
            return tuple(text_of(sight, f"{_ROOT}/{name}/{file}").split())

        if governor := words("scaling_governor"):
            found.append(
                Policy(
                    name=name,
                    cpus=cpu_list(" ".join(words("related_cpus"))) or (number,),
                    governor=governor[0],
                    governors=words("scaling_available_governors"),
                    frequencies=words("scaling_available_frequencies"),
                )
            )
    return tuple(found)


def chosen_policies(setting: Setting, sight: Sight) -> tuple[Policy, ...]:
    """The policies that the setting's first part names: all, big, little, or one. Raises SettingUnsupported."""
    present = policies(sight)
    if not present:
        raise SettingUnsupported(
            "this machine's kernel doesn't set CPU clocks (no policy below /sys/devices/system/cpu/cpufreq)"
        )
    big = set(big_cpus(sight))
    fast = tuple(one for one in present if big & set(one.cpus))
    slow = tuple(one for one in present if one not in fast)
    match setting.instance:
        case "all":
            return present
        case "big" if slow:
            return fast
        case "little" if slow:
            return slow
        case "big" | "little":
            raise SettingUnsupported("this board's CPUs are all of one kind: say cpufreq:all")
        case name:
            if named := tuple(one for one in present if one.name == name):
                return named
            raise SettingUnsupported(
                f"this board has no {name}, it has {', '.join(one.name for one in present)}"
            )


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported with the reason when this board hasn't got it, or its clocks are held down by heat."""
    mine = chosen_policies(setting, sight)
    if setting.part == "governor":
        offered = _shared([one.governors for one in mine])
        return _words(setting, tuple(one.path("scaling_governor") for one in mine), offered, sight)
    if file := _LIMITS.get(setting.part):
        if cooling := cooled(sight):
            raise SettingUnsupported(
                f"not while the board is slowed down by heat ({cooling}): let it cool down"
            )
        offered = _shared([one.frequencies for one in mine])
        if not offered:
            raise SettingUnsupported("this driver doesn't list its frequencies")
        return _words(setting, tuple(one.path(file) for one in mine), offered, sight)
    return _tunable(setting, mine, sight)


def rank(path: str) -> int:
    """Where a write belongs in a switch: a new governor resets its tunables, so it comes before them."""
    return 0 if path.endswith(("/scaling_governor", "/governor")) else 1


def _words(setting: Setting, paths: tuple[str, ...], offered: tuple[str, ...], sight: Sight) -> Target:
    def value(read: Mapping[str, str]) -> Value:
        words = {read[path].strip() for path in paths if path in read}
        return words.pop() if len(words) == 1 else "mixed"

    def texts(value: Value) -> dict[str, str]:
        return {} if value == "mixed" else dict.fromkeys(paths, kernel_text(setting, value))

    return Target(
        setting=setting,
        paths=paths,
        stock=value({path: found_text(sight, path) for path in paths}),
        texts=texts,
        value=value,
        choices=offered,
    )


def _tunable(setting: Setting, mine: tuple[Policy, ...], sight: Sight) -> Target:
    """There while its governor rules. "unset" says that this one doesn't rule now, or that policies differ."""
    governor, _, name = setting.part.partition(".")
    if governor not in _shared([one.governors for one in mine]):
        raise SettingUnsupported(f"the governor {governor} is not offered here")
    if _is_shared(sight):
        if setting.instance != "all" and len(policies(sight)) > len(mine):
            raise SettingUnsupported("this kernel has one such value for all CPUs: say cpufreq:all")
        paths: tuple[str, ...] = (f"{_ROOT}/{governor}/{name}",)
    else:
        paths = tuple(one.path(f"{governor}/{name}") for one in mine)

    def value(read: Mapping[str, str]) -> Value:
        values = {kernel_value(setting, read[path]) for path in paths if read.get(path, "").strip()}
        return values.pop() if len(values) == 1 else "unset"

    ruled = all(one.governor == governor for one in mine)
    seen = {path: text_of(sight, path) for path in paths}
    if ruled and not any(seen.values()):
        raise SettingUnsupported(f"{governor} rules here, and has no {name}")
    return Target(
        setting=setting,
        paths=paths,
        stock=value(seen) if ruled else "unset",
        texts=lambda wanted: {} if wanted == "unset" else dict.fromkeys(paths, kernel_text(setting, wanted)),
        value=value,
    )


def _is_shared(sight: Sight) -> bool:
    """Whether governors' tunables are one set for all policies.

    That is the driver's choice (CPUFREQ_HAVE_GOVERNOR_PER_POLICY): vendors' kernels for unequal clusters have a set per
    policy, PCs and cpufreq-dt as it comes have one set. While no governor with tunables rules anywhere neither place exists, and the
    machine's kind decides.
    """
    there = [
        match[1]
        for path, reading in sight.readings.items()
        if reading.text and (match := _TUNABLE.match(path))
    ]
    if there:
        return not any(there)
    return sight.facts.machine in ("x86_64", "i686", "amd64")


def _shared(offers: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The words that every policy offers, in the first one's order."""
    common = reduce(lambda one, other: one & other, (set(offer) for offer in offers))
    return tuple(word for word in offers[0] if word in common)
