"""The shipped definitions are read, hold what they promise, and come along with checkout, wheel and copies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autotune
from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.shipped import copy_shipped, shipped_dir, shipped_files
from autotune.definitions.space_file import read_space
from autotune.definitions.study_file import read_study
from autotune.errors import AutotuneError, UsageError
from autotune.experiment.study import Placement, Study
from autotune.measurement.planning import estimated_sample_s, plan_summary
from autotune.measurement.stages import REPEAT_SHARE, references_for
from autotune.space.catalogue import CATALOGUE
from autotune.space.expression import Expression
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

SPACES = sorted(shipped_dir("search_spaces").glob("*.toml"))
NAMES = (
    "quickstart",
    "localhost",
    "mixed",
    "rock5b-static-1k",
    "rock5b-static-1k-remote",
    "rock5b-static-100k",
    "rock5b-mixed",
    "synthetic",
)
STUDIES = [shipped_dir("studies") / f"{name}.toml" for name in NAMES]
SEQUENCE = shipped_dir("studies") / "hand-tuned.toml"
# A stock Debian board with two CPUs, as far as the rules of the spaces speak of it.
TWO_CPUS: dict[str, Value] = {
    "board.cpus": 2,
    "board.server_cpus": 1,
    "board.memory_bytes": 8 << 30,
    "workload.connections": 32,
    "workload.threads": 1,
}
STOCK: dict[str, Value] = {
    "nginx:worker_processes": "auto",
    "nginx:worker_connections": 768,
    "nginx:listen.backlog": 511,
    "sysctl:net.core.somaxconn": 4096,
    "sysctl:net.ipv4.tcp_wmem": (4096, 16384, 4194304),
    "sysctl:net.ipv4.tcp_rmem": (4096, 131072, 6291456),
    "nginx:output_buffers.number": 2,
    "nginx:output_buffers.size": 32768,
    "sysctl:vm.dirty_ratio": 20,
    "sysctl:vm.dirty_background_ratio": 10,
    "nginx:sendfile_max_chunk": 2 << 20,
    "nginx:keepalive_requests": 1000,
    "nginx:open_file_cache": "off",
    "nginx:access_log.buffer": "unset",
    "sysctl:net.ipv4.tcp_notsent_lowat": 4294967295,
    "thp:enabled": "madvise",
}


def every_expression(space: SearchSpace) -> list[Expression]:
    conditions = [parameter.when for parameter in space.parameters if parameter.when]
    return [
        *conditions,
        *(rule.expression for rule in space.rules),
        *(one.expression for one in space.derived),
    ]


def test_all_that_is_shipped_is_known_to_these_tests() -> None:
    assert {path.name for path in shipped_files()} == {path.name for path in [*SPACES, *STUDIES, SEQUENCE]}


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_a_shipped_space_is_read_and_its_ids_are_in_the_catalogue(path: Path) -> None:
    space = read_space(path)
    assert [id_ for id_ in space.ids if id_ not in CATALOGUE] == []
    named = {id_ for expression in every_expression(space) for id_ in expression.ids}
    assert [id_ for id_ in named if id_ not in CATALOGUE] == []
    assert all(len(parameter.why) > 30 for parameter in space.parameters)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_usual_stock_keeps_every_rule_of_a_shipped_space(path: Path) -> None:
    space = read_space(path)
    nothing = space.complete({}, STOCK, TWO_CPUS)
    assert space.broken_rules(nothing, STOCK, TWO_CPUS) == ()


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
@pytest.mark.parametrize("id_", STOCK)
def test_the_usual_stock_lies_within_a_shipped_space(path: Path, id_: str) -> None:
    space = read_space(path)
    if id_ in space.ids:
        assert space.parameter(id_).reason_outside(STOCK[id_]) == ""


def test_loopback_has_nothing_that_loopback_makes_pointless() -> None:
    space = read_space(shipped_dir("search_spaces") / "loopback.toml")
    assert [parameter.id for parameter in space.parameters if parameter.setting.loopback] == []
    assert 20 <= len(space.parameters) <= 45


def test_the_whole_host_is_a_superset_of_loopback() -> None:
    loopback, host = (
        read_space(shipped_dir("search_spaces") / name) for name in ("loopback.toml", "linux-host.toml")
    )
    assert set(loopback.ids) < set(host.ids)


def test_the_sequence_has_the_published_eight_steps() -> None:
    sequence = read_sequence(SEQUENCE)
    published = [step.published for step in sequence.steps]
    assert published == [1.256, 1.109, 1.054, 1.059, 1.025, 1.023, 1.015, 1.03]
    assert [step.number for step in sequence.steps if step.unsupported] == []
    assert sum(len(step.values) for step in sequence.steps) == 33
    workers = {value.setting.id: value.value for value in sequence.steps[1].values}
    assert workers["nginx:worker_processes"] == Expression(text="board.server_cpus")
    assert workers["nginx:worker_cpu_affinity"] == "auto"
    kernel = {value.setting.id: value.value for value in sequence.steps[3].values}
    assert kernel["sysctl:net.ipv4.tcp_wmem"] == (4096, 65536, 67108864)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_survives_the_database(path: Path) -> None:
    study = read_study(path)
    again = Study.model_validate_json(study.model_dump_json())
    assert again == study
    assert again.fingerprint == study.fingerprint
    assert study.name == path.stem


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_night_lets_nothing_win_that_makes_people_wait(path: Path) -> None:
    study = read_study(path)
    limited = [(limit.workload, limit.metric, limit.of_stock) for limit in study.limits]
    assert limited == ([] if study.name == "quickstart" else [("", "latency_p99_s", True)])


@pytest.mark.parametrize(
    "name", ["rock5b-static-1k", "rock5b-static-1k-remote", "rock5b-static-100k", "rock5b-mixed"]
)
def test_the_texts_figures_are_goals_of_the_boards_own_studies(name: str) -> None:
    study = read_study(shipped_dir("studies") / f"{name}.toml")
    assert study.placement is Placement.PINNED
    assert {goal.workload for goal in study.goals} <= {workload.name for workload in study.workloads}
    figures = {(goal.workload, goal.metric, goal.of_stock): goal.value for goal in study.goals}
    published = {"static 1 KB": (65_000, 1.44), "static 100 KB": (12_500, 1.40), "dynamic PHP": (2_500, 1.37)}
    for workload in {goal.workload for goal in study.goals}:
        figure, ratio = published[workload]
        assert figures[workload, "requests_per_s", False] == figure
        assert figures[workload, "requests_per_s", True] == ratio
        assert figures[workload, "latency_p99_s", True] == 0.70
        assert figures[workload, "server_cpu_s_per_request", True] == 0.80
    assert all(goal.source for goal in study.goals)


def test_the_night_with_a_load_host_asks_the_same_and_may_tune_the_network_card() -> None:
    here, remote = (
        read_study(shipped_dir("studies") / f"{name}.toml")
        for name in ("rock5b-static-1k", "rock5b-static-1k-remote")
    )
    assert here.load_is_on_board
    assert remote.load.startswith("ssh://")
    assert (remote.workloads, remote.limits, remote.goals) == (here.workloads, here.limits, here.goals)
    assert {"irq:nic.affinity", "net:nic.rps_cpus", "net:nic.qdisc"} <= set(remote.space.ids)


def test_the_boards_mix_is_seventy_to_thirty() -> None:
    mix = read_study(shipped_dir("studies") / "rock5b-mixed.toml").workloads[-1]
    shares = {url.target: url.weight for url in mix.urls}
    assert shares["/index.php"] / sum(shares.values()) == 0.3


def test_mixed_takes_forty_minutes_and_leaves_room_for_a_search() -> None:
    study = read_study(shipped_dir("studies") / "mixed.toml")
    assert len(study.workloads) == 3
    plan = plan_summary(study, sample_s=estimated_sample_s(study, 1.2))
    assert plan.total_s < 40 * 60
    assert plan.candidates > 30  # and a quarter as many repeats of the promising ones
    assert plan.plan.finals_rounds == study.budget.finals_rounds


def test_quickstart_takes_about_ten_minutes() -> None:
    study = read_study(shipped_dir("studies") / "quickstart.toml")
    budget = study.budget
    assert budget.candidates is not None
    searched = budget.candidates + int(REPEAT_SHARE * budget.candidates)
    samples = (
        2 * budget.calibration_pairs
        + searched
        + references_for(searched, budget.reference_every)
        + 2 * budget.finalists * budget.finalist_pairs
        + 3 * budget.finals_rounds
        + 6 * budget.series_rounds
    )
    paced_s = 3 * budget.finals_rounds * study.fixed_rate_s
    pared = 2 * budget.distillation_pairs * 4  # as many subsets as there can be
    assert (2 * budget.calibration_pairs, budget.candidates, 3 * budget.finals_rounds) == (24, 28, 72)
    assert samples * (study.busy_s + 0.3) < 10 * 60
    assert (samples + pared) * (study.busy_s + 0.3) + paced_s < 12 * 60
    assert study.accept_noise


def test_copies_can_be_edited_and_read_on_their_own(tmp_path: Path) -> None:
    copies = copy_shipped(tmp_path / "new" / "place")
    assert {copy.name for copy in copies} == {path.name for path in shipped_files()}
    loopback = tmp_path / "new" / "place" / "loopback.toml"
    loopback.write_text('title = "mine"\n[parameter."nginx:sendfile"]\nwhy = "x"\n', encoding="utf-8")
    study = read_study(tmp_path / "new" / "place" / "quickstart.toml")
    assert study.space.title == "mine"


def test_copying_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "quickstart.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"already has quickstart\.toml; nothing has been copied"):
        copy_shipped(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.toml"]
    assert (tmp_path / "quickstart.toml").read_text(encoding="utf-8") == "mine"


def test_copying_onto_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="can't copy to"):
        copy_shipped(tmp_path / "file")


def test_an_installed_package_finds_its_own_files(tmp_path: Path) -> None:
    package = Path(autotune.__file__).parent
    shutil.copytree(package, tmp_path / "autotune", ignore=shutil.ignore_patterns("__pycache__"))
    for kind in ("search_spaces", "studies"):
        shutil.copytree(package.parent / kind, tmp_path / "autotune" / "shipped" / kind)
    program = (
        "from autotune.definitions.shipped import shipped_dir\n"
        "from autotune.definitions.study_file import read_study\n"
        "print(shipped_dir('studies'), read_study(shipped_dir('studies') / 'quickstart.toml').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "autotune" / "shipped" / "studies"), "quickstart"]


def test_a_package_without_its_files_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("autotune.definitions.shipped.__file__", str(tmp_path / "a" / "b" / "shipped.py"))
    with pytest.raises(AutotuneError, match="has lost its studies directory"):
        shipped_dir("studies")
