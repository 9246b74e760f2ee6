"""What a network line carries at most, and whether that, and not the server, is what a load runs into.

Over a full line every configuration serves as much: then the objective is the server's CPU time for a request.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.experiment.events import Doubt, Measurement, Stage
from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook

FULL_FROM = 0.95
"""From this share of the bound on a line counts as full: the last percents are the odd retransmission and the clock."""
_FRAME_PAYLOAD = 1500
_IP_AND_TCP = 20 + 32
"""Bytes of IPv4 and TCP headers in every packet; TCP's with timestamps (RFC 7323), as Linux sends them."""
_FRAME = 8 + 14 + 4 + 12
"""Bytes of preamble, Ethernet header, checksum and gap around every packet (IEEE 802.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullLine:
    """A workload whose requests/s on stock are what the line carries at most."""

    workload: str
    requests_per_s: float
    bound: float


def wire_bytes(answer_bytes: float) -> float:
    """What an answer (status line, headers, body) takes of an Ethernet line, in full packets."""
    packets = math.ceil(answer_bytes / (_FRAME_PAYLOAD - _IP_AND_TCP))
    return answer_bytes + packets * (_IP_AND_TCP + _FRAME)


def bound_requests_per_s(line_mbit_per_s: float, answer_bytes: float) -> float:
    """The answers of this size that such a line carries in a second. (Requests go the other way.)"""
    return line_mbit_per_s * 1e6 / 8 / wire_bytes(answer_bytes)


def full_lines(study: Study, book: Logbook, night: int) -> tuple[FullLine, ...]:
    """The workloads that filled the line in this night's calibration; () over loopback."""
    speed = book.begun[night].line_mbit_per_s
    if speed is None:
        return ()
    samples = [slot.sample for slot in book.of_stage(night, Stage.CALIBRATION) if slot.sample is not None]
    found = []
    for workload in study.workloads:
        runs = [one.measurements[workload.name] for one in samples if workload.name in one.measurements]
        full = _full_line(workload.name, speed, runs)
        if full is not None:
            found.append(full)
    return tuple(found)


def line_doubts(study: Study, book: Logbook, night: int) -> tuple[Doubt, ...]:
    """That the line is full, where the study maximises what is served over it."""
    if study.objective.metric != "requests_per_s":
        return ()
    return tuple(
        Doubt(
            code="line-bound",
            text=f"{one.workload}: the network line is full ({one.requests_per_s:,.0f} of at most {one.bound:,.0f}"
            " requests/s), so every configuration serves as much",
            next='Say metric = "requests_per_server_cpu_s" under [objective]: CPU time for a request still differs',
        )
        for one in full_lines(study, book, night)
    )


def _full_line(workload: str, line_mbit_per_s: float, runs: Sequence[Measurement]) -> FullLine | None:
    sizes = [run.bytes / run.requests for run in runs if run.requests]
    if not sizes:
        return None
    bound = bound_requests_per_s(line_mbit_per_s, statistics.median(sizes))
    served = statistics.median(run.requests_per_s for run in runs)
    if served < FULL_FROM * bound:
        return None
    return FullLine(workload=workload, requests_per_s=served, bound=bound)
