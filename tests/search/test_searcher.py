"""Who is tried next: what comes first, what never comes, and that the log alone decides."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path

import optuna
import pytest
from search_examples import (
    BUFFERS,
    HAND_TUNED,
    SENDFILE,
    STOCK,
    a_failure,
    a_night,
    a_plan,
    a_sample,
    a_space,
    a_study,
    go_on,
    proposals,
    some_truth,
)

from autotune.errors import AutotuneError, DefinitionError
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import EVENT, Event, NightEnded
from autotune.experiment.study import Study
from autotune.measurement.scores import trial_scores
from autotune.search.encoding import encoding_of
from autotune.search.memory import MARGIN, rebuilt, seed_of, told, worst_of
from autotune.search.searcher import propose
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Rule
from autotune.space.search_space import Dropped
from autotune.space.value import Value

STUDY = a_study()
SWITCHES = a_study(a_space((SENDFILE, BUFFERS), (), ()))


def begun(study: Study = STUDY, candidates: int = 40, hand_tuned: Configuration = HAND_TUNED) -> list[Event]:
    return [a_night(study, hand_tuned=hand_tuned), a_plan(candidates)]


@pytest.fixture(scope="module")
def night() -> list[Event]:
    """Forty trials, a little noise, and everything with bbr and a big backlog fails."""
    return go_on(STUDY, begun(), 40, noise=0.02, fails=fails)


def fails(values: dict[str, Value]) -> bool:
    return values["sysctl:net.ipv4.tcp_congestion_control"] == "reno"


def asked(study: Study, log: list[Event], number: int | None = None, night: int = 1) -> Configuration:
    number = len(proposals(log)) if number is None else number
    return propose(
        study, log, AskSampler(night=night, number=number), at="2026-02-01T00:00:00+00:00"
    ).configuration


class TestTheOrderOfThings:
    def test_stock_then_the_expert_then_some_that_fill_the_space_then_the_sampler(
        self, night: list[Event]
    ) -> None:
        origins = [proposal.origin for proposal in proposals(night)]
        assert origins == ["stock", "hand-tuned", *["start-up"] * 6, *["sampler"] * 32]
        assert proposals(night)[0].configuration == Configuration()
        assert proposals(night)[1].configuration == HAND_TUNED

    def test_at_most_ten_fill_the_space(self) -> None:
        log = go_on(STUDY, begun(candidates=500), 14)
        assert [proposal.origin for proposal in proposals(log)].count("start-up") == 10

    @pytest.mark.parametrize("hand_tuned", [Configuration(), Configuration.of({"nginx:sendfile": True})])
    def test_a_hand_tuning_that_changes_nothing_is_no_trial(self, hand_tuned: Configuration) -> None:
        log = go_on(STUDY, begun(hand_tuned=hand_tuned), 2)
        assert proposals(log)[1].origin == "start-up"

    def test_a_hand_tuning_outside_the_space_is_no_trial(self) -> None:
        outside = (Dropped(id="nginx:gzip", reason="not a parameter of this space"),)
        log: list[Event] = [a_night(STUDY, hand_tuned=HAND_TUNED, outside=outside), a_plan()]
        assert proposals(go_on(STUDY, log, 2))[1].origin == "start-up"

    def test_the_first_ones_meet_every_tenth_of_a_parameter(self) -> None:
        log = go_on(a_study(a_space(rules=())), begun(candidates=500, hand_tuned=Configuration()), 11)
        budgets = sorted(one.configuration["sysctl:net.core.netdev_budget"] for one in proposals(log)[1:])
        tenths = [(int(str(value)) - 100) / 110 for value in budgets]
        assert all(abs(tenth - place - 0.5) < 0.75 for place, tenth in enumerate(tenths)), tenths

    def test_later_nights_fill_no_space_again(self, night: list[Event]) -> None:
        ended = NightEnded(night=1, at="2026-02-01T05:00:00+00:00", outcome="complete")
        second = [*night, ended, a_night(STUDY, night=2, hand_tuned=HAND_TUNED), a_plan(400, night=2)]
        proposal = propose(STUDY, second, AskSampler(night=2, number=40), at="x")
        assert (proposal.origin, proposal.night, proposal.number) == ("sampler", 2, 40)

    def test_a_night_that_has_not_begun_is_our_own_mistake(self) -> None:
        with pytest.raises(AutotuneError, match="night 2 of study kinds has not begun"):
            asked(STUDY, begun(), night=2)


class TestWhatIsNeverTried:
    def test_no_proposal_is_outside_the_space_or_breaks_a_rule(self, night: list[Event]) -> None:
        first = a_night(STUDY)
        for proposal in proposals(night):
            assert STUDY.space.reasons_outside(proposal.configuration, first.stock, first.facts) == ()

    def test_derived_values_are_there(self, night: list[Event]) -> None:
        for proposal in proposals(night)[2:]:
            values = proposal.configuration.mapping
            assert values["nginx:worker_rlimit_nofile"] == 2 * int(str(values["nginx:listen.backlog"]))

    def test_what_doesnt_count_is_left_out(self, night: list[Event]) -> None:
        off = [one for one in proposals(night) if one.configuration.mapping.get("nginx:sendfile") is False]
        assert off
        assert all("nginx:sendfile_max_chunk" not in one.configuration.mapping for one in off)

    def test_nothing_is_tried_twice(self, night: list[Event]) -> None:
        known = [one.configuration.against(STOCK).fingerprint for one in proposals(night)]
        assert len(set(known)) == len(known)

    def test_a_small_space_is_tried_to_the_last_point_and_then_once_more(self) -> None:
        """Two switches' worth: 2 x 8 points, stock among them."""
        log = go_on(
            SWITCHES,
            begun(SWITCHES, hand_tuned=Configuration()),
            20,
            truth=lambda v: 0.01 * int(str(v["nginx:output_buffers.number"])),
        )
        known = [one.configuration.against(STOCK).fingerprint for one in proposals(log)]
        assert len(set(known[:16])) == 16
        again = [one.configuration for one in proposals(log)[16:]]
        assert again[0]["nginx:output_buffers.number"] == 8, "the best is the one to know better"
        assert len({one.fingerprint for one in again}) == 4

    def test_a_configuration_that_failed_is_never_proposed_again(self) -> None:
        """All but the switch's two values are one point each, and the second fails wherever it is met."""
        study = a_study(a_space((SENDFILE,), (), ()))
        log = go_on(study, [a_night(study), a_plan()], 1)
        proposal = propose(study, log, AskSampler(night=1, number=1), at="x")
        assert proposal.configuration.mapping == {"nginx:sendfile": False}
        log += [proposal, a_failure(proposal, 50)]
        with pytest.raises(DefinitionError, match="no configuration but stock is left") as caught:
            asked(study, log)
        assert caught.value.hint

    def test_rules_that_nearly_nothing_keeps_are_still_kept(self) -> None:
        narrow = Rule(
            expression=Expression(text="nginx:listen.backlog * nginx:output_buffers.number <= 1100"), why="t"
        )
        tight = Rule(expression=Expression(text="sysctl:net.core.somaxconn <= 4200"), why="t")
        study = a_study(a_space(rules=(narrow, tight)))
        log = go_on(study, begun(study, hand_tuned=Configuration()), 25)
        first = a_night(study)
        for proposal in proposals(log):
            assert study.space.broken_rules(proposal.configuration, first.stock, first.facts) == ()

    def test_a_parameter_that_tonight_lacks_stays_at_stock(self, night: list[Event]) -> None:
        missing = ("sysctl:net.ipv4.tcp_congestion_control",)
        second = [*night, a_night(STUDY, night=2, missing=missing), a_plan(night=2)]
        for number in range(40, 44):
            assert missing[0] not in asked(STUDY, second, number, night=2).mapping

    def test_stock_outside_the_range_means_tonights_stock(self) -> None:
        """The kernel works a default out of its memory, a little other at each start; the file asks for less."""
        low = {**STOCK, "sysctl:net.core.somaxconn": 900, "nginx:listen.backlog": 511}
        log: list[Event] = [a_night(STUDY, stock=low), a_plan()]
        other = {**low, "sysctl:net.core.somaxconn": 901}
        log = [*go_on(STUDY, log, 30), a_night(STUDY, night=2, stock=other), a_plan(night=2)]
        tried = {asked(STUDY, log, number, night=2)["sysctl:net.core.somaxconn"] for number in range(30, 60)}
        assert 900 not in tried
        assert all(int(str(value)) >= 1024 or value == 901 for value in tried)


