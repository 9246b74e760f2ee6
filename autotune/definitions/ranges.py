"""How far a parameter may go: a list of values, a range, or one range per element of a vector."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.definitions.mistakes import show_text
from autotune.definitions.settings import parse_value, read_amount, read_value
from autotune.definitions.table import MISSING, Table
from autotune.space.parameter import Scale, Span
from autotune.space.setting import NUMERIC, Kind, Setting
from autotune.space.value import Value

_MOST_VALUES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The part of a Parameter that says which values it may take."""

    values: tuple[Value, ...] = ()
    span: Span | None = None
    spans: tuple[Span, ...] = ()
    specials: tuple[str, ...] = ()


def read_range(table: Table, setting: Setting) -> Range:
    """The values this parameter may take; what is wrong is noted (then the result means nothing)."""
    specials = _specials(table, setting)
    if table.has("values"):
        for name in ("low", "high", "scale", "step", "special"):
            if table.has(name):
                table.refuse(
                    name, "a list of values leaves no place for it", "either values, or low and high"
                )
        return Range(values=_values(table, setting))
    if setting.kind is Kind.VECTOR:
        return Range(spans=_vector(table, setting))
    if setting.kind in NUMERIC:
        return Range(span=_span(table, setting, may_be_one=bool(specials)), specials=specials)
    for name in ("low", "high", "scale", "step", "special"):
        if table.has(name):
            table.refuse(name, f"a {setting.kind} has no range", setting.accepted)
    if setting.kind is Kind.CHOICE and setting.choices:
        return Range(values=setting.choices)
    if setting.kind is not Kind.SWITCH:
        table.refuse("values", MISSING, f"a list, each {setting.accepted}")
    return Range()


def _specials(table: Table, setting: Setting) -> tuple[str, ...]:
    raw = table.content.get("special", [])
    words = [raw] if isinstance(raw, str) else raw
    accepted = (
        " or ".join(f'"{word}"' for word in setting.specials) or "nothing: this setting has no special words"
    )
    if not isinstance(words, list):
        table.refuse("special", "neither a word nor a list of words", accepted)
        return ()
    strangers = [word for word in words if word not in setting.specials]
    if strangers:
        table.refuse("special", "not a special word of this setting", accepted)
        return ()
    if len(set(words)) < len(words):
        table.refuse("special", "a word stands here twice", accepted)
    return tuple(words)


def _values(table: Table, setting: Setting) -> tuple[Value, ...]:
    raw = table.content["values"]
    if not isinstance(raw, list) or len(raw) > _MOST_VALUES:
        table.refuse(
            "values",
            "not a list" if not isinstance(raw, list) else "too many values",
            f"a list of 2 to {_MOST_VALUES}",
        )
        return ()
    values: list[Value] = []
    for number, item in enumerate(raw, start=1):
        try:
            value = parse_value(setting, item)
        except ValueError as problem:
            table.mistakes.add(
                f"{table.key('values')}[{number}]",
                item,
                show_text(str(problem), longest=200),
                setting.accepted,
            )
            continue
        if value in values:
            table.mistakes.add(f"{table.key('values')}[{number}]", item, "the same value a second time")
        values.append(value)
    if len(raw) < 2:
        table.refuse("values", "nothing to choose from", f"at least two values, each {setting.accepted}")
    return tuple(values)


def _span(table: Table, setting: Setting, *, may_be_one: bool) -> Span | None:
    ends: list[float] = []
    for name in ("low", "high"):
        if not table.has(name):
            table.refuse(name, MISSING, setting.accepted)
            continue
        value = read_value(table, name, setting)
        if isinstance(value, str):
            table.refuse(
                name,
                "a word can't be the end of a range",
                f'a number; words belong under special = ["{value}"]',
            )
        elif isinstance(value, (int, float)):
            ends.append(value)
    scale = Scale(table.word("scale", tuple(Scale), default=Scale.LINEAR))
    if len(ends) < 2:
        return None
    low, high = ends
    if low > high:
        table.refuse("low", f"above high = {setting.show_limit(high)}", "low at most as large as high")
    elif low == high and not may_be_one:
        table.refuse("low", "the same as high: nothing may vary", "low below high")
    if scale is Scale.LOG and low <= 0:
        table.refuse("low", "a log scale can't begin at 0 or below", 'low above 0, or scale = "linear"')
    return Span(low=low, high=high, scale=scale, step=_step(table, setting, low, high, scale))


def _step(table: Table, setting: Setting, low: float, high: float, scale: Scale) -> float | None:
    if not table.has("step"):
        return None
    if scale is Scale.LOG:
        table.refuse(
            "step", "a log scale has no even steps", 'either step, or scale = "log"; or a list of values'
        )
        return None
    step = read_amount(table, "step", setting)
    if step is None or low >= high:
        return None
    steps = (high - low) / step
    if step > high - low or abs(steps - round(steps)) > 1e-9 * max(steps, 1.0):
        span = f"{setting.show_limit(low)} to {setting.show_limit(high)}"
        table.refuse(
            "step", f"does not fit a whole number of times into {span}", "a step that divides high - low"
        )
    return step


def _vector(table: Table, setting: Setting) -> tuple[Span, ...]:
    for name in ("step", "special"):
        if table.has(name):
            table.refuse(name, "a vector has none", "low, high and scale")
    scale = Scale(table.word("scale", tuple(Scale), default=Scale.LINEAR))
    ends: list[tuple[int, ...]] = []
    for name in ("low", "high"):
        if not table.has(name):
            table.refuse(name, MISSING, f"a list of {setting.accepted}")
            continue
        value = read_value(table, name, setting)
        if isinstance(value, tuple):
            ends.append(value)
    if len(ends) < 2:
        return ()
    for number, (low, high) in enumerate(zip(*ends, strict=True), start=1):
        if low > high:
            table.refuse("low", f"element {number} is above that of high", "low at most as large as high")
        if scale is Scale.LOG and low <= 0:
            table.refuse("low", f"element {number}: a log scale can't begin at 0 or below", "numbers above 0")
    if ends[0] == ends[1]:
        table.refuse("low", "the same as high: nothing may vary", "low below high in at least one element")
    return tuple(Span(low=low, high=high, scale=scale) for low, high in zip(*ends, strict=True))
