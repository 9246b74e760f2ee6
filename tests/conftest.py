"""Machines for tests: a mount and network namespace each, so that no test's lock, journal or port is another's.

`board_namespace` is such a machine: a tmpfs on /run and on /var/lib (with nginx's own directory in it), `lo` up, and
nothing shared but the kernel-wide settings (vm.*, transparent huge pages), which every test must put back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import lab as labs
    from playwright.sync_api import Browser

    from autotune.board.connection import Connection

NOBODY = 65534
_SETUP = """
set -e
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mount -t tmpfs -o mode=755,size=256m tmpfs /var/lib
mkdir -p /var/lib/nginx /run/user
ip link set lo up
echo ready
exec sleep 100000
"""


@dataclass(frozen=True, slots=True)
class BoardNamespace:
    """A machine of a test's own. `pid` is the process that keeps its namespaces alive."""

    pid: int
    connections: list[Connection] = field(default_factory=list)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before an argv to run it inside."""
        return ("nsenter", "-t", str(self.pid), "-m", "-n", f"--wd={Path.cwd()}", "--")

    def command(self, argv: list[str] | tuple[str, ...], *, uid: int = 0) -> list[str]:
        """The argv that runs `argv` inside, as root or as another user."""
        return [*self.prefix, *drop_to(uid), *argv]

    def run(self, *argv: str, uid: int = 0, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Runs a program inside and waits for it; its exit code is the caller's to judge."""
        return subprocess.run(
            self.command(argv, uid=uid), capture_output=True, text=True, timeout=timeout, check=False
        )

    def read(self, path: str) -> str:
        """A file's text inside, without its last newline."""
        done = self.run("cat", path)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        done = self.run("sh", "-c", 'printf "%s" "$1" > "$2"', "sh", text, path)
        assert done.returncode == 0, done.stderr

    def exists(self, path: str) -> bool:
        return self.run("test", "-e", path).returncode == 0

    def connect(self, *, uid: int = 0, preload: Path | None = None) -> Connection:
        """An agent inside, closed when the test ends; `preload`: a library that it, and its guardian, run with."""
        from autotune.board.connection import connect

        with_library = ("env", f"LD_PRELOAD={preload}") if preload else ()
        connection = connect("local", prefix=(*self.prefix, *drop_to(uid), *with_library))
        self.connections.append(connection)
        return connection

    def processes(self) -> list[tuple[int, str, str]]:
        """(pid, name, command line) of every process inside but the keeper."""
        mine = Path(f"/proc/{self.pid}/ns/mnt").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.pid:
                continue
            try:
                if (entry / "ns/mnt").readlink() != mine or (entry / "stat").read_text().split(") ")[1][
                    0
                ] == "Z":
                    continue
                name = (entry / "comm").read_text().strip()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found.append((int(entry.name), name, line))
        return sorted(found)


def drop_to(uid: int) -> tuple[str, ...]:
    """The words before an argv that run it as another user, without any privilege."""
    if uid == 0:
        return ()
    return (
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    )


def why_no_namespaces() -> str:
    """Why this machine can't give a test its own namespaces; empty when it can."""
    if os.geteuid() != 0:
        return "needs root for mount and network namespaces"
    missing = [
        program for program in ("unshare", "nsenter", "ip", "setpriv") if shutil.which(program) is None
    ]
    if missing:
        return f"needs {', '.join(missing)} (apt-get install util-linux iproute2)"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "true"], capture_output=True, text=True, check=False
    )
    return tried.stderr.strip() if tried.returncode else ""


def make_namespace() -> Iterator[BoardNamespace]:
    """A board namespace for as long as the generator lives; every process in it ends with it."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    with subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", _SETUP],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        try:
            if keeper.stdout.readline() != "ready\n":
                pytest.skip(f"no namespace to be had: {keeper.stderr.read()}")
            board = BoardNamespace(keeper.pid)
            try:
                yield board
            finally:
                for connection in board.connections:
                    connection.close()
                for pid, _, _ in board.processes():
                    _kill(pid)
        finally:
            keeper.kill()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session", autouse=True)
def _signals_as_at_a_terminal() -> None:
    """Under nohup, or behind a shell's &, some are ignored, and all that the tests start would ignore them, too."""
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _caught, _frame: None)


@pytest.fixture(scope="session", autouse=True)
def _state_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests leave in the state directory is theirs alone."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def board_namespace() -> Iterator[BoardNamespace]:
    """A machine of this test's own; skipped, with the reason, where namespaces are not to be had."""
    yield from make_namespace()


@pytest.fixture(scope="module")
def module_namespace() -> Iterator[BoardNamespace]:
    """One machine for all tests of a file, for tests that leave it as they found it."""
    yield from make_namespace()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    """A board over ssh and its client, for all tests of a file, which leave them as they found them; skipped, with the
    reason, where none is to be had.
    """
    import lab as labs

    if why := labs.why_no_lab():
        pytest.skip(why)
    with labs.a_lab(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="session")
def far_night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[None]]:
    """A night over ssh that goes on beside the journey that asks for it first, because a night mostly waits for its load.

    Its result says how it ended; skipped, with the reason, where no lab is to be had.
    """
    import lab as labs
    from test_night_over_ssh import hold_a_far_night

    places = tmp_path_factory.mktemp("far-lab"), tmp_path_factory.mktemp("far-night")

    def hold() -> None:
        if why := labs.why_no_lab():
            pytest.skip(why)
        with labs.a_lab(places[0]) as made:
            hold_a_far_night(made, places[1])

    with ThreadPoolExecutor(max_workers=1) as beside:
        yield beside.submit(hold)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The distribution's Chromium, without a window, for all tests of a file; it can reach this machine's loopback and
    nothing else. Skipped, with the reason, where there is none.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (scripts/setup --dev)")
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=_program("chromium"), args=[alone, *as_root])
        yield launched
        launched.close()


@pytest.fixture
def real_nginx() -> str:
    """The path of the machine's nginx; skips where there is none."""
    return _program("nginx")


@pytest.fixture
def real_wrk() -> str:
    """The path of the machine's wrk; skips where there is none."""
    return _program("wrk")


@pytest.fixture
def real_luajit() -> str:
    """The path of the machine's luajit; skips where there is none."""
    return _program("luajit")


def _program(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        pytest.skip(f"needs {name} (apt-get install {name})")
    return path


@pytest.fixture(scope="session")
def cpufreq_manners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cpufreq.c as a library: what a tree of plain files lacks to stand in for the kernel's clocks."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc (apt-get install gcc)")
    made = tmp_path_factory.mktemp("cpufreq") / "cpufreq.so"
    source = Path(__file__).with_name("cpufreq.c")
    subprocess.run(("gcc", "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"), check=True)
    return made
