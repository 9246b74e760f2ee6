"""The user's nginx configuration, file by file, and edits of it that leave every other byte as it was.

Read as nginx's own reader does it (ngx_conf_read_token): quotes and # mean something only where a word begins, `${`
opens no block, a backslash keeps the next character. Positions are kept, so that an edit is a cut at known places and
never a file built anew.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from autotune.errors import BoardUnfit

_BLANK = " \t\r\n"
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n", '"': '"', "'": "'", "\\": "\\"}
# Blocks whose lines are directives of nginx; those of map, geo, types and of modules nobody knows are data.
CONTEXTS = frozenset(
    {"events", "http", "server", "location", "upstream", "stream", "mail", "if", "limit_except"}
)
_DEEPEST = 40
_MOST_DIRECTIVES = 100_000
_LUA_BLOCK = re.compile(r".*_by_lua_block")
# The longest comment, string or plain text; what is no such is passed by character.
_LUA_TOKEN = re.compile(
    r"""--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}]|[^-\[{}"']+|.""",
    re.DOTALL,
)


class Word(NamedTuple):
    """A word as nginx understands it, and where it stands in its file."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDirective:
    """A directive of the user's file `path`. `start` to `end` is all of it; `inside` to `close` what its braces hold."""

    path: str
    line: int
    words: tuple[Word, ...]
    end: int
    inside: int = -1
    close: int = -1
    block: tuple[OwnDirective, ...] | None = None

    @property
    def name(self) -> str:
        return self.words[0].text

    @property
    def args(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words[1:])

    @property
    def first(self) -> str:
        """The argument that this directive can't be without. Raises BoardUnfit."""
        if not self.args:
            raise BoardUnfit(f"{self.place}: `{self.name}` names nothing", hint=f"nginx -t -c {self.path}")
        return self.args[0]

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


class Found(NamedTuple):
    """A directive and the blocks around it, outermost first, across includes."""

    directive: OwnDirective
    around: tuple[OwnDirective, ...]

    @property
    def context(self) -> str:
        """The names of the blocks around it: "", "http", "http server location"."""
        return " ".join(one.name for one in self.around)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTree:
    """All files of a configuration by real path. `names`: real paths by the names that nginx opened them under."""

    main: str
    texts: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)
    parsed: Mapping[str, tuple[OwnDirective, ...]]

    @classmethod
    def of(cls, main: str, texts: Mapping[str, str], names: Mapping[str, str] | None = None) -> OwnTree:
        """`main`: the file nginx starts from; `texts` begin with it, in the order in which nginx opened them.

        Raises BoardUnfit naming file and line of what can't be read.
        """
        if not texts:
            raise BoardUnfit(f"nothing of {main} was read", hint=f"nginx -t -c {main}")
        names = {main: next(iter(texts)), **(names or {})}
        return cls(
            main=main,
            texts=texts,
            names=names,
            parsed={path: parse(text, path) for path, text in texts.items()},
        )

    def walk(self) -> Iterator[Found]:
        """Every directive in the order in which nginx meets them, includes opened where they stand."""
        for number, found in enumerate(self._below(self.parsed[self.names[self.main]], ())):
            if number > _MOST_DIRECTIVES:
                raise BoardUnfit(
                    f"{self.main} has more than {_MOST_DIRECTIVES:,} directives, or files that include each other",
                    hint=f"see the include lines: nginx -T -c {self.main}",
                )
            yield found

    def _below(
        self, directives: tuple[OwnDirective, ...], around: tuple[OwnDirective, ...], depth: int = 0
    ) -> Iterator[Found]:
        for one in directives:
            yield Found(one, around)
            if one.name == "include" and one.block is None and depth < _DEEPEST:
                for path in self.included(one):
                    yield from self._below(self.parsed[path], around, depth + 1)
            elif one.block is not None and one.name in CONTEXTS:
                yield from self._below(one.block, (*around, one), depth)

    def included(self, include: OwnDirective) -> tuple[str, ...]:
        """The real paths of the files that an include opens, in nginx's order."""
        pattern = posixpath.normpath(posixpath.join(posixpath.dirname(self.main), include.first))
        by_name = {**{path: path for path in self.texts}, **self.names}
        found = sorted(name for name in by_name if _matches(name, pattern))
        paths = tuple(dict.fromkeys(by_name[name] for name in found if by_name[name] in self.texts))
        return paths or self._behind_links(include)

    def _behind_links(self, include: OwnDirective) -> tuple[str, ...]:
        """Where no names were told: the files that no include names, as they follow in the order of opening."""
        if self._names_told:
            return ()
        named, unnamed_of = set(), []
        for path in self.texts:
            for one in _flat(self.parsed[path]):
                if one.name != "include" or one.block is not None:
                    continue
                pattern = posixpath.normpath(posixpath.join(posixpath.dirname(self.main), one.first))
                hits = [file for file in self.texts if _matches(file, pattern)]
                named.update(hits)
                if not hits:
                    unnamed_of.append(one)
        orphans = tuple(path for path in list(self.texts)[1:] if path not in named)
        globs = [one for one in unnamed_of if "sites-enabled" in one.first] or unnamed_of
        return orphans if globs and globs[0] is include else ()

    @property
    def _names_told(self) -> bool:
        return len(self.names) > 1


