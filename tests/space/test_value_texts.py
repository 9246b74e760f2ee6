"""Sizes and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.space.value import parse_size, parse_time, size_text, value_text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64k", 65_536),
        ("64K", 65_536),
        ("64KiB", 65_536),
        ("1m", 1 << 20),
        (" 2g ", 2 << 30),
    ],
)
def test_a_size_is_read_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "64 kk", "1t", "٣k", "0x10", "1k;"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_size_survives_being_written(size_bytes: int) -> None:
    assert parse_size(size_text(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("500ms", "ms", 500),
        ("2s", "ms", 2000),
        ("0.5s", "ms", 500),
        ("1.001s", "ms", 1001),
        ("1h", "s", 3600),
        ("1d", "s", 86_400),
        ("5000us", "ms", 5),
        ("50us", "us", 50),
    ],
)
def test_a_time_is_read_in_the_unit_of_its_setting(text: str, unit: str, expected: int) -> None:
    assert parse_time(text, unit) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 week", "٣s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text, "s")


@pytest.mark.parametrize(("text", "unit"), [("500ms", "s"), ("0.5us", "us"), ("1.0005s", "ms")])
def test_a_time_that_is_no_whole_number_of_the_unit_is_refused(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_time(text, unit)


@given(st.integers(0, 1 << 40), st.sampled_from(["us", "ms", "s"]))
def test_a_time_survives_being_written(number: int, unit: str) -> None:
    assert parse_time(f"{number}{unit}", unit) == number


def test_a_value_is_shown_as_a_person_writes_it() -> None:
    assert [value_text(one) for one in (True, False, 5, 0.5, "unset", (1, 2, 3))] == [
        "on",
        "off",
        "5",
        "0.5",
        "unset",
        "1 2 3",
    ]
