"""What a well-written study becomes, and that its limits are those of the records it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from autotune.definitions.study_file import CAPSTONE_STOCK, read_study
from autotune.errors import DefinitionError
from autotune.experiment.study import (
    Budget,
    LatencyCheck,
    Limit,
    ManagedNginx,
    Objective,
    Placement,
    Study,
)
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration

LEAST = """
name = "least"
space = "loopback.toml"
hand_tuned = "hand-tuned.toml"
{top}
[server]
[[server.file]]
path = "/a.html"
size = "1k"
[workload]
name = "static"
path = "/a.html"
connections = 32
threads = 2
[budget]
{budget}
{rest}
"""


def study_of(tmp_path: Path, *, top: str = "", budget: str = "", rest: str = "") -> Study:
    path = tmp_path / "least.toml"
    path.write_text(LEAST.format(top=top, budget=budget, rest=rest), encoding="utf-8")
    return read_study(path)


def test_a_study_with_the_least_gets_the_usual_rest(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert study.board == "local"
    assert study.budget == Budget()
    assert isinstance(study.server, ManagedNginx)
    assert (study.server.base, study.server.port) == ("/etc/nginx/nginx.conf", 8088)
    assert (study.workloads[0].warmup_s, study.workloads[0].duration_s) == (5, 15)
    assert study.placement is Placement.PINNED
    assert study.stock_overrides == Configuration()
    assert not study.change_service


def test_the_capstones_stock_comes_with_its_two_values(tmp_path: Path) -> None:
    study = study_of(tmp_path, top='stock = "capstone"')
    assert study.stock_overrides.mapping == {"nginx:sendfile": False, "nginx:worker_connections": 768}
    for id_, value in CAPSTONE_STOCK.values:
        CATALOGUE[id_].check(value)


def test_a_space_beside_the_study_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "loopback.toml").write_text(
        'title = "mine"\n[parameter."nginx:sendfile"]\nwhy = "x"\n', encoding="utf-8"
    )
    assert study_of(tmp_path).space.title == "mine"


def test_the_title_does_not_count_but_the_seed_does(tmp_path: Path) -> None:
    plain = study_of(tmp_path).fingerprint
    assert study_of(tmp_path, top='title = "another"').fingerprint == plain
    assert study_of(tmp_path, top="seed = 2").fingerprint != plain


@pytest.mark.parametrize(
    ("key", "low", "high", "step"),
    [
        ("calibration_pairs", 6, 200, 1),
        ("candidates", 1, 10_000, 1),
        ("reference_every", 2, 50, 1),
        ("repeats", 1, 20, 1),
        ("finalists", 1, 20, 1),
        ("finalist_pairs", 1, 50, 1),
        ("distillation_pairs", 0, 200, 1),
        ("finals_rounds", 12, 300, 3),
        ("series_rounds", 0, 100, 1),
        ("attribution_rounds", 0, 100, 1),
    ],
)
def test_the_budget_has_the_limits_of_its_record(
    tmp_path: Path, key: str, low: int, high: int, step: int
) -> None:
    for value in (low, high):
        assert getattr(study_of(tmp_path, budget=f"{key} = {value}").budget, key) == value
    for value in (low - step, high + step):
        with pytest.raises(DefinitionError, match=f"budget.{key} = {value}: (below|above) the limit"):
            study_of(tmp_path, budget=f"{key} = {value}")
        with pytest.raises(ValueError, match=key):
            Budget.model_validate({key: value})


def test_durations_of_the_budget(tmp_path: Path) -> None:
    budget = study_of(tmp_path, budget='hours = 7.5\nlease = "2m"').budget
    assert (budget.hours, budget.lease_s) == (7.5, 120)


def test_limits_of_every_kind(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        rest="""
[[limit]]
metric = "latency_p99_s"
at_most = 1.0
of = "stock"
[[limit]]
metric = "errors"
at_most = 0
workload = "static"
[[limit]]
metric = "cpu_busy"
at_most = 0.9
[[limit]]
metric = "requests_per_s"
at_least = 2000
""",
    )
    assert study.limits == (
        Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True),
        Limit(workload="static", metric="errors", bound="at most", value=0),
        Limit(metric="cpu_busy", bound="at most", value=0.9),
        Limit(metric="requests_per_s", bound="at least", value=2000),
    )


def test_what_is_maximised_and_how_latency_is_looked_at(tmp_path: Path) -> None:
    plain = study_of(tmp_path)
    assert (plain.objective, plain.latency, plain.limits) == (Objective(), LatencyCheck(), ())
    rest = '[objective]\nmetric = "requests_per_server_cpu_s"\n[latency]\nshare = 0.5\nduration = "10s"\n'
    study = study_of(tmp_path, rest=rest)
    assert study.objective.metric == "requests_per_server_cpu_s"
    assert study.latency == LatencyCheck(share=0.5, duration_s=10)
    assert study_of(tmp_path, rest="[latency]\nshare = 0\n").latency.share == 0


@pytest.mark.parametrize("metric", get_args(Limit.model_fields["metric"].annotation))
def test_a_limit_may_be_on_any_figure_that_the_record_knows(tmp_path: Path, metric: str) -> None:
    key = "at_least" if metric == "requests_per_s" else "at_most"
    (limit,) = study_of(tmp_path, rest=f'[[limit]]\nmetric = "{metric}"\n{key} = 1\n').limits
    assert (limit.metric, limit.value) == (metric, 1)
