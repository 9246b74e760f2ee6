"""The agent's replies as records. One that is not as the protocol says is an agent of another version, or no agent at all."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from autotune.board.facts import BoardFacts
from autotune.board.reading import MOST_CPUS, WrongShapeError, read_record
from autotune.board.records import (
    Begun,
    BoardStatus,
    Built,
    Counters,
    Effect,
    Ended,
    LoadSeen,
    NginxFiles,
    Reading,
    Routes,
    Switched,
    UrlSeen,
    Watched,
)
from autotune.errors import BoardMisunderstood

_P = ParamSpec("_P")
_T = TypeVar("_T")
Body = Mapping[str, Any]

# What the board names and what is written into configurations afterwards.
_PATH: Final = re.compile(r"(/[A-Za-z0-9_.@+-]{1,100}){1,20}")
_NO_BYTES: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the others stand for bytes (PEP 383)
_WORDS_CAP: Final = 4000  # of an error: a compiler's last lines are some hundred
_INTERFACE: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@-]{1,15}")  # it becomes a part of paths in /sys
_TOKEN: Final = re.compile(r"[0-9a-f]{16}")


def _understood(make: Callable[_P, _T]) -> Callable[_P, _T]:
    @wraps(make)
    def read(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return make(*args, **kwargs)
        except WrongShapeError as problem:
            raise BoardMisunderstood(
                f"the agent's reply can't be understood: {problem}",
                hint="controller and agent are of different versions, or something else speaks on their line",
            ) from problem

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWords:
    """What an agent says instead of an answer."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepaliveReply:
    clock_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadReply:
    files: Mapping[str, Reading]
    nginx_files: Mapping[str, Reading]
    nginx_names: Mapping[str, str]
    nginx_problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckReply:
    effects: tuple[Effect, ...]
    urls: tuple[UrlSeen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchReply:
    seen: Watched | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuildsReply:
    builds: tuple[Built, ...]
    problem: str


@_understood
def facts(body: Body) -> BoardFacts:
    found = read_record(BoardFacts, body)
    _require_paths(run_dir=found.run_dir, state_dir=found.state_dir)
    if (
        not found.cpus
        or max((*found.cpus, *found.capacity, *(cpu for core in found.cores for cpu in core))) >= MOST_CPUS
    ):
        raise WrongShapeError("cpus: none, or more than a machine has")
    return found


@_understood
def clock(body: Body) -> float:
    """Seconds since the epoch."""
    return read_record(_KeepaliveReply, body).clock_s


@_understood
def readings(body: Body) -> Mapping[str, Reading]:
    return read_record(_ReadReply, body).files


@_understood
def nginx_files(body: Body) -> NginxFiles:
    """The user's own files, whose bytes that are no UTF-8 stay what they are: they are to be written again."""
    found = read_record(_ReadReply, body)
    raw = body["nginx_files"]
    return NginxFiles(
        files={
            _writable(path): replace(one, text=None if one.text is None else _writable(raw[path]["text"]))
            for path, one in zip(raw, found.nginx_files.values(), strict=True)
        },
        names={_writable(name): _writable(path) for name, path in body["nginx_names"].items()},
        problem=found.nginx_problem,
    )


@_understood
def fetched(body: Body, asked: Sequence[str]) -> tuple[UrlSeen, ...]:
    urls = read_record(_CheckReply, body).urls
    _require_urls(urls, asked)
    return urls


@_understood
def begun(body: Body) -> Begun:
    found = read_record(Begun, body)
    if not _TOKEN.fullmatch(found.token):
        raise WrongShapeError("token: not one")
    _require_paths(conf_path=found.conf_path, www_dir=found.www_dir, log_dir=found.log_dir)
    return found


@_understood
def switched(body: Body, asked: Sequence[str]) -> Switched:
    found = read_record(Switched, body)
    if bool(found.step) != bool(found.blame):
        raise WrongShapeError("blame: it goes with a step that failed")
    if not found.step:
        _require_urls(found.urls, asked)
    return found


@_understood
def checked(body: Body) -> tuple[Effect, ...]:
    return read_record(_CheckReply, body).effects


@_understood
def load_seen(body: Body) -> LoadSeen:
    return read_record(LoadSeen, body)


@_understood
def watched(body: Body) -> Watched:
    seen = read_record(_WatchReply, body).seen
    if seen is None:
        raise WrongShapeError("seen: nothing, at the end of a watch")
    return seen


@_understood
def routes(body: Body, asked: Sequence[str]) -> Routes:
    found = read_record(Routes, body)
    if [one.to for one in found.routes] != list(asked):
        raise WrongShapeError("routes: others than were asked for")
    for text in (*found.addresses, *(one.source for one in found.routes if one.source)):
        if not _is_ipv4(text):
            raise WrongShapeError("routes: an address that is none")
    for one in found.routes:
        if one.interface and not _INTERFACE.fullmatch(one.interface):
            raise WrongShapeError("routes: no network card's name")
    return found


@_understood
def counted(body: Body) -> Counters:
    return read_record(Counters, body)


@_understood
def ended(body: Body) -> Ended:
    return read_record(Ended, body)


@_understood
def status(body: Body) -> BoardStatus:
    return read_record(BoardStatus, body)


@_understood
def builds(body: Body) -> tuple[tuple[Built, ...], str]:
    found = read_record(_BuildsReply, body)
    return found.builds, found.problem


@_understood
def error_words(body: Body) -> ErrorWords:
    found = read_record(ErrorWords, body)
    return ErrorWords(kind=found.kind, message=_shortened(found.message), hint=_shortened(found.hint))


def _shortened(text: str) -> str:
    return text if len(text) <= _WORDS_CAP else text[:_WORDS_CAP] + " ..."


def _writable(text: str) -> str:
    return _NO_BYTES.sub("\ufffd", text)


def _require_paths(**paths: str) -> None:
    for name, path in paths.items():
        if not _PATH.fullmatch(path) or "/../" in path + "/":
            raise WrongShapeError(f"{name}: not a plain absolute path")


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _require_urls(seen: Sequence[UrlSeen], asked: Sequence[str]) -> None:
    if [one.url for one in seen] != list(asked):
        raise WrongShapeError("urls: others than were asked for")
