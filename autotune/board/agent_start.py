"""How an agent gets onto a machine: one zip through its standard input, run from memory, no file left anywhere.

What is started there first is a few lines of Python that become root where that needs no password, and then say one
greeting: `autotune-agent: send WHY` wants the zip (WHY: what sudo said when it did not make it root), `autotune-agent:
installed DIGEST` has one already (see `autotune board install`), `old VERSION` and `unsafe PATH` end it. Whatever a talkative
login prints before the greeting is passed over.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import os
import resource
import shlex
import signal
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from autotune.agent import protocol
from autotune.board.address import BoardAddress, LocalBoard, SshBoard
from autotune.errors import BoardUnreachable

AGENT_WORD: Final = "autotune-agent"
GREETING: Final = b"autotune-agent: "
INSTALL_DIR: Final = "/usr/local/lib/autotune"
INSTALLED: Final = INSTALL_DIR + "/agent"
"""Where `autotune board install` puts an agent: root's own, the one program that its sudo rule names."""
SSH_CONFIG: Final = "AUTOTUNE_SSH_CONFIG"
"""Environment variable that names another ssh configuration than the user's (as `ssh -F` does)."""
ASKS_NOBODY: Final = {"SSH_ASKPASS_REQUIRE": "never"}
"""Environment of every ssh: BatchMode does not reach a jump host's, which would put a window on the screen at night."""
CONNECTS_WITHIN_S: Final = 20
"""How long ssh waits for sshd's greeting; an sshd that accepts and says nothing is given up then."""
_COMPLAINTS_CAP: Final = 1 << 24
_ROOT_PYTHON: Final = "/usr/bin/python3"

# Any Python must be able to read this far, to be told that it is too old. Its arguments: a word to be found by, the zip's
# length and hash, whether root is to be reached first, where the zip comes from (- for standard input), and for the
# installer what it is to do. -I and -S: neither the environment nor the working directory nor site-packages can put anything
# in between. The zip is kept in an unnamed file in memory and imported from there.
_CODE: Final = 'import base64,zlib;packed="%s";exec(zlib.decompress(base64.b64decode(packed)))'
_BOOTSTRAP: Final = f"""\
import os, sys
def greet(text):
    os.write(1, ("\\nautotune-agent: " + text + "\\n").encode("utf-8", "replace"))
if sys.version_info < (3, 9):
    greet("old %d.%d" % sys.version_info[:2])
    sys.exit(1)
import hashlib, subprocess
word, size, digest, become, source = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
said, lacks = [], ""
def sudo(*words):
    try:
        done = subprocess.run(("sudo", "-n") + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=10)
    except FileNotFoundError:
        said[:] = ["there is no sudo"]
    except (OSError, subprocess.SubprocessError) as problem:
        said[:] = ["sudo: %s" % problem]
    else:
        if not done.returncode:
            return done.stdout
        said[:] = (done.stderr.decode("utf-8", "replace").split("\\n")[:1] + ["sudo says no"])[:1]
def others(path, bits):
    seen = os.lstat(path)
    return seen.st_uid or seen.st_mode & bits
def is_installed():
    try:
        for path in ("/usr/local", "/usr/local/lib"):
            if others(path, 0o002):
                return "unsafe " + path
        for path in ("{INSTALL_DIR}", "{INSTALLED}", "{INSTALLED}.zip"):
            if others(path, 0o022):
                return "unsafe " + path
    except OSError:
        return "missing"
    return "yes"
if become == "root" and os.geteuid():
    python = ("{_ROOT_PYTHON}", "-I", "-S", "-c")
    rules = None if sys.argv[6:] else sudo("-l")
    if rules is not None:
        lacks = "no sudo rule lets it run {INSTALLED} unasked: "
    if b"NOPASSWD: {INSTALLED}" in (rules or b""):
        found = is_installed()
        if found == "yes":
            os.execvp("sudo", ["sudo", "-n", "--", "{INSTALLED}"])
        if found != "missing":
            greet(found)
            sys.exit(1)
        lacks = "the sudo rule is there, {INSTALLED} is not: "
    if sudo(*("--",) + python + ("pass",)) is not None:
        code = '{_CODE}' % packed
        os.execvp("sudo", ["sudo", "-n", "--"] + list(python) + [code, word, str(size), digest, "is root", source] + sys.argv[6:])
if source == "-":
    greet("send " + lacks + " ".join(said))
incoming = 0 if source == "-" else os.open(source, os.O_RDONLY)
memory = os.memfd_create(word)
known, left = hashlib.sha256(), size
while left:
    piece = os.read(incoming, min(left, 65536))
    if not piece:
        sys.exit("the agent came incomplete")
    known.update(piece)
    os.write(memory, piece)
    left -= len(piece)
if known.hexdigest() != digest:
    sys.exit("the agent came damaged")
sys.path.insert(0, "/proc/self/fd/%d" % memory)
if sys.argv[6:]:
    from autotune.agent import installing
    with open("/proc/self/fd/%d" % memory, "rb") as archive:
        sys.exit(installing.main(archive.read(), sys.argv[6:]))
from autotune.agent.serve import main
sys.exit(main())
"""


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
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("autotune/__init__.py"), b"")
        for file in sorted((*package.glob("*.py"), *package.glob("*.lua"))):
            archive.writestr(_entry(f"autotune/agent/{file.name}"), file.read_bytes(), zipfile.ZIP_DEFLATED)
    data = content.getvalue()
    return Shipment(data=data, digest=hashlib.sha256(data).hexdigest())


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


