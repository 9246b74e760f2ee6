"""A board made of numbers as the board of a night: nothing of this machine is touched, and time passes as it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Doubt, Event, Failure, NightBegun, Sample
from autotune.experiment.study import Study
from autotune.runner.beginning import Offer, night_begun, stock_changes
from autotune.runner.clocks import clock_for_synthetic
from autotune.runner.night_board import Beginning, StockChanged
from autotune.runner.session import settings_of
from autotune.synthetic.bench import SyntheticBench
from autotune.synthetic.boards import SyntheticBoard, synthetic_board
from autotune.synthetic.clock import VirtualClock


class SyntheticNightBoard:
    """The synthetic board that a study names, as the study's log leaves it. Raises BoardUnfit when there is none."""

    def __init__(self, study: Study, log: Sequence[Event]) -> None:
        self._study = study
        self._board = synthetic_board(study.board)
        self._log = log  # as it grows: a board given back in the middle of a night is as warm as that left it
        self.clock = clock_for_synthetic(log)

    def prepare(self, say: Callable[[str], None]) -> tuple[Doubt, ...]:
        say(f"{self._study.board}: {self._board.title}")
        return ()

    @property
    def is_far(self) -> bool:
        return False

    def take(self, night: int) -> SyntheticHold:
        last = next((event for event in reversed(self._log) if isinstance(event, (Sample, Failure))), None)
        mine = last is not None and last.key.night == night
        return SyntheticHold(self._board, self._study, self.clock, last if mine else None)


class SyntheticHold:
    """The synthetic board in use. `last`: the latest sample or failure of a night that goes on; the board is as warm as that left it."""

    def __init__(
        self, board: SyntheticBoard, study: Study, clock: VirtualClock, last: Sample | Failure | None
    ) -> None:
        self._board = board
        self._study = study
        self._clock = clock
        self._last = last
        self._bench: SyntheticBench | None = None

    @property
    def undone(self) -> tuple[str, ...]:
        return ()

    @property
    def boot(self) -> str:
        return ""

    def begin(self, beginning: Beginning) -> NightBegun:
        begun = night_begun(self._study, offer_of(self._board, self._study), beginning, self._clock.at)
        self._bench = self._ready(begun)
        return begun

    def go_on(self, begun: NightBegun) -> None:
        """As with a machine, the stock may be another: a newer program can have changed its board."""
        if changes := stock_changes(begun, self._board.stock_of(self._study)):
            raise StockChanged(changes)
        self._bench = self._ready(begun)

    def measure(self, order: Measure) -> Outcome:
        if self._bench is None:
            message = "a hold measures once its night has begun or goes on"
            raise AssertionError(message)
        return self._bench.measure(order)

    def wait_s(self, order: Measure, log: Sequence[Event]) -> float:
        """A board made of numbers cools down within its own sample."""
        del order, log
        return 0.0

    def keepalive(self) -> None:
        return

    def give_back(self) -> tuple[str, ...]:
        return ()

    def _ready(self, begun: NightBegun) -> SyntheticBench:
        return SyntheticBench(
            self._board, self._study, begun, self._clock, seed=self._study.seed, last=self._last
        )


def offer_of(board: SyntheticBoard, study: Study) -> Offer:
    """What a synthetic board has to give."""
    lacking = {setting.id: board.lacking(setting.id, study) for setting in settings_of(study)}
    return Offer(
        stock=board.stock_of(study),
        missing={id_: reason for id_, reason in lacking.items() if reason},
        choices=board.offered,
        facts=board.facts(study),
        refusal=lambda id_, value: board.refusal(id_, value, study),
        board=board.description,
        doubts=board.doubts,
    )
