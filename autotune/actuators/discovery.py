"""What a board offers: which settings can be varied there, their stock values, and why the others can't."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autotune.actuators import block, cpufreq, devfreq, fpm, idle, irq, net, pcie, sysctl, thp
from autotune.actuators.builds import Workbench
from autotune.actuators.cpu_sets import ONLINE_CPUS, cpu_list
from autotune.actuators.managed_site import ManagedSite
from autotune.actuators.own_site import OwnSite
from autotune.actuators.site import Site
from autotune.actuators.target import Sight, Target
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement, place_for
from autotune.board.records import Built, NginxFiles, Reading
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.study import ManagedNginx, Study
from autotune.space.catalogue import CATALOGUE, denied_reason
from autotune.space.catalogue.builds import BUILD, DISTRIBUTION
from autotune.space.configuration import Configuration
from autotune.space.setting import Setting
from autotune.space.value import Value

_SITE_FAMILIES = ("nginx", "fpm")
_PATHS: Mapping[str, Callable[[Setting], tuple[str, ...]]] = {
    "sysctl": sysctl.paths_to_read,
    "thp": lambda setting: (thp.path_of(setting),),
    "cpufreq": cpufreq.paths_to_read,
    "devfreq": devfreq.paths_to_read,
    "cpuidle": idle.paths_to_read,
    "pcie": pcie.paths_to_read,
    "block": block.paths_to_read,
}
_TARGETS: Mapping[str, Callable[[Setting, Sight], Target]] = {
    "sysctl": sysctl.target,
    "thp": thp.target,
    "cpufreq": cpufreq.target,
    "devfreq": devfreq.target,
    "irq": irq.target,
    "net": net.target,
    "cpuidle": idle.target,
    "pcie": pcie.target,
    "block": block.target,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found on one board for one study.

    `stock` has the value of every setting that could be read, also of those that can't be varied; `missing` the reason
    for each of the latter. `choices` are the words this board takes, where they depend on the board. `targets` has every
    kernel setting that was found. `kernel_paths` gives the id of every kernel file that takes its own value back
    (dirty_bytes doesn't while dirty_ratio rules). `site` None: there is no nginx to be run, `site_problem` says why.
    """

    stock: dict[str, Value]
    missing: dict[str, str]
    choices: dict[str, tuple[str, ...]]
    targets: dict[str, Target]
    kernel_paths: dict[str, str]
    site: Site | None
    site_problem: str
    workbench: Workbench = field(default_factory=Workbench)

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
        if id_ == BUILD:
            return self.workbench.reason(value)
        offered = self.choices.get(id_, ())
        if offered and value not in offered and value != self.stock[id_]:
            reason = f"this board offers {', '.join(offered)}, not {value}"
            if id_ == sysctl.CONGESTION_CONTROL:
                reason += (
                    f"; `modprobe tcp_{value}` before the night may add it (in a container: on its host)"
                )
            return reason
        if self.site is not None and is_of_site(id_):
            return self.site.value_reason(id_, value)
        return self.targets[id_].reason(value) if id_ in self.targets else ""


def is_of_site(id_: str) -> bool:
    """Whether the setting is one of nginx's or php-fpm's configuration, not of the kernel's."""
    return id_.partition(":")[0] in _SITE_FAMILIES


def paths_to_read(settings: Sequence[Setting], study: Study, interface: str = "") -> tuple[str, ...]:
    """Every file of the board that `discover` wants to see for these settings; `interface` as in `Sight`."""
    known = [CATALOGUE[setting.id] for setting in settings if not _refused(setting.id)]
    paths = [path for setting in known for path in _paths_of(setting, interface)]
    if isinstance(study.server, ManagedNginx):
        base = study.server.base
        paths += [base, posixpath.join(posixpath.dirname(base), "modules-enabled/*")]
        paths += (fpm.POOLS, *fpm.INIS) if study.server.has_php else ()
    paths.append(ONLINE_CPUS)
    return tuple(dict.fromkeys(paths))