@functools.cache
def _code() -> str:
    """The bootstrap as one line that every login shell takes as it stands between single quotes."""
    packed = base64.b64encode(zlib.compress(_BOOTSTRAP.encode("ascii"), 9)).decode("ascii")
    return _CODE % packed


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProcess:
    """A started agent, and our ends of its standard input and output (both non-blocking)."""

    process: subprocess.Popen[bytes]
    to_agent: int
    from_agent: int


def start_agent(
    board: BoardAddress, prefix: tuple[str, ...], complaints: IO[bytes], *, installer: tuple[str, ...] = ()
) -> AgentProcess:
    """A started agent that is about to greet; `prefix` goes before its argv, `complaints` takes its standard error.

    `installer`: not the agent but its installer, with these words (agent/installing.py).

    It gets a session of its own, so that a Ctrl-C at the controller's terminal is not also its own.
    Raises BoardUnreachable.
    """
    argv = [*prefix, *_argv(board, installer)]
    agent_in, to_agent = os.pipe()
    from_agent, agent_out = os.pipe()
    try:
        process = subprocess.Popen(
            argv,
            stdin=agent_in,
            stdout=agent_out,
            stderr=complaints,
            start_new_session=True,
            cwd="/",
            env={**os.environ, **ASKS_NOBODY},
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
    if isinstance(board, SshBoard):
        _cap_complaints(process)
    os.set_blocking(to_agent, False)
    os.set_blocking(from_agent, False)
    return AgentProcess(process=process, to_agent=to_agent, from_agent=from_agent)


def _cap_complaints(ssh: subprocess.Popen[bytes]) -> None:
    """The far end's standard error lands in a file of ours; an ssh that would fill the disk with it dies of SIGXFSZ."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(ssh.pid, resource.RLIMIT_FSIZE, (_COMPLAINTS_CAP, _COMPLAINTS_CAP))


def end_at_once(process: subprocess.Popen[bytes]) -> None:
    """Kills one of ours that leads its session, and all that it has started: the ssh to a jump host would live on until its
    own line is dead for a quarter of an hour. It is not waited for; a root's process that isn't ours to kill is left.
    """
    if process.returncode is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def _argv(board: BoardAddress, installer: tuple[str, ...]) -> list[str]:
    agent = shipment()
    words = [
        "-I",
        "-S",
        "-c",
        _code(),
        AGENT_WORD,
        str(len(agent.data)),
        agent.digest,
        "root",
        "-",
        *installer,
    ]
    match board:
        case LocalBoard():
            return [sys.executable, *words]
        case SshBoard():
            # ssh hands one string to the login shell there: our own fixed words, numbers, hexadecimal digits, a user's name.
            return [*ssh_argv(board), "exec python3 " + shlex.join(words)]


def ssh_argv(board: SshBoard) -> list[str]:
    """The words before the remote command: a connection of its own that asks nobody anything and notices a dead line.

    Keys, jump hosts, known hosts and everything else are as the user's ssh configuration says.
    """
    options = (
        "BatchMode=yes",
        "ClearAllForwardings=yes",
        f"ConnectTimeout={CONNECTS_WITHIN_S}",
        "ControlMaster=no",
        "ControlPath=none",  # a shared connection's end would be this one's, and a canary over it proves nothing
        "ForwardAgent=no",
        "ForwardX11=no",
        "LogLevel=INFO",  # why ssh gave up is the last line of what it says
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "ServerAliveCountMax=3",
        "ServerAliveInterval=5",
    )
    argv = ["ssh", "-T", "-e", "none", *(word for option in options for word in ("-o", option))]
    if config := os.environ.get(SSH_CONFIG):
        argv += ["-F", config]
    argv += ["-p", str(board.port)] if board.port else []
    argv += ["-l", board.user] if board.user else []
    return [*argv, "--", board.host]


def installer_by_hand(source: str, words: tuple[str, ...]) -> str:
    """The command that runs the installer through a sudo that asks for a password; the zip waits in the file `source`."""
    agent = shipment()
    argv = [
        "sudo",
        "--",
        _ROOT_PYTHON,
        "-I",
        "-S",
        "-c",
        _code(),
        AGENT_WORD,
        str(len(agent.data)),
        agent.digest,
    ]
    return shlex.join([*argv, "is root", source, *words])
