"""One continued night on a virtual board that loses its power and reboots: after each boot, the proof that nothing is left.

A day's deaths can be cut anywhere and gone on with: all that counts is in one folder.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import virtual_board
from board_journal import BoardJournal
from board_look import Look, differences, look, same_at_each_boot
from board_plan import STAGES, BoardDeath, budget_for, deal
from board_study import NAME, write_study
from torture_checks import in_one_line
from torture_journal import Phase
from torture_log import NightLog, doubled, strange, unmeasured
from torture_replay import diverged_in_a_fresh_process
from virtual_board import VirtualBoard

from autotune.experiment.events import Gap

ROOT: Final = Path(__file__).resolve().parents[2]
_STATE: Final = "state.json"
_STUCK_S: Final = 420.0
_TRIES: Final = 3
_ORDER: Final = (*STAGES, "over")
# Of a controller asked to stop, whose board dies meanwhile: 4, for it can't be reached, or stopped as asked.
_STOPPED, _UNREACHABLE = 143, 4


@dataclass
class Findings:
    """Everything that was wrong, in words, and what happened when."""

    differences: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    boots_s: list[float] = field(default_factory=list)
    gone_on_s: list[float] = field(default_factory=list)
    """From a board that answers ssh again to the study's next sample."""
    deaths: int = 0


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
        fresh = folder / (_STATE + ".new")
        fresh.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        fresh.replace(folder / _STATE)


def read_state(folder: Path) -> State | None:
    try:
        body: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    found = Findings(**body.pop("found"))
    for name in ("kinds", "moments", "stages"):
        setattr(found, name, Counter(getattr(found, name)))
    return State(found=found, **body)


