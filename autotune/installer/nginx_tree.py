"""The user's nginx configuration with the place of every word, and edits that leave every other byte as it was.

Read as nginx reads it (see agent/nginx_conf.py), includes opened where they stand. What can't be told for certain is refused.
"""

from __future__ import annotations

import glob
import os
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from autotune.agent.faults import Fault
from autotune.agent.nginx_conf import TOKEN

CONTEXTS = ("events", "http", "server", "location", "upstream", "if", "limit_except")
_DEEPEST = 40
_CAP = 4 << 20
MARK = "  # autotune"
"""Behind each line that is new."""


class Word(NamedTuple):
    """As it stands in its file, quotes and all, and where."""

    text: str
    start: int
    end: int


class Directive(NamedTuple):
    """`end` is behind its semicolon or closing brace, `inside` behind its opening one; -1 without a block."""

    path: str
    line: int
    words: Tuple[Word, ...]
    end: int
    inside: int
    block: Optional[Tuple["Directive", ...]]

    @property
    def name(self) -> str:
        return self.words[0].text

    @property
    def args(self) -> Tuple[str, ...]:
        return tuple(word.text for word in self.words[1:])

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


class Found(NamedTuple):
    """A directive and the blocks around it, outermost first."""

    directive: Directive
    around: Tuple[Directive, ...]

    @property
    def context(self) -> str:
        return " ".join(one.name for one in self.around)


class Tree(NamedTuple):
    """The files by real path, as text, and every directive in nginx's order."""

    main: str
    texts: Dict[str, str]
    found: List[Found]

    def of(self, context: str, name: str) -> List[Directive]:
        return [one.directive for one in self.found if one.context == context and one.directive.name == name]

    def block(self, name: str) -> Directive:
        """The one block of this name at the top. Raises Fault."""
        there = [one for one in self.of("", name) if one.block is not None]
        if len(there) != 1:
            raise Fault("refused", f"{self.main} has {len(there)} {name} blocks, so it isn't edited")
        return there[0]


def read_tree(main: str) -> Tree:
    """Raises Fault naming file and line of what can't be read for certain."""
    texts: Dict[str, str] = {}
    found: List[Found] = []
    folder = os.path.dirname(main)

    def walk(directives: Tuple[Directive, ...], around: Tuple[Directive, ...], depth: int) -> None:
        for one in directives:
            found.append(Found(one, around))
            if one.name == "include" and one.block is None:
                if depth > _DEEPEST or len(one.args) != 1:
                    raise Fault("refused", f"{one.place}: an include that can't be followed")
                for path in sorted(glob.glob(os.path.join(folder, _plain(one.args[0], one)))):
                    walk(opened(path), around, depth + 1)
            elif one.block is not None and one.name in CONTEXTS:
                walk(one.block, (*around, one), depth)

    def opened(path: str) -> Tuple[Directive, ...]:
        real = os.path.realpath(path)
        if real not in texts:
            texts[real] = _text(real)
        return parse(texts[real], real)

    walk(opened(main), (), 0)
    return Tree(os.path.realpath(main), texts, found)


def _plain(word: str, of: Directive) -> str:
    if word[:1] in "\"'":
        word = word[1:-1]
    if "\\" in word or "$" in word:
        raise Fault("refused", f"{of.place}: an include that can't be followed")
    return word


def _text(path: str) -> str:
    try:
        # Bytes that are no UTF-8 come back as they were; no line ending is changed.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read(_CAP + 1)
    except OSError as problem:
        raise Fault("not permitted", f"{path}: {problem.strerror}", "run as root") from None
    if len(text) > _CAP:
        raise Fault("refused", f"{path} is larger than {_CAP >> 20} MiB")
    return text


def parse(text: str, path: str) -> Tuple[Directive, ...]:
    """The directives of one file. Raises Fault."""
    return _block(_tokens(text, path), text, path, 0)[0]