def _matches(name: str, pattern: str) -> bool:
    """As glob(3): a * crosses no slash and finds no hidden file."""
    if name == pattern:
        return True
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        fnmatchcase(part, want) and (not part.startswith(".") or want.startswith("."))
        for part, want in zip(parts, wanted, strict=True)
    )


def _flat(directives: Iterable[OwnDirective]) -> Iterator[OwnDirective]:
    for one in directives:
        yield one
        if one.block is not None and one.name in CONTEXTS:
            yield from _flat(one.block)


# -- reading ------------------------------------------------------------------------------------------------------------


def parse(text: str, path: str) -> tuple[OwnDirective, ...]:
    """The directives of one file, includes unopened. Raises BoardUnfit with file and line."""
    return _Reader(text, path).block(0)


class _Reader:
    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._path = path
        self._at = 0
        self.close = -1

    def block(self, depth: int) -> tuple[OwnDirective, ...]:
        """Up to the end of the file, or to the brace that closes this block (`self.close`)."""
        found: list[OwnDirective] = []
        words: list[Word] = []
        while (token := self._token()) is not None:
            mark, word = token
            if mark == "":
                words.append(word)
                continue
            if mark == "}":
                if words or not depth:
                    raise self._wrong("unexpected }", word.start)
                self.close = word.start
                return tuple(found)
            if not words:
                raise self._wrong(f"unexpected {mark}", word.start)
            found.append(self._directive(words, mark, word, depth))
            words = []
        if words or depth:
            raise self._wrong("it ends in the middle of a directive or block", len(self._text))
        return tuple(found)

    def _directive(self, words: list[Word], mark: str, word: Word, depth: int) -> OwnDirective:
        line = self._line(words[0].start)
        if mark == ";":
            return OwnDirective(path=self._path, line=line, words=tuple(words), end=word.end)
        if _LUA_BLOCK.fullmatch(words[0].text):
            self._skip_lua(word)
            return OwnDirective(path=self._path, line=line, words=tuple(words), end=self._at)
        if depth >= _DEEPEST:
            raise self._wrong("blocks too deep", word.start)
        block = self.block(depth + 1)
        return OwnDirective(
            path=self._path,
            line=line,
            words=tuple(words),
            end=self._at,
            inside=word.end,
            close=self.close,
            block=block,
        )

    def _skip_lua(self, brace: Word) -> None:
        """Past the brace that ends a block of Lua; those in its strings and comments are none."""
        depth = 1
        while depth and (found := _LUA_TOKEN.match(self._text, self._at)) is not None:
            self._at = found.end()
            depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth:
            raise self._wrong("a block of Lua that never ends", brace.start)

    def _token(self) -> tuple[str, Word] | None:
        """The next word (mark "") or one of ; { }; None at the end."""
        text, size = self._text, len(self._text)
        while self._at < size:
            one = text[self._at]
            if one in _BLANK:
                self._at += 1
            elif one == "#":
                end = text.find("\n", self._at)
                self._at = size if end < 0 else end + 1
            elif one in ";{}":
                self._at += 1
                return one, Word(one, self._at - 1, self._at)
            else:
                return "", self._quoted(one) if one in "\"'" else self._plain()
        return None

    def _quoted(self, quote: str) -> Word:
        text, start, at = self._text, self._at, self._at + 1
        while at < len(text) and text[at] != quote:
            at += 2 if text[at] == "\\" else 1
        if at >= len(text):
            raise self._wrong(f"a {quote} that never ends", start)
        self._at = at + 1
        if self._at < len(text) and text[self._at] not in _BLANK + ";{)":
            raise self._wrong(f"unexpected {text[self._at]!r} behind {quote}", self._at)
        return Word(_understood(text[start + 1 : at]), start, self._at)

    def _plain(self) -> Word:
        text, start, at = self._text, self._at, self._at
        while at < len(text):
            one = text[at]
            if one == "\\" or (one == "$" and text[at + 1 : at + 2] == "{"):
                at += 2
            elif one in _BLANK or one in ";{":
                break
            else:
                at += 1
        self._at = min(at, len(text))
        return Word(_understood(text[start : self._at]), start, self._at)

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _wrong(self, problem: str, at: int) -> BoardUnfit:
        return BoardUnfit(
            f"your nginx configuration can't be read: {self._path}:{self._line(at)}: {problem}",
            hint="see `nginx -t`",
        )


