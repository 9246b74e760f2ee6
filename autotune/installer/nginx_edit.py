"""Directives of nginx laid over the user's own: changed where they stand, added where they don't.

One that is about speed in a study of the user's own sites is changed in servers and locations, too; elsewhere what a server or
a location says for itself stays, and is told. Nothing inside `if`, `map` and the like is touched.
"""

from __future__ import annotations

import difflib
import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

from autotune.agent.faults import Fault
from autotune.installer.exported import Edit
from autotune.installer.nginx_tree import Directive, Edits, Found, Tree

_OWN_SOCKET = re.compile(
    r"bind|deferred|reuseport|(backlog|fastopen|sndbuf|rcvbuf|setfib|accept_filter|ipv6only|so_keepalive)=.*"
)
_PORT = re.compile(r"[0-9]{1,5}")
_NO_FILE = ("off", "/dev/null", "/dev/stdout", "/dev/stderr", "stderr")


class Edited(NamedTuple):
    """`texts` are the changed files by real path, `notes` what stays as the user has it."""

    texts: Dict[str, str]
    notes: List[str]


def edited(tree: Tree, wanted: Sequence[Edit]) -> Edited:
    """Raises Fault where it can't be told what to change."""
    edits, notes = Edits(tree), []  # type: Tuple[Edits, List[str]]
    tree.block("http")
    for one in wanted:
        if one.context == "main":
            _main(one, tree, edits)
        elif one.context == "events":
            _block(one, tree, edits, tree.of("events", one.name), "events")
        elif one.context == "http":
            notes += _http(one, tree, edits)
        elif one.context == "upstream":
            notes += _upstreams(one, tree, edits)
    listen = [one for one in wanted if one.context == "listen"]
    if listen:
        _listen(listen, tree, edits)
    log = [one for one in wanted if one.context == "access_log"]
    if log:
        notes += _buffers(log, tree, edits)
    return Edited(edits.texts(), list(dict.fromkeys(notes)))


def diff(tree: Tree, texts: Dict[str, str]) -> List[str]:
    """What changes, as `diff -u` says it."""
    lines: List[str] = []
    for path, text in sorted(texts.items()):
        lines += difflib.unified_diff(
            tree.texts[path].splitlines(), text.splitlines(), path, path + " (tuned)", lineterm=""
        )
    return lines


def _line(one: Edit) -> str:
    return f"{one.name} {one.words};"


def _main(one: Edit, tree: Tree, edits: Edits) -> None:
    there = [it for it in tree.of("", one.name) if not one.first or it.args[:1] == (one.first,)]
    for number, directive in enumerate(there):
        if one.words and not number:
            edits.replace(directive, _line(one))
        else:
            edits.remove(directive)
    if not there and one.words:
        edits.above(tree.block("events"), _line(one))


def _block(one: Edit, tree: Tree, edits: Edits, there: List[Directive], block: str) -> None:
    for directive in there:
        _put(one, directive, edits)
    if not there and one.words:
        edits.into(tree.block(block), _line(one))


def _put(one: Edit, directive: Directive, edits: Edits) -> None:
    if not one.words:
        edits.remove(directive)
    else:
        kept = directive.args[1:] if one.rest else ()
        edits.replace(directive, " ".join([one.name, one.words, *kept]) + ";")


def _http(one: Edit, tree: Tree, edits: Edits) -> List[str]:
    """What other places say for themselves: changed too, or told."""
    there = tree.of("http", one.name)
    if one.name == "access_log":  # several may stand there, and one that is off ends them all
        for directive in there[1:]:
            edits.remove(directive)
        there = there[:1]
    _block(one, tree, edits, there, "http")
    notes = []
    for found in _nested(tree, one.name):
        if one.nested and _is_plain(found):
            _put(one, found.directive, edits)
        else:
            notes.append(
                f"{one.name} of {found.directive.place} stays as it is for its {found.around[-1].name}"
            )
    return notes


def _nested(tree: Tree, name: str) -> List[Found]:
    return [
        one
        for one in tree.found
        if one.directive.name == name
        and one.directive.block is None
        and one.context.startswith("http server")
    ]


