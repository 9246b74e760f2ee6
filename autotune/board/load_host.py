"""The machine that pushes at the board's server over the network: the line to it, its way to the board, one load at a time.

Two agents see one run. The load host's has the generator, its CPU and its free ports; the board's has the server, its CPU,
heat and kernel log. The windows overlap by order, not by clocks: the measured run is ordered when the board has answered that
its counters have begun, and they end after the run's answer has come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from autotune.board.address import SshBoard, read_address
from autotune.board.clock import ClockSeen
from autotune.board.connection import Connection, connect
from autotune.board.facts import BoardFacts
from autotune.board.reaching import by_hand
from autotune.board.records import FarLoadSeen, LoadOrder, LoadSeen, Run, UrlSeen, UrlTruth, Watched
from autotune.errors import (
    BoardMisunderstood,
    BoardUnfit,
    BoardUnreachable,
    LoadGeneratorFailed,
    LoadHostMisunderstood,
    LoadHostUnreachable,
    NotPermitted,
)

_NOT_RUN = Run(exit_code=0, stdout="", stderr="", wall_s=0.0, cpu_s=0.0, timed_out=False)
_LEAST_RUN_S = 0.1
_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where the board is for its load host: the board's address, the board's card there, and the load host's own address."""

    address: str
    interface: str
    source: str


class LoadHost:
    """An agent on a load host. Nothing of that machine is changed; what dies there takes its generator with it.

    Every method raises LoadHostUnreachable when that agent is gone, LoadGeneratorFailed when it could not do as asked.
    """

    def __init__(self, host: str, connection: Connection) -> None:
        self.host = host
        self._line = connection

    @classmethod
    def reach(cls, host: str) -> Self:
        """A line to `host` ("local" or an ssh address)."""
        with _told_as(host):
            return cls(host, connect(host))

    @property
    def facts(self) -> BoardFacts:
        return self._line.facts

    def levels(self) -> dict[str, float]:
        with self._told():
            return dict(self._line.counters().levels)

    def clock(self) -> ClockSeen:
        """Its clock beside ours."""
        with self._told():
            return self._line.clock()

    def free_ports(self) -> int | None:
        """Local ports that no connection uses now; None where it doesn't tell."""
        with self._told():
            text = self._line.read((_PORT_RANGE,))[_PORT_RANGE].text or ""
        words = text.split()
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            return None
        return int(words[1]) - int(words[0]) + 1 - int(self.levels().get("time_wait", 0.0))

    def by_hand(self, command: str) -> str:
        """The command line that runs a command there."""
        return by_hand(read_address(self.host), command)

    def fetch(self, urls: Sequence[UrlTruth]) -> tuple[UrlSeen, ...]:
        """What the board answers to this machine. `status` 0: nobody answers."""
        with self._told():
            return self._line.fetch(urls)

    def keepalive(self) -> None:
        with self._told():
            self._line.keepalive()

    def close(self) -> None:
        self._line.close()

    def _told(self) -> contextlib.AbstractContextManager[None]:
        address = read_address(self.host)
        far = isinstance(address, SshBoard)
        return _told_as(
            self.host, f"try: {by_hand(address, 'true') if far else 'autotune doctor STUDY.toml'}"
        )

    def way_to(self, board: Connection, address: str = "") -> Way:
        """How this machine reaches the board; at `address`, if one is given.

        Else at the one of the board's addresses from which the board itself would speak to this machine: an address that
        both have for themselves (a bridge of containers) is never that. Raises LoadGeneratorFailed when there is none.
        """
        own = (address,) if address else board.routes(()).addresses
        with self._told():
            here = self._line.routes(own)
        there = [one for one in here.routes if one.source]
        back = {one.to: one for one in board.routes(tuple(dict.fromkeys(one.source for one in there))).routes}
        for one in there:
            found = back.get(one.source)
            if found is not None and found.interface and (address or found.source == one.to):
                return Way(address=one.to, interface=found.interface, source=one.source)
        if here.addresses and set(here.addresses) == set(board.routes(()).addresses):
            raise LoadGeneratorFailed(
                f"the load host {self.host} is the board itself by another name: both have {', '.join(here.addresses)}",
                hint='load = "board", or name another machine',
            )
        tried = f"its address {address}" if address else f"any of its addresses ({', '.join(own) or 'none'})"
        raise LoadGeneratorFailed(
            f"the load host {self.host} has no way over a network to the board at {tried}",
            hint='see `ip route get` on both, or say where it reaches the board: address = "..." under [server]',
        )

    def connection_problem(self, way: Way, port: int) -> str:
        """Why no connection to the board's port comes about from here; "" when one does or is refused."""
        with self._told():
            return next(iter(self._line.routes((way.address,), port=port).routes)).problem

    def load(self, order: LoadOrder, board: Connection) -> FarLoadSeen:
        """Both runs of a load, or the one at a fixed rate, from here, with the board watching.

        Raises BoardUnreachable when the board is gone meanwhile; its guardian ends what is being loaded.
        """
        board.watch("warm-up", order.power)
        warmup, run = _NOT_RUN, order
        if order.warmup_s and not order.rate_per_s:
            warming = replace(order, warmup_s=0.0, duration_s=max(order.warmup_s, _LEAST_RUN_S))
            warmup, run = self._push(warming, board).measured, replace(order, warmup_s=0.0)
        board.watch("run", order.power)
        pushed = self._push(run, board)
        seen = board.watched()
        of_board = {one.name: getattr(seen, one.name) for one in fields(Watched)}
        of_board["before"] = {**seen.before, **_ports(pushed.before)}
        of_board["after"] = {**seen.after, **_ports(pushed.after)}
        return FarLoadSeen(
            **of_board,
            warmup=warmup,
            measured=pushed.measured,
            connections_held=pushed.connections_held,
            load_host=pushed,
        )

    def _push(self, order: LoadOrder, board: Connection) -> LoadSeen:
        with self._told():
            return self._line.load(order, beside=board)


def _ports(levels: Mapping[str, float]) -> dict[str, float]:
    return {name: level for name, level in levels.items() if name == "free_ports"}


@contextlib.contextmanager
def _told_as(host: str, hint: str = "") -> Iterator[None]:
    """What goes wrong on the line to a load host, in words that tell it from the board.

    `hint`: the next command once that machine was reached; the line's own words speak of a board that restores itself then.
    """
    name = f"the load host {host}"
    try:
        yield
    except NotPermitted as problem:
        raise NotPermitted(f"{name}: {problem.message}", hint=problem.hint) from problem
    except BoardUnreachable as problem:
        nonsense = isinstance(problem, BoardMisunderstood)
        error = LoadHostMisunderstood if nonsense else LoadHostUnreachable
        kept = problem.hint if nonsense or not hint else hint
        raise error(f"{name}: {problem.message}", hint=kept) from problem
    except BoardUnfit as problem:
        raise LoadGeneratorFailed(f"{name}: {problem.message}", hint=problem.hint) from problem
