"""Which settings mattered, as it is told."""

from __future__ import annotations

import json
from dataclasses import replace

from autotune.analysis.importance import (
    Dependence,
    Importance,
    Interaction,
    ParameterImportance,
    StepImportance,
    StepValue,
    importance_of,
)
from autotune.experiment.events import Doubt
from autotune.report.importance_page import importance_json, importance_page
from autotune.search.evaluators import EvaluatorShares, optuna_importances
from night_example import a_night, a_study

FILE, NOPUSH, CACHE = "nginx:sendfile", "nginx:tcp_nopush", "nginx:open_file_cache"
PARENT = ParameterImportance(id=FILE, members=(FILE,), share=0.5, low=0.4, high=0.61, step=1)
CHILD = ParameterImportance(id=NOPUSH, members=(NOPUSH,), share=0.1, low=0.0, high=0.2, step=1)
FOUND = Importance(
    parameters=(
        replace(PARENT, members=(FILE, NOPUSH), share=0.55, parts=(PARENT, CHILD)),
        ParameterImportance(id=CACHE, members=(CACHE,), share=0.3, low=0.2, high=0.4),
    ),
    reason="",
    model="forest",
    r2=0.72,
    configurations=120,
    steps=(
        StepImportance(
            number=1,
            name="zero copy",
            state="full",
            published=1.256,
            ratio=1.1,
            low=1.05,
            high=1.15,
            n=6,
            share=0.6,
            values=(
                StepValue(id=FILE, hand_tuned=True, automatic=False),
                StepValue(id=NOPUSH, hand_tuned=True, automatic=None),
            ),
        ),
    ),
    dependences=(
        Dependence(
            id=FILE,
            values=(False, True),
            ratios=(1.0, 1.2),
            lows=(1.0, 1.1),
            highs=(1.0, 1.3),
            trials=(30, 90),
        ),
    ),
    interactions=(Interaction(a=FILE, b=CACHE, strength=0.07),),
    doubts=(Doubt(code="failures left out", text="some failed", next="autotune show NAME"),),
    night=1,
)
OTHERS = (
    EvaluatorShares(key="fanova", name="fANOVA", shares={FILE: 0.2, CACHE: 0.8}, reason="leaves out 1"),
    EvaluatorShares(key="mdi", name="mean decrease impurity", shares={}, reason="zero variance"),
)


def _text(found: Importance = FOUND) -> str:
    return importance_page(a_study(), found, OTHERS).text(160)


def test_the_answer_is_the_few_that_carry_most_of_it() -> None:
    assert _text().startswith(
        f"What mattered most, of what the model explains: {FILE} and 1 with it (55.0 %), {CACHE} (30.0 %)."
    )


def test_how_far_to_believe_it_is_a_plain_sentence() -> None:
    assert "knows 120 configurations" in _text()
    assert "it foretold 72% (held-out R2 0.72)" in _text()


def test_ours_stands_beside_optunas_and_who_says_nothing_says_why() -> None:
    lines = _text().splitlines()
    assert any(CACHE in one and "30.0 % [20.0, 40.0]" in one and "80.0 %" in one for one in lines)
    assert any(f"- {NOPUSH}" in one and one.rstrip().endswith("-") for one in lines)
    assert "mean decrease impurity: zero variance." in _text()


def test_each_step_has_published_measured_and_the_models_share() -> None:
    (line,) = [one for one in _text().splitlines() if "zero copy" in one]
    for part in ("published: +25.6 %", "1.100x [1.050, 1.150]", "60.0 %"):
        assert part in line
    assert any(one.split()[:4] == ["1", FILE, "on", "off"] for one in _text().splitlines())
    assert any(one.split()[:4] == ["1", NOPUSH, "on", "-"] for one in _text().splitlines())


def test_a_doubts_next_command_names_the_study() -> None:
    assert "autotune show invented" in _text()


def test_without_a_ranking_the_reason_comes_first_and_the_steps_stay() -> None:
    text = _text(replace(FOUND, parameters=(), reason="too little is known", r2=None, dependences=()))
    assert text.startswith("No ranking of parameters: too little is known.")
    assert "zero copy" in text
    assert "held-out" not in text


def test_the_same_as_data() -> None:
    document = json.loads(json.dumps(importance_json(a_study(), FOUND, OTHERS), allow_nan=False))
    assert [one["id"] for one in document["parameters"]] == [FILE, CACHE]
    assert [one["id"] for one in document["parameters"][0]["parts"]] == [FILE, NOPUSH]
    assert document["steps"][0]["values"][0] == {"id": FILE, "hand_tuned": "on", "automatic": "off"}
    assert document["dependences"][0]["values"] == ["off", "on"]
    assert [one["key"] for one in document["evaluators"]] == ["fanova", "mdi"]
    assert (document["r2"], document["model"], document["configurations"]) == (0.72, "forest", 120)


def test_a_small_night_has_no_ranking_and_its_steps_all_the_same() -> None:
    study, log = a_study(), a_night(a_study())
    found = importance_of(study, log)
    document = importance_json(study, found, optuna_importances(study, log))
    assert document["parameters"] == []
    assert document["reason"]
    assert [one["number"] for one in document["steps"]] == [step.number for step in found.steps]
    assert any(one["ratio"] for one in document["steps"])
    assert any(value["automatic"] for one in document["steps"] for value in one["values"])
