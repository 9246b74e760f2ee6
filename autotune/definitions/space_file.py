"""Reads a search space: which settings may vary, how far, and why.

    title = "What can matter when client and server share a machine"

    [parameter."nginx:sendfile"]            # on/off: needs no range
    why = "..."

    [parameter."nginx:sendfile_max_chunk"]
    low = "64k"                             # within the catalogue's hard limits: a file can only narrow them
    high = "4m"
    scale = "log"                           # or "linear", the default
    when = "nginx:sendfile == on"           # otherwise it stays at stock
    why = "..."

    [[rule]]
    keep = "nginx:listen.backlog <= sysctl:net.core.somaxconn"
    why = "..."

    [derived."nginx:worker_rlimit_nofile"]
    value = "2 * nginx:worker_connections + 1024"
    why = "..."

Keys of a parameter:

- `why` (required): what it is expected to do here. One sentence.
- `low`, `high`: the range, both ends included. Sizes and times carry their unit. For a vector (tcp_rmem) both are lists
  with one number per element; an element with the same number twice is held there.
- `scale`: "linear" or "log". `step`: the distance between neighbouring values; must fit between low and high.
- `values`: a list instead of a range. Words that the catalogue lists need no `values` when all of them may be tried.
- `special`: words offered beside the numbers ("off", "unset"): one or a list.
- `when`: a condition over other settings, board.* and workload.* facts. Conditions may not run in a circle.

Keys of a rule: `keep` (a comparison every configuration has to hold) and `why`. Keys of a derived setting: `value`
(arithmetic; the result is rounded and held within the setting's limits) and `why`. Order in the file doesn't matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from autotune.definitions.document import read_document
from autotune.definitions.mistakes import Mistakes
from autotune.definitions.nature import refuse_other
from autotune.definitions.ranges import read_range
from autotune.definitions.settings import find_setting, read_condition, read_formula
from autotune.definitions.table import Table
from autotune.space.catalogue import CATALOGUE, overlapping
from autotune.space.expression import Expression
from autotune.space.parameter import Derived, Parameter, Rule
from autotune.space.search_space import SearchSpace
from autotune.space.setting import NUMERIC, Kind

_PARAMETER_KEYS = ("why", "low", "high", "scale", "step", "values", "special", "when")
# The kernel keeps one of each pair: writing it turns the other off.
_SAME_VALUE = (
    ("sysctl:vm.dirty_ratio", "sysctl:vm.dirty_bytes"),
    ("sysctl:vm.dirty_background_ratio", "sysctl:vm.dirty_background_bytes"),
)

One = TypeVar("One", Parameter, Derived)


def read_space(path: Path) -> SearchSpace:
    """The search space in this file. Raises DefinitionError with every mistake."""
    mistakes = Mistakes(str(path))
    top = read_document(path, mistakes)
    refuse_other(top, "search space")
    top.only("title", "parameter", "rule", "derived")
    title = top.text("title", accepted="a line that says what this space is for")
    parameters = [one for id_, table in top.named_tables("parameter") for one in _parameter(id_, table)]
    derived = [one for id_, table in top.named_tables("derived") for one in _derived(id_, table)]
    rules = [(table, one) for table in top.tables("rule") for one in _rule(table)]
    if not top.content.get("parameter"):
        top.refuse("parameter", "nothing may vary", 'at least one table headed [parameter."family:key"]')
    _refuse_strangers(top, parameters, rules)
    ordered = _ordered(top, "parameter", parameters, {one.id: one.when for one in parameters})
    computed = _ordered(top, "derived", derived, {one.setting.id: one.expression for one in derived})
    mistakes.raise_if_any()
    return SearchSpace(
        title=title,
        parameters=tuple(ordered),
        rules=tuple(rule for _, rule in rules),
        derived=tuple(computed),
        context=tuple(CATALOGUE[id_] for id_ in _context(ordered, [rule for _, rule in rules], computed)),
    )


def _parameter(id_: str, table: Table) -> tuple[Parameter, ...]:
    """The parameter, or nothing after noting what is wrong with it."""
    before = len(table.mistakes)
    table.only(*_PARAMETER_KEYS)
    why = table.why()
    when = read_condition(table, "when") if table.has("when") else None
    setting = find_setting(table, "", id_)
    if setting is None:
        return ()
    if not setting.searchable:
        table.refuse(
            "",
            "a setting that is not for searching",
            "a value under [derived], or in the hand-tuned sequence",
        )
    if when is not None and id_ in when.ids:
        table.refuse("when", "a condition on itself", "a condition on other settings")
    shape = read_range(table, setting)
    if len(table.mistakes) > before:
        return ()
    parameter = Parameter(
        setting=setting,
        values=shape.values,
        span=shape.span,
        spans=shape.spans,
        specials=shape.specials,
        when=when,
        why=why,
    )
    return (parameter,)


def _derived(id_: str, table: Table) -> tuple[Derived, ...]:
    before = len(table.mistakes)
    table.only("value", "why")
    why = table.why()
    setting = find_setting(table, "", id_)
    expression = read_formula(table, "value")
    if setting is not None and (setting.kind not in NUMERIC or setting.kind is Kind.FLOAT):
        table.refuse("", f"a {setting.kind}: only whole numbers, sizes and times can be computed", "")
    if setting is None or expression is None or len(table.mistakes) > before:
        return ()
    return (Derived(setting=setting, expression=expression, why=why),)


def _rule(table: Table) -> tuple[Rule, ...]:
    before = len(table.mistakes)
    table.only("keep", "why")
    why = table.why()
    expression = read_condition(table, "keep")
    if expression is None or len(table.mistakes) > before:
        return ()
    return (Rule(expression=expression, why=why),)


def _refuse_strangers(
    top: Table, parameters: Sequence[Parameter], rules: Sequence[tuple[Table, Rule]]
) -> None:
    """What only shows when entries are seen together; names count even where the entry itself is wrong."""
    varying, computed = (set(dict(top.named_tables(group, noted=True))) for group in ("parameter", "derived"))
    for id_ in sorted(varying & computed):
        top.table("derived").refuse(id_, "a parameter too: a setting stands in one place only")
    for one, other in _SAME_VALUE:
        if {one, other} <= varying | computed:
            group = "parameter" if other in varying else "derived"
            top.table(group).refuse(other, f"another name for the value behind {one}", "one of the two")
    for one, other in overlapping(id_ for id_ in varying | computed if id_ in CATALOGUE):
        top.table("parameter").refuse(other, f"a part of what {one} sets", "one of the two")
    for parameter in parameters:
        for id_ in parameter.when.ids if parameter.when else ():
            if id_ in computed:
                table = top.table("parameter").table(parameter.id)
                table.refuse(
                    "when", f"speaks of {id_}, which is computed afterwards", "a condition on parameters"
                )
    for table, rule in rules:
        if not (varying | computed).intersection(rule.expression.ids):
            table.refuse("keep", "speaks of nothing that varies in this space", "a comparison of parameters")


def _ordered(
    top: Table, group: str, entries: Iterable[One], expressions: Mapping[str, Expression | None]
) -> list[One]:
    """The entries in the file's order, except that what an expression names comes before it. Notes a circle."""
    by_id = {_id(entry): entry for entry in entries}
    needs = {
        id_: [other for other in (expression.ids if expression else ()) if other in by_id]
        for id_, expression in expressions.items()
    }
    done: dict[str, One] = {}
    for start in by_id:
        trail: list[str] = [start]
        while trail:
            waiting = [id_ for id_ in needs[trail[-1]] if id_ not in done]
            circle: list[str] = [id_ for id_ in waiting if id_ in trail]
            if circle:
                members = [*trail[trail.index(circle[0]) :], circle[0]]
                table = top.table(group).table(circle[0])
                key = "when" if group == "parameter" else "value"
                table.refuse(key, "a circle: " + " -> ".join(members), "an order with a beginning")
                return []
            if waiting:
                trail.append(waiting[0])
            else:
                done.setdefault(trail[-1], by_id[trail[-1]])
                trail.pop()
    return list(done.values())


def _id(entry: Parameter | Derived) -> str:
    return entry.setting.id


def _context(
    parameters: Sequence[Parameter], rules: Sequence[Rule], derived: Sequence[Derived]
) -> tuple[str, ...]:
    """Ids that expressions name and that don't vary here."""
    expressions = [one.when for one in parameters if one.when] + [rule.expression for rule in rules]
    expressions += [one.expression for one in derived]
    mine = {one.id for one in parameters} | {one.setting.id for one in derived}
    return tuple(dict.fromkeys(id_ for one in expressions for id_ in one.ids if id_ not in mine))
