"""plan, space and init."""

from __future__ import annotations

from pathlib import Path

import pytest
from front_door import Autotune, front_door, only_json


@pytest.fixture
def autotune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Autotune:
    return front_door(tmp_path, monkeypatch)


def test_plan_has_the_shape_that_is_promised(autotune: Autotune) -> None:
    document = only_json(autotune("plan", "quickstart", "--json"))
    assert [share["stage"] for share in document["stages"]] == [
        "calibration",
        "search",
        "finalists",
        "distillation",
        "finals",
        "series",
        "attribution",
    ]
    samples = {share["stage"]: share["samples"] for share in document["stages"]}
    assert (samples["finalists"], samples["finals"]) == (16, 72)
    assert document["candidates"] == 28
    assert 0.005 < document["smallest_visible_difference"] < 0.2


def test_plan_has_more_candidates_when_there_is_more_time(autotune: Autotune) -> None:
    short = only_json(autotune("plan", "localhost", "--hours", "3", "--json"))
    long = only_json(autotune("plan", "localhost", "--hours", "9", "--json"))
    assert long["candidates"] > short["candidates"]
    assert long["deadline"].endswith("+00:00")


def test_plan_says_it_in_words(autotune: Autotune) -> None:
    text = autotune("plan", "quickstart").stdout
    assert text.startswith("A night of quickstart takes about ")
    assert "autotune run quickstart" in text


def test_plan_of_a_file_names_the_file_in_what_comes_next(autotune: Autotune, tmp_path: Path) -> None:
    autotune("init", str(tmp_path / "mine"))
    file = str(tmp_path / "mine" / "quickstart.toml")
    text = " ".join(autotune("plan", file).stdout.split())  # a long path has a line of its own
    assert f"autotune run {file}" in text
    assert f"autotune doctor {file}" in text


def test_a_study_that_is_not_there_is_told_with_the_shipped_ones(autotune: Autotune) -> None:
    result = autotune("plan", "quickstrat")
    assert result.exit_code == 2
    assert "localhost, mixed, quickstart" in result.stderr


def test_a_file_that_is_not_there(autotune: Autotune, tmp_path: Path) -> None:
    assert autotune("plan", str(tmp_path / "none.toml")).exit_code == 3


def test_space_show_tells_range_condition_and_reason_of_every_parameter(autotune: Autotune) -> None:
    text = autotune("space", "show", "loopback").stdout
    assert "nginx:sendfile == on" in text
    document = only_json(autotune("space", "show", "loopback", "--json"))
    assert all(parameter["why"] for parameter in document["parameters"])
    chunk = next(one for one in document["parameters"] if one["id"] == "nginx:sendfile_max_chunk")
    assert (chunk["scale"], chunk["when"]) == ("log", "nginx:sendfile == on")


@pytest.mark.parametrize("name", ["loopback", "linux-host"])
def test_the_shipped_spaces_are_ok(autotune: Autotune, name: str) -> None:
    assert only_json(autotune("space", "check", name, "--json"))["ok"] is True


def test_space_check_tells_every_mistake_and_exits_with_3(autotune: Autotune, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        'title = "bad"\n'
        '[parameter."nginx:listen.backlog"]\nlow = 9000\nhigh = 600\nwhy = "x"\n'
        '[parameter."nginx:no_such_thing"]\nwhy = "x"\n'
    )
    result = autotune("space", "check", str(file), "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nginx:listen.backlog" in result.stderr
    assert "nginx:no_such_thing" in result.stderr


def test_init_copies_what_can_be_used_there_and_never_overwrites(autotune: Autotune, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    document = only_json(autotune("init", str(mine), "--json"))
    assert str(mine / "quickstart.toml") in document["files"]
    assert autotune("plan", str(mine / "quickstart.toml")).exit_code == 0
    (mine / "loopback.toml").write_text("changed by hand")
    again = autotune("init", str(mine))
    assert again.exit_code == 2
    assert (mine / "loopback.toml").read_text() == "changed by hand"
