"""One value of one setting, and the texts people write it in.

A value is `bool` for on/off, `int` for whole numbers (sizes in bytes; times in the setting's own unit), `float`,
`str` for a choice or a special word such as "unset", or a tuple of ints for a vector such as tcp_rmem.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | tuple[int, ...]

_SIZE = re.compile(r"^(\d+)\s*([kKmMgG]?)(?:i?[bB])?$", re.ASCII)
_TIME = re.compile(r"^(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)$", re.ASCII)
_SIZE_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def parse_size(text: str) -> int:
    """Bytes of "64k", "1m", "4096"; k, m, g are powers of 1024 as in nginx. Raises ValueError."""
    match = _SIZE.match(text.strip())
    if match is None:
        message = f"{text!r} is not a size such as 64k, 1m or 4096"
        raise ValueError(message)
    return int(match[1]) * _SIZE_FACTOR[match[2].lower()]


def parse_time(text: str, unit: str) -> int:
    """Whole number of `unit` ("us", "ms" or "s") in "500ms" or "2s". Raises ValueError when it isn't whole."""
    match = _TIME.match(text.strip())
    if match is None:
        message = f"{text!r} is not a time such as 500ms or 2s"
        raise ValueError(message)
    exact = Fraction(match[1]) * _TIME_US[match[2]] / _TIME_US[unit]
    if exact.denominator != 1:
        message = f"{text!r} is not a whole number of {unit}"
        raise ValueError(message)
    return int(exact)


def size_text(size_bytes: int) -> str:
    """The shortest exact nginx form: 65536 -> "64k"."""
    for suffix, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{suffix}"
    return str(size_bytes)


def value_text(value: Value) -> str:
    """The value as a person reads it: on/off, plain numbers, vectors with spaces."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return str(value)
