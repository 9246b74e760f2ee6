"""Studies of which a page has little to tell, or too much: each must get a truthful one. For tests of any room.

>>> for odd in ODD_STUDIES:
...     study, log = odd.study, odd.log()

Their figures are night_example's inventions.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from autotune.experiment.bench import Measure
from autotune.experiment.events import Event, Failure, Sample, Stage
from autotune.experiment.study import HandTunedSequence, Study
from autotune.storage.store import Store
from night_example import a_night, a_study

BROKEN = "the board's network is gone: invented for a test"
REFUSED = "nginx says no: invented for a test"


@dataclass(frozen=True, slots=True)
class OddStudy:
    """`events`: the log, made once. `finals`: whether its last night with any has an answer. `nights`: how many began."""

    study: Study
    events: Callable[[Study], list[Event]]
    nights: int = 1
    finals: bool = False

    @property
    def name(self) -> str:
        return self.study.name

    def log(self) -> list[Event]:
        return list(_events(self.name))


def odd_study(name: str) -> OddStudy:
    """One of them by its name."""
    return next(one for one in ODD_STUDIES if one.name == name)


def odd_store(folder: Path) -> str:
    """A database that holds all of them; gives its URL."""
    url = f"sqlite:///{folder / 'odd.db'}"
    with Store.open(url) as store:
        for odd in ODD_STUDIES:
            store.enter(odd.study)
            for event in odd.log():
                store.append(odd.name, event, raw="Running\n" if isinstance(event, Sample) else "")
    return url


def _until_in(stage: Stage, samples: int) -> Callable[[Study], list[Event]]:
    """A night that stops after so many samples of this stage."""

    def cut(study: Study) -> list[Event]:
        log = a_night(study)
        of_stage = [at for at, event in enumerate(log) if _is_of(event, stage)]
        return log[: of_stage[samples - 1] + 1]

    return cut


def _is_of(event: Event, stage: Stage) -> bool:
    return isinstance(event, Sample) and event.key.stage is stage


def _failing(order: Measure, seen: Sample | Failure, *, by_itself: bool) -> Failure:
    return Failure(
        key=order.key,
        at=seen.at,
        arm=order.arm,
        configuration=order.configuration,
        stage="nginx" if by_itself else "agent",
        reason=REFUSED if by_itself else BROKEN,
        blame="configuration" if by_itself else "environment",
    )


def _no_trial_succeeds(order: Measure, seen: Sample | Failure) -> Sample | Failure:
    is_stock = not len(order.configuration)
    return seen if order.arm.kind != "trial" or is_stock else _failing(order, seen, by_itself=True)


def _all_fails(order: Measure, seen: Sample | Failure) -> Failure:
    return _failing(order, seen, by_itself=bool(len(order.configuration)))


def _hand_tuned_fails(order: Measure, seen: Sample | Failure) -> Sample | Failure:
    return _failing(order, seen, by_itself=True) if order.arm.kind == "hand-tuned" else seen


def _too_loud(order: Measure, seen: Sample | Failure) -> Sample | Failure:
    """Runs of the same thing that differ by far more than a night may."""
    assert isinstance(seen, Sample)
    numbers = random.Random(order.key.text)
    factor = math.exp(numbers.gauss(0, 0.2))
    runs = {
        name: run.model_copy(update={"requests_per_s": run.requests_per_s * factor})
        for name, run in seen.measurements.items()
    }
    return seen.model_copy(update={"measurements": runs, "objective": seen.objective + math.log(factor)})


def _few(name: str, candidates: int) -> Study:
    study = a_study(name)
    return study.model_copy(
        update={"budget": study.budget.model_copy(update={"candidates": candidates, "finalists": 1})}
    )


def _two_nights(study: Study) -> list[Event]:
    return a_night(study, before=a_night(study))


def _second_night_in_its_search(study: Study) -> list[Event]:
    return a_night(study, before=a_night(study), until=20)


def _baseline_then_tuned(study: Study) -> list[Event]:
    return a_night(study, before=a_night(study, purpose="baseline"))


def _tuned_then_baseline(study: Study) -> list[Event]:
    return a_night(study, before=a_night(study), purpose="baseline")


ODD_STUDIES: tuple[OddStudy, ...] = (
    OddStudy(a_study("not-begun"), lambda study: [], nights=0),
    OddStudy(a_study("just-begun"), lambda study: a_night(study, until=1)),
    OddStudy(a_study("in-calibration"), lambda study: a_night(study, until=9)),
    OddStudy(a_study("in-search"), _until_in(Stage.SEARCH, 6)),
    OddStudy(a_study("no-finals-yet"), _until_in(Stage.FINALISTS, 4)),
    OddStudy(a_study("one-sample-of-finals"), _until_in(Stage.FINALS, 1)),
    OddStudy(a_study("half-of-the-finals"), _until_in(Stage.FINALS, 17), finals=True),
    OddStudy(a_study("no-series"), _until_in(Stage.FINALS, 36), finals=True),
    OddStudy(
        a_study("no-successful-trial"), lambda study: a_night(study, came_to=_no_trial_succeeds), finals=True
    ),
    OddStudy(_few("one-trial", 1), a_night, finals=True),
    OddStudy(_few("two-trials", 2), a_night, finals=True),
    OddStudy(a_study("all-failures"), lambda study: a_night(study, came_to=_all_fails)),
    OddStudy(
        a_study("hand-tuned-fails"), lambda study: a_night(study, came_to=_hand_tuned_fails), finals=True
    ),
    OddStudy(
        a_study("no-hand-tuned", hand_tuned=HandTunedSequence(title="none", source="this test", steps=())),
        a_night,
        finals=True,
    ),
    OddStudy(a_study("nothing-beat-stock", winner=False), a_night, finals=True),
    OddStudy(a_study("refused"), lambda study: a_night(study, came_to=_too_loud)),
    OddStudy(a_study("baseline-only"), lambda study: a_night(study, purpose="baseline")),
    OddStudy(a_study("two-nights"), _two_nights, nights=2, finals=True),
    OddStudy(a_study("second-night-begun"), _second_night_in_its_search, nights=2, finals=True),
    OddStudy(a_study("baseline-then-tuned"), _baseline_then_tuned, nights=2, finals=True),
    OddStudy(a_study("tuned-then-baseline"), _tuned_then_baseline, nights=2, finals=True),
)
"""Every state that an issue or a night has shown to be one."""

EACH_ODD_STUDY = pytest.mark.parametrize("odd", ODD_STUDIES, ids=lambda odd: odd.name)
"""Over a test that takes `odd: OddStudy`."""


@cache
def _events(name: str) -> tuple[Event, ...]:
    odd = odd_study(name)
    return tuple(odd.events(odd.study))
