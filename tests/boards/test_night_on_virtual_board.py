"""A night on a virtual Rock 5B+ that reboots, loses its power and is heated: as a user runs it, over ssh, with real nginx and wrk.

Only with `scripts/test --boards`. Each test boots a board or goes on from its booted snapshot.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import virtual_board
from board_controller import Controller
from board_look import differences, look, same_at_each_boot
from board_study import write_study
from torture_journal import Phase
from torture_log import doubled
from virtual_board import VirtualBoard

from autotune.experiment.events import Event, Failure, Gap, NightBegun, Sample, Void

pytestmark = pytest.mark.boards

LIMIT = "/sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq"
HIGHEST_KHZ = "2400000"


@dataclass
class Scene:
    """A board and the tuner of one study on it."""

    board: VirtualBoard
    night: Controller

    def wait_for(self, what: Callable[[list[Event]], bool], within_s: float = 400) -> list[Event]:
        """The log once it is so; the night must still run."""
        until = time.monotonic() + within_s
        while not what(self.events):
            assert self.night.runs, self.night.said[-2000:]
            assert time.monotonic() < until, self.night.said[-2000:]
            self.night.journal.pump(0.2)
        return self.night.log.events

    @property
    def events(self) -> list[Event]:
        self.night.log.refresh()
        return self.night.log.events

    def limit(self) -> str:
        return self.board.ssh("cat", LIMIT).stdout.strip()

    def throttled(self, *, within_s: float = 60) -> str:
        """The limit once the kernel has lowered it."""
        until = time.monotonic() + within_s
        while (khz := self.limit()) == HIGHEST_KHZ:
            assert time.monotonic() < until, "nothing is throttled"
            time.sleep(0.5)
        return khz

    def at_its_highest(self, *, within_s: float = 60) -> None:
        until = time.monotonic() + within_s
        while self.limit() != HIGHEST_KHZ:
            assert time.monotonic() < until, f"cool again, {self.limit()} is left"
            time.sleep(0.5)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    if why := virtual_board.why_no_board():
        pytest.skip(why)
    board = virtual_board.start(tmp_path / "board")
    night = Controller(tmp_path, write_study(tmp_path, board.address), board)
    try:
        yield Scene(board, night)
    finally:
        night.end()
        (virtual_board.known(tmp_path / "board") or board).stop()


def test_a_night_goes_on_after_its_board_has_rebooted(scene: Scene) -> None:
    """A reset under load, and later a power cut that takes the laptop along, which then finds a board of another boot."""
    fresh = look(scene.board)
    scene.night.journal.follow()
    scene.night.start()
    scene.wait_for(lambda log: bool(samples(log)))
    assert scene.night.meets(Phase.LOAD)
    scene.board.reset()
    first = look(scene.board)
    stock = same_at_each_boot(fresh, first)
    scene.wait_for(lambda log: any(isinstance(one, Gap) and one.boot == first.boot for one in log))
    scene.night.journal.follow()
    seen = len(samples(scene.events))
    scene.wait_for(lambda log: len(samples(log)) > seen)
    assert "the board has rebooted" in scene.night.said

    assert scene.night.meets(Phase.SWITCH)
    scene.night.signal(signal.SIGKILL)
    scene.board = scene.board.power_cut()
    second = look(scene.board)
    assert differences(second, stock) == []
    scene.night.start()
    scene.wait_for(lambda log: any(isinstance(one, Gap) and one.boot == second.boot for one in log))
    for left in second.kept:
        assert f"put back what a dead tuner had left: {left}" in scene.night.said
    seen = len(samples(scene.events))
    scene.wait_for(lambda log: len(samples(log)) > seen)
    assert scene.night.stop() == 143
    log = scene.events
    assert doubled(log) == []
    assert any("after a reboot of the board" in one.reason for one in log if isinstance(one, Void))
    last = look(scene.board)
    assert differences(last, stock) == []
    assert last.kept == ()


def test_heat_in_a_night_is_seen_waited_for_and_never_taken_for_the_boards_own(
    scene: Scene, tmp_path: Path
) -> None:
    """A limit lowered by heat is left out in the evening; a sample that is heated doesn't count; the next one waits."""
    space = tmp_path / "space.toml"
    more = f'[parameter."cpufreq:policy4.max_freq"]\nvalues = ["1800000", "{HIGHEST_KHZ}"]\nwhy = "a test"\n'
    space.write_text(space.read_text() + more)
    study = tmp_path / "board.toml"  # runs long enough to be heated in their middle
    study.write_text(study.read_text().replace('duration = "1s"', 'duration = "10s"'))
    scene.board.ssh("echo performance > /sys/devices/system/cpu/cpufreq/policy4/scaling_governor")
    scene.board.heat("bigcore0", 94)
    assert int(scene.throttled()) < int(HIGHEST_KHZ)
    scene.night.journal.follow()
    scene.night.start()
    (begun,) = [one for one in scene.wait_for(lambda log: bool(nights(log))) if isinstance(one, NightBegun)]
    reasons = {one.id: one.reason for one in begun.dropped}
    assert "slowed down by heat" in reasons["cpufreq:policy4.max_freq"]
    scene.board.heat("bigcore0", 40)
    scene.at_its_highest()

    scene.wait_for(lambda log: len(samples(log)) >= 5)  # where tonight's runs begin from is known
    assert scene.night.meets(Phase.LOAD)
    scene.board.heat("bigcore0", 94)
    heated = scene.wait_for(lambda log: any(is_throttled(one) for one in log))
    scene.throttled()
    seen = len(samples(heated))
    scene.night.journal.pump(5)
    assert len(samples(scene.events)) <= seen + 1, "too warm, and measured all the same"
    scene.board.heat("bigcore0", 40)
    log = scene.wait_for(lambda log: len(samples(log)) > seen + 1)
    after = log[[is_throttled(one) for one in log].index(True) :]
    waited = [
        gate.detail
        for one in after
        if isinstance(one, (Sample, Failure))
        for gate in one.gates
        if gate.name == "not cooled down" and gate.detail.startswith("waited")
    ]
    assert waited, "no sample waited for the board to cool down"
    assert scene.night.stop() == 143
    assert LIMIT not in scene.night.journal.originals
    assert scene.limit() == HIGHEST_KHZ


def samples(log: list[Event]) -> list[Sample]:
    return [one for one in log if isinstance(one, Sample)]


def nights(log: list[Event]) -> list[NightBegun]:
    return [one for one in log if isinstance(one, NightBegun)]


def is_throttled(event: Event) -> bool:
    return isinstance(event, Failure) and event.gate in ("throttled by cooling", "highest clock lowered")
