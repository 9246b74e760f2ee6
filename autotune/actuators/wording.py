r"""How one typed value is written for nginx and for the kernel, and what is never written at all.

One serialiser per kind. Nothing that could end a directive, start another or reach a shell passes: NUL, newline,
`;{}$#"'\`, blanks and anything that isn't ASCII are refused before a text is put together.
"""

from __future__ import annotations

import re
from typing import TypeVar

from autotune.errors import SettingUnsupported
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value, parse_size

_LONGEST = 64
_WORD = re.compile(r"[A-Za-z0-9_+.\-]+", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9_+.,:@=~/\-]*", re.ASCII)
_ADDRESS = re.compile(r"(1?\d?\d|2[01]\d|22[0-3])(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", re.ASCII)
_NGINX_TIME = re.compile(r"(\d+)(ms|s|m|h|d|w|M|y)?")
_TIME_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "M": 30 * 86_400_000,
    "y": 365 * 86_400_000,
}
_UNIT_MS = {"ms": 1, "s": 1_000}

_Given = TypeVar("_Given", bound=Value)


def checked(setting: Setting, value: _Given) -> _Given:
    """The value, when it keeps the setting's hard limits; raises SettingUnsupported otherwise."""
    try:
        setting.check(value)
    except ValueError as problem:
        raise SettingUnsupported(f"{setting.id}: {problem}", hint=f"accepted: {setting.accepted}") from None
    return value


def safe_word(setting: Setting, word: str) -> str:
    """The word, when it is a plain one; raises SettingUnsupported otherwise."""
    if len(word) > _LONGEST or not _WORD.fullmatch(word):
        raise SettingUnsupported(
            f"{setting.id}: {word[:_LONGEST]!r} is not a plain word", hint=f"accepted: {setting.accepted}"
        )
    return word


def safe_path(path: str) -> str:
    """The path, when it can stand in an nginx configuration as it is; raises SettingUnsupported otherwise."""
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise SettingUnsupported(
            f"the path {path!r} can't stand in an nginx configuration",
            hint="use a directory whose name has only letters, digits and . _ - + @",
        )
    return path


def safe_address(address: str) -> str:
    """The address, when it is one machine's IPv4 address; raises SettingUnsupported otherwise."""
    if not _ADDRESS.fullmatch(address) or address.startswith("0."):
        raise SettingUnsupported(f"{address!r} is not an IPv4 address such as 127.0.0.2")
    return address


def nginx_word(setting: Setting, value: Value) -> str:
    """The value as one argument of an nginx directive. Raises SettingUnsupported."""
    checked(setting, value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return safe_word(setting, value)
    if isinstance(value, tuple):
        raise SettingUnsupported(f"{setting.id}: nginx takes no vectors")
    match setting.kind:
        case Kind.SIZE:
            return _nginx_size(int(value))
        case Kind.TIME:
            return f"{value}{setting.unit}"
        case Kind.CPU_MASK:
            return f"{int(value):b}"
        case _:
            return str(value)


def nginx_value(setting: Setting, word: str) -> Value:
    """The value of one argument of an nginx directive. Raises ValueError when the setting can't hold it."""
    if word in setting.specials:
        return word
    match setting.kind:
        case Kind.SWITCH if word in ("on", "off"):
            return word == "on"
        case Kind.SIZE:
            return parse_size(word)
        case Kind.TIME:
            return _nginx_time(word, setting.unit)
        case Kind.CHOICE if word in setting.choices:
            return word
        case Kind.INTEGER:
            return int(word)
        case _:
            raise ValueError(f"{word!r} can't be read as a {setting.kind}")


def kernel_text(setting: Setting, value: Value) -> str:
    """The value as the kernel's file takes it. Raises SettingUnsupported."""
    checked(setting, value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return safe_word(setting, str(value))


def kernel_value(setting: Setting, text: str) -> Value:
    """The value in the text of a kernel file. Raises ValueError when the setting can't hold it."""
    words = text.split()
    match setting.kind:
        case Kind.VECTOR:
            if len(words) != setting.length:
                raise ValueError(f"{text.strip()!r} is not {setting.length} numbers")
            return tuple(int(word) for word in words)
        case Kind.SWITCH if words in (["0"], ["1"]):
            return words == ["1"]
        case Kind.CHOICE:
            bracketed = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
            return (bracketed or words)[0] if len(bracketed or words) == 1 else _unreadable(setting, text)
        case Kind.INTEGER | Kind.SIZE | Kind.TIME if len(words) == 1:
            return int(words[0])
        case _:
            return _unreadable(setting, text)


def _unreadable(setting: Setting, text: str) -> Value:
    raise ValueError(f"{text.strip()!r} can't be read as a {setting.kind}")


def _nginx_size(size_bytes: int) -> str:
    # Only offsets may end in g; k and m are understood everywhere.
    for suffix, factor in (("m", 1 << 20), ("k", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{suffix}"
    return str(size_bytes)


def _nginx_time(word: str, unit: str) -> int:
    parts = _NGINX_TIME.findall(word)
    if not parts or "".join(number + suffix for number, suffix in parts) != word:
        raise ValueError(f"{word!r} is not a time")
    total_ms = sum(int(number) * _TIME_MS[suffix or "s"] for number, suffix in parts)
    if total_ms % _UNIT_MS[unit]:
        raise ValueError(f"{word!r} is not a whole number of {unit}")
    return total_ms // _UNIT_MS[unit]
