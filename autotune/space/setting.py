"""A setting: one entry of the built-in catalogue, with the hard limits no file can widen."""

from __future__ import annotations

import itertools
import math
import re
from enum import StrEnum
from typing import TypeGuard

from autotune.space.record import Record
from autotune.space.value import Value, parse_size, parse_time, size_text, value_text


class Kind(StrEnum):
    """How a value is written and how a sampler may walk through it."""

    SWITCH = "switch"
    INTEGER = "integer"
    FLOAT = "float"
    SIZE = "size"
    TIME = "time"
    CHOICE = "choice"
    CPU_MASK = "cpu mask"
    VECTOR = "vector"


MOST_CPUS = 1024
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,256}")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?(e-?[0-9]{1,3})?")

NUMERIC = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.SIZE, Kind.TIME})


class Setting(Record):
    """A known setting of a known family.

    `low` and `high` are hard limits in `unit` (inclusive; for a vector, of every element). `choices` are the only
    words a CHOICE may take; empty means "whatever the board lists". `specials` are words a numeric setting may take
    beside its numbers ("unset", "off"). `bites` says when a new value takes effect. `loopback` is the reason why the
    setting is pointless when the load goes over loopback (empty: it isn't); `pinned` likewise for a server that is
    left with one CPU. `effect` is a guess from public guides, order: 1 KB / 100 KB / PHP. `instances` is a pattern for
    the part of the key before its first dot, when the setting stands for one of every device ("" when it doesn't).
    `apart`: how far the last element of a vector must lie above the first.
    """

    id: str
    instances: str = ""
    kind: Kind
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    length: int = 1
    apart: int = 0
    specials: tuple[str, ...] = ()
    bites: str = ""
    changes_service: bool = False
    expert: bool = False
    searchable: bool = True
    loopback: str = ""
    pinned: str = ""
    why: str
    effect: str = ""
    source: str = ""

    @property
    def family(self) -> str:
        return self.id.partition(":")[0]

    @property
    def key(self) -> str:
        return self.id.partition(":")[2]

    @property
    def instance(self) -> str:
        """The device that the setting is of ("policy4" of cpufreq:policy4.governor)."""
        return self.key.partition(".")[0]

    @property
    def part(self) -> str:
        """The key without the device ("ondemand.up_threshold")."""
        return self.key.partition(".")[2]

    def parse(self, raw: object) -> Value:
        """The value a person wrote in TOML (a string with a unit, a number, a boolean, a list).

        Raises ValueError with a sentence that says what is wrong; `accepted` says what would be right.
        """
        value = self._read(raw)
        self.check(value)
        return value

    def check(self, value: Value) -> None:
        """Raises ValueError when the value breaks the hard limits of this setting."""
        if isinstance(value, str) and value in self.specials:
            return
        match self.kind:
            case Kind.SWITCH:
                if not isinstance(value, bool):
                    raise ValueError(f"{value_text(value)!r} is neither on nor off")
            case Kind.CHOICE:
                if not isinstance(value, str):
                    raise ValueError(f"{value_text(value)!r} is not a word")
                if self.choices and value not in self.choices:
                    raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}")
            case Kind.CPU_MASK:
                if not _is_whole(value) or not 0 <= value < 1 << MOST_CPUS:
                    raise ValueError(f"{value_text(value)!r} is not a CPU mask")
            case Kind.VECTOR:
                if not isinstance(value, tuple) or len(value) != self.length:
                    raise ValueError(f"{value_text(value)!r} is not {self.length} numbers")
                for item in value:
                    if not _is_whole(item):
                        raise ValueError(f"{item!r} is not a whole number")
                    self._check_number(item)
                if any(left > right for left, right in itertools.pairwise(value)):
                    raise ValueError(f"{value_text(value)!r} must not decrease from left to right")
                if value[-1] - value[0] < self.apart:
                    raise ValueError(
                        f"{value_text(value)!r}: the last must be at least {self.apart} above the first"
                    )
            case Kind.FLOAT | Kind.INTEGER | Kind.SIZE | Kind.TIME:
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise ValueError(f"{value_text(value)!r} is not a number")
                if self.kind is not Kind.FLOAT and not isinstance(value, int):
                    raise ValueError(f"{value} is not a whole number")
                self._check_number(value)

    @property
    def accepted(self) -> str:
        """What a person may write, in words."""
        low, high = self.show_limit(self.low), self.show_limit(self.high)
        span = f"from {low} to {high}" if low and high else (f"at least {low}" if low else f"at most {high}")
        words = {
            Kind.SWITCH: 'true, false, "on" or "off"',
            Kind.CHOICE: "one of " + ", ".join(self.choices)
            if self.choices
            else "one of the words the board lists",
            Kind.CPU_MASK: 'a list of CPU numbers or a hexadecimal mask such as "0xf0"',
            Kind.VECTOR: f"{self.length} numbers that don't decrease, each {span}",
            Kind.INTEGER: f"a whole number {span}",
            Kind.FLOAT: f"a number {span}",
            Kind.SIZE: f"a size {span}, such as 64k",
            Kind.TIME: f"a time {span}, such as 500ms or 2s",
        }[self.kind]
        return words + "".join(f', or "{special}"' for special in self.specials)

    def show(self, value: Value) -> str:
        """The value with its unit, as a person reads it."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value_text(value)
        if self.kind is Kind.SIZE:
            return size_text(int(value))
        if self.kind is Kind.CPU_MASK:
            return hex(int(value))
        return f"{value}{self.unit}" if self.kind is Kind.TIME else value_text(value)

    def show_limit(self, limit: float | None) -> str:
        if limit is None:
            return ""
        return self.show(limit if self.kind is Kind.FLOAT else int(limit))

    def _check_number(self, number: float) -> None:
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a number that can be set")
        if self.low is not None and number < self.low:
            raise ValueError(f"{self.show_limit(number)} is below the limit {self.show_limit(self.low)}")
        if self.high is not None and number > self.high:
            raise ValueError(f"{self.show_limit(number)} is above the limit {self.show_limit(self.high)}")

    def _read(self, raw: object) -> Value:
        if isinstance(raw, str) and raw in self.specials:
            return raw
        match self.kind:
            case Kind.SWITCH:
                if isinstance(raw, str) and raw in ("on", "off"):
                    return raw == "on"
                if isinstance(raw, bool):
                    return raw
            case Kind.CPU_MASK:
                if isinstance(raw, str) and _HEXADECIMAL.fullmatch(raw):
                    return int(raw, 16)
                if isinstance(raw, int) and not isinstance(raw, bool):
                    return raw
                if isinstance(raw, list) and all(_is_whole(cpu) and 0 <= cpu < MOST_CPUS for cpu in raw):
                    return sum(1 << int(cpu) for cpu in set(raw))
                if isinstance(raw, str):
                    raise ValueError(f"{raw!r} is not a number such as 0xf0")
            case Kind.VECTOR:
                items = raw.split() if isinstance(raw, str) else raw
                if isinstance(items, (list, tuple)) and all(
                    isinstance(one, str) or _is_whole(one) for one in items
                ):
                    return tuple(parse_size(one) if isinstance(one, str) else int(one) for one in items)
            case Kind.SIZE if isinstance(raw, str):
                return parse_size(raw)
            case Kind.TIME if isinstance(raw, str):
                return parse_time(raw, self.unit)
            case Kind.TIME if isinstance(raw, int) and not isinstance(raw, bool) and raw:
                raise ValueError(f"the number {raw} has no unit")
            case Kind.FLOAT if _is_whole(raw) or (isinstance(raw, str) and _NUMBER.fullmatch(raw)):
                return float(raw)
            case Kind.INTEGER if isinstance(raw, str) and _WHOLE.fullmatch(raw):
                return int(raw)
            case _:
                pass
        if isinstance(raw, (bool, int, float, str)):
            return raw
        raise ValueError(f"{raw!r} can't be read as a {self.kind}")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
