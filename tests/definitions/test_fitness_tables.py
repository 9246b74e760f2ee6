"""When a board is fit, and where its watts are read: what a study may say, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.definitions.study_file import read_study
from autotune.errors import DefinitionError
from autotune.experiment.study import FitnessLimits, PowerMeter, Study

LEAST = """
name = "least"
space = "loopback.toml"
hand_tuned = "hand-tuned.toml"
[server]
[[server.file]]
path = "/a.html"
size = "1k"
[workload]
name = "static"
path = "/a.html"
connections = 32
threads = 2
"""


def study_of(tmp_path: Path, more: str) -> Study:
    path = tmp_path / "least.toml"
    path.write_text(LEAST + more, encoding="utf-8")
    return read_study(path)


def test_a_study_that_says_nothing_has_the_usual_limits_and_the_same_fingerprint(tmp_path: Path) -> None:
    study = study_of(tmp_path, "")
    assert study.fitness == FitnessLimits()
    assert study.power == PowerMeter()
    assert study_of(tmp_path, "[fitness]\n[power]\n").fingerprint == study.fingerprint


def test_every_limit_can_be_set_and_makes_another_study(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        '[fitness]\ntemperature_band = 3\ncool_down = "90s"\nforeign_load = 0.2\ntime_below = 0.1\nslow_clock = 0.02\n',
    )
    assert study.fitness == FitnessLimits(
        temperature_band_c=3, cool_down_s=90, foreign_load=0.2, time_below=0.1, slow_clock=0.02
    )
    assert study.fingerprint != study_of(tmp_path, "").fingerprint


@pytest.mark.parametrize(
    ("text", "meter"),
    [
        ('source = "none"', PowerMeter(source="none")),
        ('source = "rapl"', PowerMeter(source="rapl")),
        ('source = "hwmon:ina226"', PowerMeter(source="hwmon", name="ina226")),
        ('source = "hwmon:ina3221:2"', PowerMeter(source="hwmon", name="ina3221:2")),
        (
            'source = "file:/run/meter/mw"\nscale = 0.001',
            PowerMeter(source="file", name="/run/meter/mw", scale=0.001),
        ),
        ('command = ["meter", "--watts"]', PowerMeter(source="command", command=("meter", "--watts"))),
    ],
)
def test_a_meter_is_named(tmp_path: Path, text: str, meter: PowerMeter) -> None:
    assert study_of(tmp_path, f"[power]\n{text}\n").power == meter


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fitness]\ntemperature_band = -1", r"fitness\.temperature_band.*below the limit"),
        ("[fitness]\ncool_down = 300", r"fitness\.cool_down.*no unit"),
        ("[fitness]\nforeign_load = 0", r"fitness\.foreign_load.*below the limit"),
        ("[fitness]\nslow_clok = 0.1", r"slow_clok.*did you mean \"slow_clock\""),
        ('[power]\nsource = "usb"', r"power\.source.*no source of watts"),
        ('[power]\nsource = "file:../etc/shadow"', r"power\.source.*no source of watts"),
        ('[power]\nsource = "file:/run/../etc/shadow"', r"power\.source.*no source of watts"),
        ('[power]\nsource = "hwmon:"', r"power\.source.*no source of watts"),
        ('[power]\ncommand = "meter --watts"', r"power\.command.*not a command"),
        ("[power]\ncommand = []", r"power\.command.*not a command"),
        ('[power]\ncommand = ["meter", 1]', r"power\.command.*not a command"),
        ('[power]\nsource = "rapl"\ncommand = ["meter"]', r"power\.source.*either source or command"),
        ("[power]\nscale = 0", r"power\.scale.*below the limit"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=f"(?s){said}"):
        study_of(tmp_path, text + "\n")
