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


def changes_parts(title: str, made: Sequence[Change]) -> tuple[Part, ...]:
    """Tables of changes: one per family, and those that change what is served apart and marked."""
    if not made:
        return (Paragraph(title=title, lines=("nothing: it is stock",)),)
    quiet = [one for one in made if not one.changes_service]
    parts: list[Part] = []
    for family in dict.fromkeys(one.family for one in quiet):
        rows = tuple((one.id, one.was or "?", one.now) for one in quiet if one.family == family)
        parts.append(Table(title=f"{title}: {family}", columns=("setting", "stock", "now"), rows=rows))
    serving = tuple((one.id, one.was or "?", one.now) for one in made if one.changes_service)
    if serving:
        parts.append(
            Table(
                title=f"{title}, and this changes WHAT IS SERVED, not only how fast",
                columns=("setting", "stock", "now"),
                rows=serving,
            )
        )
    return tuple(parts)


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
