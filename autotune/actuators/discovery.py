"""What a board offers: which settings can be varied there, their stock values, and why the others can't."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.actuators import nginx, sysctl, thp
from autotune.actuators.nginx_build import NginxBuild
from autotune.actuators.packaged import Packaged, packaged
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement, place
from autotune.board.records import Reading
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.study import ManagedNginx, Study
from autotune.space.catalogue import CATALOGUE, denied_reason
from autotune.space.configuration import Configuration
from autotune.space.setting import Setting
from autotune.space.value import Value

_ONLINE_CPUS = "/sys/devices/system/cpu/online"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found on one board for one study.

    `stock` has the value of every setting that could be read, also of those that can't be varied; `missing` the reason
    for each of the latter. `choices` are the words this board takes, where they depend on the board. `kernel_paths`
    gives the id of every kernel file that takes its own value back (dirty_bytes doesn't while dirty_ratio rules).
    `base` None: there is no nginx to be run, `base_problem` says why. `nginx_stock` has every directive of the
    catalogue. `left_out` is what the tested nginx doesn't take over from the packaged configuration. `cpus` may be
    used; `online_cpus` is how many nginx counts for `auto`.
    """

    stock: dict[str, Value]
    missing: dict[str, str]
    choices: dict[str, tuple[str, ...]]
    kernel_paths: dict[str, str]
    base: Packaged | None
    base_problem: str
    nginx_stock: dict[str, Value]
    left_out: tuple[str, ...]
    cpus: tuple[int, ...]
    online_cpus: int
    open_files_limit: int

    def value_reason(self, id_: str, value: Value) -> str:
        """Why this board can't take this value of this setting; empty when it can."""
        if reason := self.missing.get(id_):
            return reason
        if id_ not in self.stock:
            return "it is not part of this study"
        try:
            CATALOGUE[id_].check(value)
        except ValueError as problem:
            return str(problem)
        if id_ == "nginx:worker_rlimit_nofile" and isinstance(value, int) and value > self.open_files_limit:
            return f"nginx may have {self.open_files_limit} open files here at most, {value} can't be set"
        if id_ == "nginx:worker_cpu_affinity" and isinstance(value, int):
            there = sum(1 << cpu for cpu in self.cpus)
            return "" if value and not value & ~there else f"{value:#x} names CPUs that this board lacks"
        offered = self.choices.get(id_, ())
        if not offered or value in offered:
            return ""
        reason = f"this board offers {', '.join(offered)}, not {value}"
        if id_ == sysctl.CONGESTION_CONTROL:
            reason += f"; `modprobe tcp_{value}` before the night may add it (in a container: on its host)"
        return reason


def paths_to_read(settings: Sequence[Setting], server: ManagedNginx) -> tuple[str, ...]:
    """Every file of the board that `discover` wants to see for these settings."""
    paths = [
        path
        for setting in settings
        if not _refused(setting.id) and (path := kernel_path(CATALOGUE[setting.id]))
    ]
    paths += [
        server.base,
        posixpath.join(posixpath.dirname(server.base), "modules-enabled/*"),
        sysctl.AVAILABLE_CONGESTION_CONTROL,
        sysctl.ALLOWED_CONGESTION_CONTROL,
        sysctl.MACHINE_WIDE,
        _ONLINE_CPUS,
    ]
    return tuple(dict.fromkeys(paths))


