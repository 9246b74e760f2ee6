"""Programs the agent starts, in sessions of their own, and finding them again when the agent that started them is dead."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from autotune.agent.journal import Recorded
from autotune.agent.places import Places

_OURS = ("nginx", "wrk", "luajit", "php-fpm")  # how their names begin: php-fpm8.2
_AGENT = (
    b"autotune-agent",
    b"/usr/local/lib/autotune/agent",
)  # a temporary one's word, and the installed program
_GONE_WITHIN_S = 5.0
_POLL_S = 0.0005
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """One process as /proc/PID/stat has it; `start` in clock ticks since boot, never the same for a reused pid."""

    pid: int
    name: str
    state: str
    parent: int
    pgid: int
    session: int
    cpu_s: float
    start: int


def read_stat(pid: int) -> Optional[Stat]:
    """None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("ascii", "replace")
    except OSError:
        return None
    name, _, rest = text[text.index("(") + 1 :].rpartition(")")
    fields = rest.split()
    ticks = int(fields[11]) + int(fields[12])
    return Stat(
        pid, name, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), ticks * TICK_S, int(fields[19])
    )


def cpu_s_with_ended(pid: int) -> float:
    """CPU seconds of a process and of those of its children that it has reaped; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * TICK_S


def command_line(pid: int) -> bytes:
    """The process's arguments as the kernel shows them; b"" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""


def is_agents_fork(pid: int) -> bool:
    """Whether it may be a fork of an agent that has not become another program yet; never this very process."""
    return pid != os.getpid() and any(word in _AGENT for word in command_line(pid).split(b"\0"))


def children(pid: int) -> List[int]:
    """The children of a process; [] when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{pid}"):
            return []
    except OSError:
        return []
    # A kernel without CONFIG_PROC_CHILDREN.
    return [stat.pid for stat in map(read_stat, all_pids()) if stat and stat.parent == pid]


def all_pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Child:
    """A program of ours: the leader of its own session and process group. Reaped by `poll`."""

    def __init__(self, pid: int, start: int) -> None:
        self.pid = pid
        self.start = start
        self.cpu_s = 0.0
        self.exit_code: Optional[int] = None

    def poll(self) -> Optional[int]:
        """The exit code, negative for a signal; None while it runs."""
        if self.exit_code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self.cpu_s = usage.ru_utime + usage.ru_stime
        return self.exit_code

    def signal_group(self, number: int) -> None:
        """Signals everything of this child; its number can't be another's as long as it isn't reaped or has members."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def end_group(self, pause: Callable[[float], None], *, gently_s: float, killed_s: float) -> bool:
        """Whether nothing of this child is left: asked by SIGTERM, and after `gently_s` seconds killed."""
        for number, within_s in ((signal.SIGTERM, gently_s), (signal.SIGKILL, killed_s)):
            self.signal_group(number)
            until = time.monotonic() + within_s
            while self.group_alive():
                if time.monotonic() >= until:
                    break
                pause(_POLL_S)
            else:
                return True
        return False

    def group_alive(self) -> bool:
        """Whether anything of its process group is left that still runs. Reaps the leader."""
        ended = self.poll() is not None
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        if not ended:
            return True
        # Orphans that have ended stay in the group until init takes notice, which may be never in a container.
        group = (stat for stat in map(read_stat, all_pids()) if stat and stat.pgid == self.pid)
        return any(stat.state not in "ZX" for stat in group)


def spawn(
    argv: Sequence[str],
    *,
    cpus: Sequence[int],
    stdout: int,
    stderr: int,
    record: Callable[[int, int], None],
    prepare: Callable[[], None] = lambda: None,
) -> Child:
    """Starts a program in a session of its own. `record` gets its pid and start time before the program runs;
    `prepare` is done in the child right before it does.

    The child waits for `record` to have returned; if the agent dies first, the child ends instead of running on
    unrecorded. Nothing but the three standard streams is inherited.
    """
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(argv, cpus, stdout, stderr, go_read, go_write, prepare)
    os.close(go_read)
    try:
        stat = read_stat(pid)
        start = stat.start if stat else 0
        record(pid, start)
        os.write(go_write, b"g")
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(go_write)
    return Child(pid, start)


def _become(
    argv: Sequence[str],
    cpus: Sequence[int],
    stdout: int,
    stderr: int,
    go_read: int,
    go_write: int,
    prepare: Callable[[], None],
) -> None:
    """In the child: never returns."""
    try:
        os.close(go_write)
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if cpus:
            os.sched_setaffinity(0, cpus)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        if os.read(go_read, 1):
            prepare()
            os.execve(argv[0], list(argv), {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    except BaseException as problem:
        os.write(2, f"{argv[0]}: {problem}\n".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def find_leftovers(places: Places, token: str, recorded: Sequence[Recorded]) -> List[int]:
    """Every living process of this night: recorded, named by its token, or holding one of its files open.

    A process is only taken when it bears a name of ours: with the recorded start time, or with the token in its arguments,
    its group or its open files: a worker whose master was killed has neither parent nor arguments left. Or when it is our
    own fork, as old as recorded, which has not become a program yet.
    A recorded number that another process leads by now is no group of ours: numbers go round within a night.
    """
    word = f"{places.run_of(token)}/".encode("ascii")
    below = (places.run_of(token) + "/", places.state_of(token) + "/")
    stats = {stat.pid: stat for stat in map(read_stat, all_pids()) if stat}
    groups: Dict[int, int] = {
        one.pgid: one.start for one in recorded if one.pgid not in stats or stats[one.pgid].start == one.start
    }
    found: Set[int] = set()
    for pid, stat in stats.items():
        if stat.state in "ZX":
            continue
        recorded_itself = groups.get(pid) == stat.start
        if stat.name.startswith(_OURS):
            ours = recorded_itself or _belongs(stat, groups, word, below)
        else:
            ours = recorded_itself and is_agents_fork(pid)
        if ours:
            found.add(pid)
    return sorted(found)


def _belongs(stat: Stat, groups: Mapping[int, int], word: bytes, below: Tuple[str, ...]) -> bool:
    if stat.pgid in groups and stat.start >= groups[stat.pgid]:
        return True
    return word in command_line(stat.pid) or _holds_file_below(stat.pid, below)


def _holds_file_below(pid: int, below: Tuple[str, ...]) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"{directory}/{name}").startswith(below):
                return True
        except OSError:
            continue
    return False


def kill_leftovers(places: Places, token: str, recorded: Sequence[Recorded]) -> Dict[int, str]:
    """Kills every process of this night and waits until none is left; what was killed, by pid and name.

    Those that would not die are found again by the caller's own look.
    """
    killed: Dict[int, str] = {}
    until = time.monotonic() + _GONE_WITHIN_S
    while time.monotonic() < until:
        left = find_leftovers(places, token, recorded)
        if not left:
            break
        for pid in left:
            stat = read_stat(pid)
            if stat is not None:
                killed[pid] = stat.name
                _kill(pid)
        time.sleep(0.002)
    return killed


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, PermissionError, ChildProcessError):
        pass
