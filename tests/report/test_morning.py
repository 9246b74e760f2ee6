"""What the morning is told beside the ratios: what was left out, how long answers take, what serving costs, what did not count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.experiment.events import Distilled, Event
from autotune.experiment.study import Limit
from autotune.measurement.calibration import AARecord
from autotune.measurement.comparison import Excluded, compare
from autotune.report.calibration_parts import calibration_paragraph
from autotune.report.comparison_page import comparison_json, comparison_page, stamps
from autotune.space.configuration import Configuration
from night_example import WINNER, a_night, a_study

NEEDED = Configuration.of({"nginx:access_log": False, "nginx:listen.reuseport": True})
STUDY = a_study()


@pytest.fixture(scope="module")
def metered() -> list[Event]:
    """A night whose winner needs two of its changes, on a board with a meter."""
    return a_night(STUDY, needed=NEEDED, meters=True)


@pytest.fixture(scope="module")
def plain() -> list[Event]:
    """A night whose winner needs all of its changes, without a meter."""
    return a_night(STUDY)


def told(log: list[Event]) -> str:
    return comparison_page(STUDY, log, compare(STUDY, log)).text(200)


def test_the_doubts_come_right_after_the_answer(metered: list[Event]) -> None:
    page = told(metered)
    places = [
        page.index(words)
        for words in (
            "is 10.",
            "automatic is 5 of the 7 changes",
            "Reasons for doubt",
            "Finals:",
            "Ratios of",
        )
    ]
    assert places == sorted(places)


def test_what_was_left_out_is_told_with_what_it_cost(metered: list[Event]) -> None:
    page = told(metered)
    (event,) = [one for one in metered if isinstance(one, Distilled)]
    assert event.subset is not None
    assert f"in {event.pairs} fresh pairs of the two" in page
    left_out = page[page.index("Left out of automatic") :]
    assert "nginx:listen.backlog" in left_out
    assert "nginx:listen.reuseport" not in left_out.partition("\n\n")[0]


def test_what_was_left_out_is_data_too(metered: list[Event]) -> None:
    found = comparison_json(STUDY, metered, compare(STUDY, metered))["distilled"]
    assert found["kept"]["nginx:listen.reuseport"] == "on"
    assert found["left_out"]["nginx:listen.backlog"] == "8192"
    assert set(found["kept"]) | set(found["left_out"]) == set(WINNER.mapping)
    assert found["low"] < found["ratio"] < found["high"]
    assert found["allowed"] < found["low"]


def test_a_winner_that_needs_all_it_has_is_shipped_as_it_was_found(plain: list[Event]) -> None:
    page = told(plain)
    assert "automatic is trial 3 with all of its 7 changes: none of" in page
    assert "Left out of automatic" not in page
    found = comparison_json(STUDY, plain, compare(STUDY, plain))["distilled"]
    assert found["left_out"] == {}
    assert found["ratio"] is None


def test_an_older_night_without_distillation_says_nothing_of_it(plain: list[Event]) -> None:
    log = [one for one in plain if one.kind not in ("subsets", "distilled")]
    assert comparison_json(STUDY, log, compare(STUDY, log))["distilled"] is None
    assert "left out" not in told(log).partition("Next")[0]


def test_power_and_busy_cpus_are_told_where_they_are_known(metered: list[Event], plain: list[Event]) -> None:
    assert "What serving at full load costs" not in told(plain)
    table = told(metered).partition("What serving at full load costs")[2].partition("\n\n")[0]
    assert "requests per joule" in table
    assert "90 %" in table
    stock = comparison_json(STUDY, metered, compare(STUDY, metered))["workloads"][0]["arms"][0]
    assert stock["requests_per_joule"] == pytest.approx(stock["requests_per_s"] / stock["power_w"], rel=0.01)
    assert comparison_json(STUDY, plain, compare(STUDY, plain))["workloads"][0]["arms"][0]["power_w"] is None


def test_a_limit_on_busy_cpus_is_held_against_the_fixed_rate(metered: list[Event]) -> None:
    limit = Limit(metric="cpu_busy", bound="at most", value=0.7)
    study = STUDY.model_copy(update={"limits": (limit,)})
    comparison = compare(study, metered)
    assert {one.verdict for one in comparison.limits} == {"kept"}  # under full load 90 % were busy
    assert "busy CPUs at the fixed rate at most 70 %" in comparison_page(study, metered, comparison).text(200)


def test_what_did_not_count_is_counted_by_gate(plain: list[Event]) -> None:
    hot = [
        Excluded(
            key=f"1/search/{block}/0/0",
            arm="stock" if block % 2 else f"trial {block}",
            reason=f"gate: {80 + block} degrees",
            blame="environment",
            gate="throttled",
        )
        for block in range(6)
    ]
    comparison = compare(STUDY, plain)
    comparison = replace(comparison, excluded=(*comparison.excluded, *hot))
    page = comparison_page(STUDY, plain, comparison).text(200)
    (line,) = [one.strip() for one in page.splitlines() if "throttled" in one]
    assert line.startswith("6  stock 3 times, trial 0, trial 2, trial 4  throttled  environment")
    assert line.endswith("the last: 85 degrees")
    counted = comparison_json(STUDY, plain, comparison)["excluded"]
    assert [(one["count"], one["gate"], one["blame"]) for one in counted] == [
        (6, "throttled", "environment"),
        (1, "nginx", "configuration"),
    ]


def test_a_board_that_tells_stock_from_itself_is_stamped(plain: list[Event]) -> None:
    comparison = compare(STUDY, plain)
    assert comparison.calibration is not None
    assert stamps(STUDY, comparison) == ()
    biased = replace(comparison.calibration, verdict="biased", ratio=1.04, low=1.02, high=1.06, repeated=True)
    (stamp,) = stamps(STUDY, replace(comparison, calibration=biased))
    assert "stock against itself came out at 1.040x [1.020, 1.060], twice" in stamp


def test_noise_that_wanders_is_said(plain: list[Event]) -> None:
    seen = compare(STUDY, plain).calibration
    assert seen is not None
    steady = calibration_paragraph(replace(seen, wanders=False), None)
    assert "alike" not in " ".join(steady.lines)
    wandering = calibration_paragraph(replace(seen, wanders=True, autocorrelation=0.7), None)
    assert "neighbouring runs are alike (+0.70)" in " ".join(wandering.lines)


def test_the_record_of_false_alarms_is_of_real_boards_and_told_of_them_alone(plain: list[Event]) -> None:
    record = AARecord(stages=23, false_alarms=1)
    page = comparison_page(STUDY, plain, compare(STUDY, plain), record).text(200)
    assert "false alarms in the 23 such stages of this database, each at a plain 95 %: 1" in page
    invented = STUDY.model_copy(update={"board": "synthetic:rock5b"})
    assert "false alarms" not in comparison_page(invented, plain, compare(invented, plain), record).text(200)
