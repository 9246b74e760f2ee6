"""Installing the agent on a board, and what a board is known by."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Final

from autotune.board.address import BoardAddress, SshBoard
from autotune.board.agent_start import (
    GREETING,
    INSTALL_DIR,
    INSTALLED,
    AgentProcess,
    end_at_once,
    installer_by_hand,
    shipment,
    ssh_argv,
    start_agent,
)
from autotune.board.connection import Connection
from autotune.board.facts import BoardFacts
from autotune.board.reaching import greeting_trouble, last_words, ssh_trouble
from autotune.board.reading import read_record
from autotune.errors import BoardUnreachable, NotPermitted, UsageError

_WITHIN_S: Final = 90.0
_ENDS_WITHIN_S: Final = 10.0
_TYPED_WITHIN_S: Final = 300.0
_PATH: Final = re.compile(r"/[A-Za-z0-9/._-]{1,200}")
_REPLY_CAP: Final = 1 << 16
NEEDS_ROOT: Final = "only root can do this"
"""How the installer's refusal begins that root's login or a password cures (agent/installing.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an installer did, a line for each act."""

    said: tuple[str, ...]


class _RefusedThereError(NotPermitted):
    """The installer had what rights it needs, and won't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    said: tuple[str, ...]
    refused: str


def install(board: BoardAddress, user: str = "", prefix: tuple[str, ...] = ()) -> Installed:
    """Puts the agent in place for `user` ("": the one that logs in), root-owned, with its sudo rule.

    Needs root there once: the login is root's, sudo asks for no password, or there is a terminal to type it at.
    Raises NotPermitted, BoardUnreachable.
    """
    return _run(board, ("install", user or _login(board, prefix)), prefix)


def remove(board: BoardAddress, prefix: tuple[str, ...] = ()) -> Installed:
    """Takes away what `install` put there. Needs root there once, and raises, as it does."""
    return _run(board, ("remove",), prefix)


def _login(board: BoardAddress, prefix: tuple[str, ...]) -> str:
    """The user that a login there is."""
    if not isinstance(board, SshBoard):
        raise UsageError("for this machine, say for whom", hint="autotune board install local --user NAME")
    done = _ssh([*prefix, *ssh_argv(board), "id -un"], board, _WITHIN_S, stdin=subprocess.DEVNULL)
    words = done.stdout[:_REPLY_CAP].decode("utf-8", "replace").split()
    if done.returncode or not words:
        said = _last_line(done.stderr) or "it says nothing"
        raise ssh_trouble(board, done.returncode, said) or BoardUnreachable(f"{board.text}: {said}")
    return words[-1]


def _ssh(
    argv: list[str],
    board: SshBoard,
    within_s: float,
    *,
    stdin: int | None = None,
    data: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """A command over there, and what it says. Raises BoardUnreachable when it takes too long."""
    try:
        return subprocess.run(
            argv,
            stdin=stdin,
            input=data,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BoardUnreachable(f"{board.text} has not answered within {within_s:.0f} s") from None


def _last_line(said: bytes) -> str:
    return last_words(said[-_REPLY_CAP:].decode("utf-8", "replace"))


def _run(board: BoardAddress, words: tuple[str, ...], prefix: tuple[str, ...]) -> Installed:
    """Through root's login or a sudo that asks nothing; else, at a terminal, through one that asks."""
    try:
        return _quietly(board, words, prefix)
    except _RefusedThereError:
        raise
    except NotPermitted:
        if not isinstance(board, SshBoard) or not sys.stdin.isatty():
            raise
    return _asking(board, words, prefix)


def _quietly(board: BoardAddress, words: tuple[str, ...], prefix: tuple[str, ...]) -> Installed:
    with tempfile.TemporaryFile() as complaints:
        started = start_agent(board, prefix, complaints, installer=words)
        try:
            output = _talk(started, shipment().data)
            code = started.process.wait(_ENDS_WITHIN_S)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise BoardUnreachable(
                f"the installer on {board.text} has not answered within {_WITHIN_S:.0f} s"
            ) from None
        finally:
            end_at_once(started.process)
            started.process.wait()
            os.close(started.to_agent)
            os.close(started.from_agent)
        complaints.seek(0)
        complaint = _last_line(complaints.read(_REPLY_CAP))
    return _told(board, words, output, code, complaint)


def _talk(started: AgentProcess, data: bytes) -> bytes:
    """What the installer says, up to a cap, when it got the zip. Raises TimeoutError."""
    until = time.monotonic() + _WITHIN_S
    left = memoryview(data)
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(started.from_agent, selectors.EVENT_READ)
        selector.register(started.to_agent, selectors.EVENT_WRITE)
        while len(said) < _REPLY_CAP:
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fd == started.from_agent:
                    piece = os.read(started.from_agent, _REPLY_CAP)
                    if not piece:
                        return said
                    said += piece
                    continue
                with contextlib.suppress(BrokenPipeError):
                    left = left[os.write(started.to_agent, left) :]
                    if left:
                        continue
                selector.unregister(started.to_agent)
    return said


def _asking(board: SshBoard, words: tuple[str, ...], prefix: tuple[str, ...]) -> Installed:
    """At the user's terminal: the zip is put into a file there first, for standard input is the terminal.

    The installer reads that file once and takes no other bytes than those of its hash.
    """
    put = _ssh(
        [*prefix, *ssh_argv(board), "exec sh -c 'umask 077; file=$(mktemp) && cat > $file && echo $file'"],
        board,
        _WITHIN_S,
        data=shipment().data,
    )
    source = (put.stdout.decode("ascii", "replace").split() or [""])[-1]
    if put.returncode or not _PATH.fullmatch(source):
        said = _last_line(put.stderr) or "it says nothing"
        raise ssh_trouble(board, put.returncode, said) or BoardUnreachable(f"{board.text}: {said}")
    argv = [word for word in ssh_argv(board) if word != "-T"]
    command = f"{installer_by_hand(source, words)}; rm -f {source}"
    return _told(board, words, *_typed([*prefix, argv[0], "-t", *argv[1:], command], board))


def _typed(argv: list[str], board: SshBoard) -> tuple[bytes, int, str]:
    """What a command says over there that has our terminal, its exit code and its last line; what comes before a greeting
    (sudo's question) is shown as it comes. Raises BoardUnreachable when it takes too long.
    """
    until = time.monotonic() + _TYPED_WITHIN_S
    said = b""
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as ssh,
        selectors.DefaultSelector() as selector,
    ):
        if ssh.stdout is None:
            raise AssertionError
        selector.register(ssh.stdout, selectors.EVENT_READ)
        while len(said) < _REPLY_CAP:
            if not selector.select(max(0.0, until - time.monotonic())):
                ssh.kill()
                raise BoardUnreachable(f"{board.text} has not answered within {_TYPED_WITHIN_S:.0f} s")
            piece = ssh.stdout.read(_REPLY_CAP)
            if not piece:
                break
            if GREETING not in said + piece:
                os.write(2, piece)
            said += piece
    return said, ssh.returncode, _last_line(said)


def _told(board: BoardAddress, words: tuple[str, ...], output: bytes, code: int, complaint: str) -> Installed:
    """The installer's reply. Raises NotPermitted for what it refuses."""
    lines = [line.removeprefix(GREETING) for line in output.splitlines() if line.startswith(GREETING)]
    reply: _Reply | None = None
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        reply = read_record(_Reply, json.loads(lines[-1]))
    if reply is None:
        word, _, rest = (lines[-1].decode("utf-8", "replace") if lines else "").partition(" ")
        if word == "old":
            raise greeting_trouble(board, word, rest.strip())
        trouble = ssh_trouble(board, code, complaint)
        raise trouble or BoardUnreachable(
            f"the installer on {board.text} did not answer (exit code {code}){': ' + complaint if complaint else ''}"
        )
    if reply.refused.startswith(NEEDS_ROOT):
        raise NotPermitted(f"{board.text}: {reply.refused}", hint=_as_root(board, words))
    if reply.refused:
        raise _RefusedThereError(
            f"{board.text}: {reply.refused}", hint="put that right, and then the same command again"
        )
    return Installed(said=reply.said)


def _as_root(board: BoardAddress, words: tuple[str, ...]) -> str:
    """The same act by whoever may do it."""
    if not isinstance(board, SshBoard):
        return f"sudo autotune board {words[0]} local{' --user ' + words[1] if words[1:] else ''}"
    root = replace(board, user="root").text
    for_whom = f" --user {words[1]}" if words[1:] else ""
    return (
        f"with root's login: autotune board {words[0]} {root}{for_whom}; where sudo asks for a password, at a terminal: "
        f"autotune board {words[0]} {board.text}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How the agent starts there. `how`: installed (by its rule), as root, or as the user alone, and then why.

    `warnings`: what sudo allows there of the agent's place beyond the agent itself.
    """

    facts: BoardFacts
    installed: bool
    why_not_root: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        if self.installed:
            return "the installed agent, by its sudo rule"
        if self.facts.uid == 0:
            return "a temporary agent, as root"
        why = f" ({self.why_not_root})" if self.why_not_root else ""
        return f"a temporary agent, as the user alone{why}"


def next_for(board: BoardAddress, found: Checked) -> str:
    """What makes the agent there root's and nothing else root's; "" when it is so."""
    if found.facts.uid == 0 and not found.warnings:
        return ""
    if "must have a tty" in found.why_not_root:
        return "as root there, in a file of /etc/sudoers.d (visudo -f): Defaults:USER !requiretty"
    return f"autotune board install {board.text}"


def check(board: BoardAddress, prefix: tuple[str, ...] = ()) -> Checked:
    """Starts an agent there and looks; changes nothing. Raises BoardUnreachable, also for an agent of another version."""
    with Connection(board, prefix) as connection:
        return Checked(
            facts=connection.facts,
            installed=connection.is_installed,
            why_not_root=connection.why_not_root,
            warnings=_too_much(_sudo_rules(board, prefix)),
        )


def _sudo_rules(board: BoardAddress, prefix: tuple[str, ...]) -> str:
    """What sudo says that this user may do there; "" where it won't say."""
    argv = ["sudo", "-n", "-l"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            [*prefix, *([*ssh_argv(board), " ".join(argv)] if isinstance(board, SshBoard) else argv)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_WITHIN_S, check=False,
        ).stdout[:_REPLY_CAP]  # fmt: skip
    return ""


def _too_much(rules: str) -> tuple[str, ...]:
    """Commands in the agent's place that sudo allows and `install` did not: each is root for whoever may run it.

    A wildcard stands for any program that somebody puts there, and for any argument.
    """
    commands = [one.split(": ")[-1].strip() for line in rules.splitlines() for one in line.split(",")]
    return tuple(
        f"sudo allows {command!r}, which is more than the agent"
        for command in commands
        if command.startswith(INSTALL_DIR) and command != f'{INSTALLED} ""'
    )


def fingerprint(facts: BoardFacts) -> str:
    """A board's 16 hexadecimal digits: equal as long as model, CPUs, memory, kernel and nginx stay the same."""
    known = {
        "model": facts.model,
        "machine": facts.machine,
        "cpus": list(facts.cpus),
        "capacity": {str(cpu): capacity for cpu, capacity in sorted(facts.capacity.items())},
        "memory_mib": round(facts.memory_bytes / 2**26)
        * 64,  # the kernel's own share differs a little from boot to boot
        "kernel": facts.kernel,
        "nginx": facts.nginx.version if facts.nginx else "",
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
