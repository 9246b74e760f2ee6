"""One continued night on a virtual board that loses its power and reboots: after each boot, the proof that nothing is left.

A day's deaths can be cut anywhere and gone on with: all that counts is in one folder.
"""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import virtual_board
from board_controller import STUCK_S, Controller
from board_look import Look, differences, look, same_at_each_boot
from board_plan import STAGES, BoardDeath, budget_for, deal
from board_study import NAME, write_study
from torture_checks import in_one_line
from torture_journal import Phase
from torture_log import doubled, strange, unmeasured
from torture_replay import diverged_in_a_fresh_process
from torture_state import Wrongs, keep, kept
from virtual_board import VirtualBoard

from autotune.experiment.events import Gap

_TRIES: Final = 3
_ORDER: Final = (*STAGES, "over")
# Of a controller asked to stop, whose board dies meanwhile: 4, for it can't be reached, or stopped as asked.
_STOPPED, _UNREACHABLE = 143, 4


@dataclass
class Findings(Wrongs):
    """What happened when, too."""

    kinds: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    boots_s: list[float] = field(default_factory=list)
    gone_on_s: list[float] = field(default_factory=list)
    """From a board that answers ssh again to the study's next sample."""


@dataclass
class State:
    """How far a torture has come; kept in its folder after every death. `stock`: what the board boots with."""

    power_cuts: int
    reboots: int
    seed: int
    found: Findings = field(default_factory=Findings)
    dealt_with: int = 0
    seconds: float = 0.0
    events: int = 0
    digest: str = ""
    stock: dict[str, str] = field(default_factory=dict)
    finished: bool = False

    def write(self, folder: Path) -> None:
        keep(folder, {**vars(self), "found": vars(self.found)})


def read_state(folder: Path) -> State | None:
    body = kept(folder)
    if not body:
        return None
    found = Findings(**body.pop("found"))
    for name in ("kinds", "moments", "stages"):
        setattr(found, name, Counter(getattr(found, name)))
    return State(found=found, **body)


def numbers_of(state: State) -> dict[str, Any]:
    """What a torture came to, to be printed."""
    found = state.found
    return {
        **found.numbers,
        "complaints": len(found.complaints),
        "kinds": dict(found.kinds),
        "moments": dict(found.moments),
        "stages": dict(found.stages),
        "boot_s": round(statistics.median(found.boots_s), 1) if found.boots_s else None,
        "next_sample_s": round(statistics.median(found.gone_on_s), 1) if found.gone_on_s else None,
        "seconds": round(state.seconds),
    }


