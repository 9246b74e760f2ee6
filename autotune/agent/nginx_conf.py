"""What an nginx configuration may say before an agent that may be root starts it.

Not a grammar of nginx: its directives are told apart, and those that load code, lead out of the night's own directories or
listen elsewhere are refused. Everything else is nginx's own to judge.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import stat
from typing import Iterator, List, NamedTuple, NoReturn, Tuple

from autotune.agent.faults import Fault

_CAP = 1 << 20
_LOADS_CODE = re.compile(
    r"ssl_engine|perl.*|lua_.*|.*_by_lua.*|js_.*|passenger_.*|env|working_directory|worker_rlimit_core|debug_points"
)
_LEADS_OUT = re.compile(
    r".*_pass|alias|dav_.*|mirror|.*_store|.*_cache_path|auth_basic_user_file|auth_http|resolver|google_perftools_profiles"
)
_PHP = "autotune_php"  # the upstream that is the night's own php-fpm
_PHP_VALUE = re.compile(r"php_(admin_)?(value|flag)", re.IGNORECASE)
_WRITES = re.compile(r"error_log|access_log|lock_file|.*_temp_path")
_NOWHERE = ("off", "stderr", "/dev/null")
_INCLUDED = ("/etc/nginx/", "/usr/share/nginx/")
_MODULES = ("/usr/lib/nginx/modules/", "/usr/lib64/nginx/modules/", "/usr/share/nginx/modules/")
# As nginx's own reader does it: quotes and # mean something only where a word begins, and a } only there ends a block;
# otherwise `a"b; load_module x;"` would be one string here and two directives there.
TOKEN = re.compile(
    r"""[ \t\r\n]+|\#[^\n]*|(?P<end>[;{}])|"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'"""
    r"""|(?P<word>(?:\\.|\$\{|[^ \t\r\n;{}"'\#\\])(?:\\.|\$\{|[^ \t\r\n;{\\])*)"""
)


class Frame(NamedTuple):
    """Where a tested nginx may be: its own directories, and the addresses and ports it serves.

    `php`: the socket or address of the night's own php-fpm, "" without; nothing else is passed on to.
    """

    run_dir: str
    state_dir: str
    pid_path: str
    listen: Tuple[Tuple[str, int], ...]
    uid: int
    php: str = ""


def check_conf(conf: str, frame: Frame) -> None:
    """Raises Fault "refused" naming the first directive that has no business in a tested configuration."""
    if (
        len(conf) > _CAP
        or not conf.isascii()
        or any(ord(one) < 32 and one not in "\n\t" for one in conf)
        or "\x7f" in conf
    ):
        raise Fault("refused", "the configuration holds characters that nginx's never has, or is over 1 MiB")
    daemon_off = False
    upstream = ""
    for words in directives(conf):
        if words[0] == "upstream" or words == ("server",):
            upstream = words[-1]
        if (
            words[0] == "server"
            and len(words) > 1
            and upstream == _PHP
            and words[1:] != (_php_server(frame),)
        ):
            _refuse(words, "PHP is passed on to the night's own php-fpm only")
        _check(words, frame)
        daemon_off = daemon_off or words == ("daemon", "off")
    if not daemon_off:
        raise Fault(
            "refused", "the configuration lacks `daemon off;`, so its nginx would run away from the agent"
        )


def directives(conf: str) -> Iterator[Tuple[str, ...]]:
    """The words of each directive, blocks included, in order. Raises Fault for quotes that never end."""
    words: List[str] = []
    position = 0
    while position < len(conf):
        found = TOKEN.match(conf, position)
        if found is None:
            raise Fault(
                "refused", f"the configuration can't be read from {conf[position : position + 40]!r} on"
            )
        position = found.end()
        if found["end"]:
            if words:
                yield tuple(words)
            words = []
            continue
        for kind in ("double", "single", "word"):
            if found[kind] is not None:
                words.append(re.sub(r"\\(.)", r"\1", found[kind]))
    if words:
        yield tuple(words)


def _check(words: Tuple[str, ...], frame: Frame) -> None:
    name, values = words[0], words[1:]
    first = values[0] if values else ""
    if _LOADS_CODE.fullmatch(name):
        _refuse(words, "it can run code as root")
    if words == ("fastcgi_pass", _PHP) and frame.php:
        return
    if name == "fastcgi_param" and _PHP_VALUE.fullmatch(first):
        _refuse(words, "it would change PHP's own settings behind php-fpm's back")
    if _LEADS_OUT.fullmatch(name):
        _refuse(words, "it leads out of the tested site")
    if name == "load_module":
        if ".." in first or not first.startswith((*_MODULES, "modules/")):
            _refuse(words, "modules come from nginx's own directory only")
    elif name == "include":
        _check_include(words, first, frame)
    elif _WRITES.fullmatch(name):
        if first not in _NOWHERE and not _inside(first, frame):
            _refuse(words, "logs and temporary files stay in the night's own directories")
    elif name == "root":
        if not _inside(first, frame):
            _refuse(words, "only the study's own files are served")
    elif name == "user":
        if frame.uid == 0:
            _check_user(words)
    elif name == "pid":
        if first != frame.pid_path:
            _refuse(words, f"the pid file is {frame.pid_path}")
    elif name == "listen":
        places = [at(*one) for one in frame.listen]
        if first not in places:
            _refuse(words, f"the tested nginx listens on {' and '.join(places)} only")
    elif (name == "daemon" and first != "off") or (name == "master_process" and first != "on"):
        _refuse(words, "the tested nginx runs in the foreground, with a master")


def _check_user(words: Tuple[str, ...]) -> None:
    """Raises Fault unless root's nginx gives its workers to somebody else, as user and as group."""
    try:
        others = [pwd.getpwnam(words[1]).pw_uid, *(grp.getgrnam(one).gr_gid for one in words[2:3])]
    except (KeyError, IndexError):
        _refuse(words, "it names no user of this machine")
    if 0 in others:
        _refuse(words, "a tested nginx answers requests as another user than root")


def at(address: str, port: int) -> str:
    """An address and a port as nginx and URLs write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _php_server(frame: Frame) -> str:
    return f"unix:{frame.php}" if frame.php.startswith("/") else frame.php


def _check_include(words: Tuple[str, ...], pattern: str, frame: Frame) -> None:
    if ".." in pattern or not pattern.startswith(_INCLUDED):
        _refuse(words, f"only files below {' and '.join(_INCLUDED)} are included")
    for path in glob.glob(pattern):
        real = os.path.realpath(path)
        seen = os.stat(real)
        if not real.startswith(_INCLUDED):
            _refuse(words, f"it leads to {real}")
        if frame.uid == 0 and (seen.st_uid != 0 or seen.st_mode & stat.S_IWOTH):
            _refuse(words, f"{real} is not root's alone")


def _inside(path: str, frame: Frame) -> bool:
    return (
        ".." not in path and "$" not in path and path.startswith((frame.run_dir + "/", frame.state_dir + "/"))
    )


def _refuse(words: Tuple[str, ...], reason: str) -> NoReturn:
    shown = " ".join(words)[:120]
    raise Fault("refused", f"`{shown}` is not started: {reason}", "take it out of the configuration")
