"""A whole night on a board made of numbers: the real schedule from calibration to the finals, in a second or less."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from typing import Final

from protocol_cache import ROOT

from autotune.analysis.subsets import nominate
from autotune.definitions.study_file import read_study
from autotune.experiment.bench import (
    AskDistilled,
    AskPlan,
    AskRanking,
    AskSampler,
    AskSubsets,
    Finished,
    Measure,
    NextStep,
)
from autotune.experiment.events import (
    AppliedStep,
    Distilled,
    Event,
    NightBegun,
    NightEnded,
    Proposal,
    Ranking,
    Sample,
    Stage,
)
from autotune.experiment.study import Budget, LatencyCheck, Study
from autotune.measurement.distillation import distil
from autotune.measurement.logbook import read_log
from autotune.measurement.planning import plan_night
from autotune.measurement.ranking import rank
from autotune.measurement.schedule import next_step
from autotune.runner.beginning import Offer, night_begun
from autotune.runner.night_board import Beginning
from autotune.search.searcher import propose
from autotune.space.configuration import Configuration
from autotune.synthetic.bench import SyntheticBench
from autotune.synthetic.boards import SyntheticBoard
from autotune.synthetic.clock import VirtualClock
from autotune.synthetic.noise import Disturbance
from autotune.synthetic.optimum import candidates_of

BEGAN: Final = "2026-01-31T22:00:00.000+00:00"
SAMPLE_S: Final = 21.0
_MOST_STEPS: Final = 20_000

Proposer = Callable[[Study, Sequence[Event], AskSampler, str], Proposal]


@functools.cache
def shipped_study(file: str) -> Study:
    return read_study(ROOT / "studies" / file)


def study_of(file: str, ids: Sequence[str], *, seed: int, budget: Budget) -> Study:
    """A shipped study with fewer parameters and another budget, without limits, goals and runs at a fixed rate."""
    whole = shipped_study(file)
    space = whole.space.model_copy(
        update={
            "parameters": tuple(one for one in whole.space.parameters if one.id in ids),
            "rules": (),
            "derived": (),
        }
    )
    return whole.model_copy(
        update={
            "space": space,
            "budget": budget,
            "seed": seed,
            "accept_noise": True,
            "goals": (),
            "limits": (),
            "latency": LatencyCheck(share=0),
            "builds": None,
        }
    )


def begun_on(board: SyntheticBoard, study: Study, hand_tuned: Configuration) -> NightBegun:
    """The beginning of a night; the hand-tuned sequence is one step."""
    step = AppliedStep(
        number=1,
        name="by hand",
        state="full",
        applied=len(hand_tuned),
        of=len(hand_tuned),
        configuration=hand_tuned,
    )
    return NightBegun(
        night=1,
        at=BEGAN,
        stock=board.stock_of(study),
        facts=board.facts(study),
        space_ids=study.space.ids,
        offered={id_: words for id_, words in board.offered.items() if id_ in study.space.ids},
        steps=(step,),
        hand_tuned=hand_tuned,
        board=board.description,
    )


def begun_for(board: SyntheticBoard, study: Study) -> NightBegun:
    """The beginning as the program itself has it: the whole sequence, and what this board lacks left out."""
    ids = {*study.space.ids, *(value.setting.id for step in study.hand_tuned.steps for value in step.values)}
    offer = Offer(
        stock=board.stock_of(study),
        missing={id_: reason for id_ in sorted(ids) if (reason := board.lacking(id_, study))},
        choices=board.offered,
        facts=board.facts(study),
        refusal=lambda id_, value: board.refusal(id_, value, study),
        board=board.description,
    )
    return night_begun(study, offer, Beginning(night=1, purpose="tune", first=None, deadline=None), BEGAN)


def any_choice(study: Study, log: Sequence[Event], ask: AskSampler, at: str) -> Proposal:
    """A sampler that costs nothing: each parameter at stock or at any of its values, one as likely as the other."""
    begun = read_log(log).begun[ask.night]
    if ask.number == 0:
        return Proposal(night=ask.night, number=0, at=at, origin="stock", configuration=Configuration())
    chance = random.Random(f"{study.seed}/{ask.number}")
    space = study.space.offering(begun.offered)
    choice = {one.id: chance.choice(candidates_of(one)) for one in space.parameters if chance.random() < 0.5}
    configuration = space.complete(choice, begun.stock, begun.facts)
    return Proposal(night=ask.night, number=ask.number, at=at, origin="sampler", configuration=configuration)


def real_sampler(study: Study, log: Sequence[Event], ask: AskSampler, at: str) -> Proposal:
    return propose(study, log, ask, at=at)


class Night:
    """One night of one study. `log` is all there is of it."""

    def __init__(
        self,
        board: SyntheticBoard,
        study: Study,
        log: list[Event],
        *,
        seed: int,
        disturbance: Disturbance,
        proposer: Proposer = any_choice,
    ) -> None:
        self.study = study
        self.log = log
        self._begun = read_log(log).tonight
        self._clock = VirtualClock.at_text(self._begun.at)
        self._bench = SyntheticBench(
            board, study, self._begun, self._clock, seed=seed, disturbance=disturbance
        )
        self._proposer = proposer

    def run(self) -> list[Event]:
        """The log of the night, measured to its end."""
        for _ in range(_MOST_STEPS):
            step = next_step(self.study, self.log)
            self.log.append(self._answer(step))
            if isinstance(step, Finished):
                return self.log
        raise AssertionError(f"the night did not end in {_MOST_STEPS} steps")

    def search(self) -> list[Event]:
        """The log up to the question who the finalists are."""
        for _ in range(_MOST_STEPS):
            step = next_step(self.study, self.log)
            if isinstance(step, (AskRanking, Finished)):
                return self.log
            self.log.append(self._answer(step))
        raise AssertionError(f"the search did not end in {_MOST_STEPS} steps")

    def _answer(self, step: NextStep) -> Event:
        at = self._clock.at
        match step:
            case AskPlan():
                return plan_night(
                    self.study, self.log, at=at, now_s=self._clock.now_s, deadline_s=None, sample_s=SAMPLE_S
                )
            case AskSampler():
                return self._proposer(self.study, self.log, step, at)
            case AskRanking():
                return rank(self.study, self.log, step, at)
            case AskSubsets():
                return nominate(self.study, self.log, step, at)
            case AskDistilled():
                return distil(self.study, self.log, step, at)
            case Finished():
                return NightEnded(night=step.night, at=at, outcome=step.outcome, reason=step.reason)
            case Measure():
                return self._bench.measure(step).event


def before_the_finals(study: Study, begun: NightBegun, automatic: Configuration) -> list[Event]:
    """A night that has only its calibration and its finals before it: trial 1 won, and is shipped as it is."""
    plan = plan_night(study, [begun], at=BEGAN, now_s=0.0, deadline_s=None, sample_s=SAMPLE_S)
    return [
        begun,
        plan.model_copy(update={"candidates": 0, "series_rounds": 0}),
        Proposal(night=1, number=0, at=BEGAN, origin="stock", configuration=Configuration()),
        Proposal(night=1, number=1, at=BEGAN, origin="sampler", configuration=automatic),
        Ranking(night=1, at=BEGAN, purpose="finalists", trials=(1,), scores=(0.0,)),
        Ranking(night=1, at=BEGAN, purpose="winner", trials=(1,), scores=(0.0,)),
        Distilled(night=1, at=BEGAN, trial=1, configuration=automatic, margin=0.01),
    ]


def final_differences(log: Sequence[Event], a: str, b: str) -> list[float]:
    """ln(a / b) of the finals, round by round."""
    rounds: dict[int, dict[str, float]] = {}
    for event in log:
        if isinstance(event, Sample) and event.key.stage is Stage.FINALS:
            rounds.setdefault(event.key.block, {})[event.arm.text] = event.objective
    return [one[a] - one[b] for one in rounds.values() if a in one and b in one]


def samples_taken(log: Sequence[Event]) -> int:
    """Everything that took a sample's time, failures too."""
    return sum(event.kind in ("sample", "failure") for event in log)
