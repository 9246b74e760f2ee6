"""Configurations of the imagined Rock 5B+ that fail, each at the place where a real one would be noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autotune.space.value import Value
from autotune.synthetic.effects import Page, Values

FailureStage = Literal["read-back", "nginx", "canary", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Where a configuration fails, and what is said then. `gate`: the one it failed under load."""

    stage: FailureStage
    reason: str
    gate: str = ""


def rock5b_failing(values: Values, pages: Sequence[Page]) -> Failing | None:
    """The first thing that goes wrong with these values in force; None: nothing does."""
    for policy in ("policy0", "policy4", "policy6"):
        wanted = values.get(f"cpufreq:{policy}.ondemand.sampling_rate", "unset")
        if values.get(f"cpufreq:{policy}.governor") == "ondemand" and _number(wanted, 40_000) < 22_000:
            reason = f"cpufreq:{policy}.ondemand.sampling_rate: wanted {wanted}, the kernel kept 40000"
            return Failing(stage="read-back", reason=reason)
    if values.get("nginx:build") == "o2" and values.get("nginx:aio") == "threads":
        return Failing(
            stage="nginx",
            reason='nginx: [emerg] "aio threads" is unsupported on this platform in nginx.conf:31',
        )
    if (
        values.get("nginx:postpone_output") == 16384
        and values.get("nginx:tcp_nodelay") is False
        and values.get("sysctl:net.ipv4.tcp_autocorking") is True
    ):
        return Failing(stage="canary", reason="/: no complete answer within 5 s")
    polling = _number(values.get("sysctl:net.core.busy_poll", 0), 0)
    if values.get("net:nic.threaded") is True and polling > 90:
        return _errors("load died", "88 of 100 connections were held half-way through the run")
    if (
        values.get("nginx:listen.reuseport") is True
        and _number(values.get("nginx:worker_connections", 0), 0) < 640
    ):
        return _errors("errors under load", "37 read errors in 121604 requests (limit 0)")
    if any(page.is_php for page in pages):
        return _php_failing(values)
    return None


def _php_failing(values: Values) -> Failing | None:
    children = _number(values.get("fpm:max_children", 5), 5)
    if _number(values.get("fpm:listen.backlog", 511), 511) < 192 and children < 8:
        return _errors("unexpected status", "412 of 21877 answers had status 400 or above (limit 0)")
    if values.get("fpm:pm") == "ondemand" and values.get("fpm:max_requests") == 500:
        return _errors("unexpected status", "9 of 19204 answers had status 400 or above (limit 0)")
    return None


def _errors(gate: str, said: str) -> Failing:
    return Failing(stage="load", reason=f"{gate}: {said}", gate=gate)


def _number(value: Value, otherwise: float) -> float:
    return value if isinstance(value, (int, float)) else otherwise
