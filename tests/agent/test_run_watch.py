"""What the agent looks at around a run: heat, clocks, watts, other programs, the kernel log.

A STAND-IN where it says so: this machine has no cpufreq, no thermal zones and no meter, so their trees are of plain files in a
namespace. That proves what is read and reckoned, not the kernel.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from serving import NightHere, begin, load_order

from autotune.agent import bystanders, kernel_log, real_clock
from autotune.agent.heat import number
from autotune.board.records import LoadSeen
from conftest import BoardNamespace

CLASS = "/sys/class"
CPUFREQ = "/sys/devices/system/cpu/cpufreq"
ZONE, COOLING = f"{CLASS}/thermal/thermal_zone0", f"{CLASS}/thermal/cooling_device0"
RAPL, INA = f"{CLASS}/powercap/intel-rapl:0", f"{CLASS}/hwmon/hwmon3"
POLICY = f"{CPUFREQ}/policy4"
TREE: Mapping[str, str] = {
    f"{ZONE}/type": "soc-thermal",
    f"{ZONE}/temp": "48250",
    f"{CLASS}/thermal/thermal_zone1/type": "soc-thermal",
    f"{CLASS}/thermal/thermal_zone1/temp": "51000",
    f"{COOLING}/type": "thermal-cpufreq-0",
    f"{COOLING}/cur_state": "0",
    f"{POLICY}/scaling_governor": "performance",
    f"{POLICY}/scaling_max_freq": "2304000",
    f"{POLICY}/scaling_min_freq": "408000",
    f"{POLICY}/stats/time_in_state": "408000 500\n2304000 90000",
    f"{CPUFREQ}/policy0/scaling_governor": "ondemand",
    f"{CPUFREQ}/policy0/scaling_max_freq": "1800000",
    f"{CPUFREQ}/policy0/scaling_min_freq": "408000",
}
WATTS = {
    f"{CLASS}/hwmon/hwmon0/name": "tcpm_source_psy_4_0022",  # what was negotiated, not what flows
    f"{CLASS}/hwmon/hwmon0/in0_input": "20000",
    f"{CLASS}/hwmon/hwmon0/curr0_input": "3000",
    f"{INA}/name": "ina3221",
    f"{INA}/in1_input": "5000",
    f"{INA}/curr1_input": "1200",
    f"{INA}/in2_input": "3300",
    f"{INA}/curr2_input": "500",
}


def put(board: BoardNamespace, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        board.run("mkdir", "-p", path.rpartition("/")[0])
        board.write(path, text + "\n")


@pytest.fixture
def board(board_namespace: BoardNamespace) -> BoardNamespace:
    """A STAND-IN board with a cluster, two zones and a cooling device."""
    for directory in (CPUFREQ, CLASS):
        assert board_namespace.run("mount", "-t", "tmpfs", "tmpfs", directory).returncode == 0
    put(board_namespace, TREE)
    return board_namespace


@pytest.fixture
def night(board: BoardNamespace, real_nginx: str, real_wrk: str) -> Iterator[NightHere]:
    here = begin(board)
    here.serve()
    yield here
    here.line.end()


def loaded(night: NightHere, meter: str = "", *, meanwhile: Callable[[], None] = lambda: None) -> LoadSeen:
    """Two seconds of load; `meanwhile` happens a little after its beginning."""
    later = threading.Timer(0.5, meanwhile)
    later.start()
    try:
        return night.line.load(replace(load_order(warmup_s=0, duration_s=2), power=meter))
    finally:
        later.join()


@pytest.mark.real
def test_heat_and_clocks_have_a_name_each(board: BoardNamespace) -> None:
    seen = board.connect().counters()
    heat = {
        name: value
        for name, value in seen.levels.items()
        if name.startswith(("temp_", "cooling_", "max_khz_", "steady_"))
    }
    assert heat == {
        "temp_soc_thermal_c": 48.25,
        "temp_soc_thermal_2_c": 51.0,
        "cooling_thermal_cpufreq_0": 0.0,
        "max_khz_policy4": 2_304_000.0,
        "steady_policy4": 1.0,
        "max_khz_policy0": 1_800_000.0,
        "steady_policy0": 0.0,
    }
    assert seen.counters["freq.policy4.2304000"] == 900.0
    assert not any(name.startswith("freq.policy0.") for name in seen.counters)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "", "off", "\0"])
def test_a_file_that_says_no_number_is_no_number(tmp_path: Path, text: str) -> None:
    (tmp_path / "temp").write_text(text + "\n")
    assert number(str(tmp_path / "temp")) is None


@pytest.mark.real
def test_heat_that_comes_and_goes_within_a_run_is_seen(night: NightHere) -> None:
    def throttle() -> None:
        put(night.board, {f"{COOLING}/cur_state": "3", f"{ZONE}/temp": "85000"})
        time.sleep(0.8)
        put(night.board, {f"{COOLING}/cur_state": "0", f"{ZONE}/temp": "60000"})

    seen = loaded(night, meanwhile=throttle)
    assert (seen.before["cooling_thermal_cpufreq_0"], seen.after["cooling_thermal_cpufreq_0"]) == (0, 0)
    assert seen.peaks["cooling_thermal_cpufreq_0"] == 3
    assert seen.peaks["temp_soc_thermal_c"] == 85
    assert any(name.startswith("spin_cpu") for name in seen.after)


@pytest.mark.real
def test_the_time_at_each_clock_is_that_of_the_run(night: NightHere) -> None:
    path = f"{POLICY}/stats/time_in_state"
    seen = loaded(night, meanwhile=lambda: put(night.board, {path: "408000 520\n2304000 90180"}))
    clocks = {name: value for name, value in seen.counters.items() if name.startswith("freq.")}
    assert clocks == {"freq.policy4.408000": pytest.approx(0.2), "freq.policy4.2304000": pytest.approx(1.8)}


@pytest.mark.real
def test_each_program_has_its_own_cpu_seconds(night: NightHere) -> None:
    seen = loaded(night)
    assert seen.counters["cpu.server_s"] == pytest.approx(seen.server_cpu_s)
    assert seen.counters["cpu.generator_s"] == pytest.approx(seen.measured.cpu_s)
    assert seen.counters["cpu.server_s"] > 0
    assert seen.counters["cpu.agent_s"] < 0.2 * seen.measured.wall_s


@pytest.mark.real
def test_another_program_is_caught_by_its_name(night: NightHere) -> None:
    burner = ["sh", "-c", "end=$(($(date +%s)+2)); while [ $(date +%s) -le $end ]; do :; done"]
    processes: list[subprocess.Popen[bytes]] = []
    seen = loaded(night, meanwhile=lambda: processes.append(subprocess.Popen(burner)))
    processes[0].wait()
    assert seen.counters["cpu.others_s"] > 0.1
    assert seen.busiest


@pytest.mark.real
@pytest.mark.parametrize(
    ("meter", "source", "watts"),
    [
        ("auto", "hwmon:ina3221", 5 * 1.2 + 3.3 * 0.5),
        ("hwmon:ina3221:2", "hwmon:ina3221:2", 3.3 * 0.5),
        ("hwmon:tcpm_source_psy_4_0022", "hwmon:tcpm_source_psy_4_0022", 60.0),
        ("hwmon:ina226", "", None),
        ("rapl", "", None),
        ("", "", None),
    ],
)
def test_a_power_sensor_is_read_as_the_kernel_documents_it(
    night: NightHere, meter: str, source: str, watts: float | None
) -> None:
    put(night.board, WATTS)
    seen = night.line.load(replace(load_order(warmup_s=0, duration_s=1), power=meter))
    assert seen.power_source == source
    assert seen.power_w == (None if watts is None else pytest.approx(watts))


@pytest.mark.real
def test_an_energy_counter_may_wrap_around_in_a_run(night: NightHere) -> None:
    zone = {f"{RAPL}/name": "package-0", f"{RAPL}/max_energy_range_uj": "262143328850"}
    put(night.board, {**WATTS, **zone, f"{RAPL}/energy_uj": "262143000000"})
    put(night.board, {f"{CLASS}/powercap/intel-rapl:0:0/{name}": "0" for name in ("energy_uj", "name")})
    seen = loaded(night, "auto", meanwhile=lambda: put(night.board, {f"{RAPL}/energy_uj": "19671150"}))
    assert seen.power_source == "rapl"
    assert seen.power_w == pytest.approx(20.0 / seen.measured.wall_s, rel=0.1)


def test_what_ended_meanwhile_counts_for_its_parent_and_nothing_counts_twice() -> None:
    """Process 50 is a shell that reaps 51, which burned 2 s before the first look and 1 s after it; 52 is new."""

    def seen(name: str, parent: int, own_s: float, reaped_s: float = 0.0) -> bystanders.Seen:
        return bystanders.Seen(name, parent, own_s, reaped_s)

    before = {(50, 1): seen("sh", 1, 0.1), (51, 2): seen("cc1", 50, 2.0), (2, 0): seen("kthreadd", 0, 0.0)}
    after = {
        (50, 1): seen("sh", 1, 0.1, 3.0),
        (52, 3): seen("ld", 50, 0.5),
        (2, 0): seen("kthreadd", 0, 0.0),
        (60, 4): seen("ksoftirqd/0", 2, 4.0),
    }
    found = bystanders.others(before, after)
    assert found.cpu_s == pytest.approx(1.5)
    assert found.kernel_s == pytest.approx(4.0)
    assert found.busiest == ["sh (pid 50) 1.00 s", "ld (pid 52) 0.50 s"]


def test_our_own_work_is_not_anothers() -> None:
    before = bystanders.look()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    found = bystanders.others(before, bystanders.look())
    assert found.agent_s >= 0.15
    assert not any(f"(pid {os.getpid()})" in one for one in found.busiest)


def test_a_number_that_was_used_again_is_another_process() -> None:
    before = {(70, 1): bystanders.Seen("old", 1, 9.0, 0.0)}
    after = {(70, 2): bystanders.Seen("new", 1, 0.5, 0.0), (1, 0): bystanders.Seen("init", 0, 0.0, 9.0)}
    assert bystanders.others(before, after).cpu_s == pytest.approx(0.5)


def test_the_real_clock_is_asked_of_one_cpu_of_each_kind_and_leaves_no_trace() -> None:
    usable = os.sched_getaffinity(0)
    found = real_clock.rates((max(usable),))
    assert found
    assert all(rate > 0 for rate in found.values())
    assert len(found) <= 4
    assert f"spin_cpu{max(usable)}" in found
    assert os.sched_getaffinity(0) == usable


def test_the_kernel_log_is_read_from_now_on_and_nobody_misses_it() -> None:
    kmsg = Path("/dev/kmsg")
    try:
        with kmsg.open("w") as file:
            file.write("autotune's tests: before\n")
    except OSError as problem:
        pytest.skip(f"/dev/kmsg can't be written here: {problem}")
    log = kernel_log.KernelLog()
    try:
        with kmsg.open("w") as file:
            file.write("autotune's tests: meanwhile\n")
        lines = log.lines()
    finally:
        log.close()
    assert lines is not None
    assert "autotune's tests: meanwhile" in lines
    assert "autotune's tests: before" not in lines
