"""The winner pared down: what is dropped, what is kept, and how often more than the margin is lost by it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from number_bench import (
    BACKLOG,
    BOTH_ON,
    NOPUSH,
    SENDFILE,
    SENDFILE_ON,
    STOCK,
    FakeClock,
    NumberBench,
    drive,
    night_begun,
    number_study,
    truth,
    whole_night,
)

from autotune.experiment.bench import AskDistilled, Measure
from autotune.experiment.events import (
    Arm,
    Distilled,
    Event,
    Plan,
    Proposal,
    Ranking,
    Sample,
    SampleKey,
    Stage,
    Subsets,
)
from autotune.experiment.study import Limit, Study
from autotune.measurement.comparison import compare
from autotune.measurement.distillation import LEVEL, distil
from autotune.measurement.intervals import trimmed_interval
from autotune.measurement.limits import subset_violators
from autotune.measurement.logbook import read_log
from autotune.measurement.stages import final_arms
from autotune.measurement.verdicts import Verdict
from autotune.space.configuration import Configuration

ALL_THREE = Configuration.of({SENDFILE.id: True, NOPUSH.id: True, BACKLOG.id: 8192})
SUBSETS = (SENDFILE_ON, Configuration.of({SENDFILE.id: True, NOPUSH.id: True}))


def a_study(distillation_pairs: int = 12, attribution_rounds: int = 0) -> Study:
    return number_study(
        candidates=20, distillation_pairs=distillation_pairs, attribution_rounds=attribution_rounds
    )


def changed(configuration: Configuration) -> int:
    return len(configuration.against(STOCK))


def only_sendfile(configuration: Configuration) -> float:
    return 1.2 if configuration.over({SENDFILE.id: False})[SENDFILE.id] else 1.0


def distilled_in(log: list[Event]) -> Distilled | None:
    return next((one for one in log if isinstance(one, Distilled)), None)


def stages_of(log: list[Event]) -> list[Stage]:
    return list(dict.fromkeys(one.key.stage for one in log if isinstance(one, Sample)))


def a_night(study: Study | None = None, **bench: object) -> list[Event]:
    made = NumberBench(FakeClock(), sigma=0.005, ratio=only_sendfile)
    for name, value in bench.items():
        setattr(made, name, value)
    return whole_night(study or a_study(), made)


def test_changes_that_are_worth_nothing_are_dropped_and_what_is_left_is_called_automatic() -> None:
    log = a_night()
    found = distilled_in(log)
    assert found is not None
    assert found.configuration == SENDFILE_ON
    assert found.subset == 0
    assert found.loss == pytest.approx(0, abs=0.01)
    assert found.pairs == 12
    automatic = compare(a_study(), log).arm("automatic")
    assert automatic is not None
    assert automatic.configuration == SENDFILE_ON
    assert automatic.trial == found.trial
    assert [one.configuration for one in log if isinstance(one, Sample) and one.arm.kind == "automatic"] == [
        SENDFILE_ON
    ] * 12


def test_the_stages_follow_each_other() -> None:
    assert stages_of(a_night(a_study(attribution_rounds=1))) == list(Stage)


def test_a_change_that_earns_its_place_stays() -> None:
    found = distilled_in(a_night(ratio=truth))  # tcp_nopush 5 %, the backlog up to 8 %
    assert found is not None
    assert found.subset is None or found.configuration != SENDFILE_ON
    assert truth(found.configuration) > 1.24


def test_each_subset_meets_the_winner_in_pairs_that_take_turns_and_are_spread_over_time() -> None:
    samples = [one for one in a_night() if isinstance(one, Sample) and one.key.stage is Stage.DISTILLATION]
    subsets = [one.arm.number for one in samples if one.arm.kind == "subset"]
    count = max(subsets) + 1
    assert subsets == [index for _ in range(12) for index in range(count)]
    for number in range(count):
        first = [one.key.position for one in samples if one.arm.kind == "subset" and one.arm.number == number]
        assert abs(first.count(0) - first.count(1)) <= 1
    assert sum(one.arm.kind == "trial" for one in samples) == len(subsets)


def test_without_pairs_in_the_plan_the_winner_is_shipped_as_it_was_found() -> None:
    study = a_study(distillation_pairs=0)
    log = a_night(study)
    assert not any(isinstance(one, (Subsets, Distilled)) for one in log)
    book = read_log(log)
    winner = book.winner(1)
    assert winner is not None
    assert final_arms(book, 1)[-1].configuration == winner.configuration


def test_a_winner_of_one_change_or_none_at_all_is_not_pared_down() -> None:
    assert distilled_in(a_night(ratio=lambda c: 1.2 if c == SENDFILE_ON else 0.9 if len(c) else 1.0)) is None
    assert distilled_in(a_night(ratio=lambda c: 0.9 if len(c) else 1.0)) is None


def test_a_log_of_before_there_was_distillation_goes_on_to_its_finals() -> None:
    log = [one for one in a_night() if not isinstance(one, (Subsets, Distilled))]
    old = [
        Plan.model_validate(one.model_dump(exclude={"distillation_pairs"})) if isinstance(one, Plan) else one
        for one in log
        if not (isinstance(one, Sample) and one.key.stage is Stage.DISTILLATION)
    ]
    automatic = compare(a_study(), old).arm("automatic")
    winner = read_log(old).winner(1)
    assert automatic is not None
    assert winner is not None
    assert automatic.configuration == winner.configuration


def test_a_subset_that_fails_by_its_own_fault_is_passed_over() -> None:
    def fails(order: Measure) -> str:
        return "configuration" if order.arm == Arm(kind="subset", number=0) else ""

    log = a_night(fails=fails, sigma=0.001, ratio=lambda c: only_sendfile(c) + 0.005 * (changed(c) == 3))
    found, subsets = distilled_in(log), next(one for one in log if isinstance(one, Subsets))
    assert found is not None
    assert len(subsets.configurations) == 2
    assert found.subset == 1


def test_a_subset_that_violates_a_limit_is_passed_over() -> None:
    small = Limit(metric="requests_per_s", bound="at most", value=1.25, of_stock=True)
    study = a_study().model_copy(update={"limits": (small,)})
    subset = Arm(kind="subset", number=0)
    log = a_pared_night(
        lambda arm: {"stock": 0.0, "trial": 0.18}.get(arm.kind, 0.18 + 0.1 * (arm == subset)), sigma=0.01
    )
    assert distil(study, log, AskDistilled(night=1), "now").subset == 1
    assert distil(number_study(), log, AskDistilled(night=1), "now").subset == 0


@pytest.mark.parametrize(("gain", "at_least", "at_most"), [(0.18, 0.0, 0.25), (0.28, 0.9, 1.0)])
def test_a_subset_is_not_barred_because_its_winner_was_unlucky_in_its_few_pairs_with_stock(
    gain: float, at_least: float, at_most: float
) -> None:
    """The winner is just what the limit allows: so is one subset in the first case, in the other it is 10 % beyond."""
    limit = Limit(metric="requests_per_s", bound="at most", value=math.exp(0.18), of_stock=True)
    study = number_study().model_copy(update={"limits": (limit,)})
    nights = [
        a_pared_night(lambda arm: {"stock": 0.0, "subset": gain}.get(arm.kind, 0.18), sigma=0.03, seed=seed)
        for seed in range(40)
    ]
    barred = [1 in subset_violators(study, read_log(log), 1) for log in nights]
    assert at_least <= sum(barred) / len(barred) <= at_most


def test_a_subset_that_loses_too_much_for_certain_and_all_smaller_ones_get_no_more_pairs() -> None:
    log = a_night(ratio=lambda c: 1.2 if changed(c) == 3 else 1.0)
    taken = [
        one.arm.number for one in log if isinstance(one, Sample) and one.arm.kind == "subset"
    ]  # both lose 18 %
    assert 8 <= len(taken) < 24
    found = distilled_in(log)
    assert found is not None
    assert found.subset is None


def test_a_winner_that_fails_when_measured_again_gives_its_place_to_the_next() -> None:
    def fails(order: Measure) -> str:
        return "configuration" if order.key.stage is Stage.DISTILLATION and order.arm.kind == "trial" else ""

    log = a_night(fails=fails, own_fault="gate")
    ranking = next(one for one in log if isinstance(one, Ranking) and one.purpose == "winner")
    found = distilled_in(log)
    assert found is not None
    assert found.trial == ranking.trials[1]
    assert "failed" in found.reason
    automatic = compare(number_study(), log).arm("automatic")
    assert automatic is not None
    assert automatic.trial == found.trial


def test_what_a_larger_subset_gains_by_leaving_out_what_harms_is_not_given_away() -> None:
    """The winner has a change that harms: the larger subset is 8 % faster than it, the smaller one just as fast."""
    worth = {"stock": 0.0, "trial": 0.2}
    log = a_pared_night(lambda arm: worth.get(arm.kind, 0.2 + 0.08 * (arm.number == 1)), sigma=0.01)
    assert distil(number_study(), log, AskDistilled(night=1), "now").subset == 1
    alike = a_pared_night(lambda arm: worth.get(arm.kind, 0.28), sigma=0.01)
    assert distil(number_study(), alike, AskDistilled(night=1), "now").subset == 0


def test_what_is_pared_down_to_the_hand_tuned_values_is_the_same_configuration() -> None:
    log = a_night(ratio=lambda c: 1.25 if {**STOCK, **c.mapping}[NOPUSH.id] and only_sendfile(c) > 1 else 1.0)
    found = distilled_in(log)
    assert found is not None
    assert found.configuration == BOTH_ON  # the backlog is left out, and that is what the expert has
    pairs = {(one.a, one.b): one for one in compare(a_study(), log).pairs}
    assert pairs["automatic", "hand-tuned"].verdict is Verdict.SAME
    assert pairs["automatic", "hand-tuned"].n == 12  # measured all the same: a live A/A
    assert pairs["automatic", "hand-tuned"].level == 0.05
    assert {pairs["automatic", "stock"].level, pairs["hand-tuned", "stock"].level} == {0.025, 0.05}


def test_what_is_pared_down_to_nothing_is_stock() -> None:
    log = a_pared_night(lambda arm: 0.0, sigma=0.01, subsets=(Configuration(), SENDFILE_ON))
    found = distil(number_study(), log, AskDistilled(night=1), "now")
    assert found.configuration == Configuration()
    log = [*log, found]
    study, bench = a_study(), NumberBench(FakeClock(now_s=9_999), sigma=0.005, ratio=lambda _: 1.0)
    for _ in drive(study, bench, log):
        pass
    same = compare(study, log).pair("automatic", "stock")
    assert same is not None
    assert same.verdict is Verdict.SAME


# --- the rule, in numbers


def a_pared_night(
    gain: Callable[[Arm], float],
    *,
    sigma: float,
    seed: int = 0,
    pairs: int = 12,
    subsets: tuple[Configuration, Configuration] = SUBSETS,
) -> list[Event]:
    """A night up to its last pair of distillation: ln of an arm over stock is `gain`, and the noise sigma."""
    study = number_study()
    bench = NumberBench(FakeClock(), sigma=sigma, seed=seed, ratio=lambda _: 1.0)
    plan = Plan(
        night=1,
        at=bench.clock.at,
        calibration_pairs=10,
        candidates=1,
        reference_every=4,
        finalists=1,
        finalist_pairs=4,
        distillation_pairs=pairs,
        finals_rounds=24,
        series_rounds=0,
        sample_s=3.0,
    )
    proposal = Proposal(night=1, number=2, at=bench.clock.at, origin="sampler", configuration=ALL_THREE)
    ranking = Ranking(night=1, at=bench.clock.at, purpose="winner", trials=(2,), scores=(0.2,))
    nominated = Subsets(night=1, at=bench.clock.at, trial=2, configurations=subsets)
    stock, winner = Arm(kind="stock"), Arm(kind="trial", number=2)

    def pair(stage: Stage, block: int, first: Arm, second: Arm) -> list[Event]:
        taken: list[Event] = []
        for position, arm in enumerate((first, second)):
            configuration = (
                ALL_THREE
                if arm == winner
                else subsets[arm.number]
                if arm.kind == "subset"
                else Configuration()
            )
            key = SampleKey(night=1, stage=stage, block=block, position=position)
            event = bench.measure(Measure(key=key, arm=arm, configuration=configuration)).event
            assert isinstance(event, Sample)
            objective = event.objective + gain(arm)
            run = event.main.model_copy(update={"requests_per_s": math.exp(objective)})
            taken.append(event.model_copy(update={"objective": objective, "measurements": {"1k": run}}))
        return taken

    log: list[Event] = [night_begun(), plan, proposal]
    for block in range(10):
        log += pair(Stage.CALIBRATION, block, stock, stock)
    for block in range(4):
        log += pair(Stage.FINALISTS, block, winner, stock)
    log += [ranking, nominated]
    for block in range(2 * pairs):
        log += pair(Stage.DISTILLATION, block, Arm(kind="subset", number=block % 2), winner)
    assert study.seed == 1
    return log


@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_what_loses_just_more_than_the_margin_is_shipped_in_at_most_one_night_of_ten(sigma: float) -> None:
    """Each subset loses half a margin more than the last: the truth that tempts most."""
    nights, lost, pared = 120, 0, 0
    for seed in range(nights):
        chance = random.Random(seed)
        losses = [1.3 * sigma * chance.uniform(0.9, 1.4), 1.3 * sigma * chance.uniform(0.0, 1.4)]
        losses.sort(reverse=True)

        def gain(arm: Arm, losses: list[float] = losses) -> float:
            return 0.3 - losses[arm.number] if arm.kind == "subset" else 0.3

        log = a_pared_night(gain, sigma=sigma, seed=seed)
        found = distil(number_study(), log, AskDistilled(night=1), "now")
        if found.subset is not None:
            pared += 1
            lost += losses[found.subset] > found.margin
    assert lost / nights <= 0.10
    assert pared / nights > 0.3  # not by never paring anything down


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.05])
def test_what_is_worth_nothing_is_dropped_in_most_nights(sigma: float) -> None:
    nights = 60
    dropped = 0
    for seed in range(nights):
        log = a_pared_night(lambda arm: 0.0 if arm.kind == "stock" else 0.3, sigma=sigma, seed=seed)
        found = distil(number_study(), log, AskDistilled(night=1), "now")
        dropped += found.subset is not None
        assert found.margin > math.log(1.01)
    assert dropped / nights > 0.8


def test_judging_in_a_row_from_the_largest_down_is_what_keeps_the_promise() -> None:
    """Four subsets that all lose exactly the margin: in any order one of three nights ships one of them."""
    chance = random.Random(1)
    nights = 600
    row = anyone = mean = 0
    for _ in range(nights):
        seen = [
            trimmed_interval([chance.gauss(0, math.sqrt(2)) for _ in range(12)], alpha=LEVEL)
            for _ in range(4)
        ]
        row += seen[-1].high < 0
        anyone += any(one.high < 0 for one in seen)
        mean += any(one.center < 0 for one in seen)
    assert row / nights <= 0.10 + 0.03
    assert anyone / nights > 0.25
    assert mean / nights > 0.85
