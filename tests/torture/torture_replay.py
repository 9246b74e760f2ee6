"""The same decisions again, by a fresh process: from a log alone, at every event that was a decision.

python torture_replay.py STUDY.json LOG.jsonl      prints a JSON list of what was decided differently
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from autotune.analysis.subsets import nominate
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
    EVENT,
    Distilled,
    Event,
    Failure,
    Gap,
    NightEnded,
    Plan,
    Proposal,
    Ranking,
    Sample,
    Subsets,
)
from autotune.experiment.study import Study
from autotune.measurement.distillation import distil
from autotune.measurement.planning import plan_night
from autotune.measurement.ranking import rank
from autotune.measurement.schedule import next_step
from autotune.search.searcher import propose

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]


def diverged(study: Study, log: Sequence[Event]) -> list[str]:
    """Every decision of the log that is decided differently from the events before it, in words."""
    found = []
    for length in range(1, len(log)):
        before, event = list(log[:length]), log[length]
        if _is_decision(before, event):
            again = _again(study, before, event)
            if again:
                found.append(f"event {length + 1} ({event.kind}): {again}")
    return found


def _is_decision(before: Sequence[Event], event: Event) -> bool:
    """Whether the log alone leads to it: not so a plan that is shortened when the clock says so, or an abandoned night."""
    match event:
        case Plan():
            return not any(isinstance(one, Plan) and one.night == event.night for one in before)
        case NightEnded():
            return event.outcome != "abandoned"
        case _:
            return isinstance(event, (Sample, Failure, Proposal, Ranking, Subsets, Distilled))


def _again(study: Study, before: list[Event], event: Event) -> str:
    """How the decision differs now; "" when it doesn't."""
    step = next_step(study, before)
    match event, step:
        case ((Sample() | Failure()), Measure()):
            was, now = (event.key, event.arm, event.configuration), (step.key, step.arm, step.configuration)
            return "" if was == now else f"was {was}, now {now}"
        case Proposal(), AskSampler():
            again = propose(study, before, step, at=event.at)
            return _differs(event.model_copy(update={"ask_s": 0.0}), again)
        case Ranking(), AskRanking():
            return _differs(event, rank(study, before, step, event.at))
        case Subsets(), AskSubsets():
            return _differs(event, nominate(study, before, step, event.at))
        case Distilled(), AskDistilled():
            return _differs(event, distil(study, before, step, event.at))
        case Plan(), AskPlan():
            now_s = datetime.fromisoformat(event.at).timestamp()
            planned = plan_night(
                study, before, at=event.at, now_s=now_s, deadline_s=None, sample_s=event.sample_s
            )
            return _differs(event, planned)
        case NightEnded(), Finished():
            was_end, now_end = (event.outcome, event.reason), (step.outcome, step.reason)
            return "" if was_end == now_end else f"was {was_end}, now {now_end}"
        case _:
            return f"now {step.model_dump_json()[:200]} comes next"


def _differs(was: Event, now: Event) -> str:
    return "" if was == now else f"was {was.model_dump_json()[:400]}, now {now.model_dump_json()[:400]}"


def diverged_in_a_fresh_process(study: Path, log: Path, *, hash_seed: int = 77) -> list[str]:
    """The same, from files, by a process with another hash seed. A process that fails is a divergence too."""
    done = subprocess.run(
        [sys.executable, str(HERE / "torture_replay.py"), str(study), str(log)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"the replay failed: {done.stderr.strip().splitlines()[-1:]}"]
    found: list[str] = json.loads(done.stdout)
    return found


def night_of_numbers(seed: int) -> tuple[Study, list[Event]]:
    """A whole small night with a fake clock on a bench of numbers, with deaths and failures strewn in; real proposals
    and subsets."""
    sys.path.insert(0, str(ROOT / "tests" / "measurement"))
    from number_bench import FakeClock, NumberBench, answer, night_begun, number_study, pause

    study = number_study(accept_noise=True, seed=seed, attribution_rounds=2)
    bench = NumberBench(FakeClock(), sigma=0.02, drift_per_hour=0.1, seed=seed)
    bench.fails = lambda order: "environment" if order.key.attempt == 0 and order.key.block % 5 == 3 else ""
    log: list[Event] = [night_begun(at=bench.clock.at)]
    step: NextStep | None = None
    while not isinstance(step, Finished):
        step = next_step(study, log)
        if isinstance(step, AskSampler):
            log.append(propose(study, log, step, at=bench.clock.at))
            continue
        if isinstance(step, AskSubsets):
            log.append(nominate(study, log, step, bench.clock.at))
            continue
        log.append(answer(study, log, step, bench))
        if len(log) % 7 == seed % 7 and not isinstance(step, Finished):
            gap: Gap = pause(bench, 1, 3.0)  # the controller died and was started again
            log.append(gap)
    return study, log


def main(study: str, log: str) -> int:
    question = Study.model_validate_json(Path(study).read_text())
    events = [EVENT.validate_json(line) for line in Path(log).read_text().splitlines()]
    print(json.dumps(diverged(question, events)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
