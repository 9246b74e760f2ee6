"""The tested php-fpm: started in the foreground as the agent's own child before nginx, stopped with it.

It reads the packaged php.ini and conf.d as the distribution's own does, and nothing else: no user's file, no environment.
PHP's settings of the order are given on its command line too, for some of them count only when PHP itself starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import time
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from autotune.agent import php_conf, processes, sockets
from autotune.agent.faults import Fault
from autotune.agent.nginx import Pause, Refused, read_log
from autotune.agent.orders import PhpOrder
from autotune.agent.places import write_text

_START_WITHIN_S = 10.0
_STOP_WITHIN_S = 2.0
_KILLED_WITHIN_S = 5.0
_POLL_S = 0.0005
_TOLD = re.compile(r"\b(WARNING|ERROR|ALERT)\b")
# Advice on how to tune the pool, given once a second to any that is busy: this is what the night is for.
_ADVICE = re.compile(r"server reached (pm\.)?max_children setting|seems busy \(you may need to increase")
_GRAVE = re.compile(r"\b(ERROR|ALERT)\b")
_TAKEN = re.compile(r"Address already in use|Another FPM instance")


class Files(NamedTuple):
    """The night's paths that concern php-fpm."""

    run_dir: str

    @property
    def conf(self) -> str:
        return self.run_dir + "/php-fpm.conf"

    @property
    def log(self) -> str:
        return self.run_dir + "/php-fpm.log"

    @property
    def said(self) -> str:
        return self.run_dir + "/php-fpm.stderr"


class Fpm:
    """A running php-fpm."""

    def __init__(self, files: Files, child: processes.Child, order: PhpOrder) -> None:
        self.files = files
        self.child = child
        self.listen = order.listen

    def children(self) -> List[int]:
        """The children that have finished their start (their title says so)."""
        pids = processes.children(self.child.pid)
        return sorted(pid for pid in pids if processes.command_line(pid).startswith(b"php-fpm: pool "))

    def cpu_s(self) -> float:
        """CPU seconds of the master and all its children, ended ones included."""
        pids = (self.child.pid, *processes.children(self.child.pid))
        return sum(map(processes.cpu_s_with_ended, pids))

    def ended(self) -> str:
        """How its master ended, "" while it runs."""
        code = self.child.poll()
        if code is None:
            return ""
        return f"php-fpm was killed by signal {-code}" if code < 0 else f"php-fpm left with exit code {code}"

    def was_killed(self) -> bool:
        """Whether someone (the kernel short of memory, an admin) killed its master."""
        return self.child.poll() == -signal.SIGKILL

    def error_log(self) -> str:
        """The lines at warning or above since the start."""
        return told(self.files)

    def ask_to_stop(self) -> None:
        """A quick stop: answers under way are cut. Returns at once."""
        self.child.poll()
        self.child.signal_group(signal.SIGTERM)

    def stop(self, pause: Pause) -> None:
        """Returns when nothing of it is left, its socket included. Raises Refused when even SIGKILL does not end it."""
        if not self.child.end_group(pause, gently_s=_STOP_WITHIN_S, killed_s=_KILLED_WITHIN_S):
            raise Refused("nginx", "the last php-fpm does not end, even by SIGKILL", "environment")
        _remove_socket(self.listen)


def examine(order: PhpOrder, files: Files, program: str, uid: int) -> php_conf.Checked:
    """What the order says, when it may be started at all. Raises Fault."""
    if not program:
        raise Fault("failed", "php-fpm is not installed here", "apt-get install php-fpm")
    checked = php_conf.check_conf(order.conf, files.run_dir, order.listen, uid)
    if uid == 0:
        for path in _inis(program):
            try:
                seen = os.stat(path)
            except FileNotFoundError:
                continue  # a link to a module that was removed: PHP reads nothing there either
            if seen.st_uid != 0 or seen.st_mode & stat.S_IWOTH:
                raise Fault("refused", f"{path} is not root's alone, and root would run what it says")
    return checked


