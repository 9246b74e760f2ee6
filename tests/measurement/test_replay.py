"""The night is a function of its log: replayed at any point, by a fresh process, whatever has happened, it goes on alike."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from number_bench import FakeClock, NumberBench, answer, drive, night_begun, number_study, pause, whole_night

from autotune.experiment.bench import Finished, Measure
from autotune.experiment.events import (
    EVENT,
    RETAKES,
    Event,
    Failure,
    NightBegun,
    NightEnded,
    Plan,
    Proposal,
    Sample,
    Stage,
    Void,
)
from autotune.experiment.study import Study
from autotune.measurement.planning import shortened
from autotune.measurement.schedule import next_step


def _decisions(study: Study, log: list[Event]) -> list[str]:
    """What comes next at every point of the log at which a night is running."""
    return [
        next_step(study, log[:length]).model_dump_json()
        for length in range(1, len(log) + 1)
        if not isinstance(log[length - 1], NightEnded)
    ]


def test_every_prefix_of_a_night_leads_to_the_decision_that_was_made() -> None:
    study = number_study(repeats=4, candidates=16)
    bench = NumberBench(FakeClock(), sigma=0.02, drift_per_hour=0.1)
    log: list[Event] = [night_begun()]
    made = [step.model_dump_json() for step in drive(study, bench, log)]
    assert _decisions(study, log) == made  # 0 diverged


def test_a_log_that_went_through_json_leads_to_the_same_decisions() -> None:
    study = number_study()
    log = whole_night(study, NumberBench(FakeClock(), sigma=0.02))
    read_back = [EVENT.validate_json(event.model_dump_json()) for event in log]
    again = Study.model_validate_json(study.model_dump_json())
    assert _decisions(again, read_back) == _decisions(study, log)


def test_a_fresh_process_with_another_hash_seed_makes_the_same_decisions(tmp_path: Path) -> None:
    study = number_study()
    log = whole_night(study, NumberBench(FakeClock(), sigma=0.02))
    (tmp_path / "study.json").write_text(study.model_dump_json())
    (tmp_path / "log.jsonl").write_text("\n".join(event.model_dump_json() for event in log))
    code = """
import sys
from pathlib import Path
from autotune.experiment.events import EVENT
from autotune.experiment.study import Study
from autotune.measurement.schedule import next_step
study = Study.model_validate_json(Path("study.json").read_text())
log = [EVENT.validate_json(line) for line in Path("log.jsonl").read_text().splitlines()]
for length in range(1, len(log)):
    print(next_step(study, log[:length]).model_dump_json())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == _decisions(study, log)


def test_a_night_cut_anywhere_and_gone_on_with_is_the_undisturbed_night() -> None:
    """Dying between any two events, with nothing but the log left, changes nothing (noise here is by key)."""
    study = number_study(repeats=4, candidates=16)
    undisturbed = whole_night(study, NumberBench(FakeClock()))
    for cut in range(1, len(undisturbed), 7):
        log = list(undisturbed[:cut])
        bench = NumberBench(FakeClock(now_s=_now_s(log)))
        for _ in drive(study, bench, log):
            pass
        assert [one.model_dump_json() for one in log] == [one.model_dump_json() for one in undisturbed]


def _now_s(log: list[Event]) -> float:
    return 3.0 * sum(isinstance(one, (Sample, Failure)) for one in log)


@dataclass
class Chaos:
    """Mishaps drawn from a seed: failures of both kinds, voids, gaps, cuts between sittings, shortened plans.

    They stop after a while, as mishaps do; a night must then come to its end by itself.
    """

    seed: int
    chance: random.Random = field(init=False)
    rates: dict[str, float] = field(init=False)
    left: int = field(init=False)
    nights: int = 1

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        kinds = ("configuration", "environment", "void", "gap", "cut", "short")
        self.rates = {kind: self.chance.choice((0.0, 0.02, 0.1, 0.3)) for kind in kinds}
        self.rates["cut"] /= 10
        self.left = self.chance.choice((10, 50, 150))

    def strikes(self, kind: str) -> bool:
        if self.left <= 0 or self.chance.random() >= self.rates[kind]:
            return False
        self.left -= 1
        return True


