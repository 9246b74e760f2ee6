"""The packaged nginx configuration as the board has it, made fit for an instance of our own.

Kept: what main, events and http say, mime.types, and the modules that the package loads. Left out, and listed: what
would serve something else or write where the board's own nginx writes. Paths that were relative are made absolute,
because the tested nginx is started from another directory.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import crossplane

from autotune.actuators.nginx_build import NginxBuild
from autotune.board.records import Reading
from autotune.errors import BoardUnfit

# Written anew for every switch: where the tested nginx keeps its things, and how the agent holds it.
_OURS = frozenset({"daemon", "pid", "error_log", "lock_file", "working_directory"})
_OTHER_SERVERS = frozenset({"stream", "mail", "server", "google_perftools_profiles"})
_TEMP_PATHS = frozenset(
    {
        "client_body_temp_path",
        "proxy_temp_path",
        "fastcgi_temp_path",
        "uwsgi_temp_path",
        "scgi_temp_path",
    }
)
_FILES_OF_BASE = frozenset(
    {
        "ssl_certificate",
        "ssl_certificate_key",
        "ssl_client_certificate",
        "ssl_dhparam",
        "ssl_password_file",
        "ssl_session_ticket_key",
        "ssl_trusted_certificate",
    }
)
# What the agent starts no nginx with: it runs code, or leads out of the tested site.
_NOT_STARTED = re.compile(
    r"env|worker_rlimit_core|debug_points|master_process|ssl_engine|perl.*|lua_.*|.*_by_lua.*|js_.*"
    r"|root|alias|dav_.*|mirror|.*_store|.*_cache_path|.*_pass|auth_basic.*"
)
_LOUD_ENOUGH = frozenset({"warn", "notice", "info", "debug"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One directive with its arguments, and what stands in its braces (None: it has none)."""

    name: str
    args: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None

    @property
    def first(self) -> str:
        """The argument that this directive can't be without. Raises BoardUnfit."""
        if not self.args:
            raise BoardUnfit(f"`{self.name}` of the nginx configuration names nothing", hint="see `nginx -t`")
        return self.args[0]

    @property
    def payload(self) -> dict[str, Any]:
        """The directive as crossplane builds it."""
        payload: dict[str, Any] = {"directive": self.name, "args": list(self.args)}
        if self.block is not None:
            payload["block"] = [inner.payload for inner in self.block]
        return payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """The packaged configuration by context. `log` are the arguments of its access log after the path, `error_level`
    how much its error log says, `left_out` what was not taken over.
    """

    main: tuple[Directive, ...]
    events: tuple[Directive, ...]
    http: tuple[Directive, ...]
    log_on: bool
    log: tuple[str, ...]
    error_level: str
    left_out: tuple[str, ...]

    def arguments(self, context: str, name: str) -> tuple[str, ...] | None:
        """The arguments of a directive, None when the packaged configuration doesn't have it."""
        for directive in self.context(context):
            if directive.name == name:
                return directive.args
        return None

    def context(self, name: str) -> tuple[Directive, ...]:
        return {"main": self.main, "events": self.events, "http": self.http}[name]


def parse(text: str, name: str = "nginx.conf") -> tuple[Directive, ...]:
    """The directives of an nginx configuration, includes unopened. Raises BoardUnfit when it isn't one.

    `name`: the file that the text was read from, for messages.
    """
    # crossplane reads files only.
    with tempfile.TemporaryDirectory(prefix="autotune-") as directory:
        file = Path(directory) / "nginx.conf"
        file.write_text(text, encoding="utf-8")
        try:
            parsed = crossplane.parse(
                str(file), catch_errors=False, single=True, check_ctx=False, check_args=False
            )
        except crossplane.errors.NgxParserBaseException as problem:
            raise BoardUnfit(
                f"nginx's packaged configuration can't be read: {problem.strerror} (line {problem.lineno})",
                hint="see `nginx -t`",
            ) from None
    if parsed["status"] != "ok":
        reason = str(parsed["errors"][0]["error"]).replace(str(file), name)
        raise BoardUnfit(
            f"nginx's packaged configuration {name} can't be read:"
            f" {reason or 'it ends in the middle of a directive'}",
            hint=f"see `nginx -t -c {name}`",
        )
    return _directives(parsed["config"][0]["parsed"])


def _directives(parsed: list[dict[str, Any]]) -> tuple[Directive, ...]:
    return tuple(
        Directive(
            name=one["directive"],
            args=tuple(one["args"]),
            block=_directives(one["block"]) if "block" in one else None,
        )
        for one in parsed
    )


