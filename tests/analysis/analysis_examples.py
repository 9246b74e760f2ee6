"""A study of many settings of which few matter, and the log of a search in it whose noise and truth are known."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autotune.experiment.bench import AskSubsets
from autotune.experiment.events import (
    Arm,
    ErrorCounts,
    Event,
    Measurement,
    NightBegun,
    Plan,
    Proposal,
    Ranking,
    Sample,
    SampleKey,
    Stage,
)
from autotune.experiment.study import HandTunedSequence, ManagedNginx, ServedFile, Study, Url, Workload
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Derived, Parameter, Rule, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

BEGAN = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
CACHE, VALID = "nginx:open_file_cache", "nginx:open_file_cache_valid"
BACKLOG, QUEUE, FILES = "nginx:listen.backlog", "sysctl:net.core.somaxconn", "nginx:worker_rlimit_nofile"


def switch(number: int) -> Parameter:
    return Parameter(setting=Setting(id=f"nginx:switch_{number}", kind=Kind.SWITCH, why="t"), why="t")


def number(id_: str, *, when: str = "") -> Parameter:
    return Parameter(
        setting=Setting(id=id_, kind=Kind.INTEGER, low=1, high=1 << 20, specials=("off",), why="t"),
        span=Span(low=128, high=65536, scale=Scale.LOG),
        when=Expression(text=when) if when else None,
        why="t",
    )


def study(switches: int = 24, numbers: int = 8, *, seed: int = 1) -> Study:
    """Switches and numbers, a cache with a child that counts only beside it, a rule, and a derived value."""
    return Study(
        name="many",
        server=ManagedNginx(files=(ServedFile(path="/1k", size_bytes=1024),)),
        workloads=(Workload(name="1k", urls=(Url(target="/1k"),), connections=4, threads=2),),
        space=SearchSpace(
            title="many",
            parameters=(
                *(switch(one) for one in range(switches)),
                *(number(f"sysctl:net.number_{one}") for one in range(numbers)),
                Parameter(
                    setting=Setting(
                        id=CACHE, kind=Kind.INTEGER, low=1, high=1 << 20, specials=("off",), why="t"
                    ),
                    span=Span(low=128, high=65536, scale=Scale.LOG),
                    specials=("off",),
                    why="t",
                ),
                number(VALID, when=f"{CACHE} != off"),
                number(BACKLOG),
                number(QUEUE),
            ),
            rules=(Rule(expression=Expression(text=f"{BACKLOG} <= {QUEUE}"), why="t"),),
            derived=(
                Derived(
                    setting=Setting(id=FILES, kind=Kind.INTEGER, low=1, high=1 << 22, why="t"),
                    expression=Expression(text=f"2 * {BACKLOG}"),
                    why="t",
                ),
            ),
        ),
        hand_tuned=HandTunedSequence(title="none", source="tests", steps=()),
        seed=seed,
    )


def stock_of(study: Study) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for one in study.space.parameters:
        values[one.id] = False if one.setting.kind is Kind.SWITCH else 512
    return {**values, CACHE: "off", FILES: 1024}


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Natural-log gains over stock: of each switch when it is on, of the cache, and of two switches only together."""

    gains: dict[str, float]
    together: tuple[str, str, float] = ("", "", 0.0)

    def of(self, values: dict[str, Value], stock: dict[str, Value]) -> float:
        changed = {id_ for id_ in self.gains if values[id_] != stock[id_]}
        total = math.fsum(self.gains[id_] for id_ in changed)
        first, second, gain = self.together
        return total + (gain if first and values[first] and values[second] else 0.0)


def draw(study: Study, stock: dict[str, Value], chance: random.Random) -> Configuration:
    """Any configuration of the space that keeps its rule."""
    while True:
        choice: dict[str, Value] = {}
        for one in study.space.parameters:
            if one.setting.kind is Kind.SWITCH:
                choice[one.id] = chance.random() < 0.5
            elif one.specials and chance.random() < 0.5:
                choice[one.id] = "off"
            else:
                choice[one.id] = round(2 ** chance.uniform(7, 16))
        drawn = study.space.complete(choice, stock, {})
        if not study.space.broken_rules(drawn, stock, {}):
            return drawn


