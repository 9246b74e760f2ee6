"""The same switch on a board over ssh and on this machine, in pairs, in the lab."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lab
import weather
from switch_board import Prepared, prepared, switch_ms
from switch_values import PARAMETERS, VALUES

from autotune.errors import NotPermitted
from autotune.experiment.study import Study
from autotune.measurement.intervals import Interval, sign_interval

_ROUND_TRIPS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A switch here and the same one over ssh, in milliseconds; `trip_ms` is the round trip on that connection then."""

    local_ms: float
    ssh_ms: float
    trip_ms: float

    @property
    def ratio(self) -> float:
        """How many local switches the one over ssh took, its one round trip taken off."""
        return (self.ssh_ms - self.trip_ms) / self.local_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSwitches:
    """`afresh_ms`: a new connection and a word back over it, which a night tries after each switch."""

    parameters: int
    pairs: tuple[Pair, ...]
    afresh_ms: float

    @property
    def ratio(self) -> Interval:
        """The median of the pairs' ratios, with its exact 95 % interval."""
        found = sign_interval([math.log(max(pair.ratio, 1e-3)) for pair in self.pairs])
        return Interval(
            center=math.exp(found.center),
            low=math.exp(found.low),
            high=math.exp(found.high),
            n=found.n,
            p=found.p,
        )


def measure_lab(pairs: int, study: Study, *, late_s: float) -> LabSwitches:
    """The controller sits on the lab's client, as does the agent of the local switches; the other one is the board's.

    `late_s`: so much later does each packet between the two arrive, either way.
    """
    if why := lab.why_no_lab():
        raise NotPermitted(f"no lab to be had: {why}", hint="scripts/lab --help says what it needs")
    far = study.model_copy(update={"board": lab.ADDRESS})
    with tempfile.TemporaryDirectory(prefix="bench-switch-", ignore_cleanup_errors=True) as place:
        directory = Path(place, "lab")
        directory.mkdir(mode=0o700)
        with (
            lab.a_lab(directory) as made,
            _late(made, late_s),
            prepared(made.on_client, study, VALUES, PARAMETERS) as here,
            prepared(made.on_client, far, VALUES, PARAMETERS) as there,
        ):
            found = [_pair(here, there, turn) for turn in range(pairs + 1)]
            return LabSwitches(
                parameters=min(len(here.sides[0]), len(there.sides[0])),
                pairs=tuple(found[1:]),  # the first pair starts both servers
                afresh_ms=statistics.median(_afresh_ms(there) for _ in range(_ROUND_TRIPS)),
            )


@contextmanager
def _late(made: lab.Lab, late_s: float) -> Iterator[None]:
    if not late_s:
        yield
        return
    made_by = weather.weather_of(made)
    if made_by is None:
        raise NotPermitted("no packet can be made late: no netem and no TAP devices")
    try:
        made_by.become(weather.Forecast(delay_s=late_s))
        yield
    finally:
        made_by.close()


def _pair(here: Prepared, there: Prepared, turn: int) -> Pair:
    """The order within a pair alternates, so that neither always runs in the other's wake."""
    side = turn % 2
    if turn % 4 < 2:
        local_ms, ssh_ms = switch_ms(here, side, turn), switch_ms(there, side, turn)
    else:
        ssh_ms, local_ms = switch_ms(there, side, turn), switch_ms(here, side, turn)
    trip_ms = statistics.median(_trip_ms(there) for _ in range(_ROUND_TRIPS))
    return Pair(local_ms=local_ms, ssh_ms=ssh_ms, trip_ms=trip_ms)


def _trip_ms(board: Prepared) -> float:
    began = time.perf_counter()
    board.connection.keepalive()
    return 1_000 * (time.perf_counter() - began)


def _afresh_ms(board: Prepared) -> float:
    began = time.perf_counter()
    board.connection.answers_afresh()
    return 1_000 * (time.perf_counter() - began)
