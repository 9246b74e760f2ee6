"""`show`: what the gates saw, and where stock's level jumped."""

from __future__ import annotations

from autotune.experiment.events import Event, Failure, GateResult, Sample, Stage
from autotune.experiment.study import Limit, Study
from autotune.measurement.scores import trial_scores
from autotune.report.study_page import study_json, study_page
from autotune.report.trial_page import trial_json, trial_page
from night_example import BEST, REFUSED, a_night, a_study


def overview(study: Study, log: list[Event]) -> str:
    return study_page(study, log, trial_scores(study, log)).text(200)


def slower_from(log: list[Event], trial: int) -> list[Event]:
    """The night on a board that lost a fifth of its speed when this trial had been measured."""
    later = False
    told: list[Event] = []
    for event in log:
        if later and isinstance(event, Sample) and event.key.stage is Stage.SEARCH:
            told.append(event.model_copy(update={"objective": event.objective - 0.2}))
        else:
            told.append(event)
        later = later or (
            isinstance(event, Sample) and (event.arm.kind, event.arm.number) == ("trial", trial)
        )
    return told


def test_a_sample_is_shown_with_its_gates_and_its_open_loop_run() -> None:
    study = a_study()
    log = a_night(study, meters=True)
    scores = trial_scores(study, log)
    assert "1 passed, 1 could not be told" in trial_page(study, log, scores, BEST).text(200)
    sample = trial_json(study, log, scores, BEST)["samples"][0]
    assert [(gate["name"], gate["passed"]) for gate in sample["gates"]] == [
        ("temperature", True),
        ("kernel log", None),
    ]


def test_a_failure_is_shown_under_the_name_of_its_gate() -> None:
    study = a_study()
    hot = GateResult(name="temperature", passed=False, value=84.5, limit=70)
    log = [
        event.model_copy(update={"gate": "temperature", "gates": (hot,)})
        if isinstance(event, Failure)
        else event
        for event in a_night(study, meters=True)
    ]
    scores = trial_scores(study, log)
    failure = trial_json(study, log, scores, REFUSED)["failures"][0]
    assert (failure["gate"], failure["gates"][0]["value"]) == ("temperature", 84.5)
    page = overview(study, log)
    (row,) = [line for line in page.splitlines() if "84.5 (limit 70)" in line]
    assert row.split()[0] == "temperature"
    counted = {one["gate"]: one for one in study_json(study, log, scores)["gates"]}
    assert (counted["temperature"]["not_passed"], counted["kernel log"]["passed"]) == (1, 0)


def test_gates_that_all_samples_passed_take_one_line() -> None:
    study = a_study()
    assert "Gates" not in overview(study, a_night(study))
    page = overview(study, a_night(study, meters=True))
    gates = page.partition("Gates")[2].partition("\n\n")[0]
    assert gates.split("\n")[1:] == [
        "  1 other gate let every sample of night 1 pass. This board can't tell: kernel log."
    ]


def test_one_gate_of_several_runs_is_one_row() -> None:
    study = a_study()
    log: list[Event] = []
    for event in a_night(study, meters=True):
        if isinstance(event, Sample):
            late = event.key.block == 0
            gates = (
                GateResult(name="small: clock step", passed=None if late else True),
                GateResult(name="small at 7500 requests/s: clock step", passed=True),
            )
            log.append(event.model_copy(update={"gates": gates}))
        else:
            log.append(event)
    (row,) = [line for line in overview(study, log).splitlines() if "clock step" in line]
    assert row.strip().startswith("clock step ")
    (counted,) = study_json(study, log, trial_scores(study, log))["gates"]
    assert counted["gate"] == "clock step"
    assert counted["passed"] > counted["could_not_tell"] > 0


def test_a_jump_of_stock_is_shown_with_the_trials_around_it() -> None:
    study = a_study()
    budget = study.budget.model_copy(update={"candidates": 60, "calibration_pairs": 40})
    study = study.model_copy(update={"budget": budget})
    log = a_night(study)
    assert "Stock's level jumped" not in overview(study, log)
    slower = slower_from(log, 30)
    page = overview(study, slower)
    assert "Stock's level jumped in the search" in page
    (step,) = study_json(study, slower, trial_scores(study, slower))["steps_of_stock"]
    assert 0.75 < step["ratio"] < 0.9
    assert set(step["suspects"]) & {29, 30, 31, 32}
    assert set(step["taken_again"]) <= set(step["suspects"])


def test_a_trial_that_breaks_a_limit_in_the_search_is_marked() -> None:
    limit = Limit(metric="server_cpu_s_per_request", bound="at most", value=0.5, of_stock=True)
    study = a_study(limits=(limit,))
    log = a_night(study)
    scores = trial_scores(study, log)
    assert "breaks a limit of the study, so it can't win" in trial_page(study, log, scores, BEST).text(200)
    assert trial_json(study, log, scores, BEST)["breaks_limit"]
    assert "sampler, breaks a limit" in overview(study, log)
    free = a_study()
    assert not trial_json(free, log, trial_scores(free, log), BEST)["breaks_limit"]