def numbers_of(state: State) -> dict[str, Any]:
    """What a torture came to, to be printed."""
    found = state.found
    return {
        "deaths": found.deaths,
        "differences": len(found.differences),
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "diverged": len(found.diverged),
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
        self._study = write_study(folder, self.board.address, budget_for(self.deaths), seed=state.seed)
        self._log = NightLog(folder / f"{NAME}.db")
        if state.events:
            self._log.resume(state.events, state.digest)
        self._journal = BoardJournal(self.board)
        self._night: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._what = "the start"
        self._began_s = time.monotonic()

    # -- the whole --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All deaths that are left, and the undisturbed rest of the night."""
        if not self.state.stock:
            self._learn_stock()
        self._journal.follow()
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
        self._journal.close()
        if self._night is not None and self._night.poll() is None:
            self._night.send_signal(signal.SIGCONT)
            self._night.kill()
            self._night.wait()
        self._forget()
        (virtual_board.known(self.folder / "board") or self.board).stop()

    def _learn_stock(self) -> None:
        """What two boots have in common, with no night before them."""
        first = look(self.board)
        self.board.reset()
        self.state.stock = same_at_each_boot(first, look(self.board))
        self._say(f"the board boots with {len(self.state.stock)} values that are the same each time")

    def _save(self) -> None:
        self._log.refresh()
        self.state.events, self.state.digest = len(self._log.events), self._log.digest
        self.state.seconds += round(time.monotonic() - self._began_s, 1)
        self._began_s = time.monotonic()
        self.state.write(self.folder)

    # -- the controller -----------------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self._night is not None and self._night.poll() is None

    def _start(self) -> None:
        self._forget()
        self._journal.forget_loads()
        self._said = (self.folder / "said.txt").open("ab")
        self._night = subprocess.Popen(
            (sys.executable, "-m", "autotune", "run", str(self._study)),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env=self._environment,
            cwd=ROOT,
            start_new_session=True,
        )

    @property
    def _environment(self) -> dict[str, str]:
        storage = f"sqlite:///{self.folder}/{NAME}.db"
        return {**self.board.environment, "AUTOTUNE_STORAGE": storage, "PYTHONPATH": str(ROOT)}

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, "-m", "autotune", *arguments),
            capture_output=True,
            text=True,
            timeout=300,
            env=self._environment,
            cwd=ROOT,
            check=False,
        )

    def _forget(self) -> None:
        self._night = None
        if self._said is not None:
            self._said.close()
            self._said = None

    def _wait(self, seconds: float) -> int | None:
        """The controller's exit code; None when it still runs after so long."""
        until = time.monotonic() + seconds
        while self._runs and time.monotonic() < until:
            self._journal.pump(0.1)
        return None if self._night is None else self._night.poll()

    def _last_words(self) -> str:
        file = self.folder / "said.txt"
        text = file.read_text(errors="replace") if file.exists() else ""
        return " / ".join(text.strip().splitlines()[-4:])[-600:]

    def _pump_while(self, what: Callable[[], bool], within_s: float = _STUCK_S) -> bool:
        """Whether it came to its end, with the controller still running."""
        until = time.monotonic() + within_s
        while what():
            if not self._runs or time.monotonic() >= until:
                return False
            self._journal.pump(0.05)
        return self._runs

    # -- one death ------------------------------------------------------------------------------------------------------------

    def _struck(self, death: BoardDeath) -> bool:
        """Waits for the death's moment, strikes, and looks at what became of it. False: the moment never came."""
        if not self._reach(death):
            return False
        if death.moment == "restore":
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGTERM, after_s=0.3)
            self._pump_for(death.delay * 1.5)
        if not self._runs and death.moment != "restore":
            return False
        phase = self._journal.story.phase
        held = death.held and not death.with_controller and death.moment != "restore"
        if death.with_controller:
            self._signal(signal.SIGKILL)
        elif held:
            self._signal(signal.SIGSTOP)
        samples = self._count_samples()
        self._die(death)
        self.found.deaths += 1
        self.found.kinds[death.kind] += 1
        self.found.moments[f"{death.moment} ({phase.value})"] += 1
        self.found.stages[self._log.stage] += 1
        self._after(death, held=held, samples=samples)
        wrong = len(self.found.differences) + len(self.found.lost) + len(self.found.doubled)
        self._say(
            f"{death.text}, {phase.value}: {self._log.stage}, {self._log.samples} samples; {wrong} wrong,"
            f" {len(self.found.complaints)} complaints"
        )
        return True

    def _reach(self, death: BoardDeath) -> bool:
        """The night in the death's stage, so many samples further, and in its moment."""
        wanted = 0
        while True:
            self._log.refresh()
            if self._log.stage == "over":
                return False
            if not wanted and _ORDER.index(self._log.stage) >= _ORDER.index(death.stage):
                wanted = self._log.samples + death.samples + 1
            if wanted and self._log.samples >= wanted - 1:
                break
            self._keep_running()
            self._journal.pump(0.2)
        if death.moment == "begin":
            self._stop()
            self._start()
            if not self._pump_while(lambda: not self._journal.story.begun):
                return False
            self._pump_for(death.delay * 4, unless=lambda: self._journal.story.loads > 0)
            return True
        self._keep_running()
        phase = Phase.SWITCH if death.moment == "switch" else Phase.LOAD
        if not self._pump_while(
            lambda: self._journal.story.phase is phase
        ):  # the next one, from its beginning
            return False
        if not self._pump_while(lambda: self._journal.story.phase is not phase):
            return False
        lasts_s = self._journal.switch_s if phase is Phase.SWITCH else 2.0
        self._pump_for(death.delay * 0.9 * lasts_s, unless=lambda: self._journal.story.phase is not phase)
        return True

    def _pump_for(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        until = time.monotonic() + seconds
        while not unless() and (left_s := until - time.monotonic()) > 0:
            self._journal.pump(min(0.05, left_s))

    def _keep_running(self) -> None:
        if self._runs:
            return
        if self._night is not None:
            self._complain(f"the controller ended by itself with {self._night.poll()}: {self._last_words()}")
        self._start()

    def _signal(self, number: int, *, after_s: float = 0.0) -> None:
        self._pump_for(after_s)
        if self._night is not None and self._night.poll() is None:
            os.killpg(self._night.pid, number)

    def _count_samples(self) -> int:
        self._log.refresh()
        return self._log.samples

    def _die(self, death: BoardDeath) -> None:
        """The death, and the boot after it."""
        began = time.monotonic()
        self._journal.close()
        if death.kind == "power cut":
            self.board = self.board.power_cut()
        elif death.kind == "reset":
            self.board.reset()
        else:
            self.board.reboot()
        self.found.boots_s.append(round(time.monotonic() - began, 1))
        self._journal.board = self.board

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
        self._journal.follow()
        if held:
            self._signal(signal.SIGCONT)
        if not self._runs:
            self._start()
        if self._pump_while(lambda: self._count_samples() <= samples) or self._log.stage == "over":
            self.found.gone_on_s.append(round(time.monotonic() - up, 1))
        else:
            self._complain(f"the study does not go on: {self._last_words()}")
        if not death.restored:
            self._said_so(seen)
        self._check_journal()
        self._check_log(look(self.board))

    def _ended(self, death: BoardDeath) -> None:
        code = self._wait(_STUCK_S)
        if code is None:
            self._complain(f"the controller does not end: {self._last_words()}")
            self._signal(signal.SIGKILL)
        elif not death.with_controller and code not in (_STOPPED, _UNREACHABLE):
            self._complain(f"asked to stop while its board died, it ended with {code}: {self._last_words()}")
        self._forget()

    def _restore(self) -> None:
        """Without the database, from anywhere: what the dead night has left on the disk goes."""
        done = self._call("restore", self.board.address)
        if done.returncode:
            self._complain(f"`autotune restore` ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        seen = look(self.board)
        self._wrong(
            [*differences(seen, self.state.stock), *(f"{one} is left after a restore" for one in seen.kept)]
        )

    def _said_so(self, seen: Look) -> None:
        """A controller that found something left has said so."""
        text = (self.folder / "said.txt").read_text(errors="replace")
        for path in () if seen.left else seen.kept:  # beside a living agent it is the living night's own
            said = f"put back what a dead tuner had left: {path}" in text
            if not said and self.board.ssh("test", "-e", path).returncode == 1:
                self._complain(f"{path} was left there, is gone, and nobody said so")

    def _check_journal(self) -> None:
        """Originals that journals of this boot captured are what it boots with."""
        self._journal.pump()
        stock = self.state.stock
        wrong = [
            f"{path} was journaled as {was!r}, boots with {stock[path]!r}"
            for path, was in self._journal.originals.items()
            if path in stock and in_one_line(stock[path].encode()) != was
        ]
        self._wrong([*wrong, *self._journal.problems])
        self._journal.problems.clear()

    def _check_log(self, seen: Look) -> None:
        if len(seen.kept) > 1:
            self._wrong([f"{path} is left beside the night's own" for path in seen.kept])
        lost = len(self._log.lost)
        self._log.check_prefix()
        self.found.lost += self._log.lost[lost:]
        self.found.doubled += [one for one in doubled(self._log.events) if one not in self.found.doubled]
        self.found.complaints += [
            one for one in strange(self._log.events, complete=False) if one not in self.found.complaints
        ]
        if not any(isinstance(one, Gap) and one.boot == seen.boot for one in self._log.events):
            self._complain(f"the log knows nothing of boot {seen.boot}")

    def _stop(self) -> None:
        """SIGTERM, and a board that is as it boots."""
        self._signal(signal.SIGTERM)
        code = self._wait(_STUCK_S)
        self._log.refresh()
        if code not in (_STOPPED, 0, None) or (code is None and self._runs):
            self._complain(f"after SIGTERM the controller ended with {code}: {self._last_words()}")
        self._forget()
        seen = look(self.board)
        self._wrong([*differences(seen, self.state.stock), *(f"{one} is left" for one in seen.kept)])

    def _complete(self) -> None:
        self._say("no more deaths: the night goes on to its end")
        self._log.refresh()
        if self._log.stage != "over" or self._runs:
            if not self._runs:
                self._start()
            until = time.monotonic() + 4 * _STUCK_S + 20 * len(self.deaths)
            while self._runs and time.monotonic() < until:
                self._journal.pump(0.5)
            code = None if self._night is None else self._night.poll()
            if code != 0:
                self._complain(f"the undisturbed rest ended with {code}: {self._last_words()}")
            self._forget()
        seen = look(self.board)
        self._wrong([*differences(seen, self.state.stock), *(f"{one} is left" for one in seen.kept)])
        self._log.refresh()
        self._log.check_prefix()
        self.found.lost += [*self._log.lost, *unmeasured(self._log.events)]
        self.found.doubled += [one for one in doubled(self._log.events) if one not in self.found.doubled]
        self.found.complaints += strange(self._log.events, complete=True)
        compared = self._call("compare", NAME, "--json")
        if compared.returncode or not json.loads(compared.stdout)["pairs"]:
            self._complain(f"there is no comparison: {compared.stderr.strip()[-300:]}")
        self._log.write(self.folder / "study.json", self.folder / "log.jsonl")
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
