"""The loop of the night: ask what comes next, do it, remember it, until nothing is left or somebody says stop."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeVar

from autotune.errors import BoardBusy, BoardUnreachable, NotPermitted, StorageAway, StorageError
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
    Gap,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Sample,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.candidates import GAP_S
from autotune.measurement.distillation import distil
from autotune.measurement.planning import plan_night, shortened
from autotune.measurement.ranking import rank
from autotune.measurement.schedule import next_step
from autotune.runner.assembly import board_for
from autotune.runner.beginning import require_candidates
from autotune.runner.clocks import Pace
from autotune.runner.lost_board import given_back, is_worth_another_try, take
from autotune.runner.night_board import Beginning, Hold, StockChanged
from autotune.runner.nights import (
    NightResult,
    Purpose,
    Wishes,
    has_rebooted,
    is_complete,
    last,
    night_count,
    open_night,
    seconds_of,
    torn_block,
)
from autotune.runner.notices import Alive, Progress, Said, Watcher
from autotune.runner.progress import progress_of
from autotune.runner.sittings import sit_down
from autotune.runner.stopping import StopRequest
from autotune.search.mirror import write_mirror
from autotune.search.searcher import propose
from autotune.storage.store import Store

# A sitting that begins this long after the last event is another night: another temperature, another drift.
NEW_NIGHT_AFTER_S = 4 * 3600.0
# Before each attempt at a sample: what disturbed it twice gets time to go away before its place is given up.
PAUSES_S = (0.0, 0.0, 5.0, 30.0)
# A server that restarts, a copy being made: not worth a night. Each try has the store's own patience besides.
DATABASE_PATIENCE_S = 120.0
_FIRST_OVERHEAD_S = 0.5
# A synthetic night has dozens of samples a second: nobody looks more often than so.
BEAT_EVERY_S = 1.0
TELL_EVERY_S = 0.25


def run_night(
    study: Study,
    store: Store,
    *,
    watcher: Watcher,
    deadline_s: float | None = None,
    trials: int | None = None,
    rounds: int | None = None,
    new_night: bool = False,
    purpose: Purpose | None = None,
) -> NightResult:
    """Runs or resumes the study's night on its board, and puts the board back whatever happens.

    `deadline_s`: seconds since the epoch. `trials` caps this night's candidates. `new_night`: begin another night of a
    study whose last one of this `purpose` is complete; None goes on with whatever was begun last. `rounds`: of a
    baseline's hand-tuned steps. Raises Interrupted after a signal, BoardLeftChanged when something can't be put
    back, and what preflight finds (BoardUnfit, BoardBusy, NotPermitted, LoadGeneratorFailed, StorageError).
    """
    store.enter(study)
    sit_down(store, study.name)
    try:
        with StopRequest(watcher) as stop:
            wishes = Wishes(deadline_s=deadline_s, trials=trials, rounds=rounds, purpose=purpose)
            return NightShift(study, store, watcher, stop, wishes).run(new_night=new_night)
    finally:
        # A dead process is told from a living one without it, and it must not hide what ended the night.
        with contextlib.suppress(StorageError):
            store.leave(study.name)


_T = TypeVar("_T")


class _Stopped(Exception):
    """The night is asked to end here: `autotune stop`, or the deadline."""


class NightShift:
    """One sitting. Its only memory is the log; what it holds beside it can be lost at any moment."""

    def __init__(
        self,
        study: Study,
        store: Store,
        watcher: Watcher,
        stop: StopRequest,
        wishes: Wishes,
    ) -> None:
        self._study = study
        self._store = store
        self._watch = watcher
        self._stop = stop
        self._deadline_s = wishes.deadline_s
        self._trials = wishes.trials
        self._rounds = wishes.rounds
        self._log: list[Event] = store.log(study.name)
        begun = last(self._log, NightBegun)
        self._purpose: Purpose = wishes.purpose or (begun.purpose if begun is not None else "tune")
        self._board = board_for(study, self._log)
        self._clock = self._board.clock
        self._evening_doubts: tuple[Doubt, ...] = ()
        self._hold: Hold | None = None
        self._beats = Pace(BEAT_EVERY_S)
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
        away_s = self._clock.now_s - seconds_of(self._log[-1].at)
        if away_s > NEW_NIGHT_AFTER_S:
            reason = f"nothing was measured for {away_s / 3600:.1f} hours; a new night begins"
            self._append(NightEnded(night=begun.night, at=self._clock.at, outcome="abandoned", reason=reason))
            return
        if (
            self._deadline_s is None
            and begun.deadline is not None
            and seconds_of(begun.deadline) > self._clock.now_s + self._sample_s()
        ):
            self._deadline_s = seconds_of(begun.deadline)
        if away_s != 0:  # a clock that stands while nobody measures: the board is as it was left
            self._append(
                Gap(night=begun.night, at=self._clock.at, seconds=max(0.0, away_s), reason="resumed")
            )
        if away_s > GAP_S:
            self._void_torn_block(f"{away_s / 60:.0f} minutes later")
        self._cap_candidates(begun.night)

    def _void_torn_block(self, when: str) -> None:
        """What was measured of an unfinished pair or round no longer stands beside what is still to come of it."""
        reason = f"the rest of its round was to be measured {when}"
        for key in torn_block(self._study, self._log):
            self._append(Void(key=key, at=self._clock.at, reason=reason))

    def _cap_candidates(self, night: int) -> None:
        """`--trials` holds for the night that goes on, too."""
        plan = last(self._log, Plan)
        if self._trials is None or plan is None or plan.night != night or plan.candidates <= self._trials:
            return
        capped = {"candidates": self._trials, "at": self._clock.at, "reason": f"--trials {self._trials}"}
        self._append(plan.model_copy(update=capped))

    def _sit(self) -> NightResult:
        lost = 0
        while True:
            measured = len(self._log)
            try:
                hold = self._take(lost)
            except _Stopped as stopped:
                reason = f"{stopped}, while the board was away"
                return NightResult(study=self._study.name, outcome="stopped", reason=reason, is_proven=False)
            gone = False
            outcome: NightResult | None = None
            restored: tuple[str, ...] = ()
            try:
                outcome = self._measure_on(hold)
            except _Stopped as stopped:
                outcome = self._result("stopped", str(stopped))
            except StockChanged as changed:
                begun = open_night(self._log)
                if begun is not None:
                    self._append(
                        NightEnded(
                            night=begun.night, at=self._clock.at, outcome="abandoned", reason=str(changed)
                        )
                    )
                self._say("warning", f"the board's stock has changed, a new night begins: {changed}")
            except BoardUnreachable as problem:
                if isinstance(problem, (NotPermitted, BoardBusy)):
                    raise
                gone = True
                lost = 1 if len(self._log) > measured + 1 else lost + 1
                if not is_worth_another_try(self._board, lost, problem):
                    raise
                self._say("warning", f"the line to the board is gone ({problem.message}); trying again")
                if (begun := open_night(self._log)) is not None:
                    self._append(
                        Gap(night=begun.night, at=self._clock.at, seconds=0.0, reason=problem.message)
                    )
            finally:
                self._stop.restoring()
                restored = given_back(self._board, hold, gone=gone)
            if outcome is not None:
                self._mirror()
                return NightResult(
                    study=outcome.study, outcome=outcome.outcome, reason=outcome.reason, restored=restored
                )
            self._stop.raise_if_asked()
            self._stop.working()

    def _take(self, lost: int) -> Hold:
        """The board, held; what a dead tuner had left there is said."""
        begun = open_night(self._log)
        hold = take(
            self._board,
            begun.night if begun else night_count(self._log) + 1,
            lost=lost,
            left_s=None if self._deadline_s is None else self._deadline_s - self._clock.now_s,
            wait=self._wait,
        )
        for left in hold.undone:
            self._say("warning", f"put back what a dead tuner had left: {left}")
        if begun is not None:
            self._note_absence(begun, hold.boot, lost)
        return hold

    def _note_absence(self, begun: NightBegun, boot: str, lost: int) -> None:
        """A board that has rebooted or was away for long is another one: what was torn is measured anew, as after a resume."""
        away_s = max(0.0, self._clock.now_s - seconds_of(self._log[-1].at))
        if has_rebooted(self._log, boot):
            reason, when = "the board has rebooted", "after a reboot of the board"
            self._say("warning", f"{reason}: its kernel values are those it boots with")
        elif lost and away_s > GAP_S:
            boot, reason, when = "", "the board was out of reach", f"{away_s / 60:.0f} minutes later"
        else:
            return
        self._append(Gap(night=begun.night, at=self._clock.at, seconds=away_s, reason=reason, boot=boot))
        self._void_torn_block(when)

    def _wait(self, seconds: float) -> None:
        """Passes the time without a board, open to whoever asks the night to stop."""
        while seconds > 0:
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0
            self._stop_if_asked(self._sample_s())
        self._patiently(lambda: self._store.beat(self._study.name))

    def _measure_on(self, hold: Hold) -> NightResult:
        self._hold = hold
        self._begin_or_go_on(hold)
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
                    self._measure(hold, step)

    def _begin_or_go_on(self, hold: Hold) -> None:
        begun = open_night(self._log)
        if begun is not None:
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

    def _plan(self) -> None:
        plan = plan_night(
            self._study,
            self._log,
            at=self._clock.at,
            now_s=self._clock.now_s,
            deadline_s=self._deadline_s,
            sample_s=self._sample_s(),
            trials=self._trials,
            rounds=self._rounds,
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
        if self._beats.is_due():
            self._patiently(lambda: self._store.beat(self._study.name))
        outcome = hold.measure(order)
        self._append(outcome.event, raw=outcome.raw)

    def _check_stops(self, order: Measure) -> None:
        self._stop_if_asked(self._sample_s() + (self._study.fixed_rate_s if order.rates else 0.0))

    def _stop_if_asked(self, needed_s: float) -> None:
        """Raises when a signal came, `autotune stop` was said, or so many seconds no longer fit before the deadline."""
        self._watch(Alive())
        self._stop.raise_if_asked()
        if self._patiently(lambda: self._store.stop_requested(self._study.name)):
            raise _Stopped("asked by `autotune stop`")
        if self._deadline_s is not None and self._clock.now_s + needed_s > self._deadline_s:
            raise _Stopped("the deadline")

    def _sample_s(self) -> float:
        """Seconds one sample takes here: warm-up, run, and the median overhead of the last twenty."""
        recent = [event.overhead_s for event in self._log[-60:] if isinstance(event, Sample)][-20:]
        overhead_s = statistics.median(recent) if recent else _FIRST_OVERHEAD_S
        return self._study.busy_s + overhead_s

    def _append(self, event: Event, *, raw: str = "") -> None:
        self._patiently(lambda: self._store.append(self._study.name, event, raw))
        self._log.append(event)
        if isinstance(event, Failure):
            self._say("warning", f"{event.arm.text}: {event.stage}: {event.reason}")
        if isinstance(event, (Sample, Failure, Proposal)) and self._tellings.is_due():
            self._watch(self._progress())

    def _progress(self) -> Progress:
        left_s = None if self._deadline_s is None else max(0.0, self._deadline_s - self._clock.now_s)
        return progress_of(self._study, self._log, left_s)

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        """What the store says, when it is only away for a while. Asking it twice changes nothing."""
        until = time.monotonic() + DATABASE_PATIENCE_S
        while True:
            try:
                return ask()
            except StorageAway as away:
                if time.monotonic() >= until:
                    raise
                self._say("warning", f"{away.message}; trying again")
            time.sleep(1.0)
            self._stop.raise_if_asked()
            if self._hold is not None:
                with contextlib.suppress(BoardUnreachable):  # noticed by whoever asks it something next
                    self._hold.keepalive()

    def _mirror(self) -> None:
        """Optuna's own tables follow; the night never reads them, so nothing here may end it."""
        try:
            write_mirror(self._study, self._log, self._store.url)
        except Exception as problem:  # noqa: BLE001 - a copy for other tools is never worth a night
            self._say("warning", f"Optuna's mirror could not be written: {problem}")

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
