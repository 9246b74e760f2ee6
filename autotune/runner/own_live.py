"""What the user's own nginx answers before a night stops it: the truth that every canary compares with."""

from __future__ import annotations

from autotune.actuators.site import Site
from autotune.board.connection import Connection
from autotune.board.records import UrlSeen, UrlTruth
from autotune.errors import BoardUnfit
from autotune.experiment.events import Doubt
from autotune.experiment.study import OwnNginx, Study

_OK, _NOBODY = 200, 0
_LOOKS = 3  # a page that differs from answer to answer shows it


def live_answers(connection: Connection, study: Study, site: Site | None) -> tuple[tuple[UrlSeen, ...], ...]:
    """Every URL's answers from the server that runs now, several times over; () when it runs no such server.

    Raises BoardUnfit for a URL that isn't answered while others are, or with anything but 200.
    """
    if site is None or not isinstance(study.server, OwnNginx):
        return ()
    truths = tuple(UrlTruth(url=url.target, address=study.server.address) for url in site.urls)
    first = connection.fetch(truths)
    if all(seen.status == _NOBODY for seen in first):
        return ()
    for seen in first:
        if seen.status == _NOBODY:
            raise BoardUnfit(
                f"your nginx does not answer {seen.url}, though it does others", hint=_hint(study, seen.url)
            )
        if seen.status != _OK:
            raise BoardUnfit(
                f"{seen.url} answers {seen.status}, not 200{_why(seen.status)}", hint=_hint(study, seen.url)
            )
    return (first, *(connection.fetch(truths) for _ in range(_LOOKS - 1)))


def _why(status: int) -> str:
    if status // 100 == 3:
        return ": it leads elsewhere, and wrk doesn't follow"
    return {401: ": it wants a password", 403: ": it is forbidden", 404: ": it is not there"}.get(status, "")


def _hint(study: Study, url: str) -> str:
    address = study.server.address if isinstance(study.server, OwnNginx) else ""
    return f"curl -skI --connect-to ::{address} {url}, then put the URL that serves the page into the study"


def doubts_of(study: Study, live: tuple[tuple[UrlSeen, ...], ...]) -> tuple[Doubt, ...]:
    """Said when nobody could tell what the site answers in real life."""
    if live or not isinstance(study.server, OwnNginx):
        return ()
    return (
        Doubt(
            code="no live server",
            text="your nginx was not running, so what it answers was learned from the night's own copy of it",
            next="start it before the night, and let `autotune doctor` look again",
        ),
    )
