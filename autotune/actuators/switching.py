"""One configuration as what the agent is to do, and what the board made of it as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.actuators import nginx, sysctl, thp
from autotune.actuators.discovery import Discovery, kernel_path
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
    """Kernel files to write, the tested nginx's whole configuration, and how many workers must appear."""

    writes: tuple[Write, ...]
    conf: str
    workers: int


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
    if discovery.base is None:
        raise BoardUnfit(discovery.base_problem, hint="see `autotune doctor`")
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
    writes = tuple(write for id_, value in values.items() if (write := _write(id_, value)) is not None)
    of_nginx = {id_: value for id_, value in values.items() if id_.startswith("nginx:")}
    site = nginx.Site(address=address, port=study.server.port, begun=begun, placement=placement)
    return SwitchPlan(
        writes=writes,
        conf=nginx.server_text(of_nginx, discovery.nginx_stock, discovery.base, site),
        workers=nginx.worker_count({**discovery.nginx_stock, **of_nginx}, discovery.online_cpus),
    )


def effects_of(configuration: Configuration, discovery: Discovery, effects: Sequence[Effect]) -> Effective:
    """What the board made of a configuration.

    A value the kernel rounded or cut without a word is a Doubt; a refusal is in `refused`.
    """
    inside = dict(configuration.values)
    ids = {kernel_path(CATALOGUE[id_]): id_ for id_ in discovery.stock if id_ not in discovery.missing}
    doubts = []
    refused = []
    for effect in effects:
        id_ = ids.get(effect.path, "")
        if id_ and effect.error:
            refused.append(f"{id_}: the kernel refused {effect.requested!r}: {effect.error}")
        if id_ not in inside or effect.error:
            continue
        asked = inside[id_]
        try:
            inside[id_] = _read_back(id_, effect.effective)
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


def _write(id_: str, value: Value) -> Write | None:
    setting = CATALOGUE[id_]
    match setting.family:
        case "sysctl":
            return sysctl.write(setting, value)
        case "thp":
            return thp.write(setting, value)
        case _:
            return None


def _read_back(id_: str, text: str) -> Value:
    setting = CATALOGUE[id_]
    return thp.stock_value(setting, text) if setting.family == "thp" else sysctl.stock_value(setting, text)


def _hint(id_: str) -> str:
    setting = CATALOGUE.get(id_)
    return f"accepted: {setting.accepted}" if setting else ""
