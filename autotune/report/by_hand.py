"""What no exported file can keep: each with the command that sets it until the next reboot, or where to write it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from autotune.errors import SettingUnsupported
from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value, value_text

FILED: Final = frozenset({"sysctl", "nginx", "thp"})
"""Families that have a file of their own in an export."""
BUILD: Final = "nginx:build"
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._,:+-]{0,63}")
_CLUSTERS: Final = {
    "all": "every policy",
    "big": "the policies of the big cores",
    "little": "the policies of the little cores",
}
_POOL_WORDS: Final = frozenset(
    {
        "max_children", "start_servers", "min_spare_servers", "max_spare_servers", "max_spawn_rate",
        "process_idle_timeout", "max_requests",
    }
)  # fmt: skip
_FEATURES: Final = ("gro", "gso", "tso")


def is_by_hand(id_: str) -> bool:
    """Whether this setting has no place in the exported files."""
    return id_ == BUILD or id_.partition(":")[0] not in FILED


def by_hand_lines(chosen: Mapping[str, Value], stock: Mapping[str, Value]) -> list[str]:
    """Shell lines for every such setting, each under a comment that says what it was. Raises SettingUnsupported."""
    lines: list[str] = []
    for id_, value in chosen.items():
        if not is_by_hand(id_):
            continue
        setting = CATALOGUE[id_]
        was = f"was {_safe(setting, stock[id_])}" if id_ in stock else "was not known"
        lines.append(f"# {id_} = {_safe(setting, value)} ({was})")
        lines.append(_command(setting, value))
    return lines


def _command(setting: Setting, value: Value) -> str:
    if setting.id == BUILD:
        return (
            "# `autotune build list` tells where this build is; to keep it, install it in the place of nginx"
        )
    if setting.family == "fpm":
        return _of_php(setting, value)
    device, _, key = setting.key.partition(".")
    if value in ("as found", "unset", "mixed"):
        return "# nothing to do: as the board has it"
    write = _WRITERS.get(setting.family)
    return write(device, key, setting, value) if write else "# by the kernel's own documentation"


def _of_php(setting: Setting, value: Value) -> str:
    key = f"pm.{setting.key}" if setting.key in _POOL_WORDS else setting.key
    if setting.key == "listen.socket":
        return f"# in the pool's file below /etc/php: listen on a {_safe(setting, value)} socket, and nginx to it"
    own_ini = setting.key.startswith(("opcache", "realpath_cache", "output_buffering"))
    where = "php.ini" if own_ini else "the pool's file below /etc/php"
    return f"# in {where}: {key} = {_safe(setting, value)}; then restart php-fpm"


def _of_cpufreq(device: str, key: str, setting: Setting, value: Value) -> str:
    policy = device if device.startswith("policy") else "policy*"
    file = {
        "governor": "scaling_governor",
        "max_freq": "scaling_max_freq",
        "min_freq": "scaling_min_freq",
    }.get(key, key.replace(".", "/"))
    which = f"  # {_CLUSTERS[device]}" if device in _CLUSTERS else ""
    return _into(f"/sys/devices/system/cpu/cpufreq/{policy}/{file}", setting, value) + which


def _of_devfreq(device: str, key: str, setting: Setting, value: Value) -> str:
    file = key if key == "governor" else f"*/{key}"
    return _into(f"/sys/class/devfreq/*{device}*/{file}", setting, value)


def _of_irq(device: str, key: str, setting: Setting, value: Value) -> str:
    del key
    name = "the load's network card" if device == "nic" else device
    if isinstance(value, str):
        return f"# each interrupt of {name} in /proc/interrupts: placed as {value!r} by its smp_affinity_list"
    return (
        f"# for each interrupt N of {name} in /proc/interrupts:"
        f" echo {_safe(setting, value)} | sudo tee /proc/irq/N/smp_affinity_list"
    )


def _of_net(device: str, key: str, setting: Setting, value: Value) -> str:
    name = '"$NIC"' if device == "nic" else device
    word = _safe(setting, value)
    match key:
        case "qdisc":
            return f"sudo tc qdisc replace dev {name} root {word}"
        case "rx_usecs" | "tx_usecs":
            return f"sudo ethtool -C {name} {key.replace('_', '-')} {word}"
        case _ if key in _FEATURES:
            return f"sudo ethtool -K {name} {key} {word}"
        case "threaded":
            return _into(f"/sys/class/net/{name}/threaded", setting, value)
        case _ if isinstance(value, str):
            return f"# {key} of every queue of {device}: placed as {value!r}"
        case _:
            kind = "tx" if key == "xps_cpus" else "rx"
            return _into(f"/sys/class/net/{name}/queues/{kind}-*/{key}", setting, value, mask=True)


def _of_idle(device: str, key: str, setting: Setting, value: Value) -> str:
    del device, key, setting
    return f"# of every CPU: echo {0 if value is True else 1} | sudo tee cpuidle/stateN/disable, N being the deepest"


def _of_pcie(device: str, key: str, setting: Setting, value: Value) -> str:
    del device, key
    return _into("/sys/module/pcie_aspm/parameters/policy", setting, value)


def _of_block(device: str, key: str, setting: Setting, value: Value) -> str:
    name = '"$DISK"' if device == "site" else device
    return _into(f"/sys/block/{name}/queue/{key}", setting, value)


_WRITERS: Final[Mapping[str, Callable[[str, str, Setting, Value], str]]] = {
    "cpufreq": _of_cpufreq,
    "devfreq": _of_devfreq,
    "irq": _of_irq,
    "net": _of_net,
    "cpuidle": _of_idle,
    "pcie": _of_pcie,
    "block": _of_block,
}


def _into(path: str, setting: Setting, value: Value, *, mask: bool = False) -> str:
    word = f"{value:x}" if mask and isinstance(value, int) else _safe(setting, value)
    if setting.kind is Kind.SWITCH:
        word = "1" if value is True else "0"
    return f"for file in {path}; do echo {word} | sudo tee $file; done"


def _safe(setting: Setting, value: Value) -> str:
    """The value as a person reads it, when it can stand in a comment and in a command. Raises SettingUnsupported."""
    if isinstance(value, int) and not isinstance(value, bool):
        text = _cpu_list(value) if setting.kind is Kind.CPU_MASK else str(value)
    else:
        text = value_text(value)
    if not _SAFE.fullmatch(text):
        raise SettingUnsupported(f"{setting.id} can't be written as {text!r}")
    return text


def _cpu_list(mask: int) -> str:
    """0xf1 as 0,4,5,6,7."""
    return ",".join(str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1) or "0"
