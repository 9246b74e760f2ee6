"""Reaching a board over ssh: whether a fresh connection still answers, and what is wrong when none does."""

from __future__ import annotations

import os
import secrets
import selectors
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Final

from autotune.board.address import BoardAddress, SshBoard
from autotune.board.agent_start import ASKS_NOBODY, end_at_once, ssh_argv
from autotune.errors import BoardUnreachable, NotPermitted

_AFRESH_WITHIN_S: Final = 45.0
_AFRESH_PAUSE_S: Final = 0.5
_SAID_CAP: Final = 1 << 18
_SAYS_NOTHING: Final = ("UNKNOWN port 65535", "kex_exchange_identification: ")
_SSH_FAILED, _NOT_FOUND, _NOT_RUNNABLE = 255, 127, 126


def answers_afresh(
    board: BoardAddress, prefix: tuple[str, ...] = (), *, waiting: Callable[[], object] = lambda: None
) -> bool:
    """Whether a new ssh connection can be made now and a word comes back over it; this machine always answers.

    A busy sshd turns some away and lets others wait, so it is asked again until `_AFRESH_WITHIN_S` are over; `waiting` is
    called again and again meanwhile.
    """
    if not isinstance(board, SshBoard):
        return True
    word = "autotune" + secrets.token_hex(8)
    until = time.monotonic() + _AFRESH_WITHIN_S
    while not _says(word, [*prefix, *ssh_argv(board), f"echo {word}"], until, waiting):
        if time.monotonic() >= until:
            return False
        time.sleep(_AFRESH_PAUSE_S)
        waiting()
    return True


def _says(word: str, argv: list[str], until: float, waiting: Callable[[], object]) -> bool:
    """Whether the command says this word in time, among its first so many bytes."""
    said = b""
    try:
        ssh = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, **ASKS_NOBODY},
        )
    except OSError:
        return False
    with ssh, selectors.DefaultSelector() as selector:
        if ssh.stdout is None:
            return False
        selector.register(ssh.stdout, selectors.EVENT_READ)
        try:
            while word.encode("ascii") not in said and len(said) < _SAID_CAP and time.monotonic() < until:
                if selector.select(_AFRESH_PAUSE_S):
                    piece = ssh.stdout.read(1 << 12)
                    if not piece:
                        break
                    said += piece
                waiting()
        finally:
            end_at_once(ssh)
    return word.encode("ascii") in said


def by_hand(board: BoardAddress, command: str) -> str:
    """The command line with which a user tries the same by hand."""
    if not isinstance(board, SshBoard):
        return command
    words = ["ssh", *(("-p", str(board.port)) if board.port else ())]
    words += [f"{board.user}@{board.host}" if board.user else board.host]
    return f"{shlex.join(words)} {command}"


def greeting_trouble(board: BoardAddress, word: str, rest: str) -> BoardUnreachable:
    """What a greeting means that is none to go on with, and the next command."""
    where = board.text
    install = f"autotune board install {where}"
    match word:
        case "installed":
            return BoardUnreachable(
                f"the agent installed on {where} is of another version than this autotune", hint=install
            )
        case "unsafe":
            return NotPermitted(
                f"the agent installed on {where} is not root's alone: somebody else owns {rest} or may write to it, "
                "and root would run it",
                hint=f"see who (ls -ld {rest}), make it root's again, then: {install}",
            )
        case "old":
            return BoardUnreachable(
                f"python3 on {where} is {rest}, and the agent needs 3.9 or later",
                hint="Debian 11 and Ubuntu 22.04 have it; one put elsewhere must come first in the PATH of "
                + by_hand(board, "'command -v python3'"),
            )
        case _:
            return BoardUnreachable(f"the agent's greeting can't be understood: {f'{word} {rest}'[:60]!r}")


def last_words(said: str) -> str:
    """The last line of complaints that says why: what ssh adds when a jump host has given up says nothing."""
    lines = said.strip().splitlines()
    telling = [line for line in lines if not any(words in line for words in _SAYS_NOTHING)]
    return (telling or lines or [""])[-1]


def ssh_trouble(board: BoardAddress, exit_code: int, said: str) -> BoardUnreachable | None:
    """What ssh's exit code and last words mean, and the next command; None when it isn't ssh's own trouble.

    255 is ssh's own (ssh(1), EXIT STATUS); 126 and 127 are the login shell's word for a program it can't run (csh says it
    in words alone).
    """
    if not isinstance(board, SshBoard):
        return None
    where = board.text
    login = by_hand(board, "").strip()
    if said.startswith("sudo: "):
        return NotPermitted(
            f"sudo on {where} does not start the agent: {said}",
            hint=f"see its rules (the last that fits counts): {by_hand(board, 'sudo -l')}; then: autotune board install {where}",
        )
    if said.startswith(("ModuleNotFoundError: ", "ImportError: ")):
        return BoardUnreachable(
            f"python3 on {where} lacks a part of its standard library: {said}",
            hint="as root there: apt-get install python3 (python3-minimal is not enough)",
        )
    if exit_code in (_NOT_FOUND, _NOT_RUNNABLE) or said.lower().startswith("python3: command not found"):
        return BoardUnreachable(
            f"there is no python3 on {where}, which the agent needs (3.9 or later)",
            hint="as root there: apt-get install python3; one put elsewhere must be in the PATH of "
            + by_hand(board, "'command -v python3'"),
        )
    if exit_code != _SSH_FAILED:
        return None
    lowered = said.lower()
    if "host key verification failed" in lowered or "host key is known" in lowered:
        return BoardUnreachable(
            f"the host key of {where}, or of a host on the way there, is not known here, or is another than it was",
            hint=f"log in once by hand and compare its fingerprint: {login}",
        )
    if "permission denied" in lowered or "too many authentication failures" in lowered:
        return NotPermitted(
            f"{where} lets nobody in without a password: {said}",
            hint=f"give it your key: {login.replace('ssh', 'ssh-copy-id', 1)}; a key with a passphrase must be in your "
            "ssh-agent: ssh-add",
        )
    return BoardUnreachable(
        f"no line to {where}: {said or 'ssh ended without a word'}", hint=f"try by hand: {login}"
    )
