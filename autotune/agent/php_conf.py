"""What a php-fpm configuration may say before an agent that may be root starts it: two sections of known lines, each value
plain. php-fpm's own reader knows quotes, constants and ${variables}; no value here has a character that means anything to it.
"""

from __future__ import annotations

import grp
import pwd
import re
from typing import Dict, List, NamedTuple, Pattern, Tuple

from autotune.agent.faults import Fault

_CAP = 1 << 14
_LINE = re.compile(r"([a-z_.]+(?:\[[a-z_.]+\])?) = ([A-Za-z0-9_./:-]{1,200})")
_NUMBER, _SWITCH = re.compile(r"\d{1,10}"), re.compile("[01]")
_CHILDREN = re.compile(r"\d{1,3}|10[01]\d|102[0-4]")  # as many as an nginx may have workers
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_GLOBAL: Dict[str, Pattern[str]] = {
    "error_log": re.compile(r"/.*"),
    "daemonize": re.compile("no"),
    "log_level": re.compile("warning|notice"),
}
_POOL: Dict[str, Pattern[str]] = {
    "user": _ACCOUNT,
    "group": _ACCOUNT,
    "listen": re.compile(r".*"),
    "listen.owner": _ACCOUNT,
    "listen.mode": re.compile("06[06]0"),
    "listen.backlog": _NUMBER,
    "pm": re.compile("static|dynamic|ondemand"),
    "pm.max_children": _CHILDREN,
    "pm.start_servers": _CHILDREN,
    "pm.min_spare_servers": _CHILDREN,
    "pm.max_spare_servers": _CHILDREN,
    "pm.max_spawn_rate": _CHILDREN,
    "pm.process_idle_timeout": _NUMBER,
    "pm.max_requests": _NUMBER,
}
# PHP's own settings: those that run code (auto_prepend_file, extension) or lead elsewhere are not among them.
_PHP: Dict[str, Pattern[str]] = {
    "opcache.enable": _SWITCH,
    "opcache.validate_timestamps": _SWITCH,
    "opcache.revalidate_freq": _NUMBER,
    "opcache.jit": re.compile("disable|off|function|tracing"),
    "opcache.jit_buffer_size": _NUMBER,
    "opcache.memory_consumption": _NUMBER,
    "opcache.interned_strings_buffer": _NUMBER,
    "opcache.max_accelerated_files": _NUMBER,
    "realpath_cache_size": _NUMBER,
    "realpath_cache_ttl": _NUMBER,
    "output_buffering": _NUMBER,
}
_ADMIN = "php_admin_value["
_SOCKET = re.compile(r"(127(?:\.\d{1,3}){3}):(\d{1,5})")


class Checked(NamedTuple):
    """A configuration that may be started: how its children come and go, and PHP's settings in it."""

    pm: str
    children: int
    php: List[Tuple[str, str]]


def check_conf(conf: str, run_dir: str, listen: str, uid: int) -> Checked:
    """Raises Fault "refused" naming the first line that has no business in a tested php-fpm.

    `listen`: where it is to accept, which must be the night's own socket or a loopback address.
    """
    check_listen(listen, run_dir)
    if len(conf) > _CAP:
        raise Fault("refused", f"the php-fpm configuration is over {_CAP} characters")
    sections: Dict[str, Dict[str, str]] = {}
    here: Dict[str, str] = {}
    for line in conf.split("\n"):
        if not line:
            continue
        if line in ("[global]", "[autotune]") and line not in sections:
            here = sections[line] = {}
            continue
        found = _LINE.fullmatch(line)
        if not found or not sections or found[1] in here:
            raise _refused(line, "it is no plain line of its own in [global] or [autotune]")
        _check_line(line, found[1], found[2], _GLOBAL if "[autotune]" not in sections else _POOL)
        here[found[1]] = found[2]
    return _check_whole(sections, run_dir, listen, uid)


def check_listen(listen: str, run_dir: str) -> None:
    """Raises Fault unless this is a socket right in the night's directory, or a port of a loopback address."""
    found = _SOCKET.fullmatch(listen)
    if found:
        fits = 1024 <= int(found[2]) <= 65535 and all(int(part) < 256 for part in found[1].split("."))
    else:
        fits = re.fullmatch(re.escape(run_dir) + r"/[a-z]{1,20}\.sock", listen) is not None
    if not fits:
        raise Fault(
            "refused", f"{listen[:80]!r} is neither a socket in {run_dir} nor a loopback address and port"
        )


def _check_line(line: str, name: str, value: str, known: Dict[str, Pattern[str]]) -> None:
    if known is _POOL and name.startswith(_ADMIN):
        pattern = _PHP.get(name[len(_ADMIN) : -1])
        if pattern is None:
            raise _refused(line, "it is not among the settings of PHP that a night may make")
    else:
        pattern = known.get(name)
        if pattern is None:
            raise _refused(line, "it is not among the lines that a tested php-fpm has")
    if not pattern.fullmatch(value):
        raise _refused(line, "this is not a value of it")


def _check_whole(sections: Dict[str, Dict[str, str]], run_dir: str, listen: str, uid: int) -> Checked:
    top, pool = sections.get("[global]", {}), sections.get("[autotune]", {})
    if top.get("error_log") != run_dir + "/php-fpm.log" or top.get("daemonize") != "no":
        raise Fault("refused", f"a tested php-fpm stays in the foreground and logs to {run_dir}/php-fpm.log")
    if pool.get("listen") != listen:
        raise Fault(
            "refused", f"the php-fpm configuration listens on {pool.get('listen')!r}, not on {listen}"
        )
    if "pm" not in pool or "pm.max_children" not in pool:
        raise Fault("refused", "the php-fpm configuration lacks pm or pm.max_children")
    if uid == 0:
        _check_account(pool)
    php = [(name[len(_ADMIN) : -1], value) for name, value in pool.items() if name.startswith(_ADMIN)]
    children = {"static": "pm.max_children", "dynamic": "pm.start_servers"}.get(pool["pm"], "")
    return Checked(pool["pm"], int(pool.get(children, "0")), php)


def _check_account(pool: Dict[str, str]) -> None:
    try:
        user, group = pwd.getpwnam(pool.get("user", "root")), grp.getgrnam(pool.get("group", "root"))
    except KeyError as missing:
        raise Fault("refused", f"php-fpm's user or group is not known here: {missing}") from None
    if user.pw_uid == 0 or group.gr_gid == 0:
        raise Fault("refused", "root's php-fpm runs its children as another user", "see `user` and `group`")


def _refused(line: str, reason: str) -> Fault:
    return Fault("refused", f"`{line[:120]}` of the php-fpm configuration is not started: {reason}")
