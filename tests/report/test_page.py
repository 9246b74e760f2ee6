"""Pages as plain text."""

from __future__ import annotations

from autotune.report.page import Page, Paragraph, Table, printable
from autotune.report.words import (
    duration_text,
    interval_text,
    local_time_text,
    percent_text,
    rate_text,
    ratio_pm_text,
)


def text_of(*parts: Table | Paragraph, width: int = 110) -> str:
    return Page(parts=parts).text(width)


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    table = Table(title="t", columns=("name", "n"), rows=(("a", "1"), ("bb", "100")), right=frozenset({"n"}))
    assert text_of(table).splitlines() == ["t", "  name    n", "  ----  ---", "  a       1", "  bb    100"]


def test_a_long_column_is_folded_and_a_short_one_is_not() -> None:
    table = Table(title="", columns=("id", "why"), rows=(("some:thing", "word " * 30),))
    lines = text_of(table, width=60).splitlines()
    assert max(len(line) for line in lines) <= 60
    assert lines[2].startswith("  some:thing  word")
    assert " ".join(lines[2:]).split().count("word") == 30


def test_two_long_columns_share_the_width() -> None:
    table = Table(title="", columns=("doubt", "next"), rows=(("doubt " * 30, "next " * 10),))
    lines = text_of(table, width=80).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert " ".join(lines[2:]).split().count("doubt") == 30
    assert " ".join(lines[2:]).split().count("next") == 10


def test_empty_parts_leave_no_trace() -> None:
    empty = Table(title="nothing here", columns=("a",), rows=())
    assert text_of(Paragraph(lines=()), empty, Paragraph(lines=("x",))) == "x\n"


def test_a_table_may_consist_of_its_note() -> None:
    assert "why not" in text_of(Table(title="t", columns=("a",), rows=(), note="why not"))


def test_no_line_ends_in_blanks() -> None:
    table = Table(title="t", columns=("a", "b"), rows=(("x", ""), ("longer", "y")))
    assert all(line == line.rstrip() for line in text_of(table).splitlines())


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b[31m\r\x00\u202e\nb") == "a\\x1b[31m\\r\\x00\\u202e\nb"
    page = text_of(Table(title="t", columns=("a",), rows=(("\x1b]0;x\x07",),)), Paragraph(lines=("\x08",)))
    assert all(char == "\n" or char.isprintable() for char in page)


def test_ratios_and_changes() -> None:
    assert interval_text(1.0409, 1.0291, 1.0536) == "1.041x [1.029, 1.054]"
    assert (ratio_pm_text(1.02, None), ratio_pm_text(1.02, 0.01)) == ("1.020x", "1.020x ±0.010")
    assert [percent_text(one) for one in (1.041, 0.959, 1.0, 0.99999)] == [
        "+4.1 %",
        "-4.1 %",
        "+0.0 %",
        "+0.0 %",
    ]


def test_durations_and_rates() -> None:
    assert [duration_text(one) for one in (0, 45, 89, 91, 3600, 29_100)] == [
        "0 s",
        "45 s",
        "89 s",
        "2 min",
        "60 min",
        "8 h 05 min",
    ]
    assert (rate_text(45_231.4), rate_text(12.34)) == ("45,231", "12.3")


def test_what_is_no_time_is_shown_as_it_is() -> None:
    assert local_time_text("whenever") == "whenever"
    assert local_time_text("2026-05-01T21:04:00.123+00:00").startswith("2026-05-0")
