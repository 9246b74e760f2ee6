"""One setting reads, checks and shows its values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.space.catalogue import CATALOGUE
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value


def a_setting(kind: Kind, **more: Any) -> Setting:
    return Setting(id="sysctl:a.b", kind=kind, why="for a test", **more)


SWITCH = a_setting(Kind.SWITCH)
INTEGER = a_setting(Kind.INTEGER, low=-10, high=10, specials=("auto",))
FLOAT = a_setting(Kind.FLOAT, low=0.0, high=1.0)
SIZE = a_setting(Kind.SIZE, low=0, high=1 << 40, specials=("off",))
TIME = a_setting(Kind.TIME, low=0, high=1_000_000, unit="ms", specials=("unset",))
CHOICE = a_setting(Kind.CHOICE, choices=("one", "two"))
OPEN_CHOICE = a_setting(Kind.CHOICE)
MASK = a_setting(Kind.CPU_MASK, specials=("auto",))
VECTOR = a_setting(Kind.VECTOR, length=3, low=1, high=1 << 30)


def values_of(setting: Setting) -> st.SearchStrategy[Value]:
    """Any value that the setting takes."""
    low, high = setting.low or 0, setting.high or 0
    numbers: dict[Kind, st.SearchStrategy[Value]] = {
        Kind.SWITCH: st.booleans(),
        Kind.CHOICE: st.sampled_from(setting.choices or ("bbr", "cubic")),
        Kind.CPU_MASK: st.integers(0, (1 << 1024) - 1),
        Kind.FLOAT: st.floats(low, high, allow_subnormal=False).filter(lambda one: repr(one).isascii()),
        Kind.VECTOR: st.lists(
            st.integers(int(low), int(high)), min_size=setting.length, max_size=setting.length
        )
        .map(lambda items: tuple(sorted(items)))
        .filter(lambda items: items[-1] - items[0] >= setting.apart),
    }
    plain = numbers.get(setting.kind, st.integers(int(low), int(high)))
    return plain | st.sampled_from(setting.specials) if setting.specials else plain


@pytest.mark.parametrize(
    "setting",
    [SWITCH, INTEGER, FLOAT, SIZE, TIME, CHOICE, OPEN_CHOICE, MASK, VECTOR],
    ids=lambda setting: str(setting.kind),
)
@given(st.data())
def test_a_value_survives_being_shown(setting: Setting, data: st.DataObject) -> None:
    value = data.draw(values_of(setting))
    again = setting.parse(setting.show(value))
    assert again == value
    assert type(again) is type(value)


@given(st.sampled_from(sorted(CATALOGUE)), st.data())
def test_every_value_of_the_catalogue_survives_being_shown(id_: str, data: st.DataObject) -> None:
    setting = CATALOGUE[id_]
    value = data.draw(values_of(setting))
    assert setting.parse(setting.show(value)) == value


@pytest.mark.parametrize(
    ("setting", "raw", "value"),
    [
        (SWITCH, "on", True),
        (SWITCH, False, False),
        (INTEGER, 7, 7),
        (INTEGER, "auto", "auto"),
        (FLOAT, 1, 1.0),
        (SIZE, "64k", 65_536),
        (SIZE, 4096, 4096),
        (SIZE, "off", "off"),
        (TIME, "2s", 2000),
        (TIME, 0, 0),
        (CHOICE, "two", "two"),
        (MASK, [0, 3, 3], 0b1001),
        (MASK, "0xf0", 0xF0),
        (VECTOR, [1, "4k", 5000], (1, 4096, 5000)),
        (VECTOR, "1 2 3", (1, 2, 3)),
    ],
)
def test_a_value_is_read_as_a_person_writes_it(setting: Setting, raw: object, value: Value) -> None:
    again = setting.parse(raw)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("setting", "raw", "problem"),
    [
        (SWITCH, 1, "neither on nor off"),
        (SWITCH, "yes", "neither on nor off"),
        (INTEGER, 11, "above the limit 10"),
        (INTEGER, -11, "below the limit -10"),
        (INTEGER, True, "not a number"),
        (INTEGER, 1.5, "not a whole number"),
        (INTEGER, "5k", "not a number"),
        (INTEGER, "off", "not a number"),
        (FLOAT, math.nan, "can be set"),
        (FLOAT, math.inf, "can be set"),
        (FLOAT, 1.01, "above the limit"),
        (SIZE, "5s", "not a size"),
        (SIZE, "auto", "not a size"),
        (TIME, 5, "has no unit"),
        (TIME, "5k", "not a time"),
        (TIME, "0.1ms", "not a whole number of ms"),
        (CHOICE, "three", "not one of one, two"),
        (CHOICE, 1, "not a word"),
        (MASK, -1, "not a CPU mask"),
        (MASK, "0xzz", "not a number"),
        (MASK, 1 << 1024, "not a CPU mask"),
        (MASK, [True], "can't be read"),
        (VECTOR, [1, 2], "not 3 numbers"),
        (VECTOR, [3, 2, 1], "must not decrease"),
        (VECTOR, [0, 2, 3], "below the limit"),
        (VECTOR, [1, 2.5, 3], "can't be read"),
        (VECTOR, [1, True, 3], "can't be read"),
        (VECTOR, {"a": 1}, "can't be read"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(setting: Setting, raw: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        setting.parse(raw)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (SWITCH, 'true, false, "on" or "off"'),
        (INTEGER, 'a whole number from -10 to 10, or "auto"'),
        (SIZE, 'a size from 0 to 1024g, such as 64k, or "off"'),
        (TIME, 'a time from 0ms to 1000000ms, such as 500ms or 2s, or "unset"'),
        (CHOICE, "one of one, two"),
        (OPEN_CHOICE, "one of the words the board lists"),
        (VECTOR, "3 numbers that don't decrease, each from 1 to 1073741824"),
    ],
)
def test_a_setting_says_what_it_accepts(setting: Setting, words: str) -> None:
    assert setting.accepted == words


def test_an_id_is_family_and_key() -> None:
    setting = CATALOGUE["sysctl:net.core.somaxconn"]
    assert (setting.family, setting.key) == ("sysctl", "net.core.somaxconn")
