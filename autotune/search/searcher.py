"""Who is tried next: a pure function of the study and its log."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autotune.errors import AutotuneError, DefinitionError, Mistake
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import Event, Failure, NightBegun, Plan, Proposal
from autotune.experiment.study import Study
from autotune.measurement.scores import TrialScore, trial_scores
from autotune.search.distributions import Drawn
from autotune.search.encoding import Encoding, encoding_of, nights
from autotune.search.memory import (
    Told,
    constraints,
    quiet,
    rebuilt,
    seed_of,
    told,
    worst_of,
)
from autotune.search.space_filling import STRATA, any_draw, stratified_draw
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

START_UP_SHARE = 0.15
START_UP_MOST = STRATA
# A sampler that keeps breaking rules is told so this often before its draws are repaired instead.
ASKS = 12
# Alone, TPE draws every value anew each time and is slow in dozens of dimensions (figures in tests/search/test_near.py).
NEAR_EVERY = 2
RANDOM_TRIES = 500

Scores = Callable[[Study, Sequence[Event]], Mapping[int, TrialScore]]
Choice = dict[str, Value]


def propose(
    study: Study, log: Sequence[Event], ask: AskSampler, *, at: str, scores: Scores = trial_scores
) -> Proposal:
    """The trial of this number: the same for the same log, in every process.

    Number 0 is stock, 1 the hand-tuned configuration when it is a point of the space; then come some that fill the
    space, then those that the sampler picks, every second one near the likely best. No proposal breaks a rule, is known to
    fail, or repeats an earlier one while there is anything else left. Raises DefinitionError when the rules leave nothing to try.
    """
    tonight = next((night for night in nights(log) if night.night == ask.night), None)
    if tonight is None:
        raise AutotuneError(f"night {ask.night} of study {study.name} has not begun")
    origin, configuration = _Search.of(study, log, ask, tonight, scores).pick()
    return Proposal(night=ask.night, number=ask.number, at=at, origin=origin, configuration=configuration)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Everything one ask needs, read off the log. `taken`: what is not to be tried (again)."""

    study: Study
    ask: AskSampler
    tonight: NightBegun
    space: SearchSpace
    encoding: Encoding
    told: Sequence[Told]
    taken: frozenset[str]
    barred: frozenset[str]
    start_up: int

    @classmethod
    def of(
        cls, study: Study, log: Sequence[Event], ask: AskSampler, tonight: NightBegun, scores: Scores
    ) -> _Search:
        several = told(log, scores(study, log))
        barred = frozenset(
            event.configuration.against(tonight.stock).fingerprint
            for event in log
            if isinstance(event, Failure) and event.blame == "configuration"
        )
        earlier = {one.proposal.configuration.against(tonight.stock).fingerprint for one in several}
        missing = {dropped.id: dropped.reason for dropped in tonight.dropped}
        return cls(
            study=study,
            ask=ask,
            tonight=tonight,
            space=study.space.without(missing),
            encoding=encoding_of(study, log),
            told=several,
            taken=barred | earlier | {Configuration().fingerprint},
            barred=barred,
            start_up=_start_up_number(log, ask.night, several),
        )

    def pick(self) -> tuple[Literal["stock", "hand-tuned", "start-up", "sampler"], Configuration]:
        if self.ask.number == 0:
            return "stock", Configuration()
        if (
            self.ask.number == 1
            and not self.tonight.hand_tuned_outside
            and self.is_new(self.tonight.hand_tuned)
        ):
            return "hand-tuned", self.tonight.hand_tuned
        if self.start_up:
            return "start-up", self.first_good(self.space_filling())
        near = self.near_the_best() if self.ask.number % NEAR_EVERY == 0 else iter(())
        with quiet():
            return "sampler", self.first_good(itertools.chain(near, self.sampled()))

    # What may be tried

    def configuration(self, choice: Mapping[str, Value]) -> Configuration:
        """A choice as it would be tried tonight: without what this board lacks now, derived values computed."""
        mine = {
            parameter.id: self._tonights(parameter, choice[parameter.id])
            for parameter in self.space.parameters
            if parameter.id in choice and parameter.id in self.tonight.space_ids
        }
        return self.space.complete(mine, self.tonight.stock, self.tonight.facts)

    def _tonights(self, parameter: Parameter, value: Value) -> Value:
        """A value outside the range was drawn as stock's of the first night, and means stock."""
        if value == self.tonight.stock.get(parameter.id) or not parameter.reason_outside(value):
            return value
        return self.tonight.stock.get(parameter.id, value)

    def excess(self, configuration: Configuration) -> float:
        """How much it breaks the rules, added up; 0: it keeps them."""
        broken = self.space.broken_rules(configuration, self.tonight.stock, self.tonight.facts)
        return sum(one.excess for one in broken)

    def is_new(self, configuration: Configuration) -> bool:
        return configuration.against(self.tonight.stock).fingerprint not in self.taken

    def first_good(self, choices: Iterator[Choice]) -> Configuration:
        """The first choice that may be tried; else a repaired one, a random one, the one tried least often."""
        refused = []
        for choice in choices:
            configuration = self.configuration(choice)
            if self.is_new(configuration) and not self.excess(configuration):
                return configuration
            refused.append(choice)
        for choice in self.repaired(refused):
            configuration = self.configuration(choice)
            if self.is_new(configuration) and not self.excess(configuration):
                return configuration
        return self.once_more()

    # Where choices come from

    def space_filling(self) -> Iterator[Choice]:
        for attempt in range(ASKS):
            arrangement = seed_of(self.study.seed, "start-up", attempt)
            yield self.encoding.draw(stratified_draw(arrangement, self.start_up - 1))

    def near_the_best(self) -> Iterator[Choice]:
        """The likely best configuration so far that can win, with some 1 to 16 of its values drawn anew from their whole ranges."""
        good = [one for one in self.told if one.state == "good" and not one.unstable and not one.excess]
        if not good:
            return
        best = max(good, key=lambda one: (one.shrunken, one.score, -one.proposal.number))
        values = best.proposal.configuration.over(self.tonight.stock)
        chance = random.Random(seed_of(self.study.seed, self.ask.number, "near"))  # noqa: S311 - no secret
        ids = [one.parameter.id for one in self.encoding.parameters]
        for _ in range(ASKS):
            share = 2 ** chance.uniform(0, 4) / len(ids)
            drawn = self.encoding.draw(any_draw(chance))
            yield {
                id_: drawn[id_] if id_ in drawn and chance.random() < share else values[id_] for id_ in ids
            }

    def sampled(self) -> Iterator[Choice]:
        """The sampler's picks; it is told of each that was not taken before it is asked again."""
        sampler = optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            n_startup_trials=START_UP_MOST,
            seed=seed_of(self.study.seed, self.ask.number),
        )
        study = rebuilt(self.encoding, self.told, sampler)
        worst = worst_of(self.told)
        for _ in range(ASKS):
            trial = study.ask()
            choice = self.encoding.draw(lambda name, what, trial=trial: _suggested(trial, name, what))  # type: ignore[misc]
            yield choice
            excess = self.excess(self.configuration(choice))
            for key, value in constraints(rules=excess or 1.0).items():
                trial.set_constraint(key, value)
            study.tell(trial, worst)

    def repaired(self, refused: Sequence[Choice]) -> Iterator[Choice]:
        """Refused choices moved to where the rules hold, then random ones, treated alike."""
        chance = random.Random(seed_of(self.study.seed, self.ask.number, "repair"))  # noqa: S311 - no secret
        for choice in refused:
            yield self._towards(choice, chance)
        for _ in range(RANDOM_TRIES):
            choice = self.encoding.draw(any_draw(chance))
            yield choice
            yield self._towards(choice, chance)

    def _towards(self, choice: Choice, chance: random.Random) -> Choice:
        """As much of a choice, in random order, as can be had without breaking rules more than stock does."""
        reached: Choice = {}
        excess = self.excess(self.configuration(reached))
        ids = list(choice)
        chance.shuffle(ids)
        for id_ in ids:
            step = {**reached, id_: choice[id_]}
            broken = self.excess(self.configuration(step))
            if broken <= excess:
                reached, excess = step, broken
        return reached

    def once_more(self) -> Configuration:
        """Nothing new is left: the best of those tried least often. Its repeats make it better known."""
        times: dict[str, int] = {}
        for one in self.told:
            name = one.proposal.configuration.against(self.tonight.stock).fingerprint
            times[name] = times.get(name, 0) + 1
        good = [
            (times[name], -one.score, one.proposal.number, configuration)
            for one in self.told
            if one.state == "good" and one.proposal.origin != "stock"
            for configuration in [self.configuration(one.proposal.configuration.mapping)]
            for name in [one.proposal.configuration.against(self.tonight.stock).fingerprint]
            if name not in self.barred and not self.excess(configuration)
        ]
        if good:
            return min(good, key=lambda one: one[:3])[3]
        raise DefinitionError(
            (
                Mistake(
                    file=self.study.name,
                    key="space",
                    value="",
                    problem="no configuration but stock is left that keeps the rules and has not failed",
                    accepted="",
                ),
            ),
            hint="widen the ranges or loosen the rules of the search space, under a new study name",
        )


def _start_up_number(log: Sequence[Event], night: int, several: Sequence[Told]) -> int:
    """The place, from 1, of the next candidate that fills the space; 0: the sampler is asked instead."""
    origins = [one.proposal.origin for one in several]
    plan = next((event for event in reversed(log) if isinstance(event, Plan) and event.night == night), None)
    if plan is None or "sampler" in origins:
        return 0
    number = origins.count("start-up") + 1
    return number if number <= min(START_UP_MOST, max(1, round(START_UP_SHARE * plan.candidates))) else 0


def _suggested(trial: optuna.trial.Trial, name: str, what: BaseDistribution) -> Drawn:
    match what:
        case FloatDistribution():
            return trial.suggest_float(name, what.low, what.high, log=what.log, step=what.step)
        case IntDistribution():
            return trial.suggest_int(name, what.low, what.high, log=what.log, step=what.step)
        case CategoricalDistribution():
            return cast("Drawn", trial.suggest_categorical(name, what.choices))
        case _:
            message = f"{what} is no distribution of ours"
            raise TypeError(message)
