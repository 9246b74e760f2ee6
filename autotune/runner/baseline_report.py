"""`autotune doctor STUDY --report FILE`: the board before any tuning, looked at and measured on stock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from autotune import __version__
from autotune.board.reading import is_count
from autotune.board.records import Reading
from autotune.errors import BoardUnfit, UsageError
from autotune.experiment.study import Study
from autotune.report.baseline_page import Baseline, BaselineRun, baseline_markdown
from autotune.runner.clocks import now_text
from autotune.runner.live_bench import InForce, LiveBench, NotInForce
from autotune.runner.load_needs import night_needs
from autotune.runner.preflight import require
from autotune.runner.session import Held, settings_of
from autotune.space.configuration import Configuration

RUNS = 3
REST_S = 5.0
_CPUFREQ = "/sys/devices/system/cpu/cpufreq"
_FILES = (
    "/proc/version",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/cmdline",
    "/etc/os-release",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    f"{_CPUFREQ}/*/scaling_driver",
    f"{_CPUFREQ}/*/scaling_governor",
    f"{_CPUFREQ}/*/scaling_min_freq",
    f"{_CPUFREQ}/*/scaling_max_freq",
    f"{_CPUFREQ}/*/scaling_cur_freq",
    f"{_CPUFREQ}/*/related_cpus",
)
_TOPOLOGY = ("physical_package_id", "cluster_id", "core_id")
# Words of the kernel's command line that change how fast it serves; the rest is nobody's business.
_BOOT_WORDS = (
    "isolcpus", "nohz", "nohz_full", "rcu_nocbs", "mitigations", "cpufreq", "cpuidle", "idle", "intel_pstate", "amd_pstate",
    "processor", "preempt", "transparent_hugepage", "hugepages", "hugepagesz", "irqaffinity", "threadirqs", "maxcpus", "nosmt",
    "pcie_aspm", "clocksource", "tsc", "nr_cpus", "skew_tick", "audit", "selinux", "apparmor",
)  # fmt: skip


def baseline_report(
    study: Study, file: Path, *, say: Callable[[str], None], runs: int = RUNS, rest_s: float = REST_S
) -> Baseline:
    """Takes the board, measures every workload on stock, puts the board back, and writes the report.

    `runs` of each workload, `rest_s` seconds before each. Raises UsageError for a file that can't be made (asked first),
    and what a night's beginning raises: BoardBusy (also while a configuration is kept), BoardUnfit, LoadGeneratorFailed.
    """
    _require_new(file)
    held = Held.take(study, 0)
    try:
        require(night_needs(held.connection, held.study, held.load_host, held.way))
        baseline = _baseline(held, study, say, runs, rest_s)
    finally:
        held.give_back()
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(baseline_markdown(baseline))
    except OSError as problem:
        raise UsageError(f"can't write {file}: {problem.strerror}") from None
    return baseline


def _require_new(file: Path) -> None:
    if file.exists():
        raise UsageError(f"{file} is there already; nothing was measured", hint="Name a new file.")
    if not file.parent.is_dir():
        raise UsageError(
            f"{file.parent} is no directory; nothing was measured", hint=f"mkdir -p {file.parent}"
        )


def _baseline(held: Held, study: Study, say: Callable[[str], None], runs: int, rest_s: float) -> Baseline:
    facts, discovery = held.connection.facts, held.discovery
    bench = LiveBench(held)
    bench.learn_truth()
    there = bench.put_in_force(Configuration())
    if isinstance(there, NotInForce):
        raise BoardUnfit(f"stock does not pass ({there.stage}): {there.reason}", hint="see `autotune doctor`")
    measured: dict[str, list[BaselineRun]] = {workload.name: [] for workload in study.workloads}
    for number in range(runs):
        for workload in study.workloads:
            say(f"{workload.name}: run {number + 1} of {runs}")
            _rest(held, rest_s)
            measured[workload.name].append(_run(bench, there, study, workload.name))
    return Baseline(
        study=study.name,
        title=study.title,
        at=now_text(),
        version=__version__,
        machine=machine_rows(held),
        programs={name: one.version for name, one in facts.programs.items() if one.path},
        stock=tuple(
            (setting.id, setting.show(discovery.stock[setting.id]))
            for setting in settings_of(study)
            if setting.id in discovery.stock
        ),
        capstone=study.stock == "capstone",
        left_out=() if discovery.site is None else discovery.site.left_out,
        server_cpus=held.placement.server,
        generator_cpus=held.placement.generator,
        runs={name: tuple(some) for name, some in measured.items()},
        workloads=study.workloads,
        rest_s=rest_s,
    )


def _rest(held: Held, seconds: float) -> None:
    """Nothing is asked of the board meanwhile, but that it waits."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        held.keepalive()
        time.sleep(min(left, held.study.budget.lease_s / 4))


