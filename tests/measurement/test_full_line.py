"""What a line carries, and a night on a board whose line is full."""

from __future__ import annotations

import pytest

from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Objective
from autotune.measurement.comparison import compare
from autotune.measurement.line import bound_requests_per_s, wire_bytes
from night_example import a_night, a_study


def test_a_hundred_kilobytes_over_two_and_a_half_gigabits_are_about_2850_a_second() -> None:
    assert bound_requests_per_s(2_500, 100 * 1024 + 240) == pytest.approx(2_850, rel=0.01)


def test_small_answers_pay_for_a_packet_of_their_own() -> None:
    assert wire_bytes(1) == 1 + 90
    assert wire_bytes(1448) == 1448 + 90
    assert wire_bytes(1449) == 1449 + 2 * 90


def on_a_line(mbit_per_s: int | None) -> list[Event]:
    """The example's night, whose stock serves 10,000 answers of 1,263 bytes a second, over a card of this speed."""
    return [
        event.model_copy(update={"line_mbit_per_s": mbit_per_s}) if isinstance(event, NightBegun) else event
        for event in a_night(a_study())
    ]


FULL = round(10_000 * wire_bytes(1263) * 8 / 1e6)


@pytest.mark.parametrize(("mbit_per_s", "full"), [(None, False), (FULL, True), (FULL * 2, False)])
def test_a_full_line_is_a_doubt_that_says_what_to_maximise(mbit_per_s: int | None, *, full: bool) -> None:
    doubts = [one for one in compare(a_study(), on_a_line(mbit_per_s)).doubts if one.code == "line-bound"]
    assert len(doubts) == full
    for doubt in doubts:
        assert "small: the network line is full" in doubt.text
        assert "requests_per_server_cpu_s" in doubt.next


def test_a_study_that_maximises_requests_per_cpu_second_minds_no_full_line() -> None:
    study = a_study().model_copy(update={"objective": Objective(metric="requests_per_server_cpu_s")})
    assert [one.code for one in compare(study, on_a_line(FULL)).doubts if one.code == "line-bound"] == []
