"""The moment of a death: how each of them is waited for, struck, and told where it really fell."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from torture_controller import Tuner, kill
from torture_journal import Phase
from torture_log import NightLog
from torture_plan import (
    LINK_BRIEFLY,
    LINKS,
    SAMPLES_PER_DEATH,
    STAGES,
    Death,
    Form,
    planned_samples,
)

if TYPE_CHECKING:
    from torture_lab import FarBoard

SAMPLE_S: Final = 1.4
# A first guess, corrected by what is seen: from nginx's end to the journal's.
RESTORE_S: Final = 0.003
_CUT_FIRST: Final = 0.6
_BRIEFLY_S: Final = (0.1, 2.0)
_CORRECTED: Final = 0.3
_SWITCHES_WAITED: Final = 4
STUCK_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What a death really was. `keepers`: who was left to restore the board when all kills had fallen.

    `stopping`: the controller had been asked to stop before. `at_s`: when all had fallen; `journal`: whether there
    was one.
    """

    stratum: str
    killed: frozenset[str]
    keepers: frozenset[str]
    stopping: bool
    events: int
    samples: int
    at_s: float
    journal: bool


class Striker:
    """Knows when to strike. `start` starts a controller; none runs when a death in its begin is asked for."""

    def __init__(
        self,
        tuner: Tuner,
        log: NightLog,
        *,
        start: Callable[[], None],
        deaths: Sequence[Death],
        budget: Mapping[str, int],
        seed: int,
        form: Form,
        far: FarBoard | None,
    ) -> None:
        self.tuner = tuner
        self.watch = tuner.watch
        self.log = log
        self._start = start
        self._deaths = deaths
        self._budget = budget
        self._chance = random.Random(f"strike/{seed}")
        self._form = form
        self._far = far
        self._start_s = form.start_s
        self._restore_s = RESTORE_S

    def strike(self, death: Death) -> Struck | None:
        """Waits for the death's moment and kills. None: nobody was there any more."""
        if self._far is not None:
            self._far.become(death.weather)
        match death.stratum:
            case "begin":
                return self._strike_begin(death)
            case "switch":
                return self._strike_switch(death)
            case "restore":
                return self._strike_restore(death)
            case _:
                return self._strike_stage(death)

    def _strike_begin(self, death: Death) -> Struck | None:
        length_s = self._start_s if self.log.events else self._form.first_start_s
        self._start()
        if death.victims == {"controller"}:
            self._pump_until(self.tuner.began_s + death.moment * length_s, or_load=True)
            return self._kill(death, self.tuner.living())
        while self.tuner.running and not self.watch.story.loads:
            there = self.tuner.living()
            wanted = death.victims - {"nginx"} - LINKS
            if wanted <= there.keys() and ("nginx" not in death.victims or self.watch.story.nginx):
                left_s = max(0.02, self.tuner.began_s + length_s - time.monotonic())
                self._pump_until(time.monotonic() + death.moment * left_s, or_load=True)
                return self._kill(death, there)
            self.watch.pump(0.001)
        return None

    def _strike_switch(self, death: Death) -> Struck | None:
        """In the switch that meets new paths if there is one soon, else in one that had met some before.

        Where none does (a winner of nginx's settings alone), in any: waiting would use up the stage's samples.
        """
        if not self._measuring():
            return None
        self.log.refresh()
        until = time.monotonic() + STUCK_S
        patience = 1 + death.number % 2
        while self.tuner.running and time.monotonic() < until:
            self._pump_while(lambda: not self._is(Phase.LOAD), until)
            there = self.tuner.living()
            self._pump_while(lambda: self._is(Phase.LOAD), until)
            patience -= 1
            story = self.watch.story
            writes = story.fresh or (story.wills and patience <= 0) or patience <= -_SWITCHES_WAITED
            if not (self._is(Phase.SWITCH) and writes):
                continue
            self._pump_until(time.monotonic() + 0.7 * death.moment * self.watch.switch_s, or_load=True)
            if "nginx" in death.victims:
                self._pump_while(lambda: self._is(Phase.SWITCH) and not self.watch.story.nginx, until)
            if self._is(Phase.SWITCH):  # else it was faster than those before: the next one, then
                return self._kill(death, there)
        return None

    def _strike_restore(self, death: Death) -> Struck | None:
        """After the agent has stopped nginx, and before the journal is gone."""
        if not self._measuring():
            return None
        self._pump_until(time.monotonic() + death.moment * SAMPLE_S)
        self._pump_while(lambda: not self._is(Phase.LOAD), time.monotonic() + 5)
        self.log.refresh()
        there = self.tuner.living()
        self.tuner.signal(signal.SIGTERM)
        if death.hurried:
            self._pump_until(time.monotonic() + 0.02)
            self.tuner.signal(signal.SIGTERM)
        try:
            nginx = os.pidfd_open(self.watch.story.nginx)
        except ProcessLookupError:
            return None
        try:
            until = time.monotonic() + STUCK_S
            while (
                not select.select([nginx], [], [], 0)[0] and self.tuner.running and time.monotonic() < until
            ):
                self.watch.pump(0.05, nginx)
        finally:
            os.close(nginx)
        _spin(self._chance.random() * self._restore_s)
        self._restore_s *= (
            1.1 if self.watch.journal.exists() else 0.7
        )  # so that most fall before the end, some right at it
        return self._kill(death, there, stopping=True)

    def _strike_stage(self, death: Death) -> Struck | None:
        if not self._measuring():
            return None
        self.log.refresh()
        wanted = self.log.samples + self._samples_to_wait(death)
        while self.tuner.running and self.log.samples < wanted:
            self._pump_until(time.monotonic() + 0.05)
            self.log.refresh()
        self._pump_until(time.monotonic() + death.moment * SAMPLE_S)
        if self._is(Phase.SWITCH):  # which has deaths of its own
            self._pump_while(lambda: self._is(Phase.SWITCH), time.monotonic() + STUCK_S)
            self._pump_until(time.monotonic() + self._chance.random() * SAMPLE_S / 2)
        return self._kill(death, self.tuner.living())

    def _samples_to_wait(self, death: Death) -> int:
        """How far the night may go on before this death, so that the stage's samples last for its deaths."""
        stage = self.log.stage
        deaths = 1 + sum(one.stage == stage and one.number > death.number for one in self._deaths)
        share = (planned_samples(self._budget, stage) - self.log.samples_of(stage)) / deaths
        return min(3, int(max(0.0, share - SAMPLES_PER_DEATH) + self._chance.random()))

    def _measuring(self) -> bool:
        """Whether a controller runs whose first load has begun; one is started where there is none."""
        if not self.tuner.running:
            first = not self.log.events
            self._start()
            until = time.monotonic() + STUCK_S
            while self.tuner.running and not self.watch.story.loads and time.monotonic() < until:
                self.watch.pump(0.05)
            if not first:
                took_s = time.monotonic() - self.tuner.began_s
                self._start_s += _CORRECTED * (took_s - self._start_s)
        return self.tuner.running

    def _kill(self, death: Death, there: dict[str, int], *, stopping: bool = False) -> Struck | None:
        """The kills, and where they fell. None when nobody was there to be killed."""
        victims = {name: pid for name, pid in there.items() if name in death.victims}
        if "nginx" in death.victims and (nginx := self.tuner.nginx(self._chance)):
            victims["nginx"] = nginx
        self.watch.pump()
        story = self.watch.story
        phase, loads, wills = story.phase, story.loads, story.wills
        journal = self.watch.journal.exists()
        # Cut first, nobody hears of the deaths at the cable's other end.
        cut_first = self._chance.random() < _CUT_FIRST
        killed = self._cut(death) if cut_first else frozenset()
        killed |= kill(victims, death.gaps_s, self._chance)
        killed |= self._cut(death) if not cut_first else frozenset()
        if not killed:
            return None
        at_s = time.monotonic()
        if LINK_BRIEFLY in killed and self._far is not None:
            self._pump_until(at_s + self._chance.uniform(*_BRIEFLY_S))
            self._far.mend()
        self.log.refresh()
        stage = self.log.stage
        if (stopping or phase is Phase.RESTORE) and journal:
            stratum = "restore"
        elif not loads:
            stratum = "begin"
        elif phase is Phase.SWITCH and wills:
            stratum = "switch"
        else:
            stratum = stage if stage in STAGES else "series"
        return Struck(
            stratum=stratum,
            killed=killed,
            keepers=frozenset(there) & {"agent", "guardian"} - killed,
            stopping=stopping,
            events=len(self.log.events),
            samples=self.log.samples,
            at_s=at_s,
            journal=journal,
        )

    def _cut(self, death: Death) -> frozenset[str]:
        """The cable, where the death is one of it."""
        if self._far is not None and death.victims & LINKS:
            self._far.cut()
        return death.victims & LINKS

    def _is(self, phase: Phase) -> bool:
        return self.watch.story.phase is phase

    def _pump_while(self, condition: Callable[[], bool], until_s: float) -> None:
        while condition() and self.tuner.running and time.monotonic() < until_s:
            self.watch.pump(0.05)

    def _pump_until(self, until_s: float, *, or_load: bool = False) -> None:
        """Follows the journal until then; with `or_load` not beyond the moment at which a load starts."""
        loads = self.watch.story.loads
        while (left_s := until_s - time.monotonic()) > 0 and self.tuner.running:
            self.watch.pump(min(left_s, 0.05))
            if or_load and self.watch.story.loads > loads:
                return


def _spin(seconds: float) -> None:
    """A wait shorter than a sleep keeps."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
