"""Other builds of nginx: made from source as an unprivileged user, proven to run, and kept."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import time
from typing import Any, Dict, List, NamedTuple, Tuple

from autotune.agent import build_cache, build_source
from autotune.agent.build_source import tool
from autotune.agent.faults import Fault
from autotune.agent.line import Line
from autotune.agent.lock import Lock
from autotune.agent.places import Places, make_run_dir
from autotune.agent.protocol import BuildsReply, Built, Program
from autotune.agent.workshop import StepFailed, Workshop

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SOURCE = re.compile(
    r"apt|(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\.tar\.(?:gz|xz|bz2)"
    r"|https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/%+-]+\.tar\.(?:gz|xz|bz2)"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VALUE = r"[A-Za-z0-9_.+-]{1,40}"
# What root's nginx is made with comes from a study file: nothing here can name a file, a plugin or another program.
_CFLAG = re.compile(
    rf"-O[0-3sz]?|-Ofast|-g[0-3]?|-pipe|-m(?:\{{march\}}|\{{mtune\}}|[a-z0-9-]{{1,30}}(?:=(?:\{{march\}}|\{{mtune\}}|{_VALUE}))?)"
    rf"|-f(?!plugin)[a-z0-9-]{{1,40}}(?:=[a-z0-9-]{{1,20}})?|-D[A-Z0-9_]{{1,40}}(?:=[A-Za-z0-9_]{{1,20}})?|-W[a-z][a-z0-9-]{{1,40}}"
)
_LDFLAG = re.compile(
    rf"-Wl,(?:-O[0-3]|--as-needed|--gc-sections|--sort-common|--hash-style=(?:gnu|both)|-z,(?:relro|now))"
    rf"|-O[0-3s]?|-f(?!plugin)[a-z0-9-]{{1,40}}(?:=[a-z0-9-]{{1,20}})?|-m[a-z0-9-]{{1,30}}=(?:\{{march\}}|\{{mtune\}}|{_VALUE})"
)
_CONFIGURE = re.compile(r"--with(?:out)?-(?!cc|cpp|ld-opt|perl|pcre=|zlib=|openssl=)[a-z0-9_-]{1,60}")
_WITHOUT = re.compile(r"--with(?:out)?-[a-z0-9_-]{1,60}")
_FLAGS_CAP = 40
# The distribution's own modules are loaded as they are: --with-compat makes that possible.
_NOT_TAKEN_OVER = re.compile(
    r"--(?:with|add)-[a-z0-9_-]+=dynamic|--add-(?:dynamic-)?module=.*|--builddir=.*|--build=.*"
)
_LOAD_MODULE = re.compile(r"(?m)^\s*load_module\s+[\"']?([^\s;\"']+)[\"']?\s*;")
_A76_PART = re.compile(r"(?m)^CPU part\s*:\s*0xd0b$")
_A76 = {"march": "armv8-a+crc+crypto", "mtune": "cortex-a76"}
_NATIVE = {"march": "native", "mtune": "native"}
_CONFIGURE_S, _MAKE_S, _LOOK_S = 300.0, 1500.0, 30.0
_HEADERS = re.compile(r"(?i)requires the (PCRE|OpenSSL|zlib) library|SSL modules require the (OpenSSL)")
_PACKAGES = "apt-get install gcc make libpcre2-dev libssl-dev zlib1g-dev"


class Order(NamedTuple):
    """A build as the controller describes it; `{march}` and `{mtune}` stand for this board's CPU."""

    name: str
    source: str
    sha256: str
    cflags: Tuple[str, ...]
    ldflags: Tuple[str, ...]
    configure: Tuple[str, ...]
    without: Tuple[str, ...]


def read_order(body: Dict[str, Any]) -> Order:
    """Raises Fault "refused" for what could lead root to anything but an nginx of that source."""
    source, sha256 = _word(body, "source", _SOURCE), str(body.get("sha256", ""))
    if sha256 and not _SHA256.fullmatch(sha256):
        raise _wrong(f"{sha256[:80]!r} is not a SHA-256")
    if source.startswith("https://") and not sha256:
        raise _wrong("a source from the network needs its sha256")
    return Order(
        _word(body, "name", _NAME),
        source,
        sha256,
        _words(body, "cflags", _CFLAG),
        _words(body, "ldflags", _LDFLAG),
        _words(body, "configure", _CONFIGURE),
        _words(body, "without", _WITHOUT),
    )


