"""The continued night: deaths one after the other, and after each the proof that nothing was left, lost or doubled."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torture_machine as machine
from torture_checks import Inspector
from torture_controller import Tuner
from torture_journal import JournalWatch
from torture_log import NightLog, strange, unmeasured, wrongly_blamed
from torture_outside import Surroundings
from torture_plan import (
    LAB,
    LINK_GONE,
    LOCAL,
    RESTORED_AFTER_LEASE_S,
    STAGES,
    Death,
    budget_for,
    combination_text,
    planned_samples,
    reaches_the_end,
)
from torture_site import Site
from torture_state import State
from torture_strikes import SAMPLE_S, STUCK_S, Striker, Struck
from torture_study import NAME, PORT, write_study
from weather import FAIR

from autotune.runner.night import NEW_NIGHT_AFTER_S

if TYPE_CHECKING:
    from torture_lab import FarBoard

TRIES: Final = 3
# Once plugged in again, TCP still waits for as long as it had been cut before it tries once more.
_TCP_NOTICES_WITHIN_S: Final = 20.0
_THE_LINE: Final = frozenset(("ssh", "sshd", "agent", LINK_GONE))
_STOPPED, _UNREACHABLE, _UNFIT = 143, 4, 5


class TortureNight:
    """One study in one directory, continued through every planned death."""

    def __init__(
        self,
        folder: Path,
        deaths: Sequence[Death],
        state: State,
        outside: Surroundings,
        say: Callable[[str], None],
        *,
        site: Site | None,
        far: FarBoard | None,
    ) -> None:
        form = LOCAL if far is None else LAB
        self.folder = folder
        self.deaths = deaths
        self.state = state
        self._outside = outside
        self._say = say
        self._far = far
        self._within_s = form.lease_s + RESTORED_AFTER_LEASE_S
        self._budget = budget_for(deaths)
        seed = state.plan.seed
        self.watch = JournalWatch(folder / "journals.jsonl")
        self.tuner = Tuner(
            write_study(folder, self._budget, seed, form, own=site is not None),
            folder / f"{NAME}.db",
            folder / "said.txt",
            self.watch,
            *(("local", ()) if far is None else (far.address, far.on_client)),
        )
        self.log = NightLog(folder / f"{NAME}.db")
        self.inspector = Inspector(folder, self.watch, self.log, outside, say, state, site)
        self.found = state.found
        self._striker = Striker(
            self.tuner,
            self.log,
            start=self._start,
            deaths=deaths,
            budget=self._budget,
            seed=seed,
            form=form,
            far=far,
        )
        self._orphans = 0
        self._counted_s = time.monotonic()
        self._pending = ""
        self._what = "the start"

    # -- the whole --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All deaths, then, where the plan reaches that far, the undisturbed rest of the night."""
        left = list(self.deaths[self.state.dealt_with :])
        tries = 0
        if self.state.events:
            self._resume()
        while left and not self._over():
            death = left[0]
            self._what = death.text
            struck = self._struck(death)
            if struck is None:  # nobody was there any more
                self._stop_controller()
                tries += 1
            if struck is not None or tries >= TRIES:
                left.pop(0)
                tries = 0
            if struck is not None:
                self._after(struck, stays=death.left_running and bool(left) and left[0].stratum != "begin")
                self._count(death, struck)  # one in which we are interrupted comes again
                self._tell(death, struck)
            if self._far is not None:
                self._far.become(FAIR)
            self._remember(len(self.deaths) - len(left))
        self._what = "the end"
        self._stop_controller()
        self._settle_pending()
        if reaches_the_end(len(self.deaths)):
            self._complete()

    def _resume(self) -> None:
        """What an interrupted torture had read of the log is held against what is there now."""
        self.log.resume(self.state.events, self.state.digest)
        if self.log.silent_s > NEW_NIGHT_AFTER_S:
            self.state.nights += 1

    def _remember(self, dealt_with: int) -> None:
        self.log.refresh()
        now_s = time.monotonic()
        self.state.seconds += now_s - self._counted_s
        self._counted_s = now_s
        self.state.dealt_with = dealt_with
        self.state.events, self.state.digest = len(self.log.events), self.log.digest
        self.state.write(self.folder)

    def _struck(self, death: Death) -> Struck | None:
        if not self._reach(death):
            return None
        if death.stratum == "begin":
            self._stop_controller()
        return self._striker.strike(death)

    def _over(self) -> bool:
        self.log.refresh()
        return self.log.stage == "over"

    def _count(self, death: Death, struck: Struck) -> None:
        self.found.deaths += 1
        self.found.strata[struck.stratum] += 1
        self.found.combinations[struck.killed] += 1
        self.found.weather[death.weather.kind] += 1

    def _tell(self, death: Death, struck: Struck) -> None:
        weather = "" if death.weather.is_fair else f", {death.weather.text}"
        missed = "" if struck.stratum == death.stratum else f" (aimed at {death.stratum})"
        wrong = len(self.found.differences) + len(self.found.lost) + len(self.found.doubled)
        self._say(
            f"death {death.number}/{len(self.deaths)}: {combination_text(struck.killed)} in {struck.stratum}{missed}{weather};"
            f" {self.log.stage}, {self.log.samples} samples; {wrong} wrong, {len(self.found.complaints)} complaints"
        )

    # -- getting there ----------------------------------------------------------------------------------------------------

    def _reach(self, death: Death) -> bool:
        """Runs the night undisturbed until it is in the death's stage. False when it ended before."""
        wanted = STAGES.index(death.stage)
        while True:
            self.log.refresh()
            if self.log.stage == "over":
                return False
            if STAGES.index(self.log.stage) >= wanted:
                return True
            if not self.tuner.running:
                self._start()
            self._run_on(0.1)

    def _start(self) -> None:
        self._reap()
        self._outside.wait(self._say)
        self.tuner.start()

    def _run_on(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.watch.pump(0.02)
        if not self.tuner.running:
            self._reap()

    def _reap(self) -> None:
        """A controller that ended without being asked to."""
        if self.tuner.process is None:
            return
        code = self.tuner.wait(0)
        self.tuner.forget()
        self.log.refresh()
        if code != 0 or self.log.stage != "over":
            self._complain(f"the controller ended by itself with exit code {code}: {self._last_words()}")
        self._check()

    # -- what must hold then ----------------------------------------------------------------------------------------------

    def _after(self, struck: Struck, *, stays: bool) -> None:
        if LINK_GONE in struck.killed and self._far is not None:
            self._cut_off(struck)
            self._far.mend()
        if "controller" in struck.killed:
            self.tuner.wait(STUCK_S)
            self.tuner.forget()
            self._after_controller(struck)
            return
        self._recovered(struck)
        self.log.refresh()
        if "nginx" in struck.killed:
            self.found.complaints += [
                f"{self._what}: {text}" for text in wrongly_blamed(self.log.events[struck.events :])
            ]
        if not (stays and self.tuner.running):
            self._stop_controller()

    def _cut_off(self, struck: Struck) -> None:
        """The board restores itself while nobody can reach it; an agent that had begun nothing has nothing to restore."""
        self._wait_for_quiet(struck.at_s + self._within_s)
        if struck.journal and struck.keepers:
            self._check()

    def _wait_for_quiet(self, until_s: float) -> None:
        """Until nobody is left on the board who restores it."""
        while time.monotonic() < until_s:
            self.watch.pump(0.005)
            if not any(one.role in ("agent", "guardian") for one in machine.processes()):
                break

    def _restored(self, struck: Struck) -> bool:
        """Whether the journal of the death's agent is gone since: then everything must be as it was, and soon enough."""
        took_s = self.watch.gone_s - struck.at_s
        if not struck.journal or took_s <= 0:
            return False
        if struck.keepers:
            self.found.restored_s.append(round(took_s, 3))
        late = took_s > self._within_s and struck.keepers
        wrong = [f"the board was restored only {took_s:.1f} s after"] if late else []
        wrong += self.inspector.values_now()
        if wrong:
            self.inspector.differs(self._what, wrong)
        return True

    def _after_controller(self, struck: Struck) -> None:
        """Whoever is left restores. With all three dead, `autotune restore` or the next start does, in turns."""
        until_s = struck.at_s + self._within_s
        if LINK_GONE in struck.killed:
            until_s = max(until_s, time.monotonic() + _TCP_NOTICES_WITHIN_S)
        self._wait_for_quiet(until_s)
        self._restored(struck)
        # A keeper that hadn't yet begun knows nothing of what an earlier death had left.
        unbegun = self._pending and not self.watch.begun
        if not machine.leftovers(PORT) or (struck.keepers and not unbegun):
            self._check()
            return
        self._orphans += 1
        if self._orphans % 2:
            self._restore()
            self._check()
        else:
            self._pending = self._pending or self._what

    def _restore(self) -> None:
        done = self.tuner.restore()
        if done.returncode != 0:
            self._complain(f"`autotune restore` ended with {done.returncode}: {done.stderr.strip()[-300:]}")

    def _settle_pending(self) -> None:
        """What nobody has put back before the very end."""
        if self._pending:
            self._pending = ""
            self._restore()
            self._check()

    def _recovered(self, struck: Struck) -> None:
        """A living controller goes on by itself: it stores another sample, or it ends."""
        until = time.monotonic() + STUCK_S
        restored = not (struck.killed & _THE_LINE and struck.journal) or struck.stopping
        samples = struck.samples
        while self.tuner.running and time.monotonic() < until:
            self.watch.pump(0.02)
            self.log.refresh()
            if not restored and self._restored(struck):
                restored, samples = True, self.log.samples  # one may have been on its way when the line broke
            if restored and self.log.samples > samples and not struck.stopping:
                return
        code = self.tuner.wait(0)
        if code is None:
            self._complain(f"the controller is stuck: {self._last_words()}")
            self.tuner.signal(signal.SIGKILL)
            self.tuner.wait(5)
        elif code not in self._allowed(struck):
            self._complain(f"the controller did not recover, exit code {code}: {self._last_words()}")
        self.tuner.forget()
        self._check()

    def _allowed(self, struck: Struck) -> tuple[int, ...]:
        """Exit codes with which a living controller may end: of a night that has hardly begun, that it could not be."""
        if struck.stopping:
            return (_STOPPED,)
        return (0, _UNREACHABLE, _UNFIT) if struck.stratum == "begin" else (0,)

    def _stop_controller(self) -> None:
        """SIGTERM, its restore, and the checks."""
        if self.tuner.process is None:
            return
        self.tuner.signal(signal.SIGTERM)
        code = self.tuner.wait(STUCK_S)
        if code is None:
            self._complain(f"the controller does not stop: {self._last_words()}")
            self.tuner.signal(signal.SIGKILL)
            code = self.tuner.wait(5)
        self.log.refresh()
        if code not in (_STOPPED, 0) or (code == 0 and self.log.stage != "over"):
            self._complain(f"after SIGTERM the controller ended with {code}: {self._last_words()}")
        self.tuner.forget()
        self._check()

    def _complete(self) -> None:
        """The rest of the night, and what it leads to."""
        self._say("no more deaths: the night goes on to its end")
        self.log.refresh()
        if self.log.stage != "over":
            self._start()
            code = self.tuner.wait(
                60 + 3 * SAMPLE_S * sum(planned_samples(self._budget, stage) for stage in STAGES)
            )
            self.tuner.forget()
            if code != 0:
                self._complain(f"the undisturbed rest ended with exit code {code}: {self._last_words()}")
            self._check()
        self.found.complaints += strange(self.log.events, complete=True, allowed=self.state.nights)
        self.found.lost += unmeasured(self.log.events)
        compared = self.tuner.call("compare", NAME, "--json")
        try:
            pairs = json.loads(compared.stdout)["pairs"]
        except (ValueError, KeyError):
            pairs = []
        if compared.returncode != 0 or not pairs:
            self._complain(f"there is no comparison: {compared.stderr.strip()[-300:]}")

    def _check(self) -> None:
        what = f"{self._what} (and {self._pending}, and the next start)" if self._pending else self._what
        self._pending = ""
        if not self.inspector.check(what):
            self.tuner.forget()

    def _complain(self, text: str) -> None:
        self.inspector.complain(self._what, text)

    def _last_words(self) -> str:
        text = self.tuner.said.read_text(errors="replace") if self.tuner.said.exists() else ""
        return " / ".join(text.strip().splitlines()[-4:])[-600:]

    def tear_down(self) -> None:
        """Whatever happened: nothing of ours lives, and the board is as it was."""
        if self._far is not None:
            self._far.mend()
        machine.kill_all()
        self.tuner.forget()
        if machine.leftover_files():
            self.tuner.restore()
        self.inspector.put_back()
