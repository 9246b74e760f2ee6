"""A machine for one torture: its own processes, mounts and network, and what can be seen of it from inside."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from torture_journal import RUN_DIR

STATE_DIR: Final = Path("/var/lib/autotune")
THP: Final = Path("/sys/kernel/mm/transparent_hugepage")
VM: Final = Path("/proc/sys/vm")
LAB_PIDS: Final = Path("/run/lab.pids")
SERVICES: Final = (Path("/run/nginx.pid"), Path("/run/php/site.pid"), LAB_PIDS)
"""Files with the processes of what was there before any night: the user's own services (torture_site), a lab (torture_lab)."""
_OWN_VALUES: Final = (Path("/proc/sys/net/core"), Path("/proc/sys/net/ipv4"))
_CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG: Final = 1


class NoMachine(Exception):
    """This machine gives us no namespaces."""


# -- making it ----------------------------------------------------------------------------------------------------------


def run_inside(work: Callable[[], int]) -> int:
    """Runs `work` as a process of a machine of its own; its exit code. All of that machine ends with it.

    A signal is handed on as SIGINT and waited for. Needs root. Raises NoMachine.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _own(libc, _CLONE_NEWPID)
    first = os.fork()
    if first == 0:
        _be_first(libc, work)
    stopped = 0

    def hand_on(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = number
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, hand_on)
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 + stopped if stopped else code if code >= 0 else 128 - code


def _own(libc: ctypes.CDLL, what: int) -> None:
    if libc.unshare(what) != 0:
        why = os.strerror(ctypes.get_errno())
        raise NoMachine(f"namespaces of processes, mounts and network need root ({why})")


def _be_first(libc: ctypes.CDLL, work: Callable[[], int]) -> None:
    """Process 1 of the new machine: it buries every orphan, and all ends with it."""
    code = 1
    try:
        os.setsid()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        _own(libc, _CLONE_NEWNS | _CLONE_NEWNET)
        for argv in (
            ("mount", "--make-rprivate", "/"),
            ("mount", "-t", "proc", "proc", "/proc"),
            ("mount", "-t", "tmpfs", "-o", "mode=755,size=64m", "tmpfs", "/run"),
            ("mount", "-t", "tmpfs", "-o", "mode=755,size=512m", "tmpfs", "/var/lib"),
            ("mkdir", "-p", "/var/lib/nginx", "/run/user"),
            ("ip", "link", "set", "lo", "up"),
        ):
            subprocess.run(argv, check=True)
        worker = os.fork()
        code = _be_worker(work) if worker == 0 else _bury(worker)
    except (OSError, subprocess.CalledProcessError, NoMachine) as problem:
        print(f"no machine of its own to be had: {problem}", file=sys.stderr)
        code = 4
    except Exception:  # noqa: BLE001 - this process ends without Python's own last words
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _be_worker(work: Callable[[], int]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # Whatever else runs: a restore is over within milliseconds, and we must wake within them. Nothing inherits this.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    return work()


def _bury(worker: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: os.kill(worker, signal.SIGINT))
    while True:
        pid, status = os.wait()
        if pid == worker:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


# -- its processes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One living process. `role`: agent, guardian, nginx, php-fpm, wrk, ssh, sshd or other. `is_here`: not at the cable's
    other end.
    """

    pid: int
    parent: int
    group: int
    name: str
    line: str
    role: str
    is_here: bool


def processes(*, of_site: bool = False) -> list[Process]:
    """Everything that lives in this machine but process 1 and ourselves: of the user's own services, or all the rest."""
    found = []
    services = _service_groups()
    here = os.readlink("/proc/self/ns/net")  # noqa: PTH115 - as below
    for name in os.listdir("/proc"):  # noqa: PTH208 - in the last millisecond before a kill
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        try:
            text = Path(f"/proc/{name}/stat").read_text(errors="replace")
            line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            network = os.readlink(f"/proc/{name}/ns/net")  # noqa: PTH115
        except OSError:
            continue
        comm, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        if fields[0] not in "ZX" and (int(fields[2]) in services) is of_site:
            found.append(
                Process(
                    pid=int(name),
                    parent=int(fields[1]),
                    group=int(fields[2]),
                    name=comm,
                    line=line.strip(),
                    role=_role(comm, line),
                    is_here=network == here,
                )
            )
    return found


