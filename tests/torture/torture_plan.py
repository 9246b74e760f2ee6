"""Who dies when: a night's deaths dealt over its stages and the three dangerous moments, and a budget that has room for them."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from weather import FAIR, Forecast

STAGES: Final = ("calibration", "search", "finalists", "finals", "series", "attribution")
MOMENTS: Final = ("switch", "begin", "restore")
STRATA: Final = (*STAGES, *MOMENTS)

LINK_BRIEFLY, LINK_GONE = "link briefly", "link for good"
"""The two ways to cut the cable to a board: shorter than its lease, and until it has restored itself."""
LINKS: Final = frozenset((LINK_BRIEFLY, LINK_GONE))
VICTIMS: Final = ("controller", "ssh", "sshd", "agent", "guardian", "nginx", LINK_BRIEFLY, LINK_GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of the torture. `combinations`: who is killed together; `cut_briefly` and `cut_for_good`: who with the cable.

    `short_stages`: where the short form stays; `foul_share`: deaths in bad weather; `first_start_s` and `start_s` are first
    guesses, from a start to its first load.
    """

    combinations: tuple[frozenset[str], ...]
    short_stages: tuple[str, ...]
    lease_s: float
    first_start_s: float
    start_s: float
    foul_share: float = 0.0
    cut_briefly: tuple[frozenset[str], ...] = ()
    cut_for_good: tuple[frozenset[str], ...] = ()

    @property
    def all_combinations(self) -> tuple[frozenset[str], ...]:
        return (*self.combinations, *self.cut_briefly, *self.cut_for_good)


def _all_of(victims: Sequence[str]) -> tuple[frozenset[str], ...]:
    sizes = range(1, len(victims) + 1)
    return tuple(frozenset(one) for size in sizes for one in itertools.combinations(victims, size))


_HERE: Final = ("controller", "agent", "guardian", "nginx")
_FAR: Final = ("controller", "ssh", "sshd", "agent", "guardian", "nginx")
LOCAL: Final = Form(
    combinations=_all_of(_HERE),
    short_stages=("calibration", "search", "finalists"),
    lease_s=20.0,
    first_start_s=1.2,
    start_s=0.9,
)
"""Everything on one machine."""
LAB: Final = Form(
    combinations=_all_of(_FAR),
    short_stages=("calibration", "search"),
    lease_s=5.0,
    first_start_s=9.0,
    start_s=2.0,
    foul_share=0.3,
    cut_briefly=tuple(frozenset((LINK_BRIEFLY, *one)) for one in ((), *((name,) for name in _FAR))),
    cut_for_good=tuple(frozenset((LINK_GONE, *one)) for one in ((), *((name,) for name in _FAR))),
)
"""The controller at the other end of a cable."""
_MOST_CUTS_FOR_GOOD: Final = 20
_DEATHS_PER_CUT_FOR_GOOD, _DEATHS_PER_BRIEF_CUT = 15, 10
_LATE_S, _LOST = (0.002, 0.06), (0.01, 0.08)
# Calibration measures stock alone, so its switches write nothing.
_SWITCH_STAGES: Final = ("search", "finalists", "finals", "series", "attribution")
# Few deaths don't carry a night to its end: the short form stays where a minute reaches.
SHORT: Final = 20

