"""One configuration as what the agent is to do, and what the board made of it as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.actuators import sysctl
from autotune.actuators.discovery import Discovery, is_of_site
from autotune.actuators.site import ServerPlan
from autotune.actuators.wording import checked
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, Effect, Write
from autotune.errors import BoardUnfit, SettingUnsupported
from autotune.experiment.events import Doubt
from autotune.experiment.study import Study
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value


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
    texts: dict[str, str] = {}
    for id_, value in values.items():
        if not is_of_site(id_):
            texts |= discovery.targets[id_].texts(value)
    of_site = {id_: value for id_, value in values.items() if is_of_site(id_)}
    return SwitchPlan(
        writes=tuple(Write(path=path, text=text) for path, text in texts.items()),
        server=discovery.site.plan(of_site, address=address, begun=begun, placement=placement),
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


def _same(one: Value, other: Value | None) -> bool:
    return one == other and type(one) is type(other)  # 1 is not on


def _hint(id_: str) -> str:
    setting = CATALOGUE.get(id_)
    return f"accepted: {setting.accepted}" if setting else ""