def _understood(raw: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[0]), raw, flags=re.DOTALL)


# -- editing ------------------------------------------------------------------------------------------------------------


class Edits:
    """Cuts at known places of the files. A place that is cut twice (a file that several blocks include) is cut once."""

    def __init__(self, tree: OwnTree) -> None:
        self._tree = tree
        self._cuts: dict[tuple[str, int, int], str] = {}
        self._added: dict[tuple[str, int], list[str]] = {}

    def replace(self, directive: OwnDirective, text: str) -> None:
        """Another directive in its place; "" takes it away."""
        key = (directive.path, directive.start, directive.end)
        for path, start, end in [*self._cuts]:
            if path == key[0] and key[1] <= start and end <= key[2]:
                del self._cuts[path, start, end]
        self._cuts[key] = text

    def argument(self, directive: OwnDirective, number: int, text: str) -> None:
        """Another text in place of the argument of this number, from 0."""
        word = directive.words[number + 1]
        self._cuts[directive.path, word.start, word.end] = text

    def into(self, block: OwnDirective, text: str) -> None:
        """A directive at the beginning of a block, on the line of its brace: no line of the user's gets another number."""
        self._add(block.path, block.inside, " " + text)

    def at_end_of(self, block: OwnDirective, text: str) -> None:
        # Behind a comment on the last line it would be part of it.
        self._add(block.path, block.close, text + " ")

    def into_main(self, text: str) -> None:
        """A directive before the first of the main file."""
        path = self._tree.names[self._tree.main]
        self._add(path, self._tree.parsed[path][0].start, text + " ")

    def _add(self, path: str, at: int, text: str) -> None:
        there = self._added.setdefault((path, at), [])
        if text not in there:
            there.append(text)

    def texts(self) -> dict[str, str]:
        """The files that are other than the user's, whole."""
        pieces: dict[str, list[tuple[int, int, str]]] = {}
        for (path, start, end), text in self._cuts.items():
            pieces.setdefault(path, []).append((start, end, text))
        for (path, at), added in self._added.items():
            pieces.setdefault(path, []).append((at, at, "".join(added)))
        return {
            path: cut
            for path, cuts in pieces.items()
            if (cut := _cut(self._tree.texts[path], cuts)) != self._tree.texts[path]
        }


def _cut(text: str, cuts: list[tuple[int, int, str]]) -> str:
    done, parts = 0, []
    for start, end, new in sorted(cuts):
        if start < done:
            continue
        parts += [text[done:start], new]
        done = end
    return "".join(parts) + text[done:]
