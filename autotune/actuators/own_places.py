"""Where the tested copy of the user's nginx keeps its things: every path it writes to is led into the night's own directory."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from autotune.actuators.own_tree import Edits, Found, OwnDirective, OwnTree
from autotune.actuators.wording import safe_path
from autotune.board.records import Begun

TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_TEMP_PATH = re.compile(r"([a-z_]+)_temp_path")
_CACHE_PATH = re.compile(r"[a-z_]+_cache_path")
_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
_QUIETEST = "error"  # a critical line must reach the canary
_STAYS = ("off", "/dev/null", "stderr", "/dev/stderr", "/dev/stdout")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlaces:
    """Where this night's nginx may write, and the modules it lacks (`without`: their --without words)."""

    log_dir: str
    pid: str
    without: str

    @classmethod
    def of(cls, begun: Begun, without: str) -> NightPlaces:
        return cls(
            log_dir=safe_path(begun.log_dir),
            pid=posixpath.join(posixpath.dirname(safe_path(begun.conf_path)), "nginx.pid"),
            without=without,
        )


def redirect(tree: OwnTree, edits: Edits, places: NightPlaces, *, default_log: str) -> None:
    """Leads pid file, logs, temporary files and caches of the whole configuration into the night's directory.

    `default_log`: the arguments of an access log where the http level says nothing of one.
    """
    everything = tuple(tree.walk())
    main = [one.directive for one in everything if not one.around]
    _one_of_main(tree, main, edits, "daemon", "daemon off;")
    _one_of_main(tree, main, edits, "pid", f"pid {places.pid};")
    _error_log(tree, everything, edits, places)
    for one in main:
        if one.name == "lock_file":
            edits.argument(one, 0, f"{places.log_dir}/lock")
    log_names = LogNames(places.log_dir)
    temporary: dict[str, int] = {}
    caches: dict[tuple[str, int], str] = {}
    for found in everything:
        directive = found.directive
        if not found.around or not directive.args or directive.block is not None:
            continue
        if directive.name == "access_log" and directive.first != "off":
            edits.argument(directive, 0, log_names.of(directive.first))
        elif matched := _TEMP_PATH.fullmatch(directive.name):
            number = temporary.get(matched[1], 0)
            temporary[matched[1]] = number + 1
            edits.argument(directive, 0, f"{places.log_dir}/{matched[1]}" + (f"-{number}" if number else ""))
        elif _CACHE_PATH.fullmatch(directive.name):
            key = directive.path, directive.start
            caches.setdefault(key, f"{places.log_dir}/cache-{len(caches)}")
            edits.argument(directive, 0, caches[key])
    _defaults(everything, edits, places, default_log)


class LogNames:
    """A file of the night for each access log of the user's; /dev/null and its like stay."""

    def __init__(self, log_dir: str) -> None:
        self._log_dir = log_dir
        self._by_path: dict[str, str] = {}

    def of(self, path: str) -> str:
        if path in _STAYS:
            return path
        number = len(self._by_path)
        name = "access.log" if not number else f"access-{number}.log"
        return self._by_path.setdefault(path, f"{self._log_dir}/{name}")


def _one_of_main(tree: OwnTree, main: list[OwnDirective], edits: Edits, name: str, text: str) -> None:
    """In the main file itself, and nowhere else: the agent looks for it there, and nginx takes it once."""
    placed = False
    for one in main:
        if one.name != name:
            continue
        here = one.path == tree.names[tree.main] and not placed
        edits.replace(one, text if here else "")
        placed = placed or here
    if not placed:
        edits.into_main(text)


def _error_log(tree: OwnTree, everything: tuple[Found, ...], edits: Edits, places: NightPlaces) -> None:
    """Every one into the file that the canary reads, as loud as it was; one of them in the main file itself."""
    placed = False
    for found in everything:
        one = found.directive
        if one.name != "error_log" or one.block is not None:
            continue
        level = next((word for word in one.args[1:] if word in _LEVELS), _QUIETEST)
        if not found.around:
            level = min(level, _QUIETEST, key=_LEVELS.index)
            placed = placed or one.path == tree.names[tree.main]
        edits.replace(one, f"error_log {places.log_dir}/error.log {level};")
    if not placed:
        levels = [
            word
            for found in everything
            if found.directive.name == "error_log" and not found.around
            for word in found.directive.args[1:]
            if word in _LEVELS
        ]
        loudest = min((*levels, _QUIETEST), key=_LEVELS.index)
        edits.into_main(f"error_log {places.log_dir}/error.log {loudest};")


def _defaults(everything: tuple[Found, ...], edits: Edits, places: NightPlaces, default_log: str) -> None:
    """What is compiled in and would write elsewhere where the configuration says nothing."""
    http = next(
        (one.directive for one in everything if one.directive.name == "http" and not one.around), None
    )
    if http is None:
        return
    said = {one.directive.name for one in everything if one.context == "http"}
    for name in TEMP_PATHS:
        if f"{name}_temp_path" in said or f"--without-http_{name}_module" in places.without:
            continue
        edits.into(http, f"{name}_temp_path {places.log_dir}/{name}-http;")
    if "access_log" not in said and "--without-http_log_module" not in places.without:
        edits.into(http, f"access_log {default_log};")


def notes(tree: OwnTree) -> tuple[str, ...]:
    """What the tested copy does elsewhere or otherwise than the user's, in words."""
    found = tuple(tree.walk())
    said = ["pid file, logs and temporary files: in the night's own directory"]
    for one in found:
        directive = one.directive
        first = directive.args[0] if directive.args else ""
        if directive.name == "access_log" and one.around:
            if first.startswith("syslog:"):
                said.append(f"access_log of {directive.place}: into a file of the night instead of syslog")
            elif "$" in first:
                said.append(
                    f"access_log of {directive.place}: into one file of the night, not one per {first}"
                )
        elif directive.name == "error_log" and one.around:
            said.append(f"error_log of {directive.place}: into the night's one error log")
        elif _CACHE_PATH.fullmatch(directive.name):
            said.append(f"{directive.name} of {directive.place}: an empty cache of the night's own")
    return tuple(dict.fromkeys(said))
