"""Settings and their values as definitions name them: looked up in the catalogue, parsed within its hard limits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from autotune.definitions.mistakes import show_text
from autotune.definitions.table import LONGEST_QUANTITY, Table
from autotune.experiment.facts import FACTS
from autotune.space.catalogue import CATALOGUE, denied_reason
from autotune.space.expression import Expression
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value, parse_size, parse_time

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_LONGEST_VALUE: Final = 128
_AN_ID: Final = 'a setting of the catalogue, such as "nginx:sendfile"'
_TYPICAL: Final = 4


def find_setting(table: Table, name: str, id_: str) -> Setting | None:
    """The catalogue's entry, or nothing after noting at `name` that there is none: denied (with the reason) or unknown."""
    if id_ in CATALOGUE:
        return CATALOGUE[id_]
    shown = show_text(id_)
    if reason := denied_reason(id_):
        table.refuse(name, f"{shown} is never touched: {reason}", "")
    else:
        table.refuse(name, f"unknown setting{table.suggestion(id_, CATALOGUE)}", _AN_ID)
    return None


def parse_value(setting: Setting, raw: object) -> Value:
    """The value as `Setting.parse` reads it, for input that may be anything. Raises ValueError with a sentence."""
    match raw:
        case str() if len(raw) > _LONGEST_VALUE:
            raise ValueError(f"longer than {_LONGEST_VALUE} characters")
        case list() if len(raw) > _LONGEST_VALUE:
            raise ValueError(f"more than {_LONGEST_VALUE} elements")
        case list() if not all(isinstance(one, (int, str)) and not isinstance(one, bool) for one in raw):
            raise ValueError("not a list of numbers")
        case bool() | int() | float() | str() | list():
            pass
        case _:
            raise ValueError("neither a word, a number, true or false, nor a list")
    try:
        value = setting.parse(raw)
    except OverflowError:
        raise ValueError("too large") from None
    except ValueError as problem:
        if "invalid literal" in str(problem):  # int()'s own words for "0xzz"
            raise ValueError("not a number") from None
        raise
    if isinstance(value, str) and value not in setting.specials and not _WORD.fullmatch(value):
        raise ValueError("not a word of letters, digits, dots and dashes")
    return value


def read_value(table: Table, name: str, setting: Setting) -> Value | None:
    """The value at this key within the setting's hard limits, or nothing after noting what is wrong."""
    try:
        return parse_value(setting, table.content[name])
    except ValueError as problem:
        table.refuse(name, show_text(str(problem), longest=200), setting.accepted)
        return None


def read_amount(table: Table, name: str, setting: Setting) -> float | None:
    """A difference between two values of the setting (a step), in its unit."""
    raw = table.content[name]
    example = {Kind.SIZE: "a size such as 4k", Kind.TIME: "a time such as 10ms"}.get(
        setting.kind, "a number above 0"
    )
    amount = 0.0
    try:
        if setting.kind is Kind.SIZE and isinstance(raw, str):
            amount = parse_size(raw[:LONGEST_QUANTITY])
        elif setting.kind is Kind.TIME and isinstance(raw, str):
            amount = parse_time(raw[:LONGEST_QUANTITY], setting.unit)
        elif isinstance(raw, bool) or not isinstance(raw, (int, float)) or setting.kind is Kind.TIME:
            table.refuse(name, "not a step of this setting", example)
            return None
        else:
            amount = raw
    except ValueError as problem:
        table.refuse(name, show_text(str(problem)), example)
        return None
    if amount <= 0:
        table.refuse(name, "not above 0", example)
        return None
    if setting.kind is not Kind.FLOAT and amount != int(amount):
        table.refuse(name, "not a whole number", example)
        return None
    return amount


def read_expression(table: Table, name: str, *, accepted: str) -> Expression | None:
    """The expression at this key, its ids in the catalogue, its facts known, its words possible, its parts fitting."""
    text = table.text(name, accepted=accepted)
    if not text:
        return None
    try:
        expression = Expression(text=text)
    except ValidationError as problem:
        first = problem.errors()[0]["msg"].removeprefix("Value error, ")
        table.refuse(name, show_text(first, longest=200), accepted)
        return None
    before = len(table.mistakes)
    settings = [find_setting(table, name, id_) for id_ in expression.ids]
    for fact in expression.facts:
        if fact not in FACTS:
            table.refuse(
                name, f"unknown fact {fact}{table.suggestion(fact, FACTS)}", "the facts " + ", ".join(FACTS)
            )
    if len(table.mistakes) > before:
        return None
    known = [setting for setting in settings if setting is not None]
    _refuse_impossible_words(table, name, expression, known)
    values: dict[str, Value] = {setting.id: _typical(setting) for setting in known}
    fault = expression.fault({**values, **dict.fromkeys(FACTS, _TYPICAL)})
    if fault and len(table.mistakes) == before:
        table.refuse(name, f"can never be answered: {show_text(fault, longest=200)}", accepted)
    return expression if len(table.mistakes) == before else None


def read_condition(table: Table, name: str) -> Expression | None:
    """An expression that answers yes or no."""
    accepted = 'a comparison such as "nginx:sendfile == on"'
    expression = read_expression(table, name, accepted=accepted)
    if expression is not None and not expression.is_condition:
        table.refuse(name, "not a comparison", accepted)
        return None
    return expression


def read_formula(table: Table, name: str) -> Expression | None:
    """An expression that gives a number."""
    accepted = 'arithmetic such as "2 * nginx:worker_connections + 1024"'
    expression = read_expression(table, name, accepted=accepted)
    if expression is not None and (expression.is_condition or expression.words):
        table.refuse(name, "not arithmetic", accepted)
        return None
    return expression


def _refuse_impossible_words(
    table: Table, name: str, expression: Expression, settings: Iterable[Setting]
) -> None:
    possible: list[str] = []
    for setting in settings:
        if setting.kind is Kind.CHOICE and not setting.choices:
            return  # the words are the board's
        possible += ("on", "off") if setting.kind is Kind.SWITCH else ()
        possible += setting.choices + setting.specials
    for word in expression.words:
        if word not in possible:
            accepted = ", ".join(dict.fromkeys(possible)) or "numbers"
            table.refuse(name, f"no setting named here can be {show_text(word)!r}", accepted)


def _typical(setting: Setting) -> Value:
    """A value to try expressions on."""
    match setting.kind:
        case Kind.SWITCH:
            return True
        case Kind.CHOICE:
            return setting.choices[0] if setting.choices else "word"
        case Kind.VECTOR:
            return (_TYPICAL,) * setting.length
        case _:
            return _TYPICAL