def _service_groups() -> set[int]:
    found = set()
    for path in SERVICES:
        with contextlib.suppress(OSError, ValueError):
            for number in path.read_text().split():
                found.add(os.getpgid(int(number)))
    return found


def _role(comm: str, line: str) -> str:
    if comm in ("nginx", "wrk", "luajit", "ssh"):
        return comm
    if comm in ("sshd", "sshd-session"):  # since OpenSSH 9.8
        return "sshd"
    if comm.startswith("php-fpm"):
        return "php-fpm"
    if comm == "autotune-guard":
        return "guardian"
    return "agent" if " autotune-agent " in line else "other"


# -- its values ---------------------------------------------------------------------------------------------------------


def board_values() -> dict[str, bytes]:
    """Every kernel value that a night could change and that can be read here, by path."""
    return values_below(*_OWN_VALUES, VM, THP)


def shared_values() -> dict[str, bytes]:
    """Those of them that no namespace has for itself."""
    return values_below(VM, THP)


def values_below(*directories: Path) -> dict[str, bytes]:
    found = {}
    for directory in directories:
        for path in sorted(directory.iterdir()):
            if path.is_file():
                with contextlib.suppress(OSError):
                    found[str(path)] = path.read_bytes()
    return found


def changed_values(before: Mapping[str, bytes], paths: set[str]) -> dict[str, tuple[bytes, bytes]]:
    """(was, is) of each changed path: all of `paths`, and of the rest those that no other machine shares with us.

    What can't be written from here is shared, too.
    """
    changed = {}
    for path in before.keys() | paths:
        if path not in paths and (path.startswith((str(VM), str(THP))) or not os.access(path, os.W_OK)):
            continue
        was = before.get(path, b"(absent)")
        try:
            now = Path(path).read_bytes()
        except OSError:
            now = b"(absent)"
        if now != was:
            changed[path] = (was, now)
    return changed


def put_back(changed: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Last resort of the torture itself, after the difference was told."""
    for path, (was, _) in changed.items():
        words = was.split()
        chosen = [word[1:-1] for word in words if word.startswith(b"[") and word.endswith(b"]")]
        with contextlib.suppress(OSError):
            Path(path).write_bytes(chosen[0] if chosen else was)


# -- what is left over --------------------------------------------------------------------------------------------------


def leftovers(port: int) -> list[str]:
    """Processes, listeners and files of a night, each in words; [] when nothing is left.

    sshd's sessions are its own: with the cable cut they last as long as TCP does.
    """
    found = [
        f"process {one.pid} ({one.role}): {one.line[:120]}"
        for one in processes()
        if one.is_here and one.role != "sshd"
    ]
    found += [f"a listener on port {port} ({line})" for line in listeners(port)]
    found += leftover_files()
    if not lock_is_free():
        found.append(f"{RUN_DIR}/lock is held")
    return found


def listeners(port: int) -> list[str]:
    """Sockets that listen on the port, as the kernel writes their addresses."""
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(fields[1])
    return found


def leftover_files(run_dir: Path = RUN_DIR, state_dir: Path = STATE_DIR) -> list[str]:
    """Every file of ours but the lock."""
    found = [str(path) for path in sorted(run_dir.glob("*")) if path.name != "lock"]
    if state_dir.exists():
        found.append(str(state_dir))
        found += [str(path) for path in sorted(state_dir.rglob("*"))]
    return found


def lock_is_free(path: Path = RUN_DIR / "lock") -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def kill_all() -> None:
    """Everything that lives in this machine but process 1 and ourselves."""
    for one in processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def clear_away() -> None:
    """After a difference was told: all put right by hand, so that the next one is told for itself."""
    kill_all()
    for path in (*RUN_DIR.glob("*"), STATE_DIR):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink(missing_ok=True)
