"""A record out of JSON that a machine sent: every field there, each of its own type, nothing else.

What comes in is data of a machine that may be broken or worse. So a number is finite and within 64 bits, a count is not
negative, and a text can be stored and sent anywhere; what steers a terminal is left in it, and made visible where it is
shown (report.page.printable).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

_T = TypeVar("_T")
_Read: TypeAlias = Callable[[object, str], Any]

MOST_CPUS: Final = 8192
"""As many as a kernel can be built for."""
_LARGEST: Final = 2**63
_SHOWN: Final = 40
_MAY_BE_NEGATIVE: Final = frozenset({"exit_code"})
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_COUNT: Final = re.compile("[0-9]{1,18}")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,5}")


class WrongShapeError(ValueError):
    """What is not as it should be, and where."""


def read_record(kind: type[_T], body: object, where: str = "") -> _T:
    """The record of this kind in an object of JSON. Raises WrongShapeError."""
    if not isinstance(body, dict):
        raise _wrong(where, "not an object")
    readers: Mapping[str, _Read] = _readers(kind)  # type: ignore[arg-type]  # a class can be hashed
    if body.keys() != readers.keys():
        odd = sorted(str(key)[:_SHOWN] for key in body.keys() ^ readers.keys())
        raise _wrong(where, f"other fields than expected: {', '.join(odd[:5])}")
    place = f"{where}." if where else ""
    return kind(**{name: read(body[name], place + name) for name, read in readers.items()})


def is_count(text: str) -> bool:
    """Whether int() makes a count of it: a text of a board may hold other scripts' digits, or thousands of them."""
    return _COUNT.fullmatch(text) is not None


def storable(text: str) -> str:
    """The text without halves of characters, which no file and no database takes."""
    return _SURROGATES.sub("\ufffd", text)


@functools.cache
def _readers(kind: type[Any]) -> Mapping[str, _Read]:
    hints = typing.get_type_hints(kind)
    return {one.name: _reader(hints[one.name], one.name) for one in dataclasses.fields(kind)}


def _reader(kind: Any, name: str) -> _Read:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return functools.partial(_word, arguments)
    if origin is tuple:
        return functools.partial(_items, _reader(arguments[0], name))
    if origin is Mapping:
        return functools.partial(_entries, arguments[0], _reader(arguments[1], name))
    if origin in (types.UnionType, typing.Union):
        return functools.partial(_optional, _reader(arguments[0], name))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return functools.partial(read_record, kind)
    if kind is int:
        return _number if name in _MAY_BE_NEGATIVE else _count
    return _PLAIN[kind]


def _wrong(where: str, problem: str) -> WrongShapeError:
    return WrongShapeError(f"{where or 'the reply'}: {problem}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "not a text")
    return storable(value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "neither true nor false")
    return value


def _number(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _LARGEST:
        raise _wrong(where, "not a whole number of 64 bits")
    return value


def _count(value: object, where: str) -> int:
    if (count := _number(value, where)) < 0:
        raise _wrong(where, f"a count of {count}")
    return count


def _real(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(where, "not a number")
    if abs(value) >= _LARGEST or not math.isfinite(value):
        raise _wrong(where, "not a number that can be")
    return float(value)


def _scalar(value: object, where: str) -> object:
    if isinstance(value, bool):
        return value
    return _number(value, where) if isinstance(value, int) else _text(value, where)


def _word(words: tuple[str, ...], value: object, where: str) -> str:
    if not isinstance(value, str) or value not in words:
        raise _wrong(where, f"none of {', '.join(repr(word) for word in words)}")
    return value


def _items(read: _Read, value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "not a list")
    return tuple(read(one, f"{where}[{number}]") for number, one in enumerate(value))


def _entries(key_kind: type, read: _Read, value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "not an object")
    if key_kind is int and not all(_INDEX.fullmatch(key) for key in value):
        raise _wrong(where, "a key that is no number")
    return {
        int(key) if key_kind is int else storable(key): read(one, f"{where}.{key[:_SHOWN]}")
        for key, one in value.items()
    }


def _optional(read: _Read, value: object, where: str) -> Any:
    return None if value is None else read(value, where)


_PLAIN: Final[Mapping[type, _Read]] = {
    str: _text,
    bool: _flag,
    float: _real,
    object: _scalar,
}
