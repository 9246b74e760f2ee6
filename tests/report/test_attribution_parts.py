"""The steps' worth as a table and in words."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from autotune.measurement.attribution import Attribution, Effect, StepAttribution, StepVerdict
from autotune.measurement.comparison import compare
from autotune.report.attribution_parts import attribution_json, attribution_parts, effect_text, step_words
from autotune.report.comparison_page import comparison_json, comparison_page
from autotune.report.page import Page
from autotune.report.summary_page import Ending, summary_page
from night_example import a_night, a_study

SURE = Effect(ratio=1.10, low=1.08, high=1.12, n=8)
LESS = Effect(ratio=1.02, low=1.00, high=1.04, n=8)


def a_step(verdict: StepVerdict, **changes: object) -> StepAttribution:
    step = StepAttribution(
        number=4,
        name="kernel network",
        state="full",
        only=SURE,
        without=SURE,
        share=SURE,
        verdict=verdict,
        smallest_visible_difference=0.021,
        published=1.059,
    )
    return replace(step, **changes)  # type: ignore[arg-type]


def text(found: Attribution) -> str:
    return Page(parts=attribution_parts(found)).text()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (a_step("helps"), "4 kernel network helps here: +10.0 %"),
        (a_step("harms", share=Effect(ratio=0.9, low=0.88, high=0.92, n=8)), "4 kernel network harms here: -10.0 %"),
        (a_step("nothing to be seen"), "nothing to be seen here (about 2.1 % would have shown)"),
        (
            a_step("nothing to be seen", smallest_visible_difference=math.inf, share=replace(LESS, n=3)),
            "nothing to be seen here (3 rounds can show nothing)",
        ),
        (a_step("helps", without=LESS), "+10.0 %, less where the others are in force already"),
        (a_step("helps", only=LESS), "+10.0 %, more where the others are in force already"),
        (a_step("not measured", share=Effect(), reason="nginx says no"), "4 kernel network: not measured (nginx says no)"),
        (a_step("helps", reason="step 4 alone: x counts only with y"), "; step 4 alone: x counts only with y"),
    ],
)  # fmt: skip
def test_each_step_is_told_in_words(step: StepAttribution, words: str) -> None:
    assert words in step_words(step)


def test_an_effect_is_a_ratio_with_its_interval_as_far_as_there_is_one() -> None:
    assert effect_text(SURE) == "1.100x [1.080, 1.120]"
    assert effect_text(Effect(ratio=1.1, n=1)) == "1.100x"
    assert effect_text(Effect()) == "-"


def test_the_table_says_what_belongs_to_no_step_and_whether_that_is_sure() -> None:
    steps = (a_step("helps"), a_step("helps", number=5))
    found = Attribution(steps=steps, rounds=8, total=SURE, rest=LESS)
    assert "leave 1.020x [1.000, 1.040] to no single step." in " ".join(text(found).split())
    sure = " ".join(text(replace(found, rest=SURE)).split())
    assert "three or more of them depend on each other" in sure
    assert "no single step" not in text(replace(found, rest=Effect(ratio=1.0, low=1.0, high=1.0, n=8)))


def test_nothing_is_said_with_its_reason_and_without_steps_not_at_all() -> None:
    steps = (StepAttribution(number=1, name="a", state="full"),)
    assert "Not measured: no time." in text(Attribution(steps=steps, reason="no time"))
    assert attribution_parts(Attribution()) == ()


def test_a_night_s_pages_have_it_and_its_json_too() -> None:
    study = a_study()
    log = a_night(study)
    comparison = compare(study, log)
    page = comparison_page(study, log, comparison).text()
    assert "What each step is worth here" in page
    assert "2 buffers" in page
    ending = Ending(night=1, outcome="complete", reason="", board="restored")
    assert "What each step is worth here" in summary_page(study, log, ending).text()
    document = json.loads(json.dumps(comparison_json(study, log, comparison)["attribution"], allow_nan=False))
    assert [one["number"] for one in document["steps"]] == [1, 2, 3]
    assert document["rounds"] == study.budget.attribution_rounds
    assert document["steps"][0]["verdict"] == "not measured"
    assert document["steps"][1]["share"]["n"] == 6
    endless = Attribution(steps=(a_step("nothing to be seen", smallest_visible_difference=math.inf),))
    json.dumps(attribution_json(endless), allow_nan=False)
