"""The tested nginx: started in the foreground as the agent's own child, and stopped until nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Callable, Dict, List, Literal, Mapping, NamedTuple, Optional, Sequence, Tuple

from autotune.agent import mounts, processes, sockets
from autotune.agent.places import write_text

_START_WITHIN_S = 10.0
_NO_MORE_AFTER_S = 0.3
_STOP_WITHIN_S = 3.0
_KILLED_WITHIN_S = 5.0
_ENDS_WITHIN_S = 0.3
_POLL_S = 0.0005
_LOG_CAP = 1 << 16
_TOLD = re.compile(r"\[(warn|error|crit|alert|emerg)\]")
_GRAVE = re.compile(r"\[(crit|alert|emerg)\]")
_TAKEN = re.compile(r"bind\(\) to .* failed \(98")
_DENIED = re.compile(r"bind\(\) to .* failed \(13")
_KILLED = re.compile(r"exited on signal 9\b")
_TOLD_WITHIN_S = 0.1

Pause = Callable[[float], None]


class Refused(Exception):
    """This nginx does not serve as ordered: where that showed, and whose fault it is."""

    def __init__(
        self, step: Literal["nginx", "canary"], reason: str, blame: Literal["configuration", "environment"]
    ) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason
        self.blame: Literal["configuration", "environment"] = blame


class Files(NamedTuple):
    """The night's paths that concern nginx. `error_log` is where configurations are to put theirs."""

    run_dir: str
    log_dir: str

    @property
    def conf(self) -> str:
        return self.run_dir + "/nginx.conf"

    @property
    def pid(self) -> str:
        return self.run_dir + "/nginx.pid"

    @property
    def said(self) -> str:
        return self.run_dir + "/nginx.stderr"

    @property
    def error_log(self) -> str:
        return self.log_dir + "/error.log"


class Texts(NamedTuple):
    """What nginx is to read: a whole configuration of ours, or the user's own with some files seen in place of theirs."""

    conf: str
    conf_path: str = ""
    edits: Mapping[str, str] = {}


class Server:
    """A running nginx. `workers` are asked of the kernel each time."""

    def __init__(
        self,
        files: Files,
        child: processes.Child,
        listen: Sequence[Tuple[str, int]],
        cpus: Sequence[int],
    ) -> None:
        self.files = files
        self.child = child
        self.listen = tuple(listen)
        self.cpus = tuple(cpus)
        self.cpu_s_behind: Callable[[], float] = float  # of what it passes requests on to: php-fpm
        self._ended_cpu_s: Dict[int, float] = {}

    def workers(self) -> List[int]:
        """The worker processes that have finished their start (their title says so)."""
        pids = processes.children(self.child.pid)
        return sorted(pid for pid in pids if processes.command_line(pid).startswith(b"nginx: worker process"))

    def log_room_bytes(self) -> int:
        """What its logs may still grow by. Where they can't any more, nginx does less per request, and says so nowhere."""
        seen = os.statvfs(self.files.log_dir)
        return seen.f_bavail * seen.f_frsize

    def settled(self) -> bool:
        """Whether the master has started all it will: it sleeps, and no child still bears its title.

        Until then one worker more may come a few milliseconds after the last.
        """
        master = processes.read_stat(self.child.pid)
        if master is None or master.state != "S":
            return False
        pids = processes.children(self.child.pid)
        return not any(processes.command_line(pid).startswith(b"nginx: master process") for pid in pids)

    def cpu_s(self) -> float:
        """CPU seconds of the master and all its workers, dead ones included for as long as they were seen, and of what
        is behind it.
        """
        for pid in (self.child.pid, *processes.children(self.child.pid)):
            stat = processes.read_stat(pid)
            if stat is not None:
                self._ended_cpu_s[pid] = stat.cpu_s
        return sum(self._ended_cpu_s.values()) + self.cpu_s_behind()

    def error_log(self) -> str:
        """The lines at warn or above since the start."""
        return told(self.files)

    def was_killed(self, pause: Pause) -> bool:
        """Whether someone (the kernel short of memory, an admin) killed its master or a worker; never nginx's own doing.

        The master needs a moment to notice and to say so.
        """
        until = time.monotonic() + _TOLD_WITHIN_S
        while self.child.poll() != -signal.SIGKILL and not _KILLED.search(told(self.files)):
            if time.monotonic() >= until:
                return False
            pause(_POLL_S)
        return True

    def ask_to_stop(self) -> None:
        """A quick stop: answers under way are cut. Returns at once."""
        self.child.poll()
        self.child.signal_group(signal.SIGTERM)

    def stop(self, pause: Pause) -> None:
        """Returns when nothing of it is left. Raises Refused when even SIGKILL does not end it."""
        if not self.child.end_group(pause, gently_s=_STOP_WITHIN_S, killed_s=_KILLED_WITHIN_S):
            raise Refused("nginx", "the last nginx does not end, even by SIGKILL", "environment")


