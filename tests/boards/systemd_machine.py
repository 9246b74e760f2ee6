"""A machine with a systemd of its own: the real one as the first process of namespaces, on a copy-on-write root.

Nothing of it is seen from outside but the kernel-wide settings (vm.*, transparent huge pages), which a test must not touch.
Of the distribution's own units only the journal and the message bus run: the others would set up this very kernel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYSTEMD = "/usr/lib/systemd/systemd"
_BOOTS_WITHIN_S = 30.0
_ROOT = Path(__file__).parents[2]
_WANTED = ("systemd-journald.service", "systemd-journal-flush.service", "dbus.socket", "dbus.service")
# $1: an empty directory, where the machine's root is put together; $2...: what else must be seen there.
_BOOT = r"""
set -e
base=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755,size=1g tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
mount -t overlay -o lowerdir=/,upperdir="$base/up",workdir="$base/work" overlay "$base/root"
root=$base/root
for seen in "$@"; do
    mkdir -p "$root$seen"
    mount --rbind "$seen" "$root$seen"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,size=64m tmpfs "$root/run"
mount --rbind /dev "$root/dev"
units=$root/etc/systemd/system
rm -rf "$units"
mkdir -p "$units"
for link in "$root"/usr/lib/systemd/system/*.target.wants/*; do
    name=${link##*/}
    case " WANTED " in *" $name "*) ;; *) ln -sf /dev/null "$units/$name" ;; esac
done
printf '[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n' > "$units/default.target"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\nReadKMsg=no\nAudit=no\n' > "$root/etc/systemd/journald.conf.d/test.conf"
: > "$root/etc/fstab"
echo 8f3a1d2c4b5e69708192a3b4c5d6e7f8 > "$root/etc/machine-id"
ip link set lo up
cd "$root"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD --log-target=journal --show-status=0
""".replace("WANTED", " ".join(_WANTED)).replace("SYSTEMD", _SYSTEMD)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdMachine:
    """One that has booted. `pid` is its systemd's, seen from outside."""

    pid: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before an argv to run it inside."""
        return ("nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--")

    def run(self, *argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a program inside and waits for it; its exit code is the caller's to judge."""
        return subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, timeout=timeout, check=False
        )

    def done(self, *argv: str, timeout: float = 60) -> str:
        """What the program prints, which must end well."""
        ended = self.run(*argv, timeout=timeout)
        assert ended.returncode == 0, f"{' '.join(argv)}: {ended.stdout}{ended.stderr}"
        return ended.stdout.rstrip("\n")

    def path(self, inside: str) -> Path:
        """The same place, seen from outside."""
        return Path("/proc", str(self.pid), "root", inside.removeprefix("/"))

    def write(self, path: str, text: str) -> None:
        self.done("sh", "-c", 'mkdir -p "${1%/*}"; printf %s "$2" > "$1"', "sh", path, text)

    def show(self, unit: str, what: str) -> str:
        """A property of a unit, as systemd has it now."""
        return self.done("systemctl", "show", "--value", f"--property={what}", unit)

    def journal(self, unit: str) -> str:
        return self.done("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")


def why_no_systemd() -> str:
    """Why this machine can boot no systemd in namespaces; "" when it can."""
    if os.geteuid() != 0:
        return "needs root for namespaces"
    missing = [one for one in ("unshare", "nsenter", "ip", "busctl", "dbus-daemon") if not shutil.which(one)]
    if missing or not Path(_SYSTEMD).exists():
        return f"needs {', '.join([*missing, 'systemd'])} (apt-get install systemd dbus util-linux iproute2)"
    if _cgroup2() is None:
        return "needs a mounted cgroup2 hierarchy"
    return ""


def _cgroup2() -> Path | None:
    """Where the machine has its unified hierarchy, which may stand beside the older ones."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None


@contextlib.contextmanager
def a_systemd_machine(directory: Path) -> Iterator[SystemdMachine]:
    """One, up and running; `directory` must be empty. All of it ends with the block."""
    hierarchy = _cgroup2()
    assert hierarchy is not None, why_no_systemd()
    cgroup = hierarchy / f"autotune-test-{os.getpid()}-{directory.name}"
    cgroup.mkdir()
    command = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
    with subprocess.Popen(
        [
            *("sh", "-c", command, "sh", str(cgroup)),
            *("unshare", "--pid", "--fork", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--kill-child"),
            *("sh", "-c", _BOOT, "sh", str(directory), str(_ROOT), str(_ROOT.resolve()), *_python_places()),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as keeper:
        try:
            yield SystemdMachine(pid=_booted(keeper))
        finally:
            keeper.kill()
            keeper.wait()
            _remove(cgroup)


def _python_places() -> tuple[str, ...]:
    """Where the tests' Python and its libraries are, which may be mounts of their own."""
    return tuple(dict.fromkeys(str(Path(one).resolve()) for one in (sys.prefix, sys.base_prefix)))


def _booted(keeper: subprocess.Popen[str]) -> int:
    until = time.monotonic() + _BOOTS_WITHIN_S
    while time.monotonic() < until:
        if keeper.poll() is not None:
            assert keeper.stderr is not None
            raise AssertionError(f"no systemd could be booted: {keeper.stderr.read()}")
        children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text(encoding="ascii").split()
        if children and Path(f"/proc/{children[0]}/comm").read_text(encoding="ascii").strip() == "systemd":
            machine = SystemdMachine(pid=int(children[0]))
            if machine.run("systemctl", "is-active", "default.target").stdout.strip() == "active":
                return machine.pid
        time.sleep(0.05)
    raise AssertionError("systemd was not up in time")


def _remove(cgroup: Path) -> None:
    """The cgroups that systemd made; they are empty once its processes are gone."""
    until = time.monotonic() + 10
    while cgroup.exists() and time.monotonic() < until:
        for path, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        time.sleep(0.05)
