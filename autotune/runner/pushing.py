"""Who pushes at a held board: its own agent, or that of a load host, which a cable may part from the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.board.connection import Connection
from autotune.board.facts import BoardFacts
from autotune.board.load_host import LoadHost
from autotune.board.records import LoadOrder, LoadSeen, UrlSeen, UrlTruth
from autotune.load.gates import Fault


@dataclass(frozen=True, slots=True)
class Pusher:
    """`load_host` None: the generator is on the board."""

    board: Connection
    load_host: LoadHost | None

    @property
    def facts(self) -> BoardFacts:
        """The machine where the generator runs."""
        return (self.board if self.load_host is None else self.load_host).facts

    def load(self, order: LoadOrder) -> LoadSeen:
        return self.board.load(order) if self.load_host is None else self.load_host.load(order, self.board)

    def unreached(self, address: str, urls: Sequence[UrlSeen]) -> str:
        """Why the load host gets another answer than the board's own, by its status; "" when it gets that one.

        `urls`: what the board itself was answered at `address`.
        """
        if self.load_host is None:
            return ""
        first = urls[0]
        [seen] = self.load_host.fetch([UrlTruth(url=first.url, address=address)])
        if seen.status == first.status:
            return ""
        told = f"gets status {seen.status}, not {first.status}," if seen.status else "gets no answer"
        return (
            f"the load host {self.load_host.host} {told} from {first.url}, which the board itself has fetched"
        )

    def excused(self, fault: Fault | None, address: str, urls: Sequence[UrlSeen]) -> Fault | None:
        """A configuration is not to blame for a line that is cut: the board itself is answered, and its load host is not."""
        if fault is None or fault.blame == "environment" or self.load_host is None:
            return fault
        now = self.board.fetch([UrlTruth(url=urls[0].url, address=address)])
        unreached = self.unreached(address, now) if now[0].status else ""
        return (
            replace(fault, blame="environment", detail=f"{fault.detail}; {unreached}") if unreached else fault
        )