def near(study: Study, stock: dict[str, Value], best: Configuration, chance: random.Random) -> Configuration:
    """What a sampler that has learned something would try: the best so far with a fifth of it drawn anew."""
    other = draw(study, stock, chance).mapping
    while True:
        choice = {id_: (other if chance.random() < 0.2 else best.mapping).get(id_) for id_ in study.space.ids}
        known = {id_: value for id_, value in choice.items() if value is not None}
        mixed = study.space.complete(known, stock, {})
        if not study.space.broken_rules(mixed, stock, {}):
            return mixed


def night(
    study: Study, truth: Truth, *, trials: int, sigma: float, seed: int
) -> tuple[list[Event], AskSubsets]:
    """The log of a night up to the question which subsets, the best-looking trial being the winner."""
    chance = random.Random(f"{study.seed}/{seed}")
    stock = stock_of(study)
    log: list[Event] = [
        NightBegun(night=1, at=_at(0), stock=stock, facts={}, space_ids=study.space.ids),
        Plan(
            night=1,
            at=_at(0),
            calibration_pairs=6,
            candidates=trials,
            reference_every=4,
            finalists=3,
            finalist_pairs=2,
            finals_rounds=12,
            series_rounds=0,
            sample_s=21,
        ),
        Proposal(night=1, number=0, at=_at(0), origin="stock", configuration=Configuration()),
    ]
    seen: list[tuple[float, int, Configuration]] = []
    place = 0
    for number_ in range(1, trials + 1):
        if number_ % 4 == 1:
            log.append(_sample(place, Arm(kind="stock"), Configuration(), stock, chance.gauss(0, sigma)))
            place += 1
        best = max(seen)[2] if number_ > trials // 3 else None
        tried = draw(study, stock, chance) if best is None else near(study, stock, best, chance)
        score = truth.of(tried.over(stock), stock) + chance.gauss(0, sigma)
        seen.append((score, number_, tried))
        log.append(Proposal(night=1, number=number_, at=_at(place), origin="sampler", configuration=tried))
        log.append(_sample(place, Arm(kind="trial", number=number_), tried, stock, score))
        place += 1
    log.append(_sample(place, Arm(kind="stock"), Configuration(), stock, chance.gauss(0, sigma)))
    winner = max(seen)[1]
    log.append(Ranking(night=1, at=_at(place), purpose="winner", trials=(winner,), scores=(max(seen)[0],)))
    return log, AskSubsets(night=1, trial=winner)


def changes(study: Study, log: list[Event], ask: AskSubsets) -> Iterator[str]:
    """The ids in which the winner differs from stock, derived ones left out."""
    winner = next(one for one in log if isinstance(one, Proposal) and one.number == ask.trial)
    return (id_ for id_ in winner.configuration.against(stock_of(study)) if id_ in study.space.ids)


def _at(place: int) -> str:
    return (BEGAN + timedelta(seconds=21 * place)).isoformat()


def _sample(
    place: int, arm: Arm, configuration: Configuration, stock: dict[str, Value], score: float
) -> Sample:
    rate = 50_000 * math.exp(score)
    return Sample(
        key=SampleKey(night=1, stage=Stage.SEARCH, block=place, position=0),
        at=_at(place),
        arm=arm,
        configuration=configuration,
        effective=configuration.against(stock),
        measurements={
            "1k": Measurement(
                requests=int(rate),
                requests_per_s=rate,
                bytes=int(rate) * 1263,
                duration_s=1,
                latency_mean_s=0.001,
                latency_p50_s=0.001,
                latency_p90_s=0.001,
                latency_p95_s=0.001,
                latency_p99_s=0.001,
                latency_p999_s=0.001,
                latency_max_s=0.001,
                errors=ErrorCounts(),
                server_cpu_s=1,
                client_cpu_s=1,
            )
        },
        objective=math.log(rate),
        switch_s=0.1,
        overhead_s=0.5,
    )
