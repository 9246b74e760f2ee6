"""A PostgreSQL server of a test's own, which can be stopped, shot and started again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _someone_but_root() -> str | None:
    """PostgreSQL doesn't run as root."""
    if os.getuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def why_no_postgresql() -> str:
    """Why there can be no such server here; "" when there can."""
    if _programs() is None:
        return "PostgreSQL is not installed here (Debian's package postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed here (the extra autotune-board[postgres])"
    return ""


@dataclass
class Server:
    """The server whose data and socket are in `directory`."""

    directory: Path
    programs: Path
    someone: str | None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Returns when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.programs / "postgres", "-D", self.directory / "data", "-k", self.directory,
                    "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB",
                ],
                user=self.someone, cwd="/", stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(100):
            asked = [
                str(self.programs / "psql"),
                "-h",
                str(self.directory),
                "-U",
                "tester",
                "-d",
                "postgres",
                "-c",
                "select 1",
            ]
            if subprocess.run(asked, check=False, capture_output=True).returncode == 0:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        raise AssertionError((self.directory / "log").read_text())

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: clients are thrown out first; SIGQUIT: everything stops dead, to be recovered at the next start."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None


@contextlib.contextmanager
def a_server() -> Iterator[Server]:
    """A server that runs, gone afterwards with all that was in it."""
    programs, someone = _programs(), _someone_but_root()
    assert programs is not None
    root = Path(tempfile.mkdtemp(prefix="autotune-pg-"))
    server = Server(root, programs, someone)
    try:
        if someone is not None:
            shutil.chown(root, someone)
        words = ("-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        subprocess.run(
            [programs / "initdb", "-D", root / "data", *words],
            user=someone,
            cwd="/",
            check=True,
            capture_output=True,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root)
