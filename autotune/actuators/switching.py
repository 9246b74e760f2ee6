"""One configuration as what the agent is to do, and what the board made of it as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.actuators import cpufreq, sysctl
from autotune.actuators.cpu_sets import mask_value
from autotune.actuators.discovery import Discovery, is_of_site
from autotune.actuators.site import ServerPlan
from autotune.actuators.wording import checked
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Effect, Write
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.events import Doubt
from autotune.experiment.study import Study
from autotune.space.catalogue import CATALOGUE
from autotune.space.catalogue.builds import BUILD
from autotune.space.configuration import Configuration
from autotune.space.value import Value

_MASKS = ("/smp_affinity", "/rps_cpus", "/xps_cpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPlan:
    """Kernel files to write, and the server to start."""

    writes: tuple[Write, ...]
    server: ServerPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What is in force: kernel values as read back, nginx's as asked. `refused`: what the kernel said no to, or ""."""

    configuration: Configuration
    doubts: tuple[Doubt, ...]
    refused: str


def plan_switch(
    configuration: Configuration,
    discovery: Discovery,
    *,
    study: Study,
    address: str,
    begun: Begun,
    placement: CpuPlacement,
) -> SwitchPlan:
    """The plan that puts a configuration in force; the empty one is stock. Asks and changes nothing.

    A value that equals stock is not written: what a switch doesn't name goes back to its original.
    Raises SettingUnsupported when this board can't carry it, BoardUnfit when there is no nginx to run.
    """
    if discovery.site is None:
        raise BoardUnfit(discovery.site_problem, hint="see `autotune doctor`")
    overrides = study.stock_overrides if study.stock == "capstone" else Configuration()
    kept = Configuration.of(
        {id_: value for id_, value in overrides.mapping.items() if id_ not in discovery.missing}
    )
    changed = {
        id_: value for id_, value in configuration.values if not _same(value, discovery.stock.get(id_))
    }
    values = {**kept.mapping, **changed}
    for id_, value in values.items():
        if reason := discovery.value_reason(id_, value):
            raise SettingUnsupported(f"{id_}: {reason}", hint=_hint(id_))
        checked(CATALOGUE[id_], value)
    sysctl.refuse_rivals(values)
    texts = _kernel_texts(values, discovery)
    of_site = {id_: value for id_, value in values.items() if is_of_site(id_)}
    discovery.workbench.refuse_missing(of_site)
    build = discovery.workbench.key(of_site)
    of_site.pop(BUILD, None)
    server = discovery.site.plan(of_site, address=address, begun=begun, placement=placement)
    return SwitchPlan(
        writes=tuple(
            Write(path=path, text=texts[path])
            for path in sorted(texts, key=cpufreq.rank)  # otherwise by id
        ),
        server=replace(server, build=build),
    )


def effects_of(configuration: Configuration, discovery: Discovery, effects: Sequence[Effect]) -> Effective:
    """What the board made of a configuration.

    A value the kernel rounded or cut without a word is a Doubt; a refusal is in `refused`.
    """
    inside = dict(configuration.values)
    doubts = []
    refused = []
    by_path = {effect.path: effect for effect in effects}
    for id_, target in discovery.targets.items():
        seen = [by_path[path] for path in target.paths if path in by_path]
        if id_ in discovery.missing or not seen:
            continue
        refused += [f"{id_}: the kernel refused {one.requested!r}: {one.error}" for one in seen if one.error]
        if id_ not in inside or any(one.error for one in seen):
            continue
        asked = inside[id_]
        if all(_as_asked(one) for one in seen):
            continue
        try:
            inside[id_] = target.value({one.path: one.effective for one in seen})
        except ValueError as problem:
            refused.append(f"{id_}: {problem}")
            continue
        if inside[id_] != asked:
            setting = CATALOGUE[id_]
            doubts.append(
                Doubt(
                    code="value changed by the kernel",
                    text=f"{id_}: asked for {setting.show(asked)}, in force is {setting.show(inside[id_])}",
                    next=f"use {setting.show(inside[id_])} in the space, or narrow its range",
                )
            )
    return Effective(configuration=Configuration.of(inside), doubts=tuple(doubts), refused="; ".join(refused))


def _kernel_texts(values: Mapping[str, Value], discovery: Discovery) -> dict[str, str]:
    """What goes into which file. Raises SettingUnsupported when two settings (all and policy4) want one file."""
    texts: dict[str, str] = {}
    owner: dict[str, str] = {}
    for id_, value in values.items():
        if is_of_site(id_):
            continue
        for path, text in discovery.targets[id_].texts(value).items():
            if texts.get(path, text) != text:
                raise SettingUnsupported(
                    f"{owner[path]} and {id_} both set {path}", hint="keep one of them in the space"
                )
            texts[path], owner[path] = text, id_
    return texts


def _as_asked(effect: Effect) -> bool:
    """Whether a file holds what was written; a strategy that means the same CPUs as another is still the one asked for."""
    if effect.effective.split() == effect.requested.split():
        return True
    try:
        return effect.path.endswith(_MASKS) and mask_value(effect.effective) == mask_value(effect.requested)
    except ValueError:
        return False


def _same(one: Value, other: Value | None) -> bool:
    return one == other and type(one) is type(other)  # 1 is not on


def _hint(id_: str) -> str:
    setting = CATALOGUE.get(id_)
    return f"accepted: {setting.accepted}" if setting else ""