def start(
    program: str,
    texts: Texts,
    files: Files,
    *,
    listen: Sequence[Tuple[str, int]],
    workers: int,
    cpus: Sequence[int],
    record: Callable[[int, int], None],
    pause: Pause,
    started: Callable[[Server], None],
    quiet_start: bool,
) -> Server:
    """An nginx of this configuration with all its workers up. `started` gets it as soon as there is a process to stop.

    There is no `nginx -t`: the start says the same of a bad configuration, in the same words, 4 ms earlier.
    Raises Refused, with the reason in nginx's own words.
    """
    for address, port in listen:
        if taken := sockets.listeners(address, port):
            raise Refused(
                "nginx", f"port {port} of {address} is taken by {sockets.owner_text(taken)}", "environment"
            )
    _fresh_logs(files)
    shown = _put_texts(files, texts)
    if texts.conf_path:
        argv = [program, "-c", texts.conf_path]
    else:
        argv = [program, "-p", files.run_dir + "/", "-c", files.conf]
    if quiet_start:
        argv += ["-e", "stderr"]
    said = os.open(files.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        child = processes.spawn(
            argv,
            cpus=cpus,
            stdout=said,
            stderr=said,
            record=record,
            prepare=mounts.private(shown) if shown else _nothing,
        )
    finally:
        os.close(said)
    server = Server(files, child, listen, cpus)
    started(server)
    until = time.monotonic() + _START_WITHIN_S
    up, changed = 0, time.monotonic()
    while True:
        if child.poll() is not None:
            raise _did_not_start(files, child.exit_code)
        settled = server.settled()  # asked first: what is counted then is all there is
        before, up = up, len(server.workers())
        if up == workers and settled:
            return server
        if up != before or not settled:  # a slow board takes its time between two of them
            changed = time.monotonic()
        if grave := grave_line(told(files)):
            if _ends(child, pause):
                raise _did_not_start(files, child.exit_code)
            raise Refused("canary", grave, "configuration")
        now = time.monotonic()
        if now >= until or (up != workers and up and now - changed >= _NO_MORE_AFTER_S):
            raise Refused("canary", f"{up} workers came up, {workers} were ordered", "configuration")
        pause(_POLL_S)


def _ends(child: processes.Child, pause: Pause) -> bool:
    """Whether a master that has complained so gravely ends of itself, as it does on a configuration it rejects."""
    until = time.monotonic() + _ENDS_WITHIN_S
    while child.poll() is None and time.monotonic() < until:
        pause(_POLL_S)
    return child.exit_code is not None


def takes_early_log(version: str) -> bool:
    """Whether this nginx (1.19.5 or later) takes -e, without which it opens its compiled-in error log at every start."""
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(int(part) for part in found.groups()) >= (1, 19, 5)


def _did_not_start(files: Files, exit_code: Optional[int]) -> Refused:
    text = told(files)
    reason = (
        grave_line(text) or text.strip()[-400:] or f"nginx left with exit code {exit_code} and said nothing"
    )
    environment = _TAKEN.search(text) or _DENIED.search(text) or (exit_code or 0) < 0
    return Refused("nginx", reason, "environment" if environment else "configuration")


def told(files: Files) -> str:
    """What this nginx said at warn or above, in its log and before it had one."""
    lines = []
    for path in (files.said, files.error_log):
        for line in read_log(path).splitlines():
            if _TOLD.search(line) and line not in lines:
                lines.append(line)
    return "\n".join(lines)


def grave_line(text: str) -> str:
    """The first line at crit, alert or emerg; "" when there is none."""
    return next((line for line in text.splitlines() if _GRAVE.search(line)), "")


def read_log(path: str) -> str:
    """The beginning of a log, "" of one that isn't there."""
    try:
        with open(path, "rb") as file:
            return file.read(_LOG_CAP).decode("utf-8", "replace")
    except OSError:
        return ""


def _fresh_logs(files: Files) -> None:
    """Every nginx begins with empty logs: an access log of one sample can be over 100 MB."""
    for directory, _, names, handle in os.fwalk(files.log_dir):
        for name in names:
            if directory == files.log_dir or name.endswith(".log"):
                os.unlink(name, dir_fd=handle)


def _put_texts(files: Files, texts: Texts) -> List[Tuple[str, str]]:
    """Writes what nginx reads, and says which of it stands in for which file of the user's."""
    if not texts.conf_path:
        write_text(files.conf, texts.conf)
        return []
    shown = []
    for number, (path, text) in enumerate(texts.edits.items()):
        own = f"{files.run_dir}/own-{number}.conf"
        write_text(own, text)
        shown.append((own, path))
    return shown


def _nothing() -> None:
    """What is to be done before an nginx that sees the machine as it is."""
