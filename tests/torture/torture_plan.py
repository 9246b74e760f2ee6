"""Who dies when: a night's deaths dealt over its stages and the three dangerous moments, and a study that has room for them."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

STAGES: Final = ("calibration", "search", "finalists", "finals", "series")
MOMENTS: Final = ("switch", "begin", "restore")
STRATA: Final = (*STAGES, *MOMENTS)

VICTIMS: Final = ("controller", "agent", "guardian", "nginx")
COMBINATIONS: Final = tuple(
    frozenset(chosen) for size in range(1, 5) for chosen in itertools.combinations(VICTIMS, size)
)
# nginx is stopped before anything is put back, so it can't be killed in the middle of a restore.
_WITHOUT_NGINX: Final = tuple(one for one in COMBINATIONS if "nginx" not in one)
# Calibration measures stock alone, so its switches write nothing.
_SWITCH_STAGES: Final = ("search", "finalists", "finals", "series")
# Few deaths don't carry a night to its end: the short form stays where a minute reaches.
SHORT: Final = 20
_SHORT_STAGES: Final = ("calibration", "search", "finalists")

_STAGGERED: Final = 0.3
_LEFT_RUNNING: Final = 0.35
_TWICE: Final = 0.3
# A controller that survives stores a sample, and another one before it stops.
SAMPLES_PER_DEATH: Final = 1.1
# The last stage also takes the deaths that those before had no room for: 194 of 200 found one without it.
_LAST_STAGE_ROOM: Final = 1.5
SAMPLES_PER_SWITCH: Final = 2.5  # a death there waits for a switch that writes
_HAND_TUNED_LINKS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One planned death. `stage`: not before the night is there. `moment`: 0 to 1, where in the window it falls.

    `gaps_s`: pauses between its kills; `left_running`: a controller that survives runs on into the next death;
    `hurried`: the controller gets a second signal before its restore.
    """

    number: int
    stratum: str
    stage: str
    victims: frozenset[str]
    moment: float
    gaps_s: tuple[float, float, float]
    left_running: bool
    hurried: bool

    @property
    def text(self) -> str:
        return f"death {self.number}: {combination_text(self.victims)} in {self.stratum} ({self.stage})"


def combination_text(victims: frozenset[str]) -> str:
    return "+".join(one for one in VICTIMS if one in victims)


def floor_for(deaths: int) -> int:
    """How many deaths each stratum gets at the least: 15 of 200, in proportion."""
    return 15 * deaths // 200


def reaches_the_end(deaths: int) -> bool:
    return deaths >= SHORT


def deal(deaths: int, seed: int) -> tuple[Death, ...]:
    """All deaths in the order in which the night meets them; the same for the same number and seed."""
    chance = random.Random(f"torture/{seed}/{deaths}")
    stages = STAGES if reaches_the_end(deaths) else _SHORT_STAGES
    homes = _homes(deaths, stages, chance)
    used: Counter[frozenset[str]] = Counter()
    dealt = []
    for stratum, stage in homes:
        allowed = _WITHOUT_NGINX if stratum == "restore" else COMBINATIONS
        fewest = min(used[one] for one in allowed)
        victims = chance.choice([one for one in allowed if used[one] == fewest])
        used[victims] += 1
        dealt.append(_death(stratum, stage, victims, chance))
    order = sorted(dealt, key=lambda one: stages.index(one.stage))  # stable: shuffled within a stage
    return tuple(replace(one, number=number) for number, one in enumerate(order, 1))


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
    gaps = tuple(chance.uniform(0.0, 0.008) if staggered else 0.0 for _ in range(3))
    return Death(
        number=0,
        stratum=stratum,
        stage=stage,
        victims=victims,
        moment=chance.random(),
        gaps_s=(gaps[0], gaps[1], gaps[2]),
        left_running=chance.random() < _LEFT_RUNNING,
        hurried=chance.random() < _TWICE,
    )


def budget_for(deaths: Sequence[Death]) -> dict[str, int]:
    """The study's numbers: each stage a little longer than its deaths are likely to carry it."""
    wanted = dict.fromkeys(STAGES, 4.0)
    for one in deaths:
        wanted[one.stage] += SAMPLES_PER_SWITCH if one.stratum == "switch" else SAMPLES_PER_DEATH
    wanted["series"] *= _LAST_STAGE_ROOM
    return {
        "calibration_pairs": max(6, math.ceil(wanted["calibration"] / 2)),
        # Each restart asks for another reference, so candidates are used up more slowly than samples.
        "candidates": max(4, math.ceil(0.6 * wanted["search"])),
        "reference_every": 3,
        "finalists": 1,
        "finalist_pairs": min(50, math.ceil(wanted["finalists"] / 2)),
        "finals_rounds": max(12, 3 * math.ceil(wanted["finals"] / 9)),
        "series_rounds": math.ceil(wanted["series"] / _HAND_TUNED_LINKS),
    }


def planned_samples(budget: Mapping[str, int], stage: str) -> int:
    """About how many samples a stage of this budget holds."""
    return {
        "calibration": 2 * budget["calibration_pairs"],
        "search": 2 * budget["candidates"],
        "finalists": 2 * budget["finalist_pairs"],
        "finals": 3 * budget["finals_rounds"],
        "series": _HAND_TUNED_LINKS * budget["series_rounds"],
    }.get(stage, 0)


NAME: Final = "torture"
PORT: Final = 8123


_MANAGED: Final = f"""
port = {PORT}
[[server.file]]
path = "/test_100k.html"
size = "100k"
[[server.file]]
path = "/index.php"
size = "4k"
"""
_OWN: Final = """
kind = "own"
config = "/etc/nginx/nginx.conf"
"""
_MANAGED_URLS: Final = ('path = "/test_100k.html"', 'path = "/index.php"')
_OWN_URLS: Final = (
    'url = "http://www.example.org/page.html"',
    'url = "http://www.example.org/index.php?p=1"',
)


def study_text(budget: dict[str, int], seed: int, *, own: bool = False) -> str:
    """The study's file: real nginx, php-fpm and wrk over loopback, runs of one second, the shipped space and sequence.

    `own`: of the user's own site (torture_site) instead of a managed nginx.
    """
    numbers = "\n".join(f"{key} = {value}" for key, value in budget.items())
    static, dynamic = _OWN_URLS if own else _MANAGED_URLS
    return f"""
name = "{NAME}"
space = "loopback.toml"
hand_tuned = "hand-tuned.toml"
seed = {seed}
accept_noise = true
[server]
{_OWN if own else _MANAGED}
[workload]
name = "mix"
connections = 8
threads = 1
warmup = "100ms"
duration = "1s"
[[workload.url]]
{static}
weight = 0.7
[[workload.url]]
{dynamic}
weight = 0.3
[fitness]
foreign_load = 100
[budget]
{numbers}
lease = "20s"
"""
