"""The mistakes of one file, collected until the whole file has been looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from autotune.errors import DefinitionError, Mistake

MOST: Final = 100
_LONGEST_SHOWN: Final = 80


class Mistakes:
    """Collects; `raise_if_any` raises them together as one DefinitionError."""

    def __init__(self, file: str) -> None:
        self.file = show_text(file, longest=300)
        self._found: list[Mistake] = []
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._found) + self._left_out

    @property
    def full(self) -> bool:
        """Whether further ones are only counted, so that a hostile file can't make us write a book."""
        return len(self._found) >= MOST

    def add(self, key: str, value: object, problem: str, accepted: str = "") -> None:
        if self.full:
            self._left_out += 1
            return
        self._found.append(
            Mistake(
                file=self.file,
                key=show_text(key, longest=160),
                value="" if value == "" else show_value(value),
                problem=problem,
                accepted=accepted,
            )
        )

    def take(self, others: Iterable[Mistake]) -> None:
        """Adds another file's mistakes to these."""
        for other in others:
            if self.full:
                self._left_out += 1
            else:
                self._found.append(other)

    def raise_if_any(self) -> None:
        if not self._found:
            return
        found = list(self._found)
        if self._left_out:
            found.append(
                Mistake(
                    file=self.file,
                    key="",
                    value="",
                    problem=f"and {self._left_out} more mistakes",
                    accepted="",
                )
            )
        files = ", ".join(dict.fromkeys(one.file for one in found))
        noun = "this" if len(found) == 1 else "these"
        raise DefinitionError(tuple(found), hint=f"Correct {noun} in {files}; nothing has been changed.")


def show_text(text: str, *, longest: int = _LONGEST_SHOWN) -> str:
    """The text on one line, safe for a terminal, cut when it is long."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


def show_value(value: object) -> str:
    """What the file holds, as TOML would write it, shortened."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{show_text(value)}"'
        case dict():
            return "a table"
        case list():
            inner = ", ".join(
                show_value(one) if not isinstance(one, (list, dict)) else "…" for one in value[:8]
            )
            return f"[{show_text(inner)}{', …' if len(value) > 8 else ''}]"
        case int() if abs(value) >= 10**40:  # str() refuses numbers of thousands of digits
            return "a very large number"
        case _:
            return show_text(str(value))
