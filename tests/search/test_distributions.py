"""Every kind of parameter in a sampler's words, and back."""

from __future__ import annotations

import itertools
import random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from search_examples import (
    BACKLOG,
    BUDGET,
    BUFFERS,
    CHUNK,
    CONGESTION,
    HAND_TUNED,
    MASK,
    PARAMETERS,
    RMEM,
    SENDFILE,
    SHARE,
    STOCK,
    VALID,
    a_night,
    a_space,
    a_study,
)

from autotune.search.distributions import ParameterAxes
from autotune.search.encoding import Encoding
from autotune.search.space_filling import any_draw
from autotune.space.configuration import Configuration
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value

Distributions: TypeAlias = dict[str, BaseDistribution]


def distributions(
    parameter: Parameter, stock: Value | None, hand_tuned: Value | None = None
) -> Distributions:
    axes = ParameterAxes.of(parameter, stock, hand_tuned)
    words: Distributions = {axes.words.name: axes.words.distribution} if axes.words else {}
    return words | {axis.name: axis.distribution for axis in axes.axes}


def numeric(kind: Kind, span: Span, unit: str = "") -> Parameter:
    return Parameter(
        setting=Setting(id="t:x", kind=kind, low=0, high=1 << 40, unit=unit, why="t"), span=span, why="t"
    )


@pytest.mark.parametrize(
    ("parameter", "stock", "expected"),
    [
        (SENDFILE, True, {"nginx:sendfile": CategoricalDistribution((False, True))}),
        (BACKLOG, 511, {"nginx:listen.backlog": FloatDistribution(511, 16384, log=True)}),
        (BUFFERS, 2, {"nginx:output_buffers.number": IntDistribution(1, 8)}),
        (BUDGET, 300, {"sysctl:net.core.netdev_budget": FloatDistribution(100, 1200)}),
        (VALID, 60, {"nginx:open_file_cache_valid#": IntDistribution(0, 2)}),
        (VALID, 45, {"nginx:open_file_cache_valid#": IntDistribution(0, 3)}),
        (
            CONGESTION,
            "cubic",
            {"sysctl:net.ipv4.tcp_congestion_control": CategoricalDistribution(("cubic", "bbr", "reno"))},
        ),
        (MASK, 0x01, {"irq:eth0.affinity": CategoricalDistribution(("0xf0", "0xf", "0x1"))}),
        (SHARE, 0.5, {"cpu:share": FloatDistribution(0.1, 0.9)}),
        (
            CHUNK,
            2 << 20,
            {
                "nginx:sendfile_max_chunk?": CategoricalDistribution(("number", "unset")),
                "log2 nginx:sendfile_max_chunk": IntDistribution(16, 22),
            },
        ),
        (
            RMEM,
            (4096, 131072, 6291456),
            {
                "log2 sysctl:net.ipv4.tcp_rmem[1]": IntDistribution(15, 20),
                "sysctl:net.ipv4.tcp_rmem[2]": FloatDistribution(1 << 17, 1 << 24, log=True),
            },
        ),
    ],
)
def test_each_kind_has_its_distribution(parameter: Parameter, stock: Value, expected: Distributions) -> None:
    assert distributions(parameter, stock) == expected


def test_sixteen_whole_numbers_are_integers_and_seventeen_are_not() -> None:
    assert distributions(numeric(Kind.INTEGER, Span(low=1, high=16)), 3) == {"t:x": IntDistribution(1, 16)}
    assert distributions(numeric(Kind.INTEGER, Span(low=1, high=17)), 3) == {"t:x": FloatDistribution(1, 17)}


def test_a_range_is_widened_to_hold_stock_but_nothing_between_is_tried() -> None:
    parameter = numeric(Kind.INTEGER, Span(low=1000, high=2000))
    axes = ParameterAxes.of(parameter, 100, None)
    (axis,) = axes.axes
    assert axis.distribution == FloatDistribution(100, 2000)
    tried = {axis.allowed(number) for number in range(100, 2001)}
    assert tried == {100, *range(1000, 2001)}
    assert axis.allowed(500) == 100
    assert axis.allowed(600) == 1000


