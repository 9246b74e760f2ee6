"""The agent's one place to wait: for requests, for its children, for signals, and for time to pass.

While anything else is being waited for, keepalives are answered and every other request is kept for later, in order.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence

from autotune.agent.faults import Fault, Leave
from autotune.agent.protocol import MAX_LINE, VERBS, ErrorBody

_CHUNK = 1 << 16
_WAITING_CAP = 100  # a controller asks one thing at a time
_NUMBERS = 1 << 53
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Request(NamedTuple):
    """One request; `verb` "" when it can't be understood, and then `problem` says why."""

    number: int
    verb: str
    body: Dict[str, Any]
    problem: str


class Line:
    """Requests in, replies out. `heard` is called for every request that comes in (it renews the lease), `each_second`, if
    there is one, while the next request is being waited for. `silence_most_s`: how long one may be waited for; 0: for ever.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._rest = bytearray()
        self._number = 0
        self._waiting: Deque[Request] = deque()
        self._over: Optional[Leave] = None
        self._woken = _catch_signals(self._signalled)
        self._watched: Dict[int, Callable[[], None]] = {}
        self.heard: Callable[[], None] = lambda: None
        self.each_second: Optional[Callable[[], None]] = None
        self.silence_most_s = 0.0
        self._heard_s = time.monotonic()
        os.set_blocking(incoming, False)

    def next_request(self) -> Request:
        """The next request that isn't a keepalive. Raises Leave when there will be none."""
        self._heard_s = time.monotonic()  # while the last request was carried out there was nothing to say
        look_s = self._heard_s + 1.0
        while not self._waiting:
            moments = [look_s] if self.each_second else []
            moments += [self._heard_s + self.silence_most_s] if self.silence_most_s else []
            try:
                self._wait(max(0.0, min(moments) - time.monotonic()) if moments else None, ())
            except Leave:
                if not self._waiting:  # what came before the end is answered first
                    raise
            now_s = time.monotonic()
            if self.each_second and now_s >= look_s:
                look_s += 1.0
                self.each_second()
            if self.silence_most_s and now_s >= self._heard_s + self.silence_most_s:
                raise Leave("the controller says nothing any more")
        return self._waiting.popleft()

    def pause(self, seconds: float, handles: Sequence[int] = ()) -> List[int]:
        """Waits until a handle is readable, a child has ended, or the time is over; the readable handles.

        Raises Leave when the controller is gone or a signal came.
        """
        return self._wait(seconds, handles)

    def sleep(self, seconds: float) -> None:
        self._wait(seconds, ())

    def watch(self, handle: int, then: Callable[[], None]) -> None:
        """Calls `then`, once, when `handle` is readable while something is being waited for."""
        self._watched[handle] = then

    def unwatch(self, handle: int) -> None:
        self._watched.pop(handle, None)

    def reply(self, number: int, body: Any) -> None:
        data = _encoded({"id": number, "ok": True, "body": body})
        if len(data) > MAX_LINE:
            what = f"the answer has {len(data)} bytes, and a line of it may have {MAX_LINE}"
            self.fail(number, Fault("failed", what, "ask for less at once").body)
        else:
            self._send(data)

    def fail(self, number: int, error: ErrorBody) -> None:
        self._send(_encoded({"id": number, "ok": False, "error": error}))

    def _send(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._outgoing, data) :]
        except OSError:
            self._over = self._over or Leave("the controller is gone")

    def _wait(self, seconds: Optional[float], handles: Sequence[int]) -> List[int]:
        if self._over:
            raise self._over
        watched = list(self._watched)
        ready, _, _ = select.select([self._incoming, self._woken, *handles, *watched], [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, _CHUNK)
        for handle in watched:
            if handle in ready:
                self._watched.pop(handle)()
        if self._incoming in ready:
            self._take()
        if self._over:
            raise self._over
        return [handle for handle in handles if handle in ready]

    def _take(self) -> None:
        try:
            data = os.read(self._incoming, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._over = self._over or Leave("the controller is gone")
            return
        self._heard_s = time.monotonic()
        searched = len(self._rest)
        self._rest += data
        while (end := self._rest.find(b"\n", searched)) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            searched = 0
            if end <= MAX_LINE:
                self._hear(parse_request(line))
            else:
                self._over = Leave("a request is longer than a line may be", 1)
        if len(self._rest) > MAX_LINE:
            self._over = Leave("a request is longer than a line may be", 1)
        if len(self._waiting) > _WAITING_CAP:
            self._waiting.clear()
            self._over = Leave("more requests wait than a controller has", 1)

    def _hear(self, request: Request) -> None:
        self.heard()
        if request.number and request.number <= self._number:
            request = request._replace(verb="", problem=f"a request {request.number} was here before")
        self._number = max(self._number, request.number)
        if request.verb == "keepalive":
            self.reply(request.number, {"clock_s": time.time()})
        else:
            self._waiting.append(request)

    def _signalled(self, number: int) -> None:
        self._over = self._over or Leave(f"signal {number}", 128 + number)


def _encoded(message: Dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def parse_request(line: bytes) -> Request:
    """Never raises: what can't be understood is answered with an error, under its own number where it has one."""
    try:
        message = json.loads(line)
        number = message["id"]
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < _NUMBERS:
            return Request(0, "", {}, "the request's id is not a whole number from 1 on")
        verb, body = message.get("verb"), message.get("body", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Request(0, "", {}, "the request is not a JSON object with an id")
    if not isinstance(verb, str) or verb not in VERBS:
        return Request(number, "", {}, f"the verb {str(verb)[:40]!r} is unknown")
    if not isinstance(body, dict):
        return Request(number, "", {}, "the request's body is not an object")
    return Request(number, verb, body, "")


def _catch_signals(told: Callable[[int], None]) -> int:
    """A handle that is readable after any signal; `told` is called for those that end us.

    SIGHUP is like SIGTERM unless it was ignored when we were started (nohup).
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda caught, _frame: told(caught))
    signal.signal(signal.SIGCHLD, lambda _caught, _frame: None)
    return read
