"""Reads a hand-tuned sequence: the expert's ordered, cumulative changes.

    title = "Eight steps"
    source = "where the steps and their published gains are from"

    [[step]]                                 # in order; each adds to those before it
    name = "workers"
    why = "..."
    published = 1.109                        # the text's own ratio to the step before; ours is measured
    [step.set]
    "nginx:worker_connections" = 2048
    "nginx:worker_processes" = { rule = "board.server_cpus" }

    [[step.unsupported]]                     # what the step asks for and no settings family here can do
    item = "compiler flags"
    reason = "..."

A value under `set` is written as in a search space, or `{ rule = "..." }`: arithmetic over board.* and workload.*
facts. A setting may be changed again by a later step, but only once in the same step.
"""

from __future__ import annotations

from pathlib import Path

from autotune.definitions.document import read_document
from autotune.definitions.mistakes import Mistakes
from autotune.definitions.nature import refuse_other
from autotune.definitions.settings import find_setting, read_formula, read_value
from autotune.definitions.table import MISSING, Table
from autotune.experiment.study import HandTunedSequence, HandTunedStep, HandTunedValue, UnsupportedItem
from autotune.space.setting import NUMERIC

_MOST_STEPS = 50
_LEAST_RATIO, _LARGEST_RATIO = 0.01, 100.0


def read_sequence(path: Path) -> HandTunedSequence:
    """The sequence in this file. Raises DefinitionError with every mistake."""
    mistakes = Mistakes(str(path))
    top = read_document(path, mistakes)
    refuse_other(top, "hand-tuned sequence")
    top.only("title", "source", "step")
    title = top.text("title", accepted="a line that names the sequence")
    source = top.text("source", accepted="where the steps and their published gains are from")
    tables = top.tables("step", needs="with name, why and set")
    if len(tables) > _MOST_STEPS:
        top.refuse("step", f"{len(tables)} steps", f"at most {_MOST_STEPS}")
    steps = tuple(_step(number, table) for number, table in enumerate(tables[:_MOST_STEPS], start=1))
    _refuse_same_names(steps, tables)
    mistakes.raise_if_any()
    return HandTunedSequence(title=title, source=source, steps=steps)


def _step(number: int, table: Table) -> HandTunedStep:
    table.only("name", "why", "published", "set", "unsupported")
    values = table.table("set")
    unsupported = table.tables("unsupported")
    if not values.content and not unsupported:
        table.refuse("set", MISSING, "what the step changes under [step.set], or [[step.unsupported]] items")
    published = None
    if table.has("published"):
        published = table.number("published", _LEAST_RATIO, _LARGEST_RATIO, default=1.0)
    return HandTunedStep(
        number=number,
        name=table.text("name", accepted="a short name for the step", longest=40),
        values=tuple(found for id_ in values.content if (found := _value(id_, values))),
        unsupported=tuple(_unsupported(item) for item in unsupported),
        published=published,
        why=table.why(),
    )


def _value(id_: str, values: Table) -> HandTunedValue | None:
    setting = find_setting(values, id_, id_)
    if setting is None:
        return None
    if not isinstance(values.content[id_], dict):
        value = read_value(values, id_, setting)
        return None if value is None else HandTunedValue(setting=setting, value=value)
    rule = values.table(id_)
    rule.only("rule")
    expression = read_formula(rule, "rule")
    if expression is None:
        return None
    if expression.ids or not expression.facts:
        rule.refuse(
            "rule",
            "doesn't speak of the board or the workload",
            "arithmetic over facts, such as board.server_cpus",
        )
        return None
    if setting.kind not in NUMERIC:
        rule.refuse("rule", f"gives a number, but this setting is a {setting.kind}", setting.accepted)
        return None
    return HandTunedValue(setting=setting, value=expression)


def _unsupported(table: Table) -> UnsupportedItem:
    table.only("item", "reason")
    return UnsupportedItem(
        id=table.text("item", accepted="what the step asks for", longest=80),
        reason=table.text("reason", accepted="why it can't be done here"),
    )


def _refuse_same_names(steps: tuple[HandTunedStep, ...], tables: tuple[Table, ...]) -> None:
    seen: set[str] = set()
    for step, table in zip(steps, tables, strict=False):
        if step.name and step.name in seen:
            table.refuse("name", "an earlier step has this name", "a name of its own for each step")
        seen.add(step.name)
