"""How an agent gets onto a machine: one zip through its standard input, run from memory, no file left anywhere."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autotune.agent import protocol
from autotune.errors import BoardUnreachable

# The zip's length and hash come as arguments. It is kept in an unnamed file in memory and imported from there.
# -I and -S: neither the environment nor the working directory nor site-packages can put anything in between.
_BOOTSTRAP = """\
import hashlib, os, sys
word, size, digest = sys.argv[1], int(sys.argv[2]), sys.argv[3]
memory = os.memfd_create(word)
known, left = hashlib.sha256(), size
while left:
    piece = os.read(0, min(left, 65536))
    if not piece:
        sys.exit("the agent came incomplete")
    known.update(piece)
    os.write(memory, piece)
    left -= len(piece)
if known.hexdigest() != digest:
    sys.exit("the agent came damaged")
sys.path.insert(0, "/proc/self/fd/%d" % memory)
from autotune.agent.serve import main
sys.exit(main())
"""
AGENT_WORD = "autotune-agent"
_ROOT_PYTHON = "/usr/bin/python3"
_SUDO_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """The agent as one zip, and the hash it is named by."""

    data: bytes
    digest: str


@functools.cache
def shipment() -> Shipment:
    """The agent of this very package; the same bytes give the same zip, whenever and wherever it is packed."""
    package = Path(protocol.__file__).parent
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("autotune/__init__.py"), b"")
        for file in sorted((*package.glob("*.py"), *package.glob("*.lua"))):
            archive.writestr(_entry(f"autotune/agent/{file.name}"), file.read_bytes())
    data = content.getvalue()
    return Shipment(data=data, digest=hashlib.sha256(data).hexdigest())


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProcess:
    """A started agent, and our ends of its standard input and output (both non-blocking)."""

    process: subprocess.Popen[bytes]
    to_agent: int
    from_agent: int


def start_agent(prefix: tuple[str, ...], complaints: IO[bytes]) -> AgentProcess:
    """A started agent, still to be sent its code; `prefix` goes before its argv, `complaints` takes its standard error.

    It gets a session of its own, so that a Ctrl-C at the controller's terminal is not also its own.
    Raises BoardUnreachable.
    """
    agent = shipment()
    become = prefix or _become_root()
    python = _ROOT_PYTHON if become and not prefix else sys.executable
    argv = [*become, python, "-I", "-S", "-c", _BOOTSTRAP, AGENT_WORD, str(len(agent.data)), agent.digest]
    agent_in, to_agent = os.pipe()
    from_agent, agent_out = os.pipe()
    try:
        process = subprocess.Popen(
            argv, stdin=agent_in, stdout=agent_out, stderr=complaints, start_new_session=True, cwd="/"
        )
    except OSError as problem:
        os.close(to_agent)
        os.close(from_agent)
        raise BoardUnreachable(
            f"the agent can't be started: {problem}", hint=f"see whether {argv[0]} runs"
        ) from problem
    finally:
        os.close(agent_in)
        os.close(agent_out)
    os.set_blocking(to_agent, False)
    os.set_blocking(from_agent, False)
    return AgentProcess(process=process, to_agent=to_agent, from_agent=from_agent)


@functools.cache
def _become_root() -> tuple[str, ...]:
    """The words that make an agent root's, where that is possible without a password; () otherwise."""
    sudo = shutil.which("sudo", path="/usr/bin:/bin:/usr/local/bin")
    if os.geteuid() == 0 or sudo is None:
        return ()
    words = (sudo, "-n", "--")
    try:
        tried = subprocess.run(
            [*words, _ROOT_PYTHON, "-I", "-S", "-c", "pass"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SUDO_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return words if tried.returncode == 0 else ()