def start(
    program: str,
    order: PhpOrder,
    checked: php_conf.Checked,
    files: Files,
    *,
    record: Callable[[int, int], None],
    pause: Pause,
    started: Callable[[Fpm], None],
) -> Fpm:
    """A php-fpm of this configuration that accepts and has the children it begins with.

    `started` gets it as soon as there is a process to stop. Raises Refused, with the reason in php-fpm's own words.
    """
    _refuse_taken(order.listen)
    write_text(files.conf, order.conf)
    write_text(files.log, "")
    argv = [program, "-F", "-y", files.conf, *_ini_arguments(program)]
    for name, value in checked.php:
        argv += ["-d", f"{name}={value}"]
    said = os.open(files.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        child = processes.spawn(argv, cpus=order.cpus, stdout=said, stderr=said, record=record)
    finally:
        os.close(said)
    fpm = Fpm(files, child, order)
    started(fpm)
    until = time.monotonic() + _START_WITHIN_S
    while not (_accepts(order.listen) and len(fpm.children()) >= checked.children):
        if child.poll() is not None:
            raise _did_not_start(files, child.exit_code)
        if time.monotonic() >= until:
            up = len(fpm.children())
            reason = f"php-fpm has {up} of {checked.children} children after {_START_WITHIN_S:g} s"
            raise Refused("nginx", f"{reason}; {told(files)[-300:]}", "configuration")
        pause(_POLL_S)
    return fpm


def told(files: Files) -> str:
    """What this php-fpm said at warning or above, in its log and before it had one."""
    lines: List[str] = []
    for path in (files.said, files.log):
        for line in read_log(path).splitlines():
            if _TOLD.search(line) and not _ADVICE.search(line) and line not in lines:
                lines.append(line)
    return "\n".join(lines)


def _did_not_start(files: Files, exit_code: Optional[int]) -> Refused:
    text = told(files)
    first = next((line for line in text.splitlines() if _GRAVE.search(line)), "")
    last = first or text[-400:] or read_log(files.said).strip()[-400:]
    reason = last or f"php-fpm left with exit code {exit_code} and said nothing"
    environment = _TAKEN.search(text) or (exit_code or 0) < 0
    return Refused("nginx", reason, "environment" if environment else "configuration")


def _accepts(listen: str) -> bool:
    family, where = _address(listen)
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.settimeout(1.0)
        return line.connect_ex(where) == 0  # type: ignore[arg-type]  # a path for AF_UNIX


def _address(listen: str) -> Tuple[int, object]:
    if listen.startswith("/"):
        return socket.AF_UNIX, listen
    host, _, port = listen.rpartition(":")
    return socket.AF_INET, (host, int(port))


def _refuse_taken(listen: str) -> None:
    if listen.startswith("/"):
        _remove_socket(listen)  # of one that was killed: it would answer nobody
        return
    host, _, port = listen.rpartition(":")
    taken = sockets.listeners(host, int(port))
    if taken:
        raise Refused(
            "nginx", f"port {port} of {host} is taken by {sockets.owner_text(taken)}", "environment"
        )


def _remove_socket(listen: str) -> None:
    if listen.startswith("/"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(listen)


def _ini_arguments(program: str) -> Sequence[str]:
    """The packaged php.ini by name; conf.d beside it is compiled in. Without one PHP looks where it was built to."""
    ini = _home(program) + "/php.ini"
    return ("-c", ini) if os.path.isfile(ini) else ()


def _inis(program: str) -> List[str]:
    """Every file of PHP's own that this php-fpm reads, with the directories that hold them."""
    home = _home(program)
    found = [path for path in (home, home + "/conf.d", home + "/php.ini") if os.path.exists(path)]
    with contextlib.suppress(OSError):
        found += [f"{home}/conf.d/{name}" for name in os.listdir(home + "/conf.d")]
    return found


def _home(program: str) -> str:
    return f"/etc/php/{os.path.basename(program)[len('php-fpm') :]}/fpm"
