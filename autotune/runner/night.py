"""The loop of the night: ask what comes next, do it, remember it, until nothing is left or somebody says stop."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from autotune.errors import BoardBusy, NotPermitted, StorageAway, StorageError
from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSampler,
    AskSubsets,
    Finished,
    Measure,
)
from autotune.experiment.events import (
    Doubt,
    Event,
    Failure,
    NightBegun,
    NightEnded,
    Proposal,
    Sample,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.distillation import distil
from autotune.measurement.planning import plan_night, shortened
from autotune.measurement.ranking import rank
from autotune.measurement.schedule import next_step
from autotune.runner.absence import Sleep, absence
from autotune.runner.assembly import board_for
from autotune.runner.beginning import require_candidates
from autotune.runner.clocks import Pace
from autotune.runner.lost_board import (
    LOST,
    Losses,
    Lost,
    given_back,
    machine_of,
    patience_s,
    take,
)
from autotune.runner.memory import Memory
from autotune.runner.night_board import Beginning, Hold, StockChanged
from autotune.runner.nights import (
    NightResult,
    Purpose,
    Wishes,
    capped_plan,
    has_rebooted,
    is_complete,
    last,
    night_count,
    open_night,
    sample_s,
    seconds_of,
)
from autotune.runner.notices import Alive, Said, Watcher
from autotune.runner.progress import progress_of
from autotune.runner.sittings import sit_down
from autotune.runner.stopping import Stopped, StopRequest
from autotune.search.searcher import propose
from autotune.storage.store import Store

# A sitting that begins this long after the last event is another night: another temperature, another drift.
NEW_NIGHT_AFTER_S = 4 * 3600.0
# Before each attempt at a sample: what disturbed it twice gets time to go away before its place is given up.
PAUSES_S = (0.0, 0.0, 5.0, 30.0)
# A synthetic night has dozens of samples a second: nobody looks more often than so.
TELL_EVERY_S = 0.25


def run_night(
    study: Study,
    store: Store,
    *,
    watcher: Watcher,
    deadline_s: float | None = None,
    trials: int | None = None,
    rounds: int | None = None,
    attribution: int | None = None,
    new_night: bool = False,
    purpose: Purpose | None = None,
) -> NightResult:
    """Runs or resumes the study's night on its board, and puts the board back whatever happens.

    `deadline_s`: seconds since the epoch. `trials` caps this night's candidates. `new_night`: begin another night of a
    study whose last one of this `purpose` is complete; None goes on with whatever was begun last. `rounds`: of a
    baseline's hand-tuned steps, `attribution`: of its attribution. Raises Interrupted after a signal, BoardLeftChanged when something can't be put
    back, and what preflight finds (BoardUnfit, BoardBusy, NotPermitted, LoadGeneratorFailed, StorageError).
    """
    store.enter(study)
    sit_down(store, study.name)
    try:
        with (
            contextlib.closing(Memory(study.name, store, watcher)) as memory,
            StopRequest(watcher) as stop,
        ):
            wishes = Wishes(
                deadline_s=deadline_s, trials=trials, rounds=rounds, attribution=attribution, purpose=purpose
            )
            return NightShift(study, memory, watcher, stop, wishes).run(new_night=new_night)
    finally:
        # A dead process is told from a living one without it, and it must not hide what ended the night.
        with contextlib.suppress(StorageError):
            store.leave(study.name)


class NightShift:
    """One sitting. Its only memory is the log; what it holds beside it can be lost at any moment."""

    def __init__(
        self,
        study: Study,
        memory: Memory,
        watcher: Watcher,
        stop: StopRequest,
        wishes: Wishes,
    ) -> None:
        self._study = study
        self._memory = memory
        self._watch = watcher
        self._stop = stop
        self._deadline_s = wishes.deadline_s
        self._wishes = wishes
        self._log = memory.log
        begun = last(self._log, NightBegun)
        self._purpose: Purpose = wishes.purpose or (begun.purpose if begun is not None else "tune")
        self._board = board_for(study, self._log)
        self._clock = self._board.clock
        self._evening_doubts: tuple[Doubt, ...] = ()
        self._hold: Hold | None = None
        self._why_away = ""
        self._sleep = Sleep(self._clock)
        self._tellings = Pace(TELL_EVERY_S)

    def run(self, *, new_night: bool) -> NightResult:
        begun = open_night(self._log)
        if begun is not None and begun.purpose != self._purpose:
            reason = f"a {self._purpose} night was asked for instead"
            self._append(NightEnded(night=begun.night, at=self._clock.at, outcome="abandoned", reason=reason))
            begun = None
        if begun is not None:
            self._resume(begun)
        elif is_complete(self._log, self._purpose) and not new_night:
            noun = "baseline" if self._purpose == "baseline" else "night"
            return self._result("already complete", f"all stages of this study's last {noun} are done")
        if (
            open_night(self._log) is None
            and self._deadline_s is None
            and self._study.budget.hours is not None
        ):
            self._deadline_s = self._clock.now_s + 3600 * self._study.budget.hours
        if open_night(self._log) is None:
            self._evening_doubts = self._board.prepare(lambda text: self._say("info", text))
        return self._sit()

    def _resume(self, begun: NightBegun) -> None:
        """Closes a night that is too old, or notes how long nothing was measured."""
        away_s = self._away_s
        if away_s > NEW_NIGHT_AFTER_S:
            reason = f"nothing was measured for {away_s / 3600:.1f} hours; a new night begins"
            self._append(NightEnded(night=begun.night, at=self._clock.at, outcome="abandoned", reason=reason))
            return
        if (
            self._deadline_s is None
            and begun.deadline is not None
            and seconds_of(begun.deadline) > self._clock.now_s + sample_s(self._study, self._log)
        ):
            self._deadline_s = seconds_of(begun.deadline)
        self._note_absence(away_s, "resumed")
        if (capped := capped_plan(self._log, self._wishes.trials, self._clock.at)) is not None:
            self._append(capped)

    def _note_absence(self, away_s: float, reason: str, boot: str = "") -> None:
        at = self._clock.at
        for event in absence(self._study, self._log, at=at, away_s=away_s, reason=reason, boot=boot):
            self._append(event)

    @property
    def _left_s(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._clock.now_s)

    @property
    def _away_s(self) -> float:
        """Seconds since the night's last event."""
        return self._clock.now_s - seconds_of(self._log[-1].at)

    def _sit(self) -> NightResult:
        losses = Losses(self._log)
        while True:
            hold = self._take(losses.in_a_row)
            ended: NightResult | Exception | None = None
            back: tuple[str, ...] | Exception = ()
            try:
                ended = self._measure_while_it_lasts(hold)
            finally:
                self._stop.restoring()
                self._hold = None
                back = given_back(self._board, hold, lost=isinstance(ended, Exception))
            if isinstance(back, Exception):
                ended, back = back, ()
            if not isinstance(ended, NightResult):
                self._stop.raise_if_asked()
                self._stop.working()
            if isinstance(ended, StorageAway):
                ended = self._wait_for_database(ended) or ended
            if isinstance(ended, NightResult):
                self._memory.mirror(self._study)
                return replace(ended, restored=back)
            self._why_away = str(ended)
            if isinstance(ended, StockChanged):
                self._abandon(ended)
                losses.forget()
                continue
            losses.count()
            if isinstance(ended, LOST):
                if not losses.is_worth_another_try(self._board, ended, self._left_s):
                    raise ended
                self._say("warning", f"the line to the {machine_of(ended)} is gone ({ended}); trying again")

    def _measure_while_it_lasts(self, hold: Hold) -> NightResult | StockChanged | StorageAway | Lost:
        """How the sitting ended, or why the board must be given back before it can go on."""
        self._hold = hold
        try:
            self._begin_or_go_on(hold)
            return self._measure_on(hold)
        except Stopped as stopped:
            return self._result("stopped", str(stopped))
        except (NotPermitted, BoardBusy):
            raise
        except (StockChanged, StorageAway, *LOST) as problem:
            return problem

    def _abandon(self, changed: StockChanged) -> None:
        begun = open_night(self._log)
        if begun is not None:
            self._append(
                NightEnded(night=begun.night, at=self._clock.at, outcome="abandoned", reason=str(changed))
            )
        self._say("warning", f"the board's stock has changed, a new night begins: {changed}")

    def _take(self, lost: int) -> Hold:
        """The board, held; what a dead tuner had left there is said."""
        begun = open_night(self._log)
        hold = take(
            self._board,
            self._study,
            begun.night if begun else night_count(self._log) + 1,
            lost=lost,
            left_s=self._left_s,
            wait=self._wait,
        )
        for left in hold.undone:
            self._say("warning", f"put back what a dead tuner had left: {left}")
        return hold

    def _wait(self, seconds: float) -> None:
        """Passes the time without a board, open to whoever asks the night to stop."""
        while seconds > 0:
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0
            self._stop_if_asked(sample_s(self._study, self._log))
        self._memory.beat()

    def _wait_for_database(self, away: StorageAway) -> NightResult | None:
        """Returns when it has taken everything, with the night's result where its end was what it did not take.

        Raises StorageAway when it did not in time.
        """
        self._say("warning", f"{away.message}; the board is put back until it takes something again")
        self._memory.wait_until_back(away, self._wait, patience_s(self._left_s))
        self._say("info", "the database is back, and has everything measured")
        over = last(self._log, NightEnded)
        if over is None or open_night(self._log) is not None or over.outcome == "abandoned":
            return None
        return self._result(over.outcome, over.reason)

    def _measure_on(self, hold: Hold) -> NightResult:
        while True:
            step = next_step(self._study, self._log)
            match step:
                case Finished():
                    self._append(
                        NightEnded(
                            night=step.night, at=self._clock.at, outcome=step.outcome, reason=step.reason
                        )
                    )
                    return self._result(step.outcome, step.reason)
                case AskPlan():
                    self._plan()
                case AskSampler():
                    self._ask(step)
                case AskRanking():
                    self._append(rank(self._study, self._log, step, self._clock.at))
                case AskSubsets():
                    from autotune.analysis.subsets import nominate

                    self._append(nominate(self._study, self._log, step, self._clock.at))
                case AskDistilled():
                    self._append(distil(self._study, self._log, step, self._clock.at))
                case Measure():
                    self._check_stops(step)
                    if self._shorten():
                        continue
                    self._pause(hold, step)
                    if not self._has_slept():
                        self._measure(hold, step)

    def _begin_or_go_on(self, hold: Hold) -> None:
        begun = open_night(self._log)
        if begun is not None:
            self._note_return(hold)
            hold.go_on(begun)
            return
        night = hold.begin(
            Beginning(
                night=night_count(self._log) + 1,
                purpose=self._purpose,
                first=next((event for event in self._log if isinstance(event, NightBegun)), None),
                deadline=None if self._deadline_s is None else _text(self._deadline_s),
                doubts=self._evening_doubts,
            )
        )
        if self._purpose == "tune":
            require_candidates(self._study, self._log, night)
        self._append(night)
        self._say(
            "info",
            f"night {night.night}: {len(night.space_ids)} parameters, {len(night.dropped)} left out"
            f" (`autotune show {self._study.name}` says why)",
        )

    def _note_return(self, hold: Hold) -> None:
        """The board is there again. One that has rebooted is another, however quickly it did that."""
        if has_rebooted(self._log, hold.boot):
            self._say("warning", "the board has rebooted: its kernel values are those it boots with")
            self._note_absence(self._away_s, "the board has rebooted", hold.boot)
        elif self._why_away:
            self._note_absence(self._away_s, self._why_away)
        self._sleep.told_s()
        self._why_away = ""

    def _plan(self) -> None:
        plan = plan_night(
            self._study,
            self._log,
            at=self._clock.at,
            now_s=self._clock.now_s,
            deadline_s=self._deadline_s,
            sample_s=sample_s(self._study, self._log),
            trials=self._wishes.trials,
            rounds=self._wishes.rounds,
            attribution=self._wishes.attribution,
        )
        self._append(plan)

    def _shorten(self) -> bool:
        """Whether the plan had to be cut because the deadline comes too soon."""
        if self._deadline_s is None:
            return False
        plan = shortened(
            self._study, self._log, at=self._clock.at, now_s=self._clock.now_s, deadline_s=self._deadline_s
        )
        if plan is None:
            return False
        self._say("warning", f"time is short: {plan.reason}")
        self._append(plan)
        return True

    def _ask(self, ask: AskSampler) -> None:
        began_s = self._clock.now_s
        proposal = propose(self._study, self._log, ask, at=self._clock.at)
        ask_s = max(0.0, self._clock.now_s - began_s)
        self._append(proposal.model_copy(update={"ask_s": round(ask_s, 4)}))

    def _pause(self, hold: Hold, order: Measure) -> None:
        left_s = PAUSES_S[min(order.key.attempt, len(PAUSES_S) - 1)]
        while left_s > 0 or (left_s := hold.wait_s(order, self._log)) > 0:
            self._clock.advance(min(left_s, 1.0))
            left_s -= 1.0
            hold.keepalive()
            self._check_stops(order)

    def _measure(self, hold: Hold, order: Measure) -> None:
        self._memory.beat()
        outcome = hold.measure(order)
        self._append(outcome.event, raw=outcome.raw)
        if self._sleep.is_new():
            self._append(Void(key=order.key, at=self._clock.at, reason="this machine was asleep meanwhile"))

    def _has_slept(self) -> bool:
        slept_s = self._sleep.told_s()
        self._note_absence(slept_s, "this machine was asleep")
        return slept_s > 0

    def _check_stops(self, order: Measure) -> None:
        self._stop_if_asked(
            sample_s(self._study, self._log) + (self._study.fixed_rate_s if order.rates else 0.0)
        )

    def _stop_if_asked(self, needed_s: float) -> None:
        """Raises when a signal came, `autotune stop` was said, or so many seconds no longer fit before the deadline."""
        self._watch(Alive())
        self._stop.raise_if_asked()
        if self._memory.stop_requested():
            raise Stopped("asked by `autotune stop`")
        if self._deadline_s is not None and self._clock.now_s + needed_s > self._deadline_s:
            raise Stopped("the deadline")

    def _append(self, event: Event, *, raw: str = "") -> None:
        try:
            self._memory.append(event, raw, self._bide)
        except StorageAway as away:
            if self._hold is not None:  # nothing more is measured, so the board is not held for it
                raise
            self._wait_for_database(away)
        if isinstance(event, Failure):
            self._say("warning", f"{event.arm.text}: {event.stage}: {event.reason}")
        if isinstance(event, (Sample, Failure, Proposal)) and self._tellings.is_due():
            self._watch(progress_of(self._study, self._log, self._left_s))

    def _bide(self, seconds: float) -> None:
        """Passes a moment, with the board in hand or without."""
        time.sleep(seconds)
        self._stop.raise_if_asked()
        if self._hold is not None:
            with contextlib.suppress(*LOST):  # noticed by whoever asks it something next
                self._hold.keepalive()

    def _result(
        self,
        outcome: Literal["complete", "already complete", "stopped", "refused", "systemic failure"],
        reason: str,
    ) -> NightResult:
        return NightResult(study=self._study.name, outcome=outcome, reason=reason)

    def _say(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._watch(Said(level=level, text=text))


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
