"""`autotune doctor` on the user's own nginx: in the evening it says what would stop the night."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.experiment.study import OwnNginx, Study, Url, Workload
from autotune.runner.doctor import examine
from autotune.runner.preflight import Need
from night_example import a_study

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_nginx", "real_wrk")]


def _of(main: Path, text: str) -> Need:
    main.write_text(text)
    load = Workload(name="own", urls=(Url(target="http://www.example.org:8994/"),), connections=8, threads=1)
    study: Study = a_study().model_copy(
        update={"server": OwnNginx(config=str(main)), "workloads": (load,), "board": "local"}
    )
    (need,) = (one for one in examine(study).needs if one.what == "a site to serve")
    return need


def test_a_configuration_that_nginx_refuses_stops_the_night(tmp_path: Path) -> None:
    need = _of(tmp_path / "nginx.conf", "events {}\nhttp { server { listen 8994 }\n")
    assert not need.ok
    assert need.fatal
    assert "nginx.conf:2" in need.detail
    assert "nginx -t" in need.next


def test_an_nginx_that_does_not_run_makes_the_night_poorer(tmp_path: Path) -> None:
    need = _of(tmp_path / "nginx.conf", "events {}\nhttp { server { listen 8994; return 200 x; } }\n")
    assert not need.ok
    assert not need.fatal
    assert "was not running" in need.detail