def carry_out(
    body: Dict[str, Any], places: Places, line: Line, nginx: Program, *, holds: bool
) -> BuildsReply:
    """The verb `builds`. Nothing is made or removed while any tuner holds the board: it would disturb what is measured.

    Raises Fault, Leave.
    """
    action = body.get("action")
    if action == "list":
        return _reply(places)
    if action not in ("make", "remove"):
        raise _wrong(f"{str(action)[:40]!r} is nothing to do with builds")
    if holds:
        raise Fault(
            "refused", "builds are neither made nor removed while this agent holds the board", "end first"
        )
    order = read_order(body) if action == "make" else None
    make_run_dir(places)
    lock = Lock.take(places, f"builds of nginx, agent {os.getpid()}")
    try:
        if order is None:
            build_cache.remove(places, str(body.get("key")))
            return _reply(places)
        try:
            _make(order, places, line, nginx)
        except StepFailed as problem:
            return {**_reply(places), "problem": f"{order.name}: {problem}"}
        return _reply(places)
    finally:
        lock.release()


def _reply(places: Places) -> BuildsReply:
    return {"builds": [kept.told for kept in build_cache.kept_builds(places)], "problem": ""}


def _make(order: Order, places: Places, line: Line, nginx: Program) -> None:
    if not nginx["path"]:
        raise StepFailed(
            "there is no nginx here to take the usual configure arguments from: apt-get install nginx"
        )
    since = time.monotonic()
    directory = build_cache.make_cache_dir(places)
    build_cache.sweep(places)
    shop = Workshop(directory, places.uid, line)
    try:
        compiler = shop.run("cc", (tool("cc"), "--version"), within_s=_LOOK_S).splitlines()[0]
        asked = _digest([*order, nginx["version"], compiler, _package(shop, order, nginx), _tarball(order)])
        if any(kept.order == asked for kept in build_cache.kept_builds(places)):
            return
        source = build_source.fetch(shop, order.source, order.sha256, nginx["path"])
        arguments = configure_arguments(nginx["version"], order)
        _compile(shop, source.directory, arguments)
        binary = source.directory + "/objs/nginx"
        told: Built = {
            "key": _digest([source.sha256, arguments, compiler]),
            "name": order.name,
            "asked": order.source,
            "cflags": list(order.cflags),
            "ldflags": list(order.ldflags),
            "configure": list(order.configure),
            "without": list(order.without),
            "source": source.words,
            "compiler": compiler,
            "version": _prove(shop, binary, nginx["version"]),
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "size_bytes": 0,
            "seconds": round(time.monotonic() - since, 1),
        }
        if os.path.realpath(binary) != os.path.abspath(binary):
            raise StepFailed("what was built is a symbolic link")
        build_cache.keep(places, binary, told, asked)
    finally:
        shop.close()


def _package(shop: Workshop, order: Order, nginx: Program) -> str:
    if order.source != "apt":
        return ""
    return " ".join(build_source.installed_package(shop, nginx["path"]))


def _tarball(order: Order) -> str:
    """What tells one state of a tarball on this machine from another."""
    if not order.source.startswith("/"):
        return ""
    try:
        seen = os.stat(order.source)
    except OSError as problem:
        raise StepFailed(f"{order.source} can't be read: {problem.strerror}") from None
    return f"{seen.st_size} {seen.st_mtime_ns}"


