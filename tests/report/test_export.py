"""The exported files: right for their readers, and nothing in them can break out."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from autotune.errors import SettingUnsupported, UsageError
from autotune.experiment.events import Distilled, Event, NightBegun, Proposal
from autotune.experiment.study import Limit, Placement
from autotune.installer.exported import from_text
from autotune.report.export import NGINX_FILE, export_files, write_files
from autotune.report.nginx_snippet import nginx_text
from autotune.report.program import program_files
from autotune.report.provenance import PROVENANCE_FILE
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value
from night_example import STOCK, WINNER, a_night, a_study

SYSCTL_FILE = "files/99-zz-autotune.conf"
THP_FILE = "files/autotune.conf"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    study = a_study()
    return export_files(study, a_night(study))


def with_winner(changes: Mapping[str, Value]) -> list[Event]:
    """The log of the night, as if its winning proposal had held these values too, and been shipped whole."""
    log = a_night(a_study())
    other = Configuration.of({**WINNER.mapping, **changes})
    return [
        event.model_copy(update={"configuration": other})
        if isinstance(event, (Proposal, Distilled)) and event.configuration == WINNER
        else event
        for event in log
    ]


def test_the_sysctl_drop_in_holds_only_assignments_and_comments(files: dict[str, str]) -> None:
    for line in files[SYSCTL_FILE].splitlines():
        assert not line or line.startswith("# ") or line.count(" = ") == 1


@pytest.mark.skipif(shutil.which("sysctl") is None, reason="no sysctl here")
@pytest.mark.real
def test_sysctl_itself_reads_the_drop_in(files: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "drop-in.conf"
    file.write_text(files[SYSCTL_FILE])
    done = subprocess.run(
        ["sysctl", "--dry-run", "-p", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "net.core.somaxconn = 16384" in done.stdout


def test_huge_pages_are_a_tmpfiles_line(files: dict[str, str]) -> None:
    assert files[THP_FILE].splitlines()[1:] == [
        "w /sys/kernel/mm/transparent_hugepage/enabled - - - - always"
    ]


def test_nginx_directives_stand_in_their_context_with_what_they_replace(files: dict[str, str]) -> None:
    text = files[NGINX_FILE]
    http = text[text.index("http {") :]
    assert "output_buffers 2 64k;  # size was 32k" in http
    assert "access_log off;  # was on  CHANGES WHAT IS SERVED" in http
    assert "listen ... backlog=8192 reuseport;" in http
    assert "backlog was 511, reuseport was off" in http


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.real
def test_nginx_itself_accepts_every_directive(tmp_path: Path) -> None:
    chosen: dict[str, Value] = {
        "nginx:worker_processes": 2,
        "nginx:worker_rlimit_nofile": 4096,
        "nginx:timer_resolution": 100,
        "nginx:worker_cpu_affinity": 3,
        "nginx:thread_pool.threads": 8,
        "nginx:worker_connections": 2048,
        "nginx:multi_accept": True,
        "nginx:accept_mutex": True,
        "nginx:sendfile": True,
        "nginx:sendfile_max_chunk": 262144,
        "nginx:tcp_nopush": True,
        "nginx:tcp_nodelay": False,
        "nginx:open_file_cache": 1000,
        "nginx:output_buffers.number": 4,
        "nginx:large_client_header_buffers.size": 16384,
        "nginx:keepalive_timeout": 30,
        "nginx:client_header_buffer_size": 2048,
        "nginx:access_log.buffer": 65536,
        "nginx:listen.backlog": 4096,
        "nginx:listen.deferred": True,
    }
    stock: dict[str, Value] = {
        "nginx:thread_pool.max_queue": 65536,
        "nginx:output_buffers.size": 32768,
        "nginx:large_client_header_buffers.number": 4,
        "nginx:open_file_cache.inactive": 60,
    }
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\n" + nginx_text(chosen, stock))
    done = subprocess.run(
        ["nginx", "-t", "-p", str(tmp_path), "-c", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_words_that_mean_no_directive_become_advice() -> None:
    text = nginx_text(
        {
            "nginx:worker_rlimit_nofile": "unset",
            "nginx:worker_cpu_affinity": "off",
            "nginx:access_log.buffer": "unset",
            "nginx:listen.reuseport": False,
        },
        {
            "nginx:worker_rlimit_nofile": 1024,
            "nginx:worker_cpu_affinity": "auto",
            "nginx:listen.reuseport": True,
        },
    )
    assert "# remove worker_rlimit_nofile  (was 1024)" in text
    assert "# remove worker_cpu_affinity  (was auto)" in text
    assert "# remove from your own listen line: reuseport (reuseport was on)" in text


def test_provenance_tells_the_measurement_how_to_install_and_how_to_undo(files: dict[str, str]) -> None:
    text = files[PROVENANCE_FILE]
    assert "faster than stock (95 % interval" in text
    assert "| automatic | 11," in text
    assert "sudo ./install " in text
    assert "sudo ./uninstall " in text
    assert "| sysctl | /etc/sysctl.d/99-zz-autotune.conf |" in text
    assert "| net.ipv4" not in text
    assert "| sysctl:net.core.somaxconn | 4096 | 16384 |" in text
    assert "nginx:access_log (changes what is served)" in text


def test_when_nothing_beat_stock_there_is_nothing_to_install() -> None:
    study = a_study(winner=False)
    files = export_files(study, a_night(study))
    assert set(files) == {PROVENANCE_FILE}
    assert "nothing to install" in files[PROVENANCE_FILE]


def capstone_files(*, winner: bool) -> dict[str, str]:
    laid: dict[str, Value] = {"nginx:sendfile": False, "nginx:worker_connections": 768}
    study = a_study(winner=winner, stock="capstone", stock_overrides=Configuration.of(laid))
    begun, *rest = a_night(study)
    assert isinstance(begun, NightBegun)
    return export_files(study, [begun.model_copy(update={"stock": {**begun.stock, **laid}}), *rest])


def test_on_the_texts_stock_what_was_laid_under_the_measurement_is_installed_too() -> None:
    files = capstone_files(winner=True)
    assert "sendfile off;  # was not known" in files[NGINX_FILE]
    assert "worker_connections 768;" in files[NGINX_FILE]
    assert "| nginx:sendfile | ? | off |" in files[PROVENANCE_FILE]
    assert set(capstone_files(winner=False)) == {PROVENANCE_FILE}


def test_what_is_installed_comes_with_the_limits_it_kept() -> None:
    limit = Limit(metric="latency_p99_s", bound="at most", value=1.0, of_stock=True)
    study = a_study(limits=(limit,))
    text = export_files(study, a_night(study, meters=True))[PROVENANCE_FILE]
    assert "- limit of small: p99 at the fixed rate at most 1.000x of stock: kept by automatic (0.90" in text


def test_what_was_left_out_of_the_winner_is_not_installed() -> None:
    study = a_study()
    needed = Configuration.of({"nginx:access_log": False, "nginx:listen.reuseport": True})
    files = export_files(study, a_night(study, needed=needed))
    assert "backlog" not in files[NGINX_FILE]
    assert "reuseport" in files[NGINX_FILE]
    assert "automatic is 5 of the 7 changes of trial 3" in files[PROVENANCE_FILE]


@pytest.mark.parametrize(
    "value",
    ["always\nkernel.core_pattern = |/bin/sh", "a;b", "a}b", "$(id)", "a\x00b", "../../etc", "always - x"],
)
@pytest.mark.parametrize("id_", ["thp:enabled", "sysctl:net.ipv4.tcp_congestion_control"])
def test_a_value_that_could_break_out_is_never_written(id_: str, value: str) -> None:
    with pytest.raises(SettingUnsupported):
        export_files(a_study(), with_winner({id_: value}))


def test_a_setting_that_the_catalogue_does_not_know_is_never_written() -> None:
    with pytest.raises(SettingUnsupported):
        export_files(a_study(), with_winner({"sysctl:kernel.core_pattern": "x"}))


def test_what_the_board_or_the_study_says_cannot_leave_its_comment() -> None:
    study = a_study(name="x\nnet.ipv4.ip_forward = 1")
    log = a_night(study)
    begun = log[0]
    assert isinstance(begun, NightBegun)
    log[0] = begun.model_copy(update={"board": {"kernel\n": "6\n```\nrm -rf /"}})
    files = export_files(study, log)
    for name, text in files.items():
        lines = [line.strip() for line in text.splitlines()]
        assert "net.ipv4.ip_forward = 1" not in lines, name
        assert "rm -rf /" not in lines, name
    assert from_text(files["settings.json"]).study == "x\nnet.ipv4.ip_forward = 1"


def test_a_stock_beyond_the_limits_of_the_catalogue_is_still_told() -> None:
    log = a_night(a_study())
    begun = log[0]
    assert isinstance(begun, NightBegun)
    limit = CATALOGUE["sysctl:net.core.somaxconn"].high
    assert limit is not None
    beyond = int(limit) + 1
    log[0] = begun.model_copy(update={"stock": {**STOCK, "sysctl:net.core.somaxconn": beyond}})
    files = export_files(a_study(), log)
    assert f"| sysctl:net.core.somaxconn | {beyond} | 16384 |" in files[PROVENANCE_FILE]


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError):
        write_files(tmp_path, {"a": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(UsageError):
            write_files(place, {"a": "b"})


def test_hand_exports_what_of_the_sequence_applies_on_this_board() -> None:
    study = a_study()
    files = export_files(study, a_night(study), "hand")
    assert "net.core.somaxconn = 8192" in files[SYSCTL_FILE]
    assert "output_buffers 4 32k;" in files[NGINX_FILE]
    assert "# Hand-tuned configuration of study invented" in files[PROVENANCE_FILE]
    assert from_text(files["settings.json"]).arm == "hand-tuned"


def test_hand_can_be_exported_before_any_finals_and_says_that_nothing_is_known() -> None:
    study = a_study()
    files = export_files(study, a_night(study, until=3), "hand")
    assert "It has not been measured in finals yet" in files[PROVENANCE_FILE]
    assert from_text(files["settings.json"]).families == ("sysctl", "nginx")


def test_a_night_that_never_was_and_a_word_that_is_neither_are_usage_errors() -> None:
    study = a_study()
    log = a_night(study)
    for words in (("auto", 7), ("both", None)):
        with pytest.raises(UsageError):
            export_files(study, log, *words)


def test_the_program_is_no_more_than_what_installing_needs(files: dict[str, str]) -> None:
    rooms = {place.split("/")[2] for place in files if place.startswith("program/autotune/")}
    assert rooms == {"__init__.py", "agent", "installer"}


def test_install_and_uninstall_can_be_run_as_they_are(tmp_path: Path) -> None:
    study = a_study()
    write_files(tmp_path / "out", export_files(study, a_night(study)))
    for name in ("install", "uninstall"):
        asked = subprocess.run(
            [tmp_path / "out" / name, "--help"], capture_output=True, text=True, check=False, cwd="/"
        )
        assert asked.returncode == 0, asked.stderr
        assert "--dry-run" in asked.stdout


def test_a_worker_for_each_cpu_of_the_night_is_one_for_each_cpu_of_the_board() -> None:
    """Pinned, the server had one CPU of two, and one worker; installed, it has both."""
    study = a_study(placement=Placement.PINNED)
    log = with_winner({"nginx:worker_processes": 1, "nginx:sendfile": False})
    begun = log[0]
    assert isinstance(begun, NightBegun)
    log[0] = begun.model_copy(
        update={
            "facts": {**begun.facts, "board.server_cpus": 1},
            "stock": {**begun.stock, "nginx:worker_processes": 4},
        }
    )
    files = export_files(study, log)
    assert "worker_processes auto;" in files[NGINX_FILE]
    assert "measured with 1, installed as auto" in files[PROVENANCE_FILE]
    assert "in the night the server had 1 of 2 CPUs" in files[PROVENANCE_FILE]


def test_the_program_that_is_shipped_is_python_3_9_and_the_standard_library() -> None:
    shipped = program_files()
    there = {name.removeprefix("program/").removesuffix(".py").replace("/", ".") for name in shipped}
    for name, text in shipped.items():
        for node in ast.walk(ast.parse(text, name, feature_version=(3, 9))):
            if isinstance(node, ast.Import):
                assert all(one.name in sys.stdlib_module_names for one in node.names), name
            elif isinstance(node, ast.ImportFrom) and node.module:
                ours = node.module.startswith("autotune")
                assert ours or node.module in sys.stdlib_module_names, f"{name}: {node.module}"
                if ours:
                    names = {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
                    assert names & there, f"{name}: {node.module}"
