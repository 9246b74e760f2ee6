"""What a configuration changes against stock, in texts, by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.report.page import Paragraph, Part, Table
from autotune.space.configuration import Configuration
from autotune.space.setting import Setting
from autotune.space.value import Value, value_text

AS_STOCK = "as stock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting that differs from stock. `was` is "" when the board's own value isn't known."""

    id: str
    family: str
    was: str
    now: str
    changes_service: bool
    why: str


def settings_by_id(study: Study) -> dict[str, Setting]:
    """Every setting this study speaks of, as the study froze it (a later catalogue may say something else)."""
    found = {one.setting.id: one.setting for step in study.hand_tuned.steps for one in step.values}
    found |= {one.setting.id: one.setting for one in study.space.derived}
    found |= {one.setting.id: one.setting for one in study.space.parameters}
    return found


def shown(settings: Mapping[str, Setting], id_: str, value: Value) -> str:
    """A value of a setting with its unit."""
    setting = settings.get(id_)
    return value_text(value) if setting is None else setting.show(value)


def changes(study: Study, stock: Mapping[str, Value], configuration: Configuration) -> tuple[Change, ...]:
    """Only what differs from stock, in the order of the ids."""
    settings = settings_by_id(study)
    return tuple(
        Change(
            id=id_,
            family=id_.partition(":")[0],
            was=shown(settings, id_, stock[id_]) if id_ in stock else "",
            now=shown(settings, id_, value),
            changes_service=id_ in settings and settings[id_].changes_service,
            why=settings[id_].why if id_ in settings else "",
        )
        for id_, value in configuration.against(stock).values
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """A setting with what stands in each further column of a table of settings."""

    id: str
    changes_service: bool
    cells: tuple[str, ...]


def setting_tables(title: str, columns: tuple[str, ...], rows: Sequence[SettingRow]) -> tuple[Table, ...]:
    """One table per family, and those that change what is served apart and marked. `columns`: those after the setting's."""
    quiet = [one for one in rows if not one.changes_service]
    serving = [one for one in rows if one.changes_service]
    heaps = {
        f"{title}: {family}": [one for one in quiet if one.id.partition(":")[0] == family]
        for family in dict.fromkeys(one.id.partition(":")[0] for one in quiet)
    }
    if serving:
        heaps[f"{title}, and this changes WHAT IS SERVED, not only how fast"] = serving
    return tuple(
        Table(title=name, columns=("setting", *columns), rows=tuple((one.id, *one.cells) for one in heap))
        for name, heap in heaps.items()
    )


def changes_parts(title: str, made: Sequence[Change]) -> tuple[Part, ...]:
    """Tables of what one configuration changes."""
    if not made:
        return (Paragraph(title=title, lines=("nothing: it is stock",)),)
    rows = [
        SettingRow(id=one.id, changes_service=one.changes_service, cells=(one.was or "?", one.now))
        for one in made
    ]
    return setting_tables(title, ("stock", "now"), rows)


def differences_parts(
    study: Study, stock: Mapping[str, Value], arms: Mapping[str, Configuration]
) -> tuple[Part, ...]:
    """Tables of all that one of these changes, with a column for each; who changes nothing is named after them."""
    made = {name: changes(study, stock, configuration) for name, configuration in arms.items()}
    every = {one.id: one for heap in made.values() for one in heap}
    now = {name: {one.id: one.now for one in heap} for name, heap in made.items()}
    rows = [
        SettingRow(
            id=id_,
            changes_service=every[id_].changes_service,
            cells=(every[id_].was or "?", *(now[name].get(id_, AS_STOCK) for name in arms)),
        )
        for id_ in sorted(every)
    ]
    idle = tuple(f"{name} changes nothing: it is stock" for name, heap in made.items() if not heap)
    return (*setting_tables("What changes", ("stock", *arms), rows), Paragraph(lines=idle))


def last_night(log: Sequence[Event], night: int | None = None) -> NightBegun | None:
    """How that night began (None: the last one); None when there is none."""
    return next(
        (
            event
            for event in reversed(log)
            if isinstance(event, NightBegun) and (night is None or event.night == night)
        ),
        None,
    )