class BoardNight:
    """The study, its controller and its board."""

    def __init__(self, folder: Path, state: State, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.state = state
        self.found = state.found
        self.deaths = deal(state.power_cuts, state.reboots, state.seed)
        self._say = say
        place = folder / "board"
        if (earlier := virtual_board.known(place)) is not None:
            earlier.stop()
        self.board: VirtualBoard = virtual_board.start(place)
        study = write_study(folder, self.board.address, budget_for(self.deaths), seed=state.seed)
        self.night = Controller(folder, study, self.board)
        if state.events:
            self.night.log.resume(state.events, state.digest)
        self._what = "the start"
        self._began_s = time.monotonic()

    # -- the whole --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All deaths that are left, and the undisturbed rest of the night."""
        if not self.state.stock:
            self._learn_stock()
        self.night.journal.follow()
        for death in self.deaths[self.state.dealt_with :]:
            self._what = death.text
            if not any(self._struck(death) for _ in range(_TRIES)):
                self._complain("it could not be had")
            self.state.dealt_with = death.number
            self._save()
        self._what = "the end"
        self._complete()
        self.state.finished = True
        self._save()

    def tear_down(self) -> None:
        """Nothing of it lives any more."""
        self.night.end()
        (virtual_board.known(self.folder / "board") or self.board).stop()

    def _learn_stock(self) -> None:
        """What two boots have in common, with no night before them."""
        first = look(self.board)
        self.board.reset()
        self.state.stock = same_at_each_boot(first, look(self.board))
        self._say(f"the board boots with {len(self.state.stock)} values that are the same each time")

    def _save(self) -> None:
        self.night.log.refresh()
        self.state.events, self.state.digest = len(self.night.log.events), self.night.log.digest
        self.state.seconds += round(time.monotonic() - self._began_s, 1)
        self._began_s = time.monotonic()
        self.state.write(self.folder)

    # -- one death ------------------------------------------------------------------------------------------------------------

    def _struck(self, death: BoardDeath) -> bool:
        """Waits for the death's moment, strikes, and looks at what became of it. False: the moment never came."""
        if not self._reach(death):
            return False
        if death.moment == "restore":
            self.night.signal(signal.SIGTERM)
            self.night.pump_for(0.3)
            self.night.signal(signal.SIGTERM)
            self.night.pump_for(death.delay * 1.5)
        if not self.night.runs and death.moment != "restore":
            return False
        phase = self.night.journal.story.phase
        held = death.held and not death.with_controller and death.moment != "restore"
        if death.with_controller:
            self.night.signal(signal.SIGKILL)
        elif held:
            self.night.signal(signal.SIGSTOP)
        samples = self.night.samples
        self._die(death)
        self.found.deaths += 1
        self.found.kinds[death.kind] += 1
        self.found.moments[f"{death.moment} ({phase.value})"] += 1
        self.found.stages[self.night.log.stage] += 1
        self._after(death, held=held, samples=samples)
        wrong = len(self.found.differences) + len(self.found.lost) + len(self.found.doubled)
        self._say(
            f"{death.text}, {phase.value}: {self.night.log.stage}, {self.night.log.samples} samples; {wrong} wrong,"
            f" {len(self.found.complaints)} complaints"
        )
        return True

    def _reach(self, death: BoardDeath) -> bool:
        """The night in the death's stage, so many samples further, and in its moment."""
        wanted = 0
        while True:
            self.night.log.refresh()
            if self.night.log.stage == "over":
                return False
            if not wanted and _ORDER.index(self.night.log.stage) >= _ORDER.index(death.stage):
                wanted = self.night.log.samples + death.samples + 1
            if wanted and self.night.log.samples >= wanted - 1:
                break
            self._keep_running()
            self.night.journal.pump(0.2)
        if death.moment == "begin":
            self._stop()
            self.night.start()
            if not self.night.pump_while(lambda: not self.night.journal.story.begun):
                return False
            self.night.pump_for(death.delay * 4, unless=lambda: self.night.journal.story.loads > 0)
            return True
        self._keep_running()
        phase = Phase.SWITCH if death.moment == "switch" else Phase.LOAD
        if not self.night.meets(phase):
            return False
        lasts_s = self.night.journal.switch_s if phase is Phase.SWITCH else 2.0
        self.night.pump_for(death.delay * 0.9 * lasts_s, unless=lambda: not self.night.is_in(phase))
        return True

    def _keep_running(self) -> None:
        if self.night.runs:
            return
        if self.night.process is not None:
            code = self.night.process.poll()
            self._complain(f"the controller ended by itself with {code}: {self.night.last_words}")
        self.night.start()

    def _die(self, death: BoardDeath) -> None:
        """The death, and the boot after it."""
        began = time.monotonic()
        self.night.journal.close()
        if death.kind == "power cut":
            self.board = self.board.power_cut()
        elif death.kind == "reset":
            self.board.reset()
        else:
            self.board.reboot()
        self.found.boots_s.append(round(time.monotonic() - began, 1))
        self.night.journal.board = self.board

    # -- what must hold then ------------------------------------------------------------------------------------------------------

    def _after(self, death: BoardDeath, *, held: bool, samples: int) -> None:
        """The boot is stock, what was left goes with the next begin, and that is said; the study has gone on."""
        up = time.monotonic()
        ends = death.with_controller or death.moment == "restore"
        if ends:
            self._ended(death)
        seen = look(self.board)
        if held or ends:
            self._wrong(differences(seen, self.state.stock))
        if death.restored:
            self._restore()
        self.night.journal.follow()
        if held:
            self.night.signal(signal.SIGCONT)
        if not self.night.runs:
            self.night.start()
        if self.night.pump_while(lambda: self.night.samples <= samples) or self.night.log.stage == "over":
            self.found.gone_on_s.append(round(time.monotonic() - up, 1))
        else:
            self._complain(f"the study does not go on: {self.night.last_words}")
        if not death.restored:
            self._said_so(seen)
        self._check_journal()
        self._check_log(look(self.board))

    def _ended(self, death: BoardDeath) -> None:
        code = self.night.wait()
        if code is None:
            self._complain(f"the controller does not end: {self.night.last_words}")
        elif not death.with_controller and code not in (_STOPPED, _UNREACHABLE):
            self._complain(
                f"asked to stop while its board died, it ended with {code}: {self.night.last_words}"
            )
        self.night.forget()

    def _restore(self) -> None:
        """Without the database, from anywhere: what the dead night has left on the disk goes."""
        done = self.night.call("restore", self.board.address)
        if done.returncode:
            self._complain(f"`autotune restore` ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        self._as_it_boots()

    def _said_so(self, seen: Look) -> None:
        """A controller that found something left has said so."""
        for path in () if seen.left else seen.kept:  # beside a living agent it is the living night's own
            said = f"put back what a dead tuner had left: {path}" in self.night.said
            if not said and self.board.ssh("test", "-e", path).returncode == 1:
                self._complain(f"{path} was left there, is gone, and nobody said so")

    def _check_journal(self) -> None:
        """Originals that journals of this boot captured are what it boots with."""
        self.night.journal.pump()
        stock = self.state.stock
        wrong = [
            f"{path} was journaled as {was!r}, boots with {stock[path]!r}"
            for path, was in self.night.journal.originals.items()
            if path in stock and in_one_line(stock[path].encode()) != was
        ]
        self._wrong([*wrong, *self.night.journal.problems])
        self.night.journal.problems.clear()

    def _knows(self, boot: str) -> bool:
        self.night.log.refresh()
        return any(isinstance(one, Gap) and one.boot == boot for one in self.night.log.events)

    def _check_log(self, seen: Look) -> None:
        if len(seen.kept) > 1:
            self._wrong([f"{path} is left beside the night's own" for path in seen.kept])
        lost = len(self.night.log.lost)
        self.night.log.check_prefix()
        self.found.lost += self.night.log.lost[lost:]
        self.found.doubled += [one for one in doubled(self.night.log.events) if one not in self.found.doubled]
        self.found.complaints += [
            one for one in strange(self.night.log.events, complete=False) if one not in self.found.complaints
        ]
        # A shutdown lets samples in hand end, so the study may be further before its night is back.
        self.night.pump_while(lambda: not self._knows(seen.boot))
        if not self._knows(seen.boot):
            self._complain(f"the log knows nothing of boot {seen.boot}")

    def _stop(self) -> None:
        """SIGTERM, and a board that is as it boots."""
        code = self.night.stop()
        if code not in (_STOPPED, 0, None):
            self._complain(f"after SIGTERM the controller ended with {code}: {self.night.last_words}")
        self._as_it_boots()

    def _as_it_boots(self) -> None:
        """In memory and on the disk."""
        seen = look(self.board)
        self._wrong([*differences(seen, self.state.stock), *(f"{one} is left" for one in seen.kept)])

    def _complete(self) -> None:
        self._say("no more deaths: the night goes on to its end")
        self.night.log.refresh()
        if self.night.log.stage != "over" or self.night.runs:
            if not self.night.runs:
                self.night.start()
            code = self.night.wait(4 * STUCK_S + 20 * len(self.deaths))
            if code != 0:
                self._complain(f"the undisturbed rest ended with {code}: {self.night.last_words}")
            self.night.forget()
        self._as_it_boots()
        self.night.log.refresh()
        self.night.log.check_prefix()
        self.found.lost += [*self.night.log.lost, *unmeasured(self.night.log.events)]
        self.found.doubled += [one for one in doubled(self.night.log.events) if one not in self.found.doubled]
        self.found.complaints += strange(self.night.log.events, complete=True)
        compared = self.night.call("compare", NAME, "--json")
        if compared.returncode or not json.loads(compared.stdout)["pairs"]:
            self._complain(f"there is no comparison: {compared.stderr.strip()[-300:]}")
        self.night.log.write(self.folder / "study.json", self.folder / "log.jsonl")
        self.found.diverged += diverged_in_a_fresh_process(
            self.folder / "study.json", self.folder / "log.jsonl"
        )

    def _wrong(self, texts: Sequence[str]) -> None:
        self.found.differences += [f"{self._what}: {one}" for one in texts]
        for one in texts:
            self._say(f"WRONG after {self._what}: {one}")

    def _complain(self, text: str) -> None:
        self.found.complaints.append(f"{self._what}: {text}")
        self._say(f"complaint after {self._what}: {text}")