def _eventful_night(seed: int) -> tuple[Study, list[Event]]:
    """A study's log through all the mishaps of this seed, over as many nights as it was cut into."""
    chaos = Chaos(seed)
    study = number_study(seed=seed, accept_noise=True, repeats=1 + seed % 5, candidates=12)
    bench = NumberBench(FakeClock(), sigma=0.02, seed=seed)

    def fails(order: Measure) -> str:
        if len(order.configuration) and chaos.strikes("configuration"):
            return "configuration"
        return "environment" if chaos.strikes("environment") else ""

    bench.fails = fails  # type: ignore[assignment]  # a Literal behind a plain str
    log: list[Event] = [night_begun()]
    for _ in range(3_000):
        step = next_step(study, log)
        log.append(answer(study, log, step, bench))
        if isinstance(step, Finished):
            return study, log
        _mishaps(study, log, bench, chaos)
    raise AssertionError("the night doesn't end")


def _mishaps(study: Study, log: list[Event], bench: NumberBench, chaos: Chaos) -> None:
    night = chaos.nights
    samples = [one for one in log if isinstance(one, Sample) and one.key.night == night]
    if samples and chaos.strikes("void"):
        key = chaos.chance.choice(samples[-5:]).key
        log.append(Void(key=key, at=bench.clock.at, reason="chaos"))
    if chaos.strikes("gap"):
        log.append(pause(bench, night, chaos.chance.uniform(1, 1000)))
    if chaos.strikes("short"):
        now = bench.clock.now_s
        plan = shortened(
            study, log, at=bench.clock.at, now_s=now, deadline_s=now + chaos.chance.uniform(1, 500)
        )
        if plan is not None:
            log.append(plan)
    if chaos.strikes("cut"):
        log.append(NightEnded(night=night, at=bench.clock.at, outcome="abandoned", reason="chaos"))
        chaos.nights += 1
        log.append(night_begun(chaos.nights, bench.clock.at))


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_whatever_happens_no_key_is_measured_twice_and_no_proposal_is_lost_and_the_night_ends(
    seed: int,
) -> None:
    study, log = _eventful_night(seed)
    attempts = [one for one in log if isinstance(one, (Sample, Failure))]
    assert max(Counter(one.key.text for one in attempts).values()) == 1
    assert all(one.key.attempt <= RETAKES for one in attempts)
    last = log[-1]
    assert isinstance(last, NightEnded)
    proposals = [one for one in log if isinstance(one, Proposal)]
    assert [one.number for one in proposals] == list(range(len(proposals)))
    if last.outcome == "complete":
        void = {one.key.text for one in log if isinstance(one, Void)}
        searched = {
            one.arm.number for one in attempts if one.key.stage is Stage.SEARCH and one.arm.kind == "trial"
        }
        failed = {
            one.configuration.fingerprint
            for one in attempts
            if isinstance(one, Failure) and one.blame == "configuration" and one.key.text not in void
        }
        for one in proposals:
            assert one.origin == "stock" or one.number in searched or one.configuration.fingerprint in failed
    assert next_step(study, log) == next_step(study, list(log))


@pytest.mark.parametrize("seed", range(12))
def test_an_eventful_night_replays_to_the_decisions_that_were_made(seed: int) -> None:
    study, log = _eventful_night(seed)
    diverged = 0
    for length in range(1, len(log)):
        following = log[length]
        if isinstance(following, (Sample, Failure)):
            step = next_step(study, log[:length])
            diverged += not (
                isinstance(step, Measure) and step.key == following.key and step.arm == following.arm
            )
    assert diverged == 0


def test_the_mishaps_of_these_tests_do_happen() -> None:
    """Guards the tests above against a chaos that has become tame."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        _, log = _eventful_night(seed)
        seen.update(one.kind for one in log)
        seen.update(one.blame for one in log if isinstance(one, Failure))
        seen["nights"] += sum(isinstance(one, NightBegun) for one in log) > 1
        seen["plans"] += sum(isinstance(one, Plan) for one in log) > 1
        last = log[-1]
        assert isinstance(last, NightEnded)
        seen[last.outcome] += 1
    for kind in ("void", "gap", "configuration", "environment", "nights", "plans", "complete"):
        assert seen[kind] >= 5, (kind, seen)
