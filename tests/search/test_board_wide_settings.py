"""Settings of a whole board in a sampler's words: masks beside placements, children of a governor, other builds."""

from __future__ import annotations

import random

from search_examples import FACTS, a_night, a_plan, a_study, go_on

from autotune.experiment.events import NightBegun, Proposal
from autotune.search.distributions import ParameterAxes
from autotune.search.encoding import Encoding
from autotune.search.space_filling import any_draw
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

MASK = Parameter(
    setting=Setting(
        id="irq:nic.affinity",
        kind=Kind.CPU_MASK,
        specials=("as found", "one", "spread", "big", "workers"),
        why="t",
    ),
    values=("as found", "spread", 0xF0, 1 << 70),
    why="t",
)
GOVERNOR = Parameter(
    setting=Setting(id="cpufreq:all.governor", kind=Kind.CHOICE, specials=("mixed",), why="t"),
    values=("ondemand", "performance", "powersave"),
    why="t",
)
THRESHOLD = Parameter(
    setting=Setting(
        id="cpufreq:all.ondemand.up_threshold",
        kind=Kind.INTEGER,
        low=1,
        high=100,
        specials=("unset",),
        why="t",
    ),
    span=Span(low=20, high=95),
    when=Expression(text="cpufreq:all.governor == ondemand"),
    why="t",
)
RATE = Parameter(
    setting=Setting(
        id="cpufreq:all.ondemand.sampling_rate",
        kind=Kind.INTEGER,
        low=1_000,
        high=1_000_000,
        specials=("unset",),
        why="t",
    ),
    span=Span(low=2_000, high=100_000, scale=Scale.LOG),
    specials=("unset",),
    when=Expression(text="cpufreq:all.governor == ondemand"),
    why="t",
)
BUILD = Parameter(
    setting=Setting(id="nginx:build", kind=Kind.CHOICE, why="t"),
    values=("distribution", "o2", "o3-cpu"),
    why="t",
)
SPACE = SearchSpace(title="a board", parameters=(MASK, GOVERNOR, THRESHOLD, RATE, BUILD))
STOCK: dict[str, Value] = {
    MASK.id: "as found",
    GOVERNOR.id: "mixed",
    THRESHOLD.id: "unset",
    RATE.id: "unset",
    BUILD.id: "distribution",
}
OFFERED = {GOVERNOR.id: ("ondemand", "performance"), BUILD.id: ("distribution", "o3-cpu")}


def begun() -> NightBegun:
    night = a_night(a_study(SPACE), stock=STOCK)
    return night.model_copy(update={"offered": OFFERED, "facts": FACTS})


def encoding() -> Encoding:
    return Encoding.of(a_study(SPACE), begun())


def test_a_mask_is_one_choice_of_masks_and_placements() -> None:
    axes = ParameterAxes.of(MASK, "as found", None)
    assert axes.words is None
    (axis,) = axes.axes
    for value in MASK.values:
        assert axis.value_of(axis.drawn_of(value)) == value
    assert axis.drawn_of(0xF0) == "0xf0"


def test_a_mask_that_stock_has_and_the_list_has_not_is_told_of() -> None:
    (axis,) = ParameterAxes.of(MASK, 0b1000, None).axes
    assert axis.value_of(axis.drawn_of(0b1000)) == 0b1000


def test_children_of_a_governor_are_drawn_with_it_alone() -> None:
    translation = encoding()
    for seed in range(200):
        values = translation.draw(any_draw(random.Random(seed)))
        assert (THRESHOLD.id in values) == (values[GOVERNOR.id] == "ondemand")
        assert values[GOVERNOR.id] in ("ondemand", "performance", "mixed")
        assert values[BUILD.id] in ("distribution", "o3-cpu")
        if THRESHOLD.id in values:
            assert values[THRESHOLD.id] == "unset" or 20 <= int(str(values[THRESHOLD.id])) <= 95


def test_what_is_drawn_comes_back_from_its_point() -> None:
    translation = encoding()
    for seed in range(100):
        values = translation.draw(any_draw(random.Random(seed)))
        point = translation.encode(Configuration.of(values))
        assert translation.decode(point) == values


def test_a_sampler_walks_such_a_space() -> None:
    study = a_study(SPACE)
    log = go_on(study, [begun(), a_plan()], 30, truth=_truth)
    proposed = [one.configuration.over(STOCK) for one in log if isinstance(one, Proposal)]
    assert {values[BUILD.id] for values in proposed} == {"distribution", "o3-cpu"}
    assert {values[MASK.id] for values in proposed} == set(MASK.values)


def _truth(values: dict[str, Value]) -> float:
    return 0.1 if values.get(GOVERNOR.id) == "performance" else 0.0
