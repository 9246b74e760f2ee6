"""The finals' samples and what is judged from them: three hypotheses, fixed before any night; and when they are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from autotune.experiment.events import Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.logbook import Logbook, log_rate
from autotune.measurement.looks import levels_at, look_rounds
from autotune.measurement.stages import final_places
from autotune.measurement.verdicts import Judged, Verdict, judge

PAIRS = (("automatic", "hand-tuned"), ("automatic", "stock"), ("hand-tuned", "stock"))
"""Fixed before any night, in the order in which they are told."""

FinalRounds: TypeAlias = dict[int, dict[str, Sample]]
"""The finals' good samples: by round, then by arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """One hypothesis: the log ratios of a to b, round by round, and what they say."""

    a: str
    b: str
    differences: tuple[float, ...]
    judged: Judged


def final_rounds(book: Logbook, night: int) -> FinalRounds:
    """Every round of this night that has a good sample, in order."""
    rounds: FinalRounds = {}
    for slot in book.of_stage(night, Stage.FINALS):
        if slot.sample is not None:
            rounds.setdefault(slot.last.key.block, {})[slot.sample.arm.text] = slot.sample
    return dict(sorted(rounds.items()))


def judged_pairs(study: Study, rounds: FinalRounds, done: int) -> tuple[JudgedPair, ...]:
    """The hypotheses whose two arms have samples, judged together after `done` rounds.

    Two arms with the same values in force are one configuration: their pair leaves the family.
    """
    effective = {arm: sample.effective for round_ in rounds.values() for arm, sample in round_.items()}
    named = [(a, b) for a, b in PAIRS if a in effective and b in effective]
    differences = [
        tuple(log_rate(one[a]) - log_rate(one[b]) for one in rounds.values() if a in one and b in one)
        for a, b in named
    ]
    judged = judge(
        differences,
        same=[effective[a] == effective[b] for a, b in named],
        levels=_levels(study, done),
    )
    return tuple(
        JudgedPair(a=a, b=b, differences=values, judged=one)
        for (a, b), values, one in zip(named, differences, judged, strict=True)
    )


def rounds_asked(study: Study, book: Logbook, night: int) -> int:
    """How many rounds the finals have: the plan's, or fewer where the study looks and every hypothesis is decided."""
    planned = book.plans[night].finals_rounds
    if not study.budget.looks:
        return planned
    done = rounds_done(study, book, night)
    rounds = final_rounds(book, night)
    for look in look_rounds(study.budget.finals_rounds):
        if look > min(done, planned):
            break
        seen = {block: round_ for block, round_ in rounds.items() if block < look}
        pairs = judged_pairs(study, seen, look)
        if pairs and all(one.judged.verdict is not Verdict.UNDECIDED for one in pairs):
            return look
    return planned


def rounds_done(study: Study, book: Logbook, night: int) -> int:
    """How many rounds from the first one on have all their places filled, or given up."""
    planned = book.plans[night].finals_rounds
    open_blocks = (
        place.block
        for place in final_places(study, book, night, planned)
        if (slot := book.slot(night, place.stage, place.block, place.position)) is None or not slot.closed
        if not book.is_barred(place.who.configuration, night)
    )
    return min(open_blocks, default=planned)


def _levels(study: Study, done: int) -> Callable[[int], float] | None:
    return levels_at(done, study.budget.finals_rounds) if study.budget.looks else None