def _tokens(text: str, path: str) -> Iterator[Tuple[str, Word]]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            line = text.count("\n", 0, at) + 1
            raise Fault("refused", f"{path}:{line}: this can't be read for certain, so it isn't edited")
        if match["end"]:
            yield match["end"], Word(match["end"], at, match.end())
        elif not match[0].isspace() and not match[0].startswith("#"):
            yield "", Word(match[0], at, match.end())
        at = match.end()


def _block(
    tokens: Iterator[Tuple[str, Word]], text: str, path: str, depth: int
) -> Tuple[Tuple[Directive, ...], int]:
    """Up to the brace that closes it, and where that ends."""
    found: List[Directive] = []
    words: List[Word] = []
    for mark, word in tokens:
        if not mark:
            words.append(word)
            continue
        line = text.count("\n", 0, words[0].start if words else word.start) + 1
        if mark == "}" and depth and not words:
            return tuple(found), word.end
        if mark == "}" or not words or depth > _DEEPEST or words[0].text.endswith("_by_lua_block"):
            raise Fault("refused", f"{path}:{line}: this can't be read for certain, so it isn't edited")
        if mark == ";":
            found.append(Directive(path, line, tuple(words), word.end, -1, None))
        else:
            inner, end = _block(tokens, text, path, depth + 1)
            found.append(Directive(path, line, tuple(words), end, word.end, inner))
        words = []
    if words or depth:
        raise Fault("refused", f"{path}: it ends in the middle of a directive")
    return tuple(found), len(text)


class Edits:
    """Changes at known places; a file that is included twice is changed once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._cuts: Dict[Tuple[str, int, int], str] = {}
        self._added: Dict[Tuple[str, int], List[str]] = {}

    def replace(self, directive: Directive, text: str) -> None:
        """Another text in its place, from its first word to its semicolon."""
        self._cuts[directive.path, directive.start, directive.end] = text

    def remove(self, directive: Directive) -> None:
        """Takes it away, with its line when nothing else stands there."""
        text = self._tree.texts[directive.path]
        start, end = directive.start, directive.end
        before = text.rfind("\n", 0, start) + 1
        after = text.find("\n", end)
        after = len(text) if after < 0 else after
        if not text[before:start].strip() and not text[end:after].strip():
            start, end = before, min(after + 1, len(text))
        self._cuts[directive.path, start, end] = ""

    def into(self, block: Directive, text: str) -> None:
        """A line of its own at the beginning of a block."""
        self._add(block.path, block.inside, f"\n    {text}{self._mark(block.path, block.inside)}")

    def behind(self, last: Directive, text: str) -> None:
        """A line of its own behind a directive."""
        self._add(last.path, last.end, f"\n        {text}{self._mark(last.path, last.end)}")

    def above(self, directive: Directive, text: str) -> None:
        """A line of its own above a directive of the top level."""
        self._add(directive.path, directive.start, f"{text}{MARK}\n")

    def _mark(self, path: str, at: int) -> str:
        """None where more of the user's stands on that line: it would be part of the comment."""
        rest = self._tree.texts[path][at:].partition("\n")[0].strip()
        return "" if rest and not rest.startswith("#") else MARK

    def _add(self, path: str, at: int, text: str) -> None:
        there = self._added.setdefault((path, at), [])
        if text not in there:
            there.append(text)

    def texts(self) -> Dict[str, str]:
        """The files that are other than they were, by real path."""
        cuts = [(path, start, end, text) for (path, start, end), text in self._cuts.items()]
        cuts += [(path, at, at, "".join(texts)) for (path, at), texts in self._added.items()]
        made = dict(self._tree.texts)
        for path, start, end, text in sorted(cuts, key=lambda cut: (cut[0], cut[1]), reverse=True):
            made[path] = made[path][:start] + text + made[path][end:]
        return {path: text for path, text in made.items() if text != self._tree.texts[path]}
