"""The nginx side of a board for one study: what its directives say today, and the server of one configuration.

Two kinds: `managed_site` (an nginx of our own from the packaged configuration) and `own_site` (the user's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, EditedFile, Listener, LoadUrl, PhpOrder
from autotune.experiment.study import Url
from autotune.space.value import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """The server of one configuration; the fields are those of `ServerOrder`."""

    conf: str
    conf_path: str = ""
    edits: tuple[EditedFile, ...] = ()
    build: str = ""
    workers: int
    listen: tuple[Listener, ...]
    php: PhpOrder | None = None


class Site(Protocol):
    """The site under test. `left_out`: what the tested server doesn't take over from the configuration it starts from.

    `addresses`: what load and canary connect to; samples take turns, so that one's closed connections aren't the
    next one's. `urls`: everything that the canary fetches, in the study's order, each once. `passes_on`: pages may come
    from a program behind nginx, which may answer otherwise from one minute to the next.
    """

    @property
    def left_out(self) -> tuple[str, ...]: ...

    @property
    def addresses(self) -> tuple[str, ...]: ...

    @property
    def passes_on(self) -> bool: ...

    @property
    def urls(self) -> tuple[Url, ...]: ...

    def stock(self, id_: str) -> tuple[Value, tuple[str, ...]]:
        """The value in force, and the words offered where they depend on the board (else ()).

        Raises SettingUnsupported when this site can't vary it, ValueError when the setting can't hold what is in force.
        """
        ...

    def value_reason(self, id_: str, value: Value) -> str:
        """Why this site can't take this value (which keeps the setting's limits); empty when it can."""
        ...

    def load_url(self, url: Url, address: str) -> LoadUrl:
        """What the load generator fetches when this sample is served at `address`."""
        ...

    def plan(
        self, chosen: Mapping[str, Value], *, address: str, begun: Begun, placement: CpuPlacement
    ) -> ServerPlan:
        """The server with these values (ids nginx:* and fpm:*) over stock. Raises SettingUnsupported."""
        ...