def discover(
    settings: Sequence[Setting], readings: Mapping[str, Reading], facts: BoardFacts, study: Study
) -> Discovery:
    """What this board offers of the settings, and each one's value now. Changes nothing, asks the board nothing."""
    build = NginxBuild.of(facts)
    placement = place(facts, study.workload.placement)
    base, problem = _base(study.server, readings, facts, build)
    stock: dict[str, Value] = {}
    missing: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    kernel_paths: dict[str, str] = {}
    overrides = study.stock_overrides if study.stock == "capstone" else Configuration()
    for id_ in dict.fromkeys([*(setting.id for setting in settings), *overrides]):
        if reason := _refused(id_):
            missing[id_] = reason
            continue
        setting = CATALOGUE[id_]
        path = kernel_path(setting)
        try:
            if path:
                stock[id_], offered = _kernel_stock(setting, path, readings)
            else:
                stock[id_], offered = _nginx_stock(setting, base, problem, build)
        except (SettingUnsupported, ValueError) as lacking:
            missing[id_] = str(lacking)
            continue
        if offered:
            choices[id_] = offered
        if reason := _pointless(setting, placement) or (_unwritable(path, readings, facts) if path else ""):
            missing[id_] = reason
        elif path and stock[id_] != "unset":
            kernel_paths[path] = id_
    stock |= {id_: value for id_, value in overrides.mapping.items() if id_ not in missing}
    moved = nginx.server_cpu_words(base, placement) if base else ""
    return Discovery(
        stock=stock,
        missing=missing,
        choices=choices,
        kernel_paths=kernel_paths,
        base=base,
        base_problem=problem,
        nginx_stock=nginx.stock_values(base, build) if base else {},
        left_out=((*base.left_out, moved) if moved else base.left_out) if base else (),
        cpus=facts.cpus,
        online_cpus=_online_cpus(readings.get(_ONLINE_CPUS), facts),
        open_files_limit=facts.open_files_limit,
    )


def _refused(id_: str) -> str:
    if reason := denied_reason(id_):
        return f"never changed: {reason}"
    return "" if id_ in CATALOGUE else "not in the built-in catalogue"


def kernel_path(setting: Setting) -> str:
    """The kernel's file of a setting; empty for one of nginx."""
    match setting.family:
        case "sysctl":
            return sysctl.path_of(setting)
        case "thp":
            return thp.path_of(setting)
        case _:
            return ""


def _base(
    server: ManagedNginx, readings: Mapping[str, Reading], facts: BoardFacts, build: NginxBuild
) -> tuple[Packaged | None, str]:
    if facts.nginx is None:
        return None, "there is no nginx on this board: apt-get install nginx"
    try:
        return packaged(server.base, readings, build), ""
    except BoardUnfit as problem:
        return None, problem.message


def _kernel_stock(
    setting: Setting, path: str, readings: Mapping[str, Reading]
) -> tuple[Value, tuple[str, ...]]:
    reading = readings.get(path)
    if reading is None or reading.text is None:
        why = reading.error if reading and reading.error else "it is not there"
        raise SettingUnsupported(f"this kernel has no {path} here ({why})")
    if setting.family == "thp":
        return thp.stock_value(setting, reading.text), thp.choices(reading)
    return sysctl.stock_value(setting, reading.text), sysctl.choices(setting, readings)


def _nginx_stock(
    setting: Setting, base: Packaged | None, problem: str, build: NginxBuild
) -> tuple[Value, tuple[str, ...]]:
    if base is None:
        raise SettingUnsupported(problem)
    if reason := build.reason_missing(setting.id):
        raise SettingUnsupported(reason)
    offered = build.aio_words if setting.id == "nginx:aio" else ()
    return nginx.stock_value(setting.id, base, build), offered


def _pointless(setting: Setting, placement: CpuPlacement) -> str:
    # The managed nginx listens on loopback addresses only, so its load always goes over loopback.
    if setting.loopback:
        return f"no use over loopback: {setting.loopback}"
    if setting.pinned and len(placement.server) == 1:
        return f"no use here: {setting.pinned}"
    return ""


def _unwritable(path: str, readings: Mapping[str, Reading], facts: BoardFacts) -> str:
    if readings[path].writable:
        return ""
    if facts.uid != 0:
        return "can't be written without root: run as root or through sudo"
    return "read-only even for root: in a container or network namespace it belongs to the host, so run there"


def _online_cpus(reading: Reading | None, facts: BoardFacts) -> int:
    """The CPUs that nginx counts for `auto`: all that are online, whatever this process may use."""
    text = ((reading.text if reading else None) or "").strip()
    try:
        spans = [part.split("-") for part in text.split(",") if part]
        counted = sum(int(span[-1]) - int(span[0]) + 1 for span in spans)
    except ValueError:
        counted = 0
    return counted or len(facts.cpus)