def test_a_size_by_powers_of_two_is_never_anything_else() -> None:
    parameter = numeric(Kind.SIZE, Span(low=1 << 12, high=1 << 24, scale=Scale.LOG))
    (axis,) = ParameterAxes.of(parameter, 212992, None).axes
    assert axis.distribution == FloatDistribution(1 << 12, 1 << 24, log=True)
    assert axis.value_of(axis.drawn_of(212992)) == 212992, "stock is told as it is"
    powers = {1 << exponent for exponent in range(12, 25)}
    assert {axis.allowed(number) for number in range(1 << 12, 1 << 24, 997)} == powers


def test_an_element_moved_up_to_its_neighbour_stays_a_power_of_two_where_it_can_be_nothing_else() -> None:
    spans = (Span(low=1, high=8), *(Span(low=1, high=8, scale=Scale.LOG),) * 2)
    setting = Setting(id="t:x", kind=Kind.VECTOR, low=0, high=1 << 30, length=3, why="t")
    axes = ParameterAxes.of(Parameter(setting=setting, spans=spans, why="t"), (1, 1, 1), None)
    drawn: dict[str, int] = {axis.name: place for axis, place in zip(axes.axes, (5, 1, 0), strict=True)}
    assert axes.value_of(lambda name, distribution: drawn[name], exact=False) == (5, 8, 8)
    assert axes.value_of(lambda name, distribution: drawn[name], exact=True) == (5, 2, 1)


def test_a_step_is_kept_from_the_low_end() -> None:
    (axis,) = ParameterAxes.of(BUDGET, 300, None).axes
    assert {axis.allowed(number) for number in range(100, 1201)} == set(range(100, 1201, 50))


def test_a_stock_word_that_the_space_doesnt_offer_is_a_choice_too() -> None:
    found = distributions(BUFFERS, "unset")
    assert found["nginx:output_buffers.number?"] == CategoricalDistribution(("number", "unset"))


def test_a_held_element_that_stock_has_otherwise_can_only_be_either() -> None:
    axes = ParameterAxes.of(RMEM, (2048, 131072, 6291456), None)
    first = axes.axes[0]
    assert first.distribution == FloatDistribution(2048, 4096)
    assert {first.allowed(number) for number in range(2048, 4097)} == {2048, 4096}


def test_the_number_beside_a_word_is_only_asked_for_when_the_word_says_number() -> None:
    encoding = Encoding.of(a_study(), a_night(a_study()))
    unset = encoding.encode(Configuration.of({"nginx:sendfile_max_chunk": "unset"}))
    assert unset.drawn["nginx:sendfile_max_chunk?"] == "unset"
    assert "log2 nginx:sendfile_max_chunk" not in unset.drawn
    off = encoding.encode(Configuration.of({"nginx:sendfile": False}))
    assert "nginx:sendfile_max_chunk?" not in off.drawn, "sendfile is off, so its chunk doesn't count"


def test_stock_and_hand_tuned_are_points_of_the_encoding() -> None:
    study = a_study()
    encoding = Encoding.of(study, a_night(study, hand_tuned=HAND_TUNED))
    for configuration in (Configuration(), HAND_TUNED):
        point = encoding.encode(configuration)
        decoded = encoding.decode(point)
        values = configuration.over(STOCK)
        assert decoded == {id_: values[id_] for id_ in study.space.ids}
        for name, drawn in point.drawn.items():
            assert point.distributions[name]._contains(point.distributions[name].to_internal_repr(drawn))


def test_a_second_nights_reading_changes_no_distribution() -> None:
    study = a_study()
    first = a_night(study)
    encoding = Encoding.of(study, first)
    warm = encoding.encode(Configuration.of({"sysctl:net.ipv4.tcp_rmem": (4096, 131072, 6000000)}))
    assert warm.distributions == encoding.encode(Configuration()).distributions


# Random spaces

