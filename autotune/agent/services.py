"""The machine's own services that stand in a night's way: found, stopped, started again and proven to run.

Started and stopped by whoever manages them, systemd or an init script, never by us: what they start is not ours to kill.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from autotune.agent import processes, sockets
from autotune.agent.faults import Fault
from autotune.agent.protocol import LeftOver

_UNIT = re.compile(r"/([A-Za-z0-9][A-Za-z0-9@._-]{0,99})\.service(/|$)")
_BY_NAME = ("irqbalance",)
# All that is ever stopped or started: what a journal or a cgroup says may be anything.
_NAME = re.compile(
    r"irqbalance|([A-Za-z0-9][A-Za-z0-9_.@-]{0,49}[-_.@])?(nginx|openresty|angie)([-_.@0-9][A-Za-z0-9_.@-]{0,49})?"
)
_LISTEN_CAP = 100
_DONE_WITHIN_S = 60.0
_LISTENS_WITHIN_S = 10.0
_BOOTS_WITHIN_S = 300.0
_POLL_S = 0.02

Listen = Tuple[Tuple[str, int], ...]
Record = Callable[[int, int], None]


class Service(NamedTuple):
    """A service that ran when the night met it. `manager` systemd or init; `listen` where it is to be found again."""

    name: str
    manager: str
    listen: Listen = ()

    def argv(self, action: str) -> List[str]:
        if self.manager == "systemd":
            return ["/usr/bin/systemctl", action, self.name + ".service"]
        return ["/etc/init.d/" + self.name, action]


def is_known(service: Service) -> bool:
    """Whether it is one that a night may stop and start: by its name, and by who manages it."""
    managed = service.manager == "systemd" or (service.manager == "init" and "@" not in service.name)
    return managed and _NAME.fullmatch(service.name) is not None and len(service.listen) <= _LISTEN_CAP


def refuse_starting() -> None:
    """Raises Fault while the machine boots: a service that is yet to come could neither be stopped now nor listen then.

    A boot that never ends is no reason after some minutes.
    """
    if time.clock_gettime(time.CLOCK_BOOTTIME) > _BOOTS_WITHIN_S or not _has_systemd():
        return
    if _system_state() in ("initializing", "starting"):
        raise Fault(
            "busy", "this board is still starting up", "see what it waits for there: systemctl list-jobs"
        )


def _system_state() -> str:
    """systemctl(1), is-system-running; "" when it doesn't say."""
    try:
        done = subprocess.run(
            ["/usr/bin/systemctl", "is-system-running"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_DONE_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace").strip()


def find(name: str) -> Optional[Service]:
    """The service of this name, if it runs. Raises Fault for one that the agent has no business with."""
    if name not in _BY_NAME:
        raise Fault(
            "refused", f"{name[:40]!r} is not a service that a night stops", "one of " + ", ".join(_BY_NAME)
        )
    return _running(name, ())


def find_nginx(listen: Listen) -> Optional[Service]:
    """The service whose nginx serves there; None when nobody does. Raises Fault naming anybody else."""
    taken = [one for address, port in listen for one in sockets.listeners(address, port)]
    owners = _owners(taken)
    masters = [stat for stat in owners if stat.parent not in {other.pid for other in owners}]
    if not taken:
        return _running("nginx", ())
    names = {_unit(master.pid) for master in masters} if _has_systemd() else {"nginx"}
    name = names.pop() if len(names) == 1 else ""
    found = _running(name, listen) if name and masters else None
    if found is None or not all(stat.name.startswith(("nginx", "openresty", "angie")) for stat in masters):
        raise Fault(
            "refused",
            f"{sockets.owner_text(taken)} listens where the tested nginx is to, and no service is known that starts it again",
            "stop it by hand for the night",
        )
    if found.manager == "init" and not _is_pidfile_of(name, {master.pid for master in masters}):
        raise Fault(
            "refused",
            f"{sockets.owner_text(taken)} was not started by /etc/init.d/{name}, so nothing would start it again",
            "stop it by hand for the night",
        )
    return found


def live_nginx() -> str:
    """The program of the nginx that runs on this machine, "" without one or when it is not root's alone."""
    mine = _namespace("self")
    for one in map(processes.read_stat, processes.all_pids()):
        if one is None or not processes.command_line(one.pid).startswith(b"nginx: master process"):
            continue
        try:
            path = os.readlink(f"/proc/{one.pid}/exe")
            seen = os.stat(path)
        except OSError:
            continue
        if _namespace(str(one.pid)) == mine and seen.st_uid == 0 and not seen.st_mode & 0o022:
            return path
    return ""


def stop(service: Service, record: Record) -> None:
    """Returns when it neither runs nor listens. `record` gets the process that stops it. Raises Fault."""
    code = _run(service.argv("stop"), record)
    until = time.monotonic() + _LISTENS_WITHIN_S
    while is_running(service) or any(sockets.listeners(*one) for one in service.listen):
        if time.monotonic() >= until:
            said = " ".join(service.argv("stop"))
            raise Fault("failed", f"{service.name} still runs after `{said}` (exit code {code})", said)
        time.sleep(_POLL_S)


def start_again(service: Service, *, half_stopped: bool = False) -> Optional[LeftOver]:
    """Started unless it runs, and proven to listen where it did; what could not be.

    `half_stopped`: its stop was cut short, so it may still look alive; the stop is done again, to its end, before.
    """
    try:
        if half_stopped:
            _run(service.argv("stop"))
        if not is_running(service):
            _run(service.argv("start"), lambda _pid, _start: None)
        until = time.monotonic() + _LISTENS_WITHIN_S
        while True:
            runs = is_running(service)
            silent = [one for one in service.listen if not sockets.listeners(*one)]
            if runs and not silent:
                return None
            if time.monotonic() >= until:
                break
            time.sleep(_POLL_S)
        now = (
            "runs, but listens not on " + ", ".join(f"{at}:{port}" for at, port in silent)
            if runs
            else "stopped"
        )
    except OSError as problem:
        now = f"({problem.strerror})"
    return {
        "path": f"service {service.name}",
        "original": "running",
        "now": now,
        "command": " ".join(service.argv("start")),
    }


def end_stopping(pgid: int, start: int) -> None:
    """A stop whose agent died ends before the service is started again: it would stop that one, too.

    Its first process must be there, as old as recorded, and a stop of a service or our own just before it becomes one.
    """
    first = processes.read_stat(pgid)
    if first is None or (first.pgid, first.session, first.start) != (pgid, pgid, start) or not _stops(pgid):
        return
    until = time.monotonic() + _LISTENS_WITHIN_S
    while time.monotonic() < until:
        every = filter(None, map(processes.read_stat, processes.all_pids()))
        group = [one for one in every if one.pgid == one.session == pgid and one.state not in "ZX"]
        if not group:
            return
        for one in group:
            try:
                os.kill(one.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(_POLL_S)


def _stops(pid: int) -> bool:
    words = processes.command_line(pid).rstrip(b"\0").decode("utf-8", "replace").split("\0")
    unit = words[-1].rpartition("/")[2].partition(".service")[0] if words[-2:-1] == ["stop"] else ""
    script = words[-2].rpartition("/")[2] if len(words) > 1 and words[-1] == "stop" else ""
    return processes.is_agents_fork(pid) or any(_NAME.fullmatch(name) for name in (unit, script))


def is_running(service: Service) -> bool:
    """Whether its manager says so, or for a script that does not know: whether its pid file's process lives."""
    if service.manager == "systemd":
        return _run(["/usr/bin/systemctl", "is-active", "--quiet", service.name + ".service"]) == 0
    return _run(["/etc/init.d/" + service.name, "status"]) == 0 or _pidfile_pid(service.name) > 0


def _running(name: str, listen: Listen) -> Optional[Service]:
    if not is_known(Service(name, "systemd", listen)):
        return None
    if _has_systemd():
        found = Service(name, "systemd", listen)
        if is_running(found):
            return found
    found = Service(name, "init", listen)
    return found if is_roots(found) and is_running(found) else None


def is_roots(service: Service) -> bool:
    """Whether root's alone decides what its start runs: a unit, or a script that nobody else can write."""
    if service.manager == "systemd":
        return True
    try:
        seen = os.stat("/etc/init.d/" + service.name)
    except OSError:
        return False
    return stat.S_ISREG(seen.st_mode) and seen.st_uid == 0 and seen.st_mode & 0o122 == 0o100


def _has_systemd() -> bool:
    """As sd_booted(3) tells it."""
    return os.path.isdir("/run/systemd/system") and os.path.exists("/usr/bin/systemctl")


def _unit(pid: int) -> str:
    """The systemd service a process belongs to, "" without."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            found = _UNIT.search(file.read())
    except OSError:
        return ""
    return found[1] if found else ""


def _pidfile_pid(name: str) -> int:
    """The living process that a service's pid file names; 0 without."""
    try:
        with open(f"/run/{name}.pid", encoding="ascii", errors="replace") as file:
            pid = int(file.read(32))
    except (OSError, ValueError):
        return 0
    seen = processes.read_stat(pid)
    return pid if seen and seen.name.startswith(name) and _namespace(str(pid)) == _namespace("self") else 0


def _is_pidfile_of(name: str, masters: Set[int]) -> bool:
    """Whether the script's own process is among these; one whose pid file is elsewhere has said that it runs."""
    pid = _pidfile_pid(name)
    return pid in masters or pid == 0


def _owners(taken: Sequence[sockets.Listener]) -> List[processes.Stat]:
    wanted = {one.inode for one in taken}
    stats: Dict[int, processes.Stat] = {}
    for pid in processes.all_pids():
        if wanted and sockets.owned_inodes(pid) & wanted:
            found = processes.read_stat(pid)
            if found is not None:
                stats[pid] = found
    return list(stats.values())


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def _run(argv: Sequence[str], record: Record = lambda _pid, _start: None) -> int:
    """Its exit code; one that takes too long is killed. It hears nothing, says nothing, and has no handle of ours."""
    nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        child = processes.spawn(
            argv, cpus=(), stdout=nowhere, stderr=nowhere, record=record, prepare=_as_anyone
        )
    finally:
        os.close(nowhere)
    until = time.monotonic() + _DONE_WITHIN_S
    while child.poll() is None:
        if time.monotonic() >= until:
            os.kill(child.pid, signal.SIGKILL)  # itself only: what it started may be the service
        time.sleep(_POLL_S / 4)
    return child.exit_code or 0


def _as_anyone() -> None:
    """A guardian ignores signals and is the last to be killed when memory is short; a service is to do neither."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("0")
    except OSError:
        pass
