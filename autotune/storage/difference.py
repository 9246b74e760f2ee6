"""What differs between two definitions of one study, key by key, as a person would name the keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from autotune.errors import DefinitionError, Mistake
from autotune.experiment.study import Study

_SHOWN = 25
_ABSENT = object()


def refusal(stored: Study, offered: Study) -> DefinitionError:
    """The error for a study whose definition has changed since it began."""
    differing = tuple(_differences(stored.substance, offered.substance, ""))
    mistakes = [
        Mistake(file=stored.name, key=key, value="", problem=problem, accepted="")
        for key, problem in differing[:_SHOWN]
    ]
    if len(differing) > _SHOWN:
        mistakes.append(
            Mistake(
                file=stored.name,
                key="",
                value="",
                problem=f"and {len(differing) - _SHOWN} more differences",
                accepted="",
            )
        )
    return DefinitionError(
        tuple(mistakes),
        hint=f"samples of another question can't be mixed in: give the study a new name in the file, or go on with the"
        f" stored definition: `autotune resume {stored.name}`",
    )


def _differences(stored: Any, offered: Any, key: str) -> Iterator[tuple[str, str]]:
    if stored == offered:
        return
    if isinstance(stored, dict) and isinstance(offered, dict):
        for name in dict.fromkeys((*stored, *offered)):
            inner = f"{key}.{name}" if key else name
            yield from _differences(stored.get(name, _ABSENT), offered.get(name, _ABSENT), inner)
        return
    if isinstance(stored, list) and isinstance(offered, list):
        ours, theirs = _named(stored), _named(offered)
        if ours is not None and theirs is not None:
            for name in dict.fromkeys((*ours, *theirs)):
                yield from _differences(ours.get(name, _ABSENT), theirs.get(name, _ABSENT), f"{key}[{name}]")
            if list(ours) != list(theirs) and set(ours) == set(theirs):
                yield key, "in another order"
            return
    yield key, f"{_shown(stored)} in the database, {_shown(offered)} in the file"


def _named(items: list[Any]) -> dict[str, Any] | None:
    """Items by the name a person knows them by; None for a list of plain values."""
    named: dict[str, Any] = {}
    for item in items:
        name = _name(item)
        if name is None or name in named:
            return None
        named[name] = item
    return named


def _name(item: Any) -> str | None:
    match item:
        case {"setting": {"id": str(name)}} | {"id": str(name)} | {"path": str(name)}:
            return name
        case {"expression": {"text": str(name)}}:
            return name
        case {"number": int(number)}:
            return f"step {number}"
        case {"name": str(name)} | {"target": str(name)}:
            return name
        case {"workload": str(workload), "metric": str(metric), "bound": str(bound)}:
            return f"{workload} {metric} {bound}"
        case [str(name), _]:
            return name
        case _:
            return None


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    if isinstance(value, dict):
        return "present"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
