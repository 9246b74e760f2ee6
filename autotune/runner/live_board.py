"""A machine as the board of a night."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from autotune.board.address import SshBoard, read_address
from autotune.board.connection import connect
from autotune.board.fitness import tonight
from autotune.board.placement import doubts_for
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Event, NightBegun
from autotune.experiment.study import Study
from autotune.runner import own_live
from autotune.runner.beginning import Offer, night_begun, stock_changes
from autotune.runner.builds import prepare_builds
from autotune.runner.clocks import WallClock
from autotune.runner.fitness import CoolDown
from autotune.runner.line import line_mbit_per_s
from autotune.runner.live_bench import LiveBench
from autotune.runner.load_needs import describe_load, night_needs
from autotune.runner.lost_lines import LostLines
from autotune.runner.night_board import Beginning, StockChanged
from autotune.runner.preflight import consent, describe, require, self_test
from autotune.runner.session import Held


class LiveBoard:
    """The machine that a study names."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.clock = WallClock()
        self._lost = LostLines()

    @property
    def is_far(self) -> bool:
        return isinstance(read_address(self._study.board), SshBoard) or not self._study.load_is_on_board

    def prepare(self, say: Callable[[str], None]) -> tuple[Doubt, ...]:
        say("self-test: does the board restore itself when its agent dies?")
        doubt = self_test(self._study)
        with connect(self._study.board) as connection:
            prepare_builds(connection, self._study, say)
        return () if doubt is None else (doubt,)

    def take(self, night: int) -> LiveHold:
        return LiveHold(Held.take(self._study, night), self.clock, self._lost)


class LiveHold:
    """A held machine, and the bench on it."""

    def __init__(self, held: Held, clock: WallClock, lost: LostLines) -> None:
        self._held = held
        self._clock = clock
        self._lost = lost
        self._bench: LiveBench | None = None
        self._cooling = CoolDown(held.study.fitness, lambda: held.connection.counters().levels)

    @property
    def undone(self) -> tuple[str, ...]:
        return self._held.begun.undone

    @property
    def boot(self) -> str:
        return self._held.connection.facts.boot_id

    def begin(self, beginning: Beginning) -> NightBegun:
        held = self._held
        doubts = require(night_needs(held.connection, held.study, held.load_host, held.way))
        self._bench = _ready(held)
        return night_begun(held.study, offer_of(held, doubts), beginning, self._clock.at)

    def go_on(self, begun: NightBegun) -> None:
        if changes := stock_changes(begun, self._held.discovery.stock):
            raise StockChanged(changes)
        require(consent(self._held.study))  # it may be another sitting, which would measure on without watts
        self._bench = _ready(self._held)

    def wait_s(self, order: Measure, log: Sequence[Event]) -> float:
        return self._cooling.wait_s(order.key, tonight(log, order.key))

    def measure(self, order: Measure) -> Outcome:
        if self._bench is None:
            message = "a hold measures once its night has begun or goes on"
            raise AssertionError(message)
        bench, start = self._bench, self._cooling.start
        return self._lost.measured(order, lambda: bench.measure(order, start))

    def keepalive(self) -> None:
        self._held.keepalive()

    def give_back(self) -> tuple[str, ...]:
        return self._held.give_back().restored


def _ready(held: Held) -> LiveBench:
    bench = LiveBench(held)
    bench.learn_truth()
    return bench


def offer_of(held: Held, doubts: tuple[Doubt, ...] = ()) -> Offer:
    """What a held board has to give. Writes every usable kernel key back with its own value.

    `doubts`: those that come before the board's own.
    """
    study, discovery, facts = held.study, held.discovery, held.connection.facts
    unwritable = _unwritable(held)
    return Offer(
        stock=discovery.stock,
        missing={**discovery.missing, **unwritable},
        choices=discovery.choices,
        facts=held.facts,
        refusal=lambda id_, value: unwritable.get(id_) or discovery.value_reason(id_, value),
        board={**describe(facts), **describe_load(held.load_host, held.way)},
        line_mbit_per_s=line_mbit_per_s(held.connection, held.interface),
        doubts=(*doubts, *doubts_for(facts, study), *own_live.doubts_of(study, held.live)),
    )


def _unwritable(held: Held) -> dict[str, str]:
    """Keys that don't come back as they were when their own value is written."""
    by_path: Mapping[str, str] = held.discovery.kernel_paths
    effects = held.connection.check(tuple(by_path))
    return {
        by_path[effect.path]: f"its own value can't be written back: {effect.error or effect.effective}"
        for effect in effects
        if effect.error or effect.effective != effect.requested
    }