def _run(bench: LiveBench, there: InForce, study: Study, name: str) -> BaselineRun:
    workload = next(one for one in study.workloads if one.name == name)
    judged = bench.load(workload, there).judged
    return BaselineRun(measurement=judged.measurement, reason=judged.reason, doubts=judged.doubts)


def machine_rows(held: Held) -> tuple[tuple[str, str], ...]:
    """The machine in rows of name and text."""
    facts = held.connection.facts
    topology = [
        f"/sys/devices/system/cpu/cpu{cpu}/topology/{name}" for cpu in facts.cpus for name in _TOPOLOGY
    ]
    read = held.connection.read([*_FILES, *topology])
    memory = _pairs(_text(read, "/proc/meminfo"))
    rows = [
        ("host", facts.hostname),
        ("model", facts.model),
        ("kernel (uname)", f"Linux {facts.hostname} {facts.kernel} {facts.machine}"),
        ("kernel build", _text(read, "/proc/version")),
        ("distribution", _os_name(_text(read, "/etc/os-release"))),
        ("boot options that matter here", _boot_words(read)),
        ("CPU", _cpu_name(_text(read, "/proc/cpuinfo")) or facts.model),
        *((f"CPU {cpu}", _topology(read, cpu, facts.capacity)) for cpu in facts.cpus),
        ("server CPUs", _numbers(held.placement.server) or "all"),
        ("load generator CPUs", _numbers(held.placement.generator) or "all"),
        *_clocks(read),
        ("clock source", _text(read, "/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        ("memory", f"{facts.memory_bytes / 2**30:.1f} GiB"),
        *(
            (f"memory: {name}", memory[name])
            for name in ("MemFree", "MemAvailable", "Buffers", "Cached", "Dirty", "SwapTotal", "SwapFree")
            if name in memory
        ),
        ("transparent huge pages", _text(read, "/sys/kernel/mm/transparent_hugepage/enabled")),
        ("open files, at most", str(facts.open_files_limit)),
    ]
    return tuple((name, text or "not told here") for name, text in rows)


def _text(read: Mapping[str, Reading], path: str) -> str:
    reading = read.get(path)
    return (reading.text or "").strip() if reading else ""


def _clocks(read: Mapping[str, Reading]) -> list[tuple[str, str]]:
    policies = sorted(
        path.split("/")[-2] for path, one in read.items() if path.endswith("/scaling_governor") and one.text
    )
    if not policies:
        return [("clocks", "this kernel lets nobody set them: no cpufreq (a virtual machine, or no driver)")]
    return [(f"clocks: {policy}", _policy(read, policy)) for policy in policies]


def _policy(read: Mapping[str, Reading], policy: str) -> str:
    found = {
        name: _text(read, f"{_CPUFREQ}/{policy}/{name}")
        for name in (
            "related_cpus", "scaling_driver", "scaling_governor", "scaling_min_freq", "scaling_max_freq", "scaling_cur_freq",
        )
    }  # fmt: skip
    return (
        f"CPUs {found['related_cpus']}: governor {found['scaling_governor']}, {_mhz(found['scaling_min_freq'])} to "
        f"{_mhz(found['scaling_max_freq'])}, now {_mhz(found['scaling_cur_freq'])}, driver {found['scaling_driver']}"
    )


def _mhz(khz: str) -> str:
    return f"{int(khz) / 1000:,.0f} MHz" if is_count(khz) else "?"


def _topology(read: Mapping[str, Reading], cpu: int, capacity: Mapping[int, int]) -> str:
    places = {name: _text(read, f"/sys/devices/system/cpu/cpu{cpu}/topology/{name}") for name in _TOPOLOGY}
    words = [
        f"{word} {places[name]}"
        for word, name in (
            ("package", "physical_package_id"),
            ("cluster", "cluster_id"),
            ("core", "core_id"),
        )
        if is_count(places[name])
    ]
    if cpu in capacity:
        words.append(f"capacity {capacity[cpu]} of 1024")
    return ", ".join(words)


def _boot_words(read: Mapping[str, Reading]) -> str:
    if not (line := _text(read, "/proc/cmdline")):
        return ""
    kept = [word for word in line.split() if word.split("=")[0].split(".")[0] in _BOOT_WORDS]
    return " ".join(kept) or "none"


def _cpu_name(cpuinfo: str) -> str:
    found = [
        line.partition(":")[2].strip()
        for line in cpuinfo.splitlines()
        if line.partition(":")[0].strip() in ("model name", "CPU part")
    ]
    return ", ".join(f"{found.count(name)} x {name}" for name in dict.fromkeys(found))


def _os_name(text: str) -> str:
    return next(
        (line.partition("=")[2].strip('"') for line in text.splitlines() if line.startswith("PRETTY_NAME=")),
        "",
    )


def _pairs(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _numbers(cpus: tuple[int, ...]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
