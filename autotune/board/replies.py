"""The agent's replies as records. A reply that lacks a field is an agent of another version, or no agent at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from autotune.board.facts import BoardFacts
from autotune.board.records import (
    Begun,
    BoardStatus,
    Built,
    Counters,
    Effect,
    Ended,
    LeftOver,
    LoadSeen,
    NginxFiles,
    Program,
    Reading,
    Run,
    Switched,
    UrlSeen,
)
from autotune.errors import BoardUnreachable

_T = TypeVar("_T")
Body = Mapping[str, Any]


def _understood(make: Callable[[Body], _T]) -> Callable[[Body], _T]:
    def read(body: Body) -> _T:
        try:
            return make(body)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise BoardUnreachable(
                f"the agent's reply can't be understood ({type(problem).__name__}: {problem})",
                hint="controller and agent are of different versions",
            ) from problem

    return read


@_understood
def facts(body: Body) -> BoardFacts:
    programs = {str(name): Program(**program) for name, program in body["programs"].items()}
    return BoardFacts(
        **{
            **body,
            "programs": programs,
            "cpus": tuple(body["cpus"]),
            "cores": tuple(tuple(core) for core in body["cores"]),
            "capacity": {int(cpu): int(one) for cpu, one in body["capacity"].items()},
        }
    )


@_understood
def clock(body: Body) -> float:
    """Seconds since the epoch."""
    seconds = body["clock_s"]
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        message = "clock_s is no number"
        raise TypeError(message)
    return float(seconds)


@_understood
def readings(body: Body) -> dict[str, Reading]:
    return {str(path): Reading(**reading) for path, reading in body["files"].items()}


@_understood
def nginx_files(body: Body) -> NginxFiles:
    return NginxFiles(
        files={path: Reading(**one) for path, one in body["nginx_files"].items()},
        names=dict(body.get("nginx_names", {})),
        problem=body["nginx_problem"],
    )


@_understood
def fetched(body: Body) -> tuple[UrlSeen, ...]:
    return tuple(UrlSeen(**url) for url in body["urls"])


@_understood
def begun(body: Body) -> Begun:
    return Begun(**{**body, "undone": tuple(body["undone"])})


@_understood
def switched(body: Body) -> Switched:
    return Switched(
        **{
            **body,
            "effects": tuple(Effect(**effect) for effect in body["effects"]),
            "foreign": tuple(body["foreign"]),
            "urls": tuple(UrlSeen(**url) for url in body["urls"]),
            "worker_pids": tuple(body["worker_pids"]),
            "timings_ms": dict(body["timings_ms"]),
        }
    )


@_understood
def checked(body: Body) -> tuple[Effect, ...]:
    return tuple(Effect(**effect) for effect in body["effects"])


@_understood
def load_seen(body: Body) -> LoadSeen:
    return LoadSeen(
        **{
            **body,
            "warmup": Run(**body["warmup"]),
            "measured": Run(**body["measured"]),
            "counters": dict(body["counters"]),
            "before": dict(body["before"]),
            "after": dict(body["after"]),
            "workers_before": tuple(body["workers_before"]),
            "workers_after": tuple(body["workers_after"]),
            "peaks": dict(body["peaks"]),
            "busiest": tuple(body["busiest"]),
            "kernel_log": None if body["kernel_log"] is None else tuple(body["kernel_log"]),
        }
    )


@_understood
def counted(body: Body) -> Counters:
    return Counters(counters=dict(body["counters"]), levels=dict(body["levels"]))


@_understood
def ended(body: Body) -> Ended:
    return Ended(restored=tuple(body["restored"]), left=_left(body["left"]))


@_understood
def status(body: Body) -> BoardStatus:
    return BoardStatus(
        held_by=body["held_by"],
        journal=body["journal"],
        begun=dict(body["begun"]),
        changed=_left(body["changed"]),
    )


_WORDS = ("cflags", "ldflags", "configure", "without")


@_understood
def builds(body: Body) -> tuple[tuple[Built, ...], str]:
    found = tuple(Built(**{**one, **{name: tuple(one[name]) for name in _WORDS}}) for one in body["builds"])
    return found, str(body["problem"])


def _left(items: list[dict[str, Any]]) -> tuple[LeftOver, ...]:
    return tuple(LeftOver(**item) for item in items)
