"""What stock answers for each URL of a study: what every canary's answer must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.board.records import UrlSeen
from autotune.errors import BoardUnfit
from autotune.experiment.study import Url

_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What stock answers for a URL; `status` 0: not known yet."""

    url: Url
    status: int = 0
    length: int = 0
    sha256: str = ""
    loose: bool = False


def truths_of(urls: Sequence[Url], answers: Sequence[Sequence[UrlSeen]]) -> tuple[Truth, ...]:
    """From each URL's answers, asked more than once. Raises BoardUnfit for one that isn't always 200.

    A redirect is not the page: wrk doesn't follow it, and counts it as a success.
    """
    truths = []
    for url, *seen in zip(urls, *answers, strict=True):
        if {one.status for one in seen} != {_OK}:
            told = ", then ".join(dict.fromkeys(str(one.status) for one in seen))
            raise BoardUnfit(
                f"{url.target} answers {told}, not 200: that is not the page",
                hint="put URLs into the study that serve a page themselves, without a redirect",
            )
        same = len({(one.sha256, one.length) for one in seen}) == 1
        truths.append(
            Truth(
                url=url,
                status=seen[0].status,
                length=seen[0].length,
                sha256=seen[0].sha256 if same else "",
                loose=not same,
            )
        )
    return tuple(truths)