class TestTheLogAloneDecides:
    def test_the_same_log_gives_the_same_proposal(self, night: list[Event]) -> None:
        for cut, event in enumerate(night):
            if event.kind == "proposal" and event.number % 9 == 0:
                assert asked(STUDY, night[:cut]) == event.configuration

    def test_a_fresh_process_proposes_the_same(self, night: list[Event], tmp_path: Path) -> None:
        cuts = [
            cut for cut, event in enumerate(night) if event.kind == "proposal" and event.number in (5, 12, 39)
        ]
        (tmp_path / "study.json").write_text(STUDY.model_dump_json())
        (tmp_path / "log.jsonl").write_text("\n".join(event.model_dump_json() for event in night))
        code = f"""
from pathlib import Path
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import EVENT
from autotune.experiment.study import Study
from autotune.search.searcher import propose
study = Study.model_validate_json(Path({str(tmp_path / "study.json")!r}).read_text())
log = [EVENT.validate_json(line) for line in Path({str(tmp_path / "log.jsonl")!r}).read_text().splitlines()]
for cut in {cuts}:
    print(propose(study, log[:cut], AskSampler(night=1, number=log[cut].number), at=log[cut].at).model_dump_json())
"""
        for hash_seed in ("0", "1"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
                capture_output=True,
                text=True,
                check=True,
            )
            found = [EVENT.validate_json(line) for line in done.stdout.splitlines()]
            assert found == [night[cut] for cut in cuts]

    def test_a_study_cut_in_pieces_proposes_what_the_undisturbed_one_does(self, night: list[Event]) -> None:
        log = begun()
        for upto in (3, 11, 12, 25, 40):
            log = [EVENT.validate_json(event.model_dump_json()) for event in log]
            log = go_on(STUDY, log, upto, noise=0.02, fails=fails)
        assert log == night

    def test_other_seeds_propose_other_things(self) -> None:
        other = a_study(seed=4)
        one, two = (proposals(go_on(study, begun(study), 14)) for study in (STUDY, other))
        assert all(
            left.configuration != right.configuration for left, right in zip(one[2:], two[2:], strict=True)
        )

    def test_every_number_draws_from_a_seed_of_its_own(self) -> None:
        assert len({seed_of(seed, number) for seed in range(30) for number in range(100)}) == 3000


