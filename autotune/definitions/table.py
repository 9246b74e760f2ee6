"""One TOML table, read key by key. A mistake is noted and a stand-in returned, so that the reading can go on.

Stand-ins never leave the room: every reader calls `Mistakes.raise_if_any` before it hands anything out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from autotune.definitions.mistakes import Mistakes
from autotune.space.value import parse_size, parse_time, size_text

_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+$")
_DANGEROUS: Final = (
    "\n",
    "\r",
    "\t",
    "\0",
    "../",
    "..",
    "//",
    "$(",
    "`",
    "$",
    ";",
    "{",
    "}",
    "\\",
    '"',
    "'",
    " ",
)
LONGEST_QUANTITY: Final = 24
MISSING: Final = "missing"


class Table:
    """A table of the file and where it stands."""

    def __init__(self, mistakes: Mistakes, content: Mapping[str, object], path: str = "") -> None:
        self.mistakes = mistakes
        self.content = content
        self.path = path

    def key(self, name: str) -> str:
        """Where this key stands, as it would be written: `parameter."nginx:sendfile".low`. "": the table itself."""
        if not name:
            return self.path
        written = name if _BARE_KEY.match(name) else f'"{name}"'
        return f"{self.path}.{written}" if self.path else written

    def has(self, name: str) -> bool:
        return name in self.content

    def refuse(self, name: str, problem: str, accepted: str = "") -> None:
        """Notes a mistake about this key, with the value it has."""
        self.mistakes.add(self.key(name), self.content.get(name, "") if name else "", problem, accepted)

    def only(self, *names: str) -> None:
        """Notes every key that is none of these, with the likely one."""
        for name in self.content:
            if name not in names:
                self.refuse(
                    name, f"unknown key{self.suggestion(name, names)}", "the keys " + ", ".join(names)
                )

    def suggestion(self, name: str, names: Iterable[str]) -> str:
        """` (did you mean "x"?)` or nothing."""
        if self.mistakes.full or len(name) > 100:
            return ""
        close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
        return f' (did you mean "{close[0]}"?)' if close else ""

    def text(
        self,
        name: str,
        *,
        default: str | None = None,
        pattern: re.Pattern[str] | None = None,
        accepted: str = "a text",
        longest: int = 1_000,
    ) -> str:
        """A text on one line (several lines are joined when no pattern is asked). No default: it must be there."""
        if not self.has(name):
            if default is None:
                self.refuse(name, MISSING, accepted)
            return default or ""
        raw = self.content[name]
        if not isinstance(raw, str):
            self.refuse(name, "not a text", accepted)
            return default or ""
        if pattern is None:
            raw = " ".join(raw.split())
        problem = ""
        if not raw and default is None:
            problem = "empty"
        elif len(raw) > longest:
            problem = f"longer than {longest} characters"
        elif pattern is not None and not pattern.fullmatch(raw):
            problem = self._why_not(raw)
        if problem:
            self.refuse(name, problem, accepted)
            return default or ""
        return raw

    def why(self) -> str:
        """The reason an entry must carry."""
        return self.text("why", accepted="one sentence that says what it is expected to do here")

    def word(self, name: str, words: tuple[str, ...], *, default: str | None = None) -> str:
        """One of a few words."""
        accepted = "one of " + ", ".join(f'"{word}"' for word in words)
        found = self.text(name, default=default or words[0], accepted=accepted)
        if not self.has(name) and default is None:
            self.refuse(name, MISSING, accepted)
        if found not in words:
            suggestion = self.suggestion(found, words)
            self.refuse(name, f"not one of the words that fit here{suggestion}", accepted)
            return default or words[0]
        return found

    def flag(self, name: str, *, default: bool) -> bool:
        found = self.content.get(name, default)
        if not isinstance(found, bool):
            self.refuse(name, "neither true nor false", "true or false, without quotes")
            return default
        return found

    def whole(self, name: str, low: int, high: int, *, default: int | None = None) -> int:
        """A whole number within these limits."""
        accepted = f"a whole number from {low} to {high}"
        if not self.has(name):
            if default is None:
                self.refuse(name, MISSING, accepted)
            return low if default is None else default
        found = self.content[name]
        problem = ""
        if isinstance(found, bool) or not isinstance(found, int):
            problem = "not a whole number"
        elif not low <= found <= high:
            problem = f"{'below' if found < low else 'above'} the limit"
        if problem:
            self.refuse(name, problem, accepted)
            return low
        return found if isinstance(found, int) else low

    def number(self, name: str, low: float, high: float, *, default: float) -> float:
        """A number within these limits."""
        found = self.content.get(name, default)
        accepted = f"a number from {low:g} to {high:g}"
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            self.refuse(name, "not a number", accepted)
        elif not low <= found <= high:
            self.refuse(name, f"{'below' if found < low else 'above'} the limit", accepted)
        else:
            return float(found)
        return default

    def seconds(self, name: str, low_s: float, high_s: float, *, default_s: float) -> float:
        """A duration with its unit, in seconds."""
        found = self.content.get(name, f"{default_s:g}s")
        accepted = (
            f"a time with its unit from {_time_text(low_s)} to {_time_text(high_s)}, such as 500ms or 2s"
        )
        problem = ""
        seconds = default_s
        if not isinstance(found, str):
            is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
            problem = f"the number {found} has no unit" if is_number else "not a time"
        else:
            try:
                seconds = parse_time(found[: LONGEST_QUANTITY + 1], "us") / 1_000_000
            except ValueError:
                problem = "not a time"
            else:
                if not low_s <= seconds <= high_s:
                    problem = f"{'below' if seconds < low_s else 'above'} the limit"
        if problem:
            self.refuse(name, problem, accepted)
            return default_s
        return seconds

    def size_bytes(self, name: str, low: int, high: int) -> int:
        """A size with its unit (or plain bytes), in bytes."""
        accepted = f"a size from {size_text(low)} to {size_text(high)}, such as 1k or 100k"
        found = self.content.get(name, "")
        size = low
        problem = "" if self.has(name) else MISSING
        if isinstance(found, str) and not problem:
            try:
                size = parse_size(found[: LONGEST_QUANTITY + 1])
            except ValueError:
                problem = "not a size"
        elif isinstance(found, int) and not isinstance(found, bool):
            size = found
        elif not problem:
            problem = "not a size"
        if not problem and not low <= size <= high:
            problem = f"{'below' if size < low else 'above'} the limit"
        if problem:
            self.refuse(name, problem, accepted)
            return low
        return size

    def table(self, name: str, *, needs: str = "") -> Table:
        """The table of this name; `needs` says what a required one must hold. A missing one is reported once."""
        found = self.content.get(name, {})
        if isinstance(found, dict) and (self.has(name) or not needs):
            return Table(self.mistakes, found, self.key(name))
        self.refuse(
            name, "not a table" if self.has(name) else MISSING, f"a table [{self.key(name)}] {needs}".rstrip()
        )
        return Table(Mistakes(self.mistakes.file), {}, self.key(name))

    def tables(self, name: str, *, needs: str = "") -> tuple[Table, ...]:
        """The tables of an array `[[name]]`, in order, counted from 1 in messages."""
        found = self.content.get(name, [])
        header = f"[[{self.key(name)}]]"
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            self.refuse(name, "not an array of tables", f"tables headed {header} {needs}".rstrip())
            return ()
        if not found and needs:
            self.refuse(name, MISSING, f"at least one table headed {header} {needs}")
        return tuple(
            Table(self.mistakes, one, f"{self.key(name)}[{number}]")
            for number, one in enumerate(found, start=1)
        )

    def named_tables(self, name: str, *, noted: bool = False) -> tuple[tuple[str, Table], ...]:
        """The tables `[name."..."]` with their names, in order. `noted`: what is no table has been noted before."""
        if noted and not isinstance(self.content.get(name), dict):
            return ()
        group = self.table(name)
        entries = []
        for key, content in group.content.items():
            if isinstance(content, dict):
                entries.append((key, Table(self.mistakes, content, group.key(key))))
            elif not noted:
                group.refuse(key, "not a table", f"a table headed [{group.path}.{quoted(key)}]")
        return tuple(entries)

    @staticmethod
    def _why_not(raw: str) -> str:
        for one in _DANGEROUS:
            if one in raw:
                return f"holds {one!r}, which has no place here"
        return "not written as it must be"


def quoted(name: str) -> str:
    return name if _BARE_KEY.match(name) else f'"{name}"'


def _time_text(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds:g}s" if seconds < 600 else f"{seconds / 60:g}m"
