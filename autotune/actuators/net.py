"""A network card's queues, steering and bundling: sysfs files, and two of the agent's own words (tc:, ethtool:)."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.actuators.cpu_sets import (
    ONLINE_CPUS,
    big_cpus,
    mask_of,
    mask_reason,
    mask_text,
    mask_value,
    online_cpus,
    server_cpus,
)
from autotune.actuators.target import Sight, Target, found_text, no_use_over_loopback
from autotune.actuators.wording import kernel_text, kernel_value
from autotune.errors import SettingUnsupported
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

AS_FOUND = "as found"
_ROOT = "/sys/class/net"
_QUEUES = {"rps_cpus": "rx", "rps_flow_cnt": "rx", "xps_cpus": "tx"}
_ETHTOOL = {"rx_usecs": "rx-usecs", "tx_usecs": "tx-usecs", "gro": "gro", "gso": "gso", "tso": "tso"}


def paths_to_read(setting: Setting, interface: str) -> tuple[str, ...]:
    """The files of the card, one per queue where it has several; () when the load goes over loopback."""
    if not interface:
        return ()
    device = interface if setting.instance == "nic" else setting.instance
    if kind := _QUEUES.get(setting.part):
        return (f"{_ROOT}/{device}/queues/{kind}-*/{setting.part}", ONLINE_CPUS)
    return (_single_path(setting, device),)


def target(setting: Setting, sight: Sight) -> Target:
    """Raises SettingUnsupported when the load goes over loopback, or this card has no such thing."""
    if not sight.interface:
        raise no_use_over_loopback(setting)
    device = sight.interface if setting.instance == "nic" else setting.instance
    if setting.part in _QUEUES:
        paths = _queue_paths(setting, device, sight)
        return (
            _masks(setting, paths, sight)
            if setting.kind is Kind.CPU_MASK
            else _numbers(setting, paths, sight)
        )
    path = _single_path(setting, device)
    found_text(sight, path)
    if setting.part == "qdisc":
        return _qdisc(setting, path, sight)
    return _numbers(setting, (path,), sight)


def _single_path(setting: Setting, device: str) -> str:
    if setting.part == "qdisc":
        return f"tc:{device}/root"
    if feature := _ETHTOOL.get(setting.part):
        return f"ethtool:{device}/{feature}"
    return f"{_ROOT}/{device}/{setting.part}"


def _queue_paths(setting: Setting, device: str, sight: Sight) -> tuple[str, ...]:
    head, tail = f"{_ROOT}/{device}/queues/{_QUEUES[setting.part]}-", f"/{setting.part}"
    queues = {
        int(number): path
        for path, reading in sight.readings.items()
        if path.startswith(head)
        and path.endswith(tail)
        and reading.text is not None
        and (number := path[len(head) : -len(tail)]).isdecimal()
    }
    if not queues:
        raise SettingUnsupported(f"{device} has no {setting.part} here")
    return tuple(queues[number] for number in sorted(queues))


def _masks(setting: Setting, paths: tuple[str, ...], sight: Sight) -> Target:
    words = {
        "off": 0,
        "all": mask_of(online_cpus(sight)),
        "big": mask_of(big_cpus(sight)),
        "workers": mask_of(server_cpus(sight)),
    }

    def texts(value: Value) -> dict[str, str]:
        if value == AS_FOUND:
            return {}
        mask = value if isinstance(value, int) else words[str(value)]
        return dict.fromkeys(paths, mask_text(mask))

    def value(read: Mapping[str, str]) -> Value:
        masks = {mask_value(read[path]) for path in paths if path in read}
        if len(masks) != 1:
            return AS_FOUND
        [mask] = masks
        return mask or "off"

    return Target(
        setting=setting,
        paths=paths,
        stock=value({path: found_text(sight, path) for path in paths}),
        texts=texts,
        value=value,
        reason=lambda wanted: "no CPU at all: say off" if wanted == 0 else mask_reason(sight, wanted),
    )


def _numbers(setting: Setting, paths: tuple[str, ...], sight: Sight) -> Target:
    def value(read: Mapping[str, str]) -> Value:
        values = {_number(setting, read[path]) for path in paths if path in read}
        if len(values) > 1:
            raise ValueError(f"its queues differ: {', '.join(str(one) for one in values)}")
        return values.pop()

    switched = setting.part in ("gro", "gso", "tso")
    words = {True: "on", False: "off"}
    return Target(
        setting=setting,
        paths=paths,
        stock=value({path: found_text(sight, path) for path in paths}),
        texts=lambda wanted: dict.fromkeys(
            paths, words[bool(wanted)] if switched else kernel_text(setting, wanted)
        ),
        value=value,
    )


def _number(setting: Setting, text: str) -> Value:
    word = text.strip()
    if setting.kind is Kind.SWITCH and word in ("on", "off"):
        return word == "on"
    return kernel_value(setting, text)


def _qdisc(setting: Setting, path: str, sight: Sight) -> Target:
    def value(read: Mapping[str, str]) -> Value:
        kind = read[path].strip().removeprefix("default ")
        return kind if kind in setting.choices else AS_FOUND

    return Target(
        setting=setting,
        paths=(path,),
        stock=value({path: found_text(sight, path)}),
        texts=lambda wanted: {} if wanted == AS_FOUND else {path: kernel_text(setting, wanted)},
        value=value,
    )
