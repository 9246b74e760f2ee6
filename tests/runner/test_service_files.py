"""The units as systemd itself reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.definitions.study_file import read_study
from autotune.experiment.study import Builds, Study
from autotune.runner.service_files import (
    Service,
    environment_text,
    service_text,
    start_s,
    stop_s,
    timer_text,
    watchdog_s,
)
from night_example import a_study

ROOT = Path(__file__).parents[2]


def a_service(folder: Path, study: Study) -> Service:
    return Service(
        study=study,
        program=("/usr/bin/python3", "-P", "-m", "autotune"),
        study_file="/srv/study.toml",
        begins="22:00",
        ends="07:00",
        new_night=False,
        directory=folder,
        environment={"AUTOTUNE_STORAGE": "sqlite:////srv/a.db"},
        environment_file=folder / "a.env",
        of_user=False,
    )


def verified(folder: Path, service: Service) -> str:
    """What systemd-analyze has to say of all three files; skips where there is none."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt-get install systemd)")
    unit, timer = folder / f"{service.name}.service", folder / f"{service.name}.timer"
    unit.write_text(service_text(service))
    timer.write_text(timer_text(service))
    service.environment_file.write_text(environment_text(service))
    words = ("systemd-analyze", "verify", *(("--user",) if service.of_user else ()), str(unit), str(timer))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize("study", ["localhost", "synthetic", "rock5b-mixed"])
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path, study: str) -> None:
    assert verified(tmp_path, a_service(tmp_path, read_study(ROOT / "studies" / f"{study}.toml"))) == ""


def test_nor_against_those_of_a_user(tmp_path: Path) -> None:
    assert verified(tmp_path, replace(a_service(tmp_path, a_study()), of_user=True)) == ""


def test_no_path_however_odd_says_anything_else_to_it(tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" $HOME %h \\x41 ; #'
    odd.mkdir()
    service = replace(a_service(odd, a_study()), study_file=str(odd / "it's.toml"))
    assert verified(tmp_path, replace(service, environment_file=odd / "a.env")) == ""
    line = next(one for one in service_text(service).splitlines() if one.startswith("ExecStart="))
    assert '\\"b\\" $$HOME %%h \\\\x41 ; #/it\'s.toml"' in line


def test_a_longer_sample_has_a_more_patient_watchdog() -> None:
    study = a_study()
    (load,) = study.workloads
    longer = study.model_copy(update={"workloads": (load.model_copy(update={"duration_s": 600.0}),)})
    assert watchdog_s(longer) > watchdog_s(study) + 2 * 590
    assert stop_s(longer) > stop_s(study) + 2 * 590


def test_builds_before_the_night_have_their_time(tmp_path: Path) -> None:
    study = read_study(ROOT / "studies" / "rock5b-mixed.toml")
    assert start_s(study.model_copy(update={"builds": Builds()})) > start_s(
        study.model_copy(update={"builds": None})
    )


def test_a_board_far_away_is_restored_over_its_cable_and_one_of_numbers_not_at_all(tmp_path: Path) -> None:
    far = a_service(tmp_path, a_study(board="ssh://radxa@rock5b:2222"))
    assert "ExecStopPost=-/usr/bin/python3 -P -m autotune restore ssh://radxa@rock5b:2222\n" in (
        service_text(far)
    )
    assert "ExecStopPost" not in service_text(a_service(tmp_path, a_study(board="synthetic:rock5b")))


def test_the_environment_keeps_its_quotes_and_dollars(tmp_path: Path) -> None:
    service = replace(a_service(tmp_path, a_study()), environment={"A": 'mail -s "a $b `c` \\d" me'})
    assert environment_text(service).splitlines()[1] == r'A="mail -s \"a \$b \`c\` \\d\" me"'