SPANS = st.builds(
    lambda low, width, scale, step: Span(low=low, high=low + width, scale=scale, step=step),
    st.integers(0, 1 << 20),
    st.integers(0, 1 << 22),
    st.sampled_from(Scale),
    st.sampled_from([None, 1.0, 7.0, 64.0]),
)
POWER_SPANS = st.builds(
    lambda low, more: Span(low=1 << low, high=1 << (low + more), scale=Scale.LOG),
    st.integers(0, 16),
    st.integers(0, 12),
)
WORDS = st.sampled_from([(), ("off",), ("unset", "off")])


@st.composite
def parameter_and_stock(draw: st.DrawFn, place: int) -> tuple[Parameter, Value]:
    kind = draw(
        st.sampled_from(
            [Kind.SWITCH, Kind.INTEGER, Kind.SIZE, Kind.TIME, Kind.FLOAT, Kind.CHOICE, Kind.VECTOR]
        )
    )
    id_ = f"t:x{place}"
    setting = Setting(id=id_, kind=kind, low=0, high=1 << 40, length=3, why="t")
    specials = draw(WORDS) if kind in (Kind.INTEGER, Kind.SIZE, Kind.TIME) else ()
    numbers = st.integers(0, 1 << 23)
    match kind:
        case Kind.SWITCH:
            return Parameter(setting=setting, why="t"), draw(st.booleans())
        case Kind.CHOICE:
            words = tuple(draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True)))
            return Parameter(setting=setting, values=words, why="t"), draw(st.sampled_from("abcdefg"))
        case Kind.VECTOR:
            drawn = [draw(st.one_of(SPANS, POWER_SPANS)) for _ in range(3)]
            lows, highs = sorted(span.low for span in drawn), sorted(span.high for span in drawn)
            spans = tuple(
                Span(low=low, high=high, scale=span.scale)
                for span, low, high in zip(drawn, lows, highs, strict=True)
            )
            stock: Value = tuple(sorted(draw(st.lists(numbers, min_size=3, max_size=3))))
            return Parameter(setting=setting, spans=spans, why="t"), stock
        case Kind.FLOAT:
            return Parameter(setting=setting, span=draw(SPANS), why="t"), draw(st.floats(0, 1e6))
        case _:
            stock = draw(st.one_of(numbers, st.sampled_from(specials))) if specials else draw(numbers)
            if draw(st.booleans()):
                values = tuple(draw(st.lists(numbers, min_size=1, max_size=6, unique=True)))
                return Parameter(setting=setting, values=values, specials=specials, why="t"), stock
            span = draw(st.one_of(SPANS, POWER_SPANS))
            return Parameter(setting=setting, span=span, specials=specials, why="t"), stock


@st.composite
def spaces(draw: st.DrawFn) -> tuple[tuple[Parameter, ...], dict[str, Value]]:
    pairs = [draw(parameter_and_stock(place)) for place in range(draw(st.integers(1, 5)))]
    return tuple(parameter for parameter, _ in pairs), {parameter.id: stock for parameter, stock in pairs}


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 1 << 30))
def test_what_is_drawn_in_any_space_is_allowed_and_survives_the_way_there_and_back(
    space: tuple[tuple[Parameter, ...], dict[str, Value]], seed: int
) -> None:
    parameters, stock = space
    study = a_study(a_space(parameters, (), ()))
    encoding = Encoding.of(study, a_night(study, stock=stock))
    for choice in (
        {id_: stock[id_] for id_ in (one.parameter.id for one in encoding.parameters)},
        encoding.draw(any_draw(random.Random(seed))),
    ):
        point = encoding.encode(Configuration.of(choice))
        for name, drawn in point.drawn.items():
            assert point.distributions[name]._contains(point.distributions[name].to_internal_repr(drawn))
        assert encoding.decode(point) == choice
        for parameter in parameters:
            if parameter.id not in choice or choice[parameter.id] == stock[parameter.id]:
                continue
            value = choice[parameter.id]
            assert not parameter.reason_outside(value), (parameter, value)
            if isinstance(value, tuple):
                assert all(left <= right for left, right in itertools.pairwise(value))


def test_the_examples_hold_every_kind() -> None:
    assert {parameter.setting.kind for parameter in PARAMETERS} == set(Kind)
