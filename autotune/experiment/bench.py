"""What is to be done next, and the bench that does the measuring."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from autotune.experiment.events import Arm, Failure, Sample, SampleKey
from autotune.space.configuration import Configuration
from autotune.space.record import Record


class Measure(Record):
    """Take this sample. `rates`: by workload, the requests/s of an open-loop run after the closed-loop one; {}: none."""

    key: SampleKey
    arm: Arm
    configuration: Configuration
    rates: dict[str, float] = {}


class AskPlan(Record):
    """Plan the night's stages (a Plan event)."""

    night: int


class AskSampler(Record):
    """Ask the sampler for the trial of this number (a Proposal event)."""

    night: int
    number: int


class AskRanking(Record):
    """Rank the trials (a Ranking event)."""

    night: int
    purpose: Literal["finalists", "winner"]


class AskSubsets(Record):
    """Nominate subsets of the winning trial's changes (a Subsets event)."""

    night: int
    trial: int


class AskDistilled(Record):
    """Say which of them is shipped (a Distilled event)."""

    night: int


class Finished(Record):
    """Nothing more to do in this night."""

    night: int
    outcome: Literal["complete", "refused", "systemic failure"]
    reason: str = ""


NextStep: TypeAlias = Measure | AskPlan | AskSampler | AskRanking | AskSubsets | AskDistilled | Finished


class Outcome(Record):
    """What a bench saw, with the load generator's raw output (kept beside the event, never read by decisions)."""

    event: Sample | Failure
    raw: str = ""


class Bench(Protocol):
    """Something that measures a configuration: the real board, or numbers in a test."""

    def measure(self, order: Measure) -> Outcome:
        """Switch to the configuration, warm up, measure, judge. Failures of a sample are returned, not raised.

        Raises BoardUnreachable when the line to the board is gone (nothing of this sample counts),
        BoardLeftChanged when something can't be put back.
        """
        ...
