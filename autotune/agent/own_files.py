"""Every file of the user's nginx configuration, as nginx itself finds them, and nothing on the machine changed by asking.

`nginx -T` opens what a start would open: it makes missing logs, the pid file and directories, and gives the latter to its
workers' user. What it made is removed again, what it would have written into is hidden from it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import stat
import time
from typing import Dict, List, NamedTuple, Set, Tuple

from autotune.agent import mounts, processes
from autotune.agent.faults import Fault
from autotune.agent.own_conf import is_plain_path, read_own, statements
from autotune.agent.places import remove_tree
from autotune.agent.protocol import FileReading

_SAID_WITHIN_S = 20.0
_CAP = 16 << 20
_DEEPEST = 20
_FILES_CAP = 1000
_HEAD = re.compile(rb"^# configuration file (/.*):\n", re.MULTILINE)
_COMPILED = re.compile(
    r"--(prefix|pid-path|lock-path|error-log-path|http-log-path|http-[a-z-]+-temp-path)=(\S+)"
)
_MAKES = re.compile(r"pid|lock_file|error_log|access_log|.*_temp_path|.*_cache_path")
_PROBLEM = re.compile(r"\[(emerg|alert|crit)\]|test failed")


class Asked(NamedTuple):
    """`files` by real path, the main one first; `names` as nginx opened them, with the real path of each; `problem` in
    nginx's own words, "" without.
    """

    files: Dict[str, FileReading]
    names: Dict[str, str]
    problem: str


class _Found(NamedTuple):
    """A path as it was before: None when it was not there."""

    path: str
    seen: "os.stat_result | None"


def ask(program: str, version: str, conf_path: str, uid: int) -> Asked:
    """The files of this configuration. Raises Fault when nginx can't be asked at all."""
    if not is_plain_path(conf_path):
        raise Fault("refused", f"{conf_path[:80]!r} is not a plain absolute path")
    if not program:
        raise Fault("failed", "nginx is not installed here", "apt-get install nginx")
    main = os.path.realpath(conf_path)
    try:
        read_own(main, uid)
    except Fault as fault:
        return Asked({}, {}, fault.message)
    try:
        made = _made(main, version, uid)
    except Fault as fault:
        return Asked({}, {}, fault.message)
    before = [_Found(path, _lstat(path)) for path in sorted(made)]
    said, problem = _said(program, conf_path, before, uid)
    _put_back(before)
    files: Dict[str, FileReading] = {}
    names: Dict[str, str] = {}
    for name in [conf_path, *map(os.fsdecode, _HEAD.findall(said))]:
        path = os.path.realpath(name)
        if len(names) < _FILES_CAP and name not in names and os.path.exists(path):
            names[name] = path
            files[path] = files.get(path) or _reading(path, uid)
    return Asked(files, names, problem)


def _said(program: str, conf_path: str, before: List[_Found], uid: int) -> Tuple[bytes, str]:
    output, told = os.memfd_create("said"), os.memfd_create("told")
    try:
        # Root's `nginx -T` would add its complaints to the user's own logs.
        logs = [one.path for one in before if one.seen and stat.S_ISREG(one.seen.st_mode)] if uid == 0 else []
        hide = mounts.private([("/dev/null", path) for path in logs]) if logs else lambda: None
        argv = [program, "-T", "-q", "-c", conf_path]
        child = processes.spawn(
            argv, cpus=(), stdout=output, stderr=told, record=lambda _pid, _start: None, prepare=hide
        )
        until = time.monotonic() + _SAID_WITHIN_S
        while child.poll() is None:
            if time.monotonic() >= until:
                child.signal_group(signal.SIGKILL)
            time.sleep(0.001)
        words = os.pread(told, 1 << 16, 0).decode("utf-8", "replace")
        lines = [line for line in words.splitlines() if _PROBLEM.search(line)]
        problem = (
            (lines[0] if lines else words.strip()[-400:] or "nginx said nothing") if child.exit_code else ""
        )
        return os.pread(output, _CAP, 0), problem
    finally:
        os.close(output)
        os.close(told)


def _reading(path: str, uid: int) -> FileReading:
    try:
        return {"text": read_own(path, uid), "error": "", "writable": os.access(path, os.W_OK)}
    except Fault as fault:
        return {"text": None, "error": fault.message, "writable": False}


def _made(main: str, version: str, uid: int) -> Set[str]:
    """Every path that this nginx could make or change by looking at its configuration.

    Raises Fault for a file of it that root may not run what it says: nginx would, while it looks.
    """
    compiled = _COMPILED.findall(version)
    prefix = next((value for name, value in compiled if name == "prefix"), "/usr/share/nginx")
    found = {value for name, value in compiled if name != "prefix"}
    seen: Set[str] = set()
    wanted = [(main, 0)]
    while wanted:
        path, depth = wanted.pop()
        if path in seen or depth > _DEEPEST:
            continue
        seen.add(path)
        if not os.path.exists(path):
            continue  # nginx itself says what is wrong with it
        text = read_own(os.path.realpath(path), uid)
        try:
            listed = statements(text)
        except Fault:
            continue
        for one in listed:
            if one.kind == "close" or len(one.words) < 2:
                continue
            name, first = one.words[0], one.words[1]
            if name == "include":
                below = os.path.join(os.path.dirname(main), first)
                wanted += [(each, depth + 1) for each in glob.glob(below)]
            elif _MAKES.fullmatch(name) and "$" not in first and ":" not in first:
                found.add(os.path.join(prefix, first))
    return {os.path.realpath(path) for path in found if not path.startswith("/dev/") and os.path.isabs(path)}


def _lstat(path: str) -> "os.stat_result | None":
    try:
        return os.lstat(path)
    except OSError:
        return None


def _put_back(before: List[_Found]) -> None:
    """What was not there is removed, what was there belongs to whom it belonged."""
    for path, seen in reversed(before):
        now = _lstat(path)
        with contextlib.suppress(OSError):
            if now is None:
                continue
            if seen is None and stat.S_ISDIR(now.st_mode):
                remove_tree(path)
            elif seen is None:
                os.unlink(path)
            elif (seen.st_uid, seen.st_gid, seen.st_mode) != (now.st_uid, now.st_gid, now.st_mode):
                os.chown(path, seen.st_uid, seen.st_gid)
                os.chmod(path, stat.S_IMODE(seen.st_mode))
