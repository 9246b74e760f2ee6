"""A definition file as a TOML document: bounded, decoded, parsed, and cleared of what no definition may hold."""

from __future__ import annotations

import math
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from autotune.definitions.mistakes import Mistakes, show_text
from autotune.definitions.table import Table

LARGEST_BYTES: Final = 256 * 1024
LONGEST_LINE: Final = 2_000  # tomllib takes quadratic time over one key of very many parts
_DUPLICATE: Final = re.compile(r"Cannot (?:declare|overwrite)|[Dd]uplicate|twice")
_PLACE: Final = re.compile(r" \((at line \d+, column \d+|at end of document)\)$")
_WHOLE_NUMBERS: Final = 2**63


def read_document(path: Path, mistakes: Mistakes) -> Table:
    """The file's top table. What is wrong with the file as such is raised at once: nothing else can be told then.

    Raises DefinitionError: missing, not a regular file, too large (not read further), not UTF-8, NUL, no TOML.
    """
    text = _text(path, mistakes)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        accepted = 'TOML, with texts, sizes and times in quotes: low = "64k"'
        mistakes.add("", "", _syntax_problem(problem, text), accepted)
        mistakes.raise_if_any()
        raise
    except (RecursionError, ValueError):  # a number of thousands of digits, or arrays in arrays in arrays
        mistakes.add("", "", "not readable as TOML: a number is too long, or brackets are nested too deep")
        mistakes.raise_if_any()
        raise
    _refuse_unsafe(document, mistakes)
    mistakes.raise_if_any()
    return Table(mistakes, document)


def _text(path: Path, mistakes: Mistakes) -> str:
    content = b""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            mistakes.add("", "", what, "a TOML file")
        else:
            with path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        mistakes.add("", "", "no such file", "a TOML file")
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path itself
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        mistakes.add("", "", f"can't be read: {reason}", "a TOML file")
    if len(content) > LARGEST_BYTES:
        mistakes.add(
            "", "", "too large for a definition", f"at most {LARGEST_BYTES // 1024} KiB of UTF-8 text"
        )
    mistakes.raise_if_any()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        mistakes.add("", "", f"not UTF-8: byte 0x{content[problem.start]:02x} in line {line}", "UTF-8 text")
        mistakes.raise_if_any()
        raise
    for number, line_text in enumerate(text.split("\n"), start=1):
        if "\0" in line_text:
            mistakes.add("", "", f"a NUL byte in line {number}", "UTF-8 text")
        if len(line_text) > LONGEST_LINE:
            mistakes.add(
                "", "", f"line {number} is too long", f"lines of at most {LONGEST_LINE:,} characters"
            )
    mistakes.raise_if_any()
    return text


def _syntax_problem(problem: tomllib.TOMLDecodeError, text: str) -> str:
    message = str(problem)
    place = _PLACE.search(message)
    told = show_text(_PLACE.sub("", message))
    last_line = text.rpartition("\n")[2]
    end = f"line {text.count(chr(10)) + 1}, column {len(last_line) + 1}"
    where = place[1].removeprefix("at ") if place and place[1] != "at end of document" else end
    if _DUPLICATE.search(message):
        return f"{where}: the same key or table stands here a second time ({told})"
    return f"{where}: not TOML ({told[:1].lower()}{told[1:]})"


def _refuse_unsafe(document: Mapping[str, object], mistakes: Mistakes) -> None:
    """Refuses what could do harm or make no sense wherever it stands: control characters, NaN, numbers beyond 64 bits."""
    for key, value in _leaves(document):
        match value:
            case str() if character := _control_character(value):
                mistakes.add(key, value, f"holds the control character {character}", "plain text")
            case float() if not math.isfinite(value):
                mistakes.add(key, value, "not a finite number", "a number that is one")
            case int() if abs(value) >= _WHOLE_NUMBERS:
                mistakes.add(key, value, "does not fit in 64 bits", "a smaller number")
            case _:
                pass


def _leaves(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every value with its key path, without recursion: depth is the author's to choose. Keys count as values too."""
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case dict():
                yield from ((path, name) for name in value)
                waiting += [(f"{path}.{name}" if path else name, item) for name, item in value.items()]
            case list():
                waiting += [(f"{path}[{number}]", item) for number, item in enumerate(value, start=1)]
            case _:
                yield path, value


def _control_character(text: str) -> str:
    """The first character that moves a cursor, hides or reorders text; line ends and tabs are for `Table.text` to judge."""
    for character in text:
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"U+{ord(character):04X}"
    return ""