class TestWhatTheSamplerIsTold:
    def study_of(self, log: list[Event]) -> optuna.study.Study:
        several = told(log, trial_scores(STUDY, log))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rebuilt(encoding_of(STUDY, log), several, optuna.samplers.RandomSampler())

    def test_finished_trials_carry_all_unconditional_parameters_and_all_constraints(
        self, night: list[Event]
    ) -> None:
        trials = self.study_of(night).get_trials(deepcopy=False)
        unconditional = {
            name
            for name in encoding_of(STUDY, night).encode(Configuration()).drawn
            if "sendfile_max_chunk" not in name
        }
        assert len(unconditional) == 11
        for trial in trials:
            assert trial.state is optuna.trial.TrialState.COMPLETE
            assert unconditional <= trial.params.keys()
            assert list(trial.constraints) == ["configuration failed", "limits", "rules"]

    def test_a_failing_configuration_is_as_bad_as_the_worst_good_one_and_infeasible(
        self, night: list[Event]
    ) -> None:
        trials = self.study_of(night).get_trials(deepcopy=False)
        bad = [trial for trial in trials if trial.params["sysctl:net.ipv4.tcp_congestion_control"] == "reno"]
        good = [trial for trial in trials if trial not in bad]
        assert bad
        assert {trial.value for trial in bad} == {min(trial.value or 0.0 for trial in good)}
        assert all(trial.constraints["configuration failed"] > 0 for trial in bad)
        assert all(trial.constraints["configuration failed"] <= 0 for trial in good)

    def test_before_anything_is_good_a_failure_is_a_margin_below_stock(self) -> None:
        log = go_on(STUDY, begun(), 4, fails=lambda _: True)
        assert worst_of(told(log, trial_scores(STUDY, log))) == -MARGIN

    def test_the_boards_faults_are_not_told_and_open_trials_are_running(self) -> None:
        log = go_on(STUDY, begun(), 4)
        lost = propose(STUDY, log, AskSampler(night=1, number=4), at="x")
        log += [lost, a_failure(lost, 60, blame="environment")]
        log.append(propose(STUDY, log, AskSampler(night=1, number=5), at="x"))
        states = [one.state for one in told(log, trial_scores(STUDY, log))]
        assert states == ["good"] * 4 + ["lost", "open"]
        trials = self.study_of(log).get_trials(deepcopy=False)
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4 + ["RUNNING"]

    def test_late_knowledge_counts(self) -> None:
        log = go_on(STUDY, begun(), 10)
        before = self.study_of(log).get_trials(deepcopy=False)[5].value
        log.append(a_sample(proposals(log)[5], len(log), 30_000.0))
        after = self.study_of(log).get_trials(deepcopy=False)[5].value
        assert before is not None
        assert after is not None
        assert after > before + 0.3

    def test_few_of_the_later_proposals_fail(self) -> None:
        """A third of the space fails; a sampler that isn't told goes on proposing it. (Half are drawn near the best.)"""
        log = go_on(STUDY, begun(candidates=60), 60, fails=fails)
        late = [one.configuration.over(STOCK) for one in proposals(log)[30:]]
        assert sum(fails(values) for values in late) <= 6

    def test_it_finds_what_is_good(self) -> None:
        log = go_on(STUDY, begun(candidates=60, hand_tuned=Configuration()), 60, noise=0.01)
        late = [some_truth(one.configuration.over(STOCK)) for one in proposals(log)[45:]]
        early = [some_truth(one.configuration.over(STOCK)) for one in proposals(log)[1:9]]
        assert sum(late) / len(late) > sum(early) / len(early) + 0.1


class TestManners:
    def test_optuna_stays_silent_and_as_loud_as_it_was(
        self, night: list[Event], capfd: pytest.CaptureFixture[str]
    ) -> None:
        optuna.logging.set_verbosity(logging.INFO)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            asked(STUDY, night)
        assert optuna.logging.get_verbosity() == logging.INFO
        assert capfd.readouterr() == ("", "")

    def test_an_ask_after_forty_trials_takes_well_under_a_second(self, night: list[Event]) -> None:
        began = time.perf_counter()
        asked(STUDY, night)
        assert time.perf_counter() - began < 1.0