def configure_arguments(version: str, order: Order) -> List[str]:
    """The distribution's own arguments (`nginx -V`), with the order's differences. Paths and hardening stay as they are."""
    usual = shlex.split(version.partition("configure arguments:")[2])
    cflags = [one[len("--with-cc-opt=") :] for one in usual if one.startswith("--with-cc-opt=")]
    ldflags = [one[len("--with-ld-opt=") :] for one in usual if one.startswith("--with-ld-opt=")]
    kept = [
        one
        for one in usual
        if not one.startswith(("--with-cc-opt=", "--with-ld-opt="))
        and not _NOT_TAKEN_OVER.fullmatch(one)
        and one not in order.without
    ]
    kept += [one for one in order.configure if one not in kept]
    if "--with-compat" not in kept:
        kept.append("--with-compat")
    cpu = _A76 if _is_a76() else _NATIVE
    fill = [one.replace("{march}", cpu["march"]).replace("{mtune}", cpu["mtune"]) for one in order.cflags]
    link = [one.replace("{march}", cpu["march"]).replace("{mtune}", cpu["mtune"]) for one in order.ldflags]
    return [
        *kept,
        "--with-cc-opt=" + " ".join([*cflags, *fill]),
        "--with-ld-opt=" + " ".join([*ldflags, *link]),
    ]


def _is_a76() -> bool:
    """Whether this board has Cortex-A76 cores (the big ones of an RK3588)."""
    if platform.machine() != "aarch64":
        return False
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        return _A76_PART.search(file.read()) is not None


def _compile(shop: Workshop, directory: str, arguments: List[str]) -> None:
    make = tool("make")
    try:
        shop.run("configure", (directory + "/configure", *arguments), cwd=directory, within_s=_CONFIGURE_S)
    except StepFailed as problem:
        lacking = " (headers are missing: " + _PACKAGES + ")" if _HEADERS.search(str(problem)) else ""
        raise StepFailed(f"{problem}{lacking}") from None
    jobs = len(os.sched_getaffinity(0))
    argv = (make, f"-j{jobs}", "-f", "objs/Makefile", "binary")
    shop.run("make", argv, cwd=directory, within_s=_MAKE_S)


def _prove(shop: Workshop, binary: str, usual: str) -> str:
    """All of its `nginx -V`. Raises StepFailed unless it runs and loads the modules of the packaged configuration."""
    version = shop.run("nginx -V", (binary, "-V"), within_s=_LOOK_S)
    if "configure arguments:" not in version:
        raise StepFailed(f"what was built doesn't speak like nginx: {version[:200]}")
    found = re.search(r"--prefix=(\S+)", usual)
    prefix = found[1] if found else "/usr/local/nginx"
    conf = shop.path + "/try.conf"
    modules = [one if one.startswith("/") else f"{prefix}/{one}" for one in _packaged_modules()]
    with open(conf, "x", encoding="ascii") as file:
        file.write("".join(f"load_module {one};\n" for one in modules))
        file.write(f"error_log stderr;\npid {shop.path}/try.pid;\nevents {{}}\n")
        os.fchmod(file.fileno(), 0o644)  # by handle: the directory is not root's
    try:
        shop.run(
            "nginx -t", (binary, "-t", "-p", shop.path + "/", "-c", conf, "-e", "stderr"), within_s=_LOOK_S
        )
    except StepFailed as problem:
        raise StepFailed(f"it can't run with the packaged configuration's modules: {problem}") from None
    return version


def _packaged_modules() -> List[str]:
    """What the packaged configuration loads, as it names it."""
    found: List[str] = []
    directory = "/etc/nginx/modules-enabled"
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for path in (
        "/etc/nginx/nginx.conf",
        *(f"{directory}/{name}" for name in names if name.endswith(".conf")),
    ):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found += _LOAD_MODULE.findall(file.read())
        except OSError:
            continue
    return found


def _digest(parts: List[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


def _word(body: Dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    found = body.get(key)
    if not isinstance(found, str) or len(found) > 500 or not pattern.fullmatch(found):
        raise _wrong(f"{key} = {str(found)[:100]!r} is not taken for a build")
    return found


def _words(body: Dict[str, Any], key: str, pattern: re.Pattern[str]) -> Tuple[str, ...]:
    found = body.get(key)
    if not isinstance(found, list) or len(found) > _FLAGS_CAP:
        raise _wrong(f"{key} is not a list of at most {_FLAGS_CAP} words")
    for one in found:
        if not isinstance(one, str) or not pattern.fullmatch(one):
            raise Fault(
                "refused",
                f"{key}: {str(one)[:100]!r} is not a word that a build may have",
                "optimisation, machine and module words are; nothing that names a file, a plugin or a program",
            )
    return tuple(found)


def _wrong(message: str) -> Fault:
    return Fault("refused", message, "nothing was built")
