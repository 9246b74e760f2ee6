"""A study as DataFrames: what is documented is what there is, whatever the study has or lacks."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from autotune import load_study
from autotune.analysis.frames import StudyFrames, documented, frames_of
from autotune.errors import StorageError
from autotune.experiment.events import Event, Failure, Sample, Void
from autotune.measurement.comparison import compare
from autotune.measurement.scores import trial_scores
from autotune.storage.store import Store
from night_example import BEST, REFUSED, WINNER, a_night, a_store, a_study

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
STUDY = a_study()
NIGHT = a_night(STUDY, meters=True)
CUTS = (0, 1, 2, 9, 20, 60)


def table_of_columns() -> str:
    """What stands between the README's marks."""
    rows = [
        f"| {frame} | `{column}` | {type_} | {meaning} |"
        for frame in ("samples", "trials", "steps")
        for column, (type_, meaning) in documented(frame).items()
    ]
    return "\n".join(["| frame | column | type | is |", "|---|---|---|---|", *rows])


def assert_documented(frames: StudyFrames) -> None:
    for name in ("samples", "trials", "steps"):
        frame: pd.DataFrame = getattr(frames, name)
        wanted = {
            column: type_ for column, (type_, _) in documented(name).items() if not column.startswith("(")
        }
        assert {column: str(frame.dtypes[column]) for column in wanted} == wanted
        assert list(frame.columns)[: len(wanted)] == list(wanted)


def test_the_readme_has_the_columns_as_they_are_documented() -> None:
    shown = README.split("<!-- frames -->\n", 1)[1].split("\n<!-- /frames -->", 1)[0]
    assert shown == table_of_columns(), f"put this between the marks:\n{table_of_columns()}"


def test_the_readme_s_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    study = a_study("quickstart")
    url = a_store(tmp_path / "mine.db", study, a_night(study, meters=True))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"AUTOTUNE_STORAGE": url, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hand-tuned" in done.stdout


@pytest.mark.parametrize("cut", CUTS)
def test_every_column_is_there_however_little_was_measured(cut: int) -> None:
    assert_documented(frames_of(STUDY, NIGHT[:cut]))


def test_a_sample_is_a_row_with_its_own_figures() -> None:
    frames = frames_of(STUDY, NIGHT)
    assert_documented(frames)
    samples = [event for event in NIGHT if isinstance(event, Sample)]
    kept = frames.samples[frames.samples.state == "counted"]
    assert kept.requests_per_s.tolist() == [one.main.requests_per_s for one in samples]
    assert kept.latency_p99_s.tolist() == [one.main.latency_p99_s for one in samples]
    assert kept.power_w.notna().all()
    paced = [one for one in samples if one.fixed_rate]
    assert kept.fixed_rate_per_s.count() == len(paced) > 0


def test_failed_and_void_ones_are_told_apart_and_why() -> None:
    sample = next(event for event in NIGHT if isinstance(event, Sample))
    log: list[Event] = [*NIGHT, Void(key=sample.key, at=sample.at, reason="the board was rebooted")]
    samples = frames_of(STUDY, log).samples
    failures = [event for event in NIGHT if isinstance(event, Failure)]
    assert samples.state.value_counts().to_dict() == {
        "counted": len(samples) - 1 - len(failures), "void": 1, "failed": len(failures),
    }  # fmt: skip
    assert samples[samples.state == "void"].reason.tolist() == ["the board was rebooted"]
    assert samples[samples.state == "failed"].blame.tolist() == [one.blame for one in failures]
    assert samples[samples.state == "failed"].requests_per_s.isna().all()


def test_trials_have_their_scores_and_the_values_in_force() -> None:
    trials = frames_of(STUDY, NIGHT).trials.set_index("number")
    scores = trial_scores(STUDY, NIGHT)
    for number, known in scores.items():
        assert trials.score[number] == known.score or (math.isnan(known.score) and trials.failed[number])
        assert trials.samples[number] == known.n
    assert trials.failed[REFUSED]
    for id_, value in WINNER.values:
        assert trials.loc[BEST, id_] == value
    assert str(trials["nginx:listen.backlog"].dtype) == "Int64"
    assert str(trials["nginx:listen.reuseport"].dtype) == "boolean"
    assert str(trials["thp:enabled"].dtype) == "string"


def test_steps_are_those_of_the_comparison() -> None:
    steps = frames_of(STUDY, NIGHT).steps
    shown = compare(STUDY, NIGHT).steps
    assert steps.name.tolist() == [one.name for one in shown]
    assert steps.ratio.dropna().tolist() == [one.ratio for one in shown if one.ratio is not None]


def test_it_reads_beside_a_night_that_writes(tmp_path: Path) -> None:
    url = a_store(tmp_path / "mine.db", STUDY, NIGHT[:20])
    with Store.open(url) as store:
        store.append("invented", NIGHT[20])
        assert len(load_study(url, "invented").samples) > 0


def test_what_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database at"):
        load_study(f"sqlite:///{tmp_path / 'none.db'}", "invented")
    assert list(tmp_path.iterdir()) == []
    url = a_store(tmp_path / "mine.db", STUDY, [])
    with pytest.raises(StorageError, match="other"):
        load_study(url, "other")


def test_importing_autotune_loads_nothing_heavy() -> None:
    code = "import autotune, sys; print(sorted({'pandas', 'numpy', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_steps_have_what_each_is_worth_wherever_the_sequence_has_it() -> None:
    frames = frames_of(STUDY, NIGHT)
    steps = frames.steps.set_index("number")
    found = {one.number: one for one in compare(STUDY, NIGHT).attribution.steps}
    assert steps.share[3] == found[3].share.ratio
    assert steps.share_low[3] < steps.share[3] < steps.share_high[3]
    assert math.isnan(steps.share[1])
    assert steps.verdict[1] == "not measured"
    alone = frames.samples[frames.samples.arm == "alone"]
    assert set(alone.number) == {2, 3}
    assert set(alone.stage) == {"attribution"}