def discover(
    settings: Sequence[Setting],
    readings: Mapping[str, Reading],
    facts: BoardFacts,
    study: Study,
    interface: str = "",
    own: NginxFiles | None = None,
    cached: Sequence[Built] = (),
) -> Discovery:
    """What this board offers of the settings, and each one's value now. Changes nothing, asks the board nothing.

    `own`: the user's nginx configuration as it was read, for a study of that.
    """
    placement = place_for(facts, study)
    workbench = Workbench.of(study.builds, cached)
    sight = Sight(facts=facts, readings=readings, placement=placement, interface=interface)
    site, problem = _site(study, readings, facts, placement, own)
    stock: dict[str, Value] = {}
    missing: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    targets: dict[str, Target] = {}
    kernel_paths: dict[str, str] = {}
    overrides = study.stock_overrides if study.stock == "capstone" else Configuration()
    for id_ in dict.fromkeys([*(setting.id for setting in settings), *overrides]):
        if reason := _refused(id_):
            missing[id_] = reason
            continue
        setting = CATALOGUE[id_]
        try:
            if id_ == BUILD and site is not None:
                stock[id_], offered = DISTRIBUTION, workbench.choices
            elif is_of_site(id_):
                stock[id_], offered = _site_stock(id_, site, problem)
            else:
                targets[id_] = found = _target(setting, sight)
                stock[id_], offered = found.stock, found.choices
        except (SettingUnsupported, ValueError) as lacking:
            missing[id_] = str(lacking)
            continue
        if offered:
            choices[id_] = offered
        if reason := _pointless(setting, sight) or _unwritable(targets.get(id_), sight):
            missing[id_] = reason
        elif id_ in targets and stock[id_] != "unset":
            kernel_paths |= dict.fromkeys(targets[id_].paths, id_)
    stock |= {id_: value for id_, value in overrides.mapping.items() if id_ not in missing}
    return Discovery(
        stock=stock,
        missing=missing,
        choices=choices,
        targets=targets,
        kernel_paths=kernel_paths,
        site=site,
        site_problem=problem,
        workbench=workbench,
    )


def _site_stock(id_: str, site: Site | None, problem: str) -> tuple[Value, tuple[str, ...]]:
    if site is None:
        raise SettingUnsupported(problem)
    return site.stock(id_)


def _refused(id_: str) -> str:
    if reason := denied_reason(id_):
        return f"never changed: {reason}"
    return "" if id_ in CATALOGUE else "not in the built-in catalogue"


def _paths_of(setting: Setting, interface: str) -> tuple[str, ...]:
    """The files that tell of a kernel setting; a * stands for every name there."""
    match setting.family:
        case "irq":
            return irq.paths_to_read(setting, interface)
        case "net":
            return net.paths_to_read(setting, interface)
        case family:
            return _PATHS[family](setting) if family in _PATHS else ()


def _target(setting: Setting, sight: Sight) -> Target:
    """Where the setting lives here. Raises SettingUnsupported with the reason why it doesn't."""
    find = _TARGETS.get(setting.family)
    if find is None:
        raise SettingUnsupported(f"no actuator knows the family {setting.family!r}")
    return find(setting, sight)


def _site(
    study: Study,
    readings: Mapping[str, Reading],
    facts: BoardFacts,
    placement: CpuPlacement,
    own: NginxFiles | None,
) -> tuple[Site | None, str]:
    if facts.nginx is None:
        return None, "there is no nginx on this board: apt-get install nginx"
    online = _online_cpus(readings.get(ONLINE_CPUS), facts)
    try:
        if isinstance(study.server, ManagedNginx):
            return ManagedSite.of(study.server, readings, facts, placement, online), ""
        own = own or NginxFiles(files={}, names={}, problem="it was not read")
        return OwnSite.of(study.server, study.workloads, own, facts, placement, online), ""
    except BoardUnfit as problem:
        return None, problem.message


def _pointless(setting: Setting, sight: Sight) -> str:
    if setting.loopback and not sight.interface:
        return f"no use over loopback: {setting.loopback}"
    if setting.pinned and len(sight.placement.server) == 1:
        return f"no use here: {setting.pinned}"
    return ""


def _unwritable(target: Target | None, sight: Sight) -> str:
    for path in target.paths if target else ():
        reading = sight.readings.get(path)
        if reading is not None and reading.text is not None and not reading.writable:
            if reading.error:
                return reading.error
            if sight.facts.uid != 0:
                return "can't be written without root: run as root or through sudo"
            return "read-only even for root: in a container or network namespace it belongs to the host, so run there"
    return ""


def _online_cpus(reading: Reading | None, facts: BoardFacts) -> int:
    """The CPUs that nginx counts for `auto`: all that are online, whatever this process may use."""
    try:
        counted = len(cpu_list((reading.text if reading else None) or ""))
    except ValueError:
        counted = 0
    return counted or len(facts.cpus)
