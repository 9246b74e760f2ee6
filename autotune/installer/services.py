"""Programs of this board that are asked or restarted: systemd, nginx, php-fpm. Always argument lists, never a shell's text."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

from autotune.installer.nginx_edit import socket_of
from autotune.installer.nginx_tree import Tree

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
_WITHIN_S = 60.0
_ANSWERS_WITHIN_S = 8.0
_ASKED_FOR_S = 3.0
# In a mount namespace of its own the candidates stand in the place of the user's files, and nginx judges the whole.
_TRY = """
nginx=$1 conf=$2
shift 2
while [ $# -gt 0 ]; do
    mount --bind "$1" "$2" || exit 97
    shift 2
done
exec "$nginx" -t -q -c "$conf"
"""
_NO_NAMESPACE = 97
Socket = Tuple[str, int]


class Ran(NamedTuple):
    code: int
    said: str

    @property
    def why(self) -> str:
        """The line that says it: nginx's own last one says only that it failed."""
        lines = self.said.strip().splitlines()
        telling = [line for line in lines if "[emerg]" in line or "ERROR" in line]
        return (telling or lines[-1:] or [f"exit code {self.code}"])[0]


def program(name: str) -> str:
    """Its absolute path, "" when it isn't here."""
    return shutil.which(name, path=_PATH) or ""


def run(*argv: str, within_s: float = _WITHIN_S) -> Ran:
    """Runs a program and waits; what can't be run or hangs has a code, too."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within_s,
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        return Ran(127, f"there is no {argv[0]} here")
    except (OSError, subprocess.SubprocessError) as problem:
        return Ran(126, str(problem))
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


def has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")


def is_active(unit: str) -> bool:
    return has_systemd() and run("systemctl", "is-active", "--quiet", unit).code == 0


def reload_manager() -> None:
    """Has systemd and udev look at their files again. Changes no value."""
    if has_systemd():
        run("systemctl", "daemon-reload")
    if os.path.exists("/run/udev/control"):
        run("udevadm", "control", "--reload")


# -- nginx ------------------------------------------------------------------------------------------------------------


def nginx_problem(config: str) -> str:
    """Why nginx doesn't take its configuration as it is; "" when it does."""
    nginx = program("nginx")
    if not nginx:
        return "there is no nginx here: apt-get install nginx"
    tried = run(nginx, "-t", "-q", "-c", config)
    return "" if tried.code == 0 else f"nginx does not take {config}: {tried.why}"


def candidate_problem(config: str, texts: Dict[str, str]) -> str:
    """Why nginx wouldn't take these files; "" when it would, or where only trying in place can tell. Changes nothing."""
    unshare = program("unshare")
    if not unshare:
        return ""
    with tempfile.TemporaryDirectory(prefix="autotune-", dir="/run" if os.geteuid() == 0 else None) as folder:
        pairs: List[str] = []
        for number, (path, text) in enumerate(sorted(texts.items())):
            beside = f"{folder}/{number}"
            with open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            pairs += [beside, path]
        argv = (unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", _TRY, "sh")
        tried = run(*argv, program("nginx"), config, *pairs)
    if tried.code in (0, _NO_NAMESPACE) or "unshare" in tried.said.partition(":")[0]:
        return ""
    return f"nginx does not take what would be installed: {tried.why}"


def nginx_runs(tree: Tree) -> str:
    """How it is restarted here: "systemd", "signal" for one that somebody started by hand, "" when none runs."""
    if is_active("nginx.service"):
        return "systemd"
    return "signal" if _master(tree) else ""


def restart_nginx(tree: Tree, config: str) -> str:
    """What went wrong, "" for nothing. One that nobody manages is told to reload."""
    how = nginx_runs(tree)
    if how == "systemd":
        ran = run("systemctl", "restart", "nginx.service")
    elif how == "signal":
        before = _workers(_master(tree))
        ran = run(program("nginx"), "-c", config, "-s", "reload")
        if ran.code == 0 and not _gave_way(before, _master(tree)):
            return "nginx was told to reload, and its workers stay"
    else:
        return ""
    return "" if ran.code == 0 else f"nginx does not restart: {ran.why}"


def _workers(master: int) -> Set[int]:
    """Those that take connections: one that is on its way out says so in its command line."""
    found = set()
    try:
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:
            children = [int(one) for one in file.read().split()]
    except OSError:
        return set()
    for child in children:
        try:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if b"shutting down" not in file.read():
                    found.add(child)
        except OSError:
            continue
    return found


def _gave_way(before: Set[int], master: int) -> bool:
    """Whether others have taken the place of these workers, within some seconds."""
    until = time.monotonic() + _ANSWERS_WITHIN_S
    while before & _workers(master):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def answers(tree: Tree) -> Dict[Socket, str]:
    """What is answered at every address and port of the configuration's servers: a status class, or "open" behind TLS."""
    found: Dict[Socket, str] = {}
    for at, tls in sockets(tree).items():
        said = _ask(at, tls)
        if said:
            found[at] = said
    return found


def unanswered(tree: Tree, before: Dict[Socket, str]) -> str:
    """Which of those that answered before don't as they did; "" when all do within some seconds."""
    until = time.monotonic() + _ANSWERS_WITHIN_S
    while True:
        now = answers(tree)
        wrong = [at for at, said in before.items() if now.get(at) != said]
        if not wrong:
            return ""
        if time.monotonic() > until:
            address, port = wrong[0]
            return f"{address}:{port} answered {before[wrong[0]]} before, now {now.get(wrong[0], 'nothing')}"
        time.sleep(0.1)


def sockets(tree: Tree) -> Dict[Socket, bool]:
    """Where the configuration's servers listen, and whether behind TLS."""
    found: Dict[Socket, bool] = {}
    for one in tree.found:
        if one.directive.name == "listen" and one.context == "http server" and one.directive.args:
            address, port = socket_of(one.directive.args[0])
            if port.isdecimal() and "quic" not in one.directive.args:
                here = {"*": "127.0.0.1", "[::]": "::1"}.get(address, address.strip("[]"))
                found[here, int(port)] = "ssl" in one.directive.args
    return found


def _ask(at: Socket, tls: bool) -> str:  # noqa: FBT001
    try:
        with socket.create_connection(at, timeout=_ASKED_FOR_S) as line:
            if tls:
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE  # who it is doesn't matter here: it is this machine
                with context.wrap_socket(line, server_hostname="localhost"):
                    return "open"
            line.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            words = line.recv(64).split(b" ")
            return words[1][:1].decode("ascii", "replace") + "xx" if len(words) > 1 else ""
    except (OSError, ValueError):
        return ""


def _master(tree: Tree) -> int:
    """The process that its pid file names, if it is an nginx; 0 otherwise."""
    said = tree.of("", "pid")
    path = said[0].args[0] if said and said[0].args else "/run/nginx.pid"
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read(20))
        with open(f"/proc/{number}/comm", encoding="ascii") as file:
            return number if file.read().startswith("nginx") else 0
    except (OSError, ValueError):
        return 0


# -- php-fpm ----------------------------------------------------------------------------------------------------------


def fpm_problem(version: str) -> str:
    """Why php-fpm doesn't take its configuration; "" when it does."""
    tried = run(program(f"php-fpm{version}") or f"php-fpm{version}", "-t")
    return "" if tried.code == 0 else f"php-fpm{version} does not take its configuration: {tried.why}"


def restart_fpm(version: str) -> str:
    unit = f"php{version}-fpm.service"
    if not is_active(unit):
        return ""
    ran = run("systemctl", "restart", unit)
    return "" if ran.code == 0 else f"{unit} does not restart: {ran.why}"


def busy_moving_interrupts() -> bool:
    """Whether irqbalance runs: it would move them back within seconds."""
    return is_active("irqbalance.service") or _is_running("irqbalance")


def _is_running(name: str) -> bool:
    for number in os.listdir("/proc"):
        if number.isdecimal():
            try:
                with open(f"/proc/{number}/comm", encoding="ascii", errors="replace") as file:
                    if file.read().strip() == name:
                        return True
            except OSError:
                continue
    return False


def missing(programs: Sequence[str]) -> List[str]:
    return [name for name in programs if not program(name)]
