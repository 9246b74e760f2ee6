"""The line to a board: one agent, one request at a time, every reply a frozen record."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self

from autotune.agent.protocol import MAX_LINE, PROTOCOL
from autotune.board import replies
from autotune.board.address import BoardAddress, SshBoard, read_address, restore_command
from autotune.board.agent_start import GREETING, end_at_once, shipment, start_agent
from autotune.board.clock import ClockSeen, compare
from autotune.board.facts import BoardFacts
from autotune.board.reaching import answers_afresh, by_hand, greeting_trouble, last_words, ssh_trouble
from autotune.board.records import (
    Begun,
    BoardStatus,
    BuildOrder,
    Built,
    Counters,
    Effect,
    Ended,
    LoadOrder,
    LoadSeen,
    NginxFiles,
    PutFile,
    Reading,
    Routes,
    ServerOrder,
    Switched,
    UrlSeen,
    UrlTruth,
    Watched,
    Write,
)
from autotune.errors import (
    AutotuneError,
    BoardBusy,
    BoardLeftChanged,
    BoardMisunderstood,
    BoardUnfit,
    BoardUnreachable,
    NotPermitted,
    UsageError,
)
from autotune.experiment.synthetic_boards import is_synthetic

_DEADLINES_S = {"hello": 30.0, "read": 30.0, "begin": 60.0, "switch": 60.0, "check": 60.0, "end": 120.0}
_DEADLINE_S = 20.0
# wrk is killed by the agent at twice its duration and 20 s; counting sockets takes a moment too.
_LOAD_EXTRA_S = 60.0
_SENT_WITHIN_S = 30.0
_BUILD_S = 3000.0  # fetching, configure and make have their own limits on the board
_LEAVES_WITHIN_S = 60.0
_GREETS_WITHIN_S = 60.0
_WHY_CAP = 300
_TALK_CAP = 1 << 18  # what a login may print before the agent greets
_ERRORS: Mapping[str, type[AutotuneError]] = {
    "refused": BoardUnfit,
    "not permitted": NotPermitted,
    "busy": BoardBusy,
    "guardian": BoardUnreachable,
    "journal": BoardUnfit,
    "left changed": BoardLeftChanged,
    "protocol": BoardUnreachable,
    "failed": BoardUnfit,
}


def connect(board: str, *, prefix: tuple[str, ...] = ()) -> Connection:
    """A line to `board` with an agent at its end; nothing is changed there yet.

    "local" is this machine, "ssh://user@host:port" another. There the agent is root's when the user is root, or when an
    installed agent's sudo rule or passwordless sudo makes it so; else the user's own, which can do what the user may.
    `prefix` goes before the argv of agent or ssh (to enter a namespace, for example).
    Raises UsageError for what is no address, BoardUnreachable when no agent answers.
    """
    if is_synthetic(board):
        raise UsageError(
            f"the board {board} is made of numbers: there is no machine to look at, to change or to put back",
            hint='what has a machine is a study with board = "local" or "ssh://..."',
        )
    return Connection(read_address(board), prefix)


class Connection:
    """An agent on a board. While it waits for a reply it keeps the lease alive by itself.

    Every method raises BoardUnreachable when the agent is gone, and then the board's guardian restores it;
    NotPermitted when the kernel says no; BoardUnfit when the agent's own lists do or it could not do as asked.
    """

    def __init__(self, board: BoardAddress, prefix: tuple[str, ...] = ()) -> None:
        self.board = board
        self._prefix = prefix
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the connection
        try:
            agent = start_agent(board, prefix, self._complaints)
        except BaseException:
            self._complaints.close()
            raise
        self._process, self._to_agent, self._from_agent = agent.process, agent.to_agent, agent.from_agent
        self.is_installed = False
        self.why_not_root = ""  # what sudo said there when it was asked; "" for root's own agent
        self._is_silent = False
        self._closed = False
        self._rest = bytearray()
        self._number = 0
        self._lease_s = 0.0
        self._said_at = time.monotonic()
        try:
            self._ship()
            controller = f"{os.uname().nodename} pid {os.getpid()}"
            self.facts: BoardFacts = replies.facts(
                self._ask("hello", protocol=PROTOCOL, controller=controller)
            )
        except BaseException:
            self.close()
            raise

    @property
    def agent_pid(self) -> int:
        """The agent's process id; with sudo in between, sudo's."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- verbs ----------------------------------------------------------------------------------------------------------

    def read(self, paths: Sequence[str]) -> Mapping[str, Reading]:
        """Files of the board by path; a * in any part of a path stands for every name there."""
        return replies.readings(self._ask("read", paths=list(paths), nginx_conf=""))

    def read_nginx(self, conf: str) -> NginxFiles:
        """The user's nginx configuration that starts with the file `conf`, as `nginx -T` sees it."""
        return replies.nginx_files(self._ask("read", paths=[], nginx_conf=conf))

    def fetch(self, urls: Sequence[UrlTruth]) -> tuple[UrlSeen, ...]:
        """What whatever serves them now answers to these URLs. Changes nothing. `status` 0: nobody answers."""
        body = self._ask("check", paths=[], urls=[asdict(url) for url in urls])
        return replies.fetched(body, [url.url for url in urls])

    def begin(
        self,
        *,
        study: str,
        night: int,
        holder: str,
        lease_s: float,
        files: Sequence[PutFile] = (),
        services: Sequence[str] = (),
        kept: bool = False,
    ) -> Begun:
        """Takes the board's lock, undoes what a crashed night left, puts `files` down to be served.

        From here on the board restores itself when nothing is heard of us for `lease_s`.
        Raises BoardBusy naming the holder, BoardLeftChanged when an earlier night can't be undone.
        """
        body = self._ask(
            "begin",
            study=study,
            night=night,
            holder=holder,
            lease_s=lease_s,
            files=[asdict(file) for file in files],
            services=list(services),
            kept=kept,
        )
        self._lease_s = lease_s
        return replies.begun(body)

    def switch(self, writes: Sequence[Write], server: ServerOrder | None) -> Switched:
        """One whole configuration: what `writes` does not name goes back to its original, and nginx starts afresh."""
        order = None if server is None else asdict(server)
        body = self._ask("switch", writes=[asdict(write) for write in writes], server=order)
        return replies.switched(body, [url.url for url in server.urls] if server else [])

    def check(self, paths: Sequence[str]) -> tuple[Effect, ...]:
        """Writes each path's own value into it and reads it again."""
        return replies.checked(self._ask("check", paths=list(paths), urls=[]))

    def load(self, order: LoadOrder, *, beside: Connection | None = None) -> LoadSeen:
        """Both runs against the server of the last switch, or against that of the board `beside`, whose lease is renewed."""
        within_s = 2 * (order.warmup_s + order.duration_s) + _LOAD_EXTRA_S
        return replies.load_seen(self._ask("load", within_s=within_s, beside=beside, **asdict(order)))

    def watch(self, step: Literal["warm-up", "run"], power: str) -> None:
        """Watches the board while another machine loads it: before its warm-up, and before its measured run."""
        self._ask("watch", step=step, power=power)

    def watched(self) -> Watched:
        """What was seen of the board since `watch("run", ...)`."""
        return replies.watched(self._ask("watch", step="end", power=""))

    def routes(self, to: Sequence[str], *, port: int = 0) -> Routes:
        """That machine's way to these IPv4 addresses; whether connections to the port come about (0: not tried)."""
        return replies.routes(self._ask("route", to=list(to), port=port), list(to))

    def counters(self) -> Counters:
        return replies.counted(self._ask("counters"))

    def keepalive(self) -> None:
        """Renews the lease. Only needed when nothing else is asked for a while."""
        self._ask("keepalive")

    def clock(self) -> ClockSeen:
        """The board's clock beside this machine's."""
        return compare(lambda: replies.clock(self._ask("keepalive")))

    def end(self, *, keep: bool = False, earlier_boots: bool = False) -> Ended:
        """Restores the board. Without a begin: whatever a dead tuner left there. Raises BoardBusy while one holds it.

        `keep`: leaves the configuration of the last switch in place instead, until the next `end` or a reboot.
        `earlier_boots`: files that nights of earlier boots left are removed, too, as a begin does.
        """
        ended = replies.ended(self._ask("end", keep=keep, earlier_boots=earlier_boots))
        self._lease_s = 0.0
        return ended

    def builds(self) -> tuple[Built, ...]:
        """Every build of nginx in the board's cache, the oldest first. Changes nothing."""
        return replies.builds(self._ask("builds", action="list"))[0]

    def make_build(self, order: BuildOrder) -> tuple[tuple[Built, ...], str]:
        """All builds after this one was made, unless the cache had it; and why it could not be made, or "".

        Takes a minute or two, and the board's lock meanwhile. Raises BoardBusy while another tuner holds the board.
        """
        return replies.builds(self._ask("builds", within_s=_BUILD_S, action="make", **asdict(order)))

    def remove_build(self, key: str) -> tuple[Built, ...]:
        """The builds that are left. Raises BoardUnfit when there is none of this key."""
        return replies.builds(self._ask("builds", action="remove", key=key))[0]

    def status(self) -> BoardStatus:
        """Who holds the board and what of it is changed. Changes nothing."""
        return replies.status(self._ask("status"))

    def answers_afresh(self) -> bool:
        """Whether a new connection to the board still comes about: an old one may outlive a broken network setting."""
        return answers_afresh(self.board, self._prefix, waiting=self.renew_lease)

    def fall_silent(self) -> None:
        """Does as a crash would: this machine's agent is killed, the line to another one stands still without an end.

        Nothing may be asked afterwards. Raises PermissionError for a root agent behind sudo.
        """
        is_far = isinstance(self.board, SshBoard)
        os.kill(self._process.pid, signal.SIGSTOP if is_far else signal.SIGKILL)
        self._is_silent = is_far

    def close(self) -> None:
        """Ends the agent, which restores first what it has changed. Never raises; closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        os.close(self._to_agent)
        if self._is_silent:
            end_at_once(self._process)
        try:
            self._process.wait(_LEAVES_WITHIN_S)
        except subprocess.TimeoutExpired:
            end_at_once(self._process)  # its guardian restores
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_DEADLINE_S)
        os.close(self._from_agent)
        self._complaints.close()

    # -- the start --------------------------------------------------------------------------------------------------------

    def _ship(self) -> None:
        """Answers the agent's greeting: with the agent itself, unless one of the same code is installed there."""
        word, _, rest = self._greeting().partition(" ")
        match word:
            case "send":
                self.why_not_root = rest[:_WHY_CAP]
                self._send(shipment().data)
            case "installed" if rest == shipment().digest:
                self.is_installed = True
            case _:
                raise greeting_trouble(self.board, word, rest)

    def _greeting(self) -> str:
        """What follows the greeting's word. A login that prints something first is passed over, up to a limit."""
        until = time.monotonic() + _GREETS_WITHIN_S
        passed = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._from_agent, selectors.EVENT_READ)
            while True:
                while (end := self._rest.find(b"\n")) >= 0:
                    line = bytes(self._rest[:end])
                    del self._rest[: end + 1]
                    if line.startswith(GREETING):
                        return line.removeprefix(GREETING).decode("utf-8", "replace").strip()
                    passed += len(line)
                if passed + len(self._rest) > _TALK_CAP:
                    raise BoardUnreachable("the login there talks without end instead of starting the agent")
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise BoardUnreachable(
                        f"no agent has answered on {self.board.text} within {_GREETS_WITHIN_S:.0f} s",
                        hint=f"see whether this ends at once: {by_hand(self.board, 'true')}",
                    )
                data = os.read(self._from_agent, 1 << 16)
                if not data:
                    raise self._gone()
                self._rest += data

    # -- the wire -------------------------------------------------------------------------------------------------------

    def renew_lease(self) -> float:
        """Says that we live when it is time to, without waiting for an answer; seconds until it is time again."""
        left_s = self._said_at + self._lease_s / 4 - time.monotonic() if self._lease_s else math.inf
        if left_s <= 0:
            self._say("keepalive", {})
        return left_s if left_s > 0 else self._lease_s / 4

    def _ask(
        self, verb: str, *, within_s: float = 0.0, beside: Connection | None = None, **body: Any
    ) -> dict[str, Any]:
        """The reply's body. Replies to earlier questions that nobody waited for are passed over."""
        number = self._say(verb, body)
        until = time.monotonic() + (within_s or _DEADLINES_S.get(verb, _DEADLINE_S))
        with selectors.DefaultSelector() as selector:
            selector.register(self._from_agent, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if now >= until:
                    raise BoardUnreachable(
                        f"the agent has not answered {verb!r} in time",
                        hint="the board restores itself when the lease is over; see it: "
                        + restore_command(self.board.text),
                    )
                renew_s = self.renew_lease()
                if beside is not None:
                    with contextlib.suppress(BoardUnreachable):  # told by the next question that it is asked
                        renew_s = min(renew_s, beside.renew_lease())
                if selector.select(min(until - now, renew_s)):
                    for reply in self._take():
                        if reply.get("id") == number:
                            return _body(reply, self.board)

    def _say(self, verb: str, body: Mapping[str, Any]) -> int:
        self._number += 1
        line = json.dumps({"id": self._number, "verb": verb, "body": body}).encode("ascii") + b"\n"
        if len(line) > MAX_LINE:
            raise AutotuneError(f"a request of {len(line)} bytes does not fit the line to the board")
        self._send(line)
        return self._number

    def _send(self, data: bytes) -> None:
        if self._closed:
            raise BoardUnreachable("this line to the board is closed", hint="connect again")
        until = time.monotonic() + _SENT_WITHIN_S
        left = memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(self._to_agent, selectors.EVENT_WRITE)
            while left:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise BoardUnreachable(
                        "the agent takes no more requests: it is stopped, or the board is stuck"
                    )
                try:
                    left = left[os.write(self._to_agent, left) :]
                except OSError as problem:
                    raise self._gone() from problem
        self._said_at = time.monotonic()

    def _take(self) -> list[dict[str, Any]]:
        try:
            data = os.read(self._from_agent, 1 << 16)
        except BlockingIOError:
            return []
        if not data:
            raise self._gone()
        searched = len(self._rest)
        self._rest += data
        found = []
        while (end := self._rest.find(b"\n", searched)) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            searched = 0
            found.append(_understood(line))
        if len(self._rest) > MAX_LINE:
            raise BoardMisunderstood("the agent's reply is longer than a line may be")
        return found

    def _gone(self) -> BoardUnreachable:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        trouble = None if code is None else ssh_trouble(self.board, code, self._said())
        if trouble is not None:
            return trouble
        how = "" if code is None else f" (exit code {code})" if code >= 0 else f" (signal {-code})"
        said = self._said()
        return BoardUnreachable(
            f"the agent is gone{how}{': ' + said if said else ''}",
            hint=f"its guardian restores the board; `{restore_command(self.board.text)}` does it too, and says what it found",
        )

    def _said(self) -> str:
        """The agent's last words on its standard error."""
        with contextlib.suppress(OSError, ValueError):
            end = self._complaints.seek(0, os.SEEK_END)
            self._complaints.seek(max(0, end - (1 << 16)))
            return last_words(self._complaints.read().decode("utf-8", "replace"))
        return ""


def _understood(line: bytes) -> dict[str, Any]:
    """One line of the agent's. Raises BoardMisunderstood."""
    if len(line) > MAX_LINE:
        raise BoardMisunderstood("the agent's reply is longer than a line may be")
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise BoardMisunderstood(f"the agent says what can't be understood: {problem}") from problem
    if not isinstance(reply, dict):
        raise BoardMisunderstood("the agent says what can't be understood: not an object")
    return reply


def _body(reply: Mapping[str, Any], board: BoardAddress) -> dict[str, Any]:
    if reply.get("ok") is True and isinstance(reply.get("body"), dict):
        return dict(reply["body"])
    error = reply.get("error")
    if not isinstance(error, dict):
        raise BoardMisunderstood("the agent's reply is neither an answer nor an error")
    told = replies.error_words(error)
    # The agent doesn't know by which address it was reached.
    hint = told.hint.replace("autotune restore", restore_command(board.text))
    raise _ERRORS.get(told.kind, BoardMisunderstood)(told.message, hint=hint)