_STAGGERED: Final = 0.3
_LEFT_RUNNING: Final = 0.35
_TWICE: Final = 0.3
# A controller that survives stores a sample, and another one before it stops.
SAMPLES_PER_DEATH: Final = 1.1
# The last stage also takes the deaths that those before had no room for: 199 of 200 found one with 1.5.
_LAST_STAGE_ROOM: Final = 2.0
SAMPLES_PER_SWITCH: Final = 2.5  # a death there waits for a switch that writes
_HAND_TUNED_LINKS: Final = 6
_COMBINATIONS: Final = 8  # of three steps; more steps make its rounds longer
_DISTILLATION_PAIRS: Final = 2  # of each of up to four subsets, in a night that has a winner


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One planned death. `stage`: not before the night is there. `moment`: 0 to 1, where in the window it falls.

    `gaps_s`: a pause after each of its kills; `left_running`: a controller that survives runs on into the next death;
    `hurried`: the controller gets a second signal before its restore; `weather`: on the cable, from then until all is well.
    """

    number: int
    stratum: str
    stage: str
    victims: frozenset[str]
    moment: float
    gaps_s: tuple[float, ...]
    left_running: bool
    hurried: bool
    weather: Forecast = FAIR

    @property
    def text(self) -> str:
        return f"death {self.number}: {combination_text(self.victims)} in {self.stratum} ({self.stage})"


def combination_text(victims: frozenset[str]) -> str:
    return "+".join(one for one in VICTIMS if one in victims)


def floor_for(deaths: int) -> int:
    """How many deaths each stratum gets at the least: 15 of 200, in proportion."""
    return 15 * deaths // 200


RESTORED_AFTER_LEASE_S: Final = 5.0
"""Whoever is left to restore the board has done so a lease and this long after the death."""


def reaches_the_end(deaths: int) -> bool:
    return deaths >= SHORT


def deal(deaths: int, seed: int, form: Form) -> tuple[Death, ...]:
    """All deaths in the order in which the night meets them; the same for the same number, seed and form."""
    chance = random.Random(f"torture/{seed}/{deaths}")
    stages = STAGES if reaches_the_end(deaths) else form.short_stages
    homes = _homes(deaths, stages, chance)
    families = _families(form, homes, chance)
    used: Counter[frozenset[str]] = Counter()
    dealt = []
    for (stratum, stage), family in zip(homes, families, strict=True):
        fewest = min(used[one] for one in family)
        victims = chance.choice([one for one in family if used[one] == fewest])
        used[victims] += 1
        weather = _foul(chance) if chance.random() < form.foul_share else FAIR
        dealt.append(replace(_death(stratum, stage, victims, chance), weather=weather))
    order = sorted(dealt, key=lambda one: stages.index(one.stage))  # stable: shuffled within a stage
    return tuple(replace(one, number=number) for number, one in enumerate(order, 1))


def _families(
    form: Form, homes: Sequence[tuple[str, str]], chance: random.Random
) -> list[tuple[frozenset[str], ...]]:
    """What each death may be. A restore needs no cable and is over before one could be cut, and has no nginx any more."""
    without_nginx = tuple(one for one in form.combinations if "nginx" not in one)
    families = [without_nginx if stratum == "restore" else form.combinations for stratum, _ in homes]
    others = [place for place, (stratum, _) in enumerate(homes) if stratum != "restore"]
    chance.shuffle(others)
    for cuts, wanted in (
        (
            form.cut_for_good,
            min(_MOST_CUTS_FOR_GOOD, math.ceil(len(homes) / _DEATHS_PER_CUT_FOR_GOOD)),
        ),
        (form.cut_briefly, math.ceil(len(homes) / _DEATHS_PER_BRIEF_CUT)),
    ):
        for _ in range(wanted if cuts and len(others) > 1 else 0):
            families[others.pop()] = cuts
    return families


def _homes(deaths: int, stages: Sequence[str], chance: random.Random) -> list[tuple[str, str]]:
    """(stratum, stage) of every death, shuffled; a stage's first begins come before anything else is stored."""
    # Dangerous moments first: with few deaths they get the odd ones.
    strata = ("switch", "restore", "begin", *stages)
    counts = Counter(itertools.islice(itertools.cycle(strata), deaths))
    switch_stages = itertools.cycle([one for one in stages if one in _SWITCH_STAGES])
    anywhere = itertools.cycle(stages)
    homes: list[tuple[str, str]] = []
    for stratum, count in counts.items():
        for turn in range(count):
            if stratum in stages:
                homes.append((stratum, stratum))
            elif stratum == "switch":
                homes.append((stratum, next(switch_stages)))
            elif stratum == "begin" and turn % 3 == 0:
                homes.append((stratum, stages[0]))
            else:
                homes.append((stratum, next(anywhere)))
    chance.shuffle(homes)
    # The very first start has a self-test that no later one has: half of the first stage's begins die in it.
    first = [home for home in homes if home == ("begin", stages[0])]
    early = len(first) // 2 + len(first) % 2
    for home in first[:early]:
        homes.remove(home)
    return first[:early] + homes


def _death(stratum: str, stage: str, victims: frozenset[str], chance: random.Random) -> Death:
    staggered = chance.random() < _STAGGERED
    gaps = tuple(chance.uniform(0.0, 0.008) if staggered else 0.0 for _ in victims)
    return Death(
        number=0,
        stratum=stratum,
        stage=stage,
        victims=victims,
        moment=chance.random(),
        gaps_s=gaps,
        left_running=chance.random() < _LEFT_RUNNING,
        hurried=chance.random() < _TWICE,
    )


def _foul(chance: random.Random) -> Forecast:
    """Late, lossy, or both."""
    late_s = chance.uniform(*_LATE_S) if chance.random() < 0.7 else 0.0
    lost = chance.uniform(*_LOST) if not late_s or chance.random() < 0.5 else 0.0
    return Forecast(delay_s=late_s, jitter_s=late_s / 4, loss=lost)


def budget_for(deaths: Sequence[Death]) -> dict[str, int]:
    """The study's numbers: each stage a little longer than its deaths are likely to carry it."""
    wanted = dict.fromkeys(STAGES, 4.0)
    for one in deaths:
        wanted[one.stage] += SAMPLES_PER_SWITCH if one.stratum == "switch" else SAMPLES_PER_DEATH
    wanted[STAGES[-1]] *= _LAST_STAGE_ROOM
    return {
        "calibration_pairs": max(6, math.ceil(wanted["calibration"] / 2)),
        # Each restart asks for another reference, so candidates are used up more slowly than samples.
        "candidates": max(4, math.ceil(0.6 * wanted["search"])),
        "reference_every": 3,
        "finalists": 1,
        "finalist_pairs": min(50, math.ceil(wanted["finalists"] / 2)),
        "distillation_pairs": _DISTILLATION_PAIRS,
        "finals_rounds": max(12, 3 * math.ceil(wanted["finals"] / 9)),
        "series_rounds": math.ceil(wanted["series"] / _HAND_TUNED_LINKS),
        "attribution_rounds": math.ceil(wanted["attribution"] / _COMBINATIONS),
    }


def planned_samples(budget: Mapping[str, int], stage: str) -> int:
    """About how many samples a stage of this budget holds."""
    return {
        "calibration": 2 * budget["calibration_pairs"],
        "search": 2 * budget["candidates"],
        "finalists": 2 * budget["finalist_pairs"],
        "finals": 3 * budget["finals_rounds"],
        "series": _HAND_TUNED_LINKS * budget["series_rounds"],
        "attribution": _COMBINATIONS * budget["attribution_rounds"],
    }.get(stage, 0)