def build_text(directives: tuple[Directive, ...]) -> str:
    """The directives as a configuration text."""
    text: str = crossplane.build([directive.payload for directive in directives])
    return text + "\n"


def packaged(base: str, readings: Mapping[str, Reading], build: NginxBuild) -> Packaged:
    """The packaged configuration `base` of a board, from what was read there.

    Raises BoardUnfit when it isn't there, can't be read, or is no nginx configuration.
    """
    reading = readings.get(base)
    if reading is None or reading.text is None:
        why = reading.error if reading else "it was not read"
        raise BoardUnfit(
            f"nginx's packaged configuration {base} can't be read: {why}", hint="apt-get install nginx"
        )
    left_out: list[str] = []
    main: list[Directive] = []
    events: tuple[Directive, ...] = ()
    http: tuple[Directive, ...] = ()
    error_level = "warn"
    for directive in parse(reading.text, base):
        match directive.name:
            case "events":
                events = directive.block or ()
            case "http":
                http = directive.block or ()
            case "include":
                main += _modules(_below(base, directive), readings, build, left_out)
            case "load_module":
                main.append(_absolute_module(directive, build))
            case "error_log":
                if directive.args[1:2] and directive.args[1] in _LOUD_ENOUGH:
                    error_level = directive.args[1]
            case "user" if not build.is_root:
                left_out.append("user: only root may change it")
            case name if name in _OURS:
                pass
            case name if name in _OTHER_SERVERS or _NOT_STARTED.fullmatch(name):
                left_out.append(f"{name}: only the study's own site is served")
            case _:
                main.append(directive)
    kept, log_on, log = _http(base, http, left_out)
    if not _survives(kept) or not _survives(tuple(main)):
        raise BoardUnfit(
            f"nginx's packaged configuration {base} has a word in quotes that can't be written again as it is",
            hint="look for words beginning with # in it",
        )
    return Packaged(
        main=tuple(main),
        events=events,
        http=kept,
        log_on=log_on,
        log=log,
        error_level=error_level,
        left_out=tuple(left_out),
    )


def _survives(directives: tuple[Directive, ...]) -> bool:
    """Whether they can be written and read again: crossplane leaves the quotes off a word that begins with #."""
    try:
        return parse(build_text(directives)) == directives
    except BoardUnfit:
        return False


def _http(
    base: str, http: tuple[Directive, ...], left_out: list[str]
) -> tuple[tuple[Directive, ...], bool, tuple[str, ...]]:
    kept: list[Directive] = []
    log_on = True
    log: tuple[str, ...] = ("combined",)
    for directive in http:
        match directive.name:
            case "include" if posixpath.basename(directive.first) == "mime.types":
                kept.append(Directive(name="include", args=(_below(base, directive),)))
            case "include":
                left_out.append(f"include {directive.first}: only the study's own site is served")
            case "access_log":
                # The last one would come beside the first; ours is the only one.
                log_on = directive.args != ("off",)
                log = directive.args[1:] or ("combined",)
            case "error_log":
                pass
            case name if name in _TEMP_PATHS:
                pass
            case name if name in _OTHER_SERVERS or _NOT_STARTED.fullmatch(name):
                left_out.append(f"{name}: only the study's own site is served")
            case name if name in _FILES_OF_BASE:
                kept.append(Directive(name=name, args=(_below(base, directive), *directive.args[1:])))
            case _:
                kept.append(directive)
    return tuple(kept), log_on, log


def _below(base: str, directive: Directive) -> str:
    return posixpath.join(posixpath.dirname(base), directive.first)


def _modules(
    pattern: str, readings: Mapping[str, Reading], build: NginxBuild, left_out: list[str]
) -> list[Directive]:
    """The load_module lines of the files that an include of the main context names."""
    files = sorted(path for path in readings if fnmatchcase(path, pattern) and "*" not in path)
    if not files and posixpath.basename(posixpath.dirname(pattern)) != "modules-enabled":
        left_out.append(f"include {pattern}: only modules are taken over")
    found: list[Directive] = []
    for file in files:
        for directive in parse(readings[file].text or "", file):
            if directive.name == "load_module":
                found.append(_absolute_module(directive, build))
            else:
                left_out.append(f"{directive.name} of {file}: only modules are taken over")
    return found


def _absolute_module(directive: Directive, build: NginxBuild) -> Directive:
    return Directive(name="load_module", args=(posixpath.join(build.prefix, directive.first),))