def _is_plain(found: Found) -> bool:
    return all(block.name in ("http", "server", "location") for block in found.around)


def _upstreams(one: Edit, tree: Tree, edits: Edits) -> List[str]:
    """`keepalive` of every upstream; it must come behind the balancing method, so it comes last."""
    there = [it for it in tree.of("http", "upstream") if it.block]
    for upstream in there:
        inside = upstream.block or ()
        kept = [it for it in inside if it.name == one.name]
        for directive in kept:
            _put(one, directive, edits)
        if not kept and one.words:
            edits.behind(inside[-1], _line(one))
    return [] if there else [f"there is no upstream block here, so `{_line(one)}` has no place"]


# -- listen -----------------------------------------------------------------------------------------------------------


def _listen(wanted: List[Edit], tree: Tree, edits: Edits) -> None:
    """Options of the sockets: on the one line of each that may carry them. Raises Fault for a server without a line."""
    holders: Dict[Tuple[str, str], Directive] = {}
    wildcards: Dict[str, List[str]] = {}
    for server in tree.of("http", "server"):
        lines = [it for it in _inside(tree, server) if it.name == "listen" and it.args]
        if not lines:
            raise Fault("refused", f"the server of {server.place} has no listen line to carry options")
        for line in lines:
            address, port = socket_of(line.args[0])
            if not port or "quic" in line.args:
                continue
            if address in ("*", "[::]"):
                wildcards.setdefault(port, []).append(address)
            before = holders.get((address, port))
            if before is None or (_has_options(line) and not _has_options(before)):
                holders[address, port] = line
    for (address, port), line in holders.items():
        wildcard = "[::]" if address.startswith("[") else "*"
        if address != wildcard and wildcard in wildcards.get(port, []) and not _has_options(line):
            continue  # the wildcard's socket takes it in
        options = list(line.args[1:])
        for one in wanted:
            option = one.name + "="
            options = [it for it in options if it != one.name and not it.startswith(option)]
            if one.words:
                options.append(one.name if one.words == "on" else option + one.words)
        edits.replace(line, " ".join(["listen", line.args[0], *options]) + ";")


def _inside(tree: Tree, server: Directive) -> List[Directive]:
    """The directives of a server, those of its includes too."""
    return [one.directive for one in tree.found if one.around and one.around[-1] is server]


def _has_options(line: Directive) -> bool:
    return any(_OWN_SOCKET.fullmatch(option) for option in line.args[1:])


def socket_of(word: str) -> Tuple[str, str]:
    """Address (`*` for all) and port of a listen line's first word; no port for a unix socket."""
    if word.startswith("unix:"):
        return "", ""
    if word.startswith("["):
        address, _, rest = word.partition("]")
        return address + "]", rest.lstrip(":") or "80"
    if _PORT.fullmatch(word):
        return "*", word
    address, _, port = word.partition(":")
    return "*" if address == "0.0.0.0" else address, port or "80"


# -- logs -------------------------------------------------------------------------------------------------------------


def _buffers(wanted: List[Edit], tree: Tree, edits: Edits) -> List[str]:
    """buffer= and flush= of every log that is a file; two lines of one file must say the same, so all follow."""
    notes = []
    words = [f"{one.name}={one.words}" for one in wanted if one.words]
    for found in tree.found:
        line = found.directive
        if line.name != "access_log" or not found.context.startswith("http") or not line.args:
            continue
        path = line.args[0]
        if path in _NO_FILE or path.startswith("syslog:"):
            continue
        if "$" in path:
            notes.append(f"the log of {line.place} has a name that varies, and can't be buffered")
            continue
        rest = [it for it in line.args[1:] if not it.startswith(("buffer=", "flush=", "gzip"))]
        format_ = rest.pop(0) if rest and not rest[0].startswith("if=") else ""
        named = [format_] if format_ else (["combined"] if words or rest else [])
        edits.replace(line, " ".join(["access_log", path, *named, *words, *rest]) + ";")
    return notes
