"""The baseline report: what a board is and what it serves before anything is tuned, in one Markdown file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotune.experiment.events import Doubt, Measurement
from autotune.experiment.study import Workload
from autotune.report.markdown import bullets, plain, table
from autotune.report.page import printable
from autotune.report.words import load_text, local_time_text, rate_text

_CPU_PARTS = ("user", "nice", "system", "softirq", "irq", "iowait", "steal", "idle")
_CPU_COUNTER = re.compile(r"cpu(\d+)\.\w+_s")
# What a reader of vmstat, sar and nstat would look for, by the counter's name here. Per second.
_RATES = (
    ("context switches", "ctxt"),
    ("interrupts", "intr"),
    ("softirq NET_RX", "softirq.NET_RX"),
    ("softirq NET_TX", "softirq.NET_TX"),
    ("softirq TIMER", "softirq.TIMER"),
    ("softirq SCHED", "softirq.SCHED"),
    ("softirq RCU", "softirq.RCU"),
    ("processes started", "forks"),
    ("page faults", "vm.pgfault"),
    ("major page faults", "vm.pgmajfault"),
    ("KiB read from disks", "vm.pgpgin"),
    ("KiB written to disks", "vm.pgpgout"),
    ("pages swapped in", "vm.pswpin"),
    ("pages swapped out", "vm.pswpout"),
    ("TCP segments received", "tcp.InSegs"),
    ("TCP segments sent", "tcp.OutSegs"),
    ("TCP segments sent again", "tcp.RetransSegs"),
)
# These should be zero, so they are told as they are and not per second.
_COUNTS = (
    ("listen queue overflows", "tcpext.ListenOverflows"),
    ("listen queue drops", "tcpext.ListenDrops"),
    ("packets dropped before the stack", "softnet.dropped"),
    ("softnet squeezes", "softnet.time_squeeze"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRun:
    """One run of a workload on stock: its measurement, or why there is none."""

    measurement: Measurement | None
    reason: str = ""
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was found and measured. `machine`: rows of name and text; `programs`: version texts in full, by name;
    `stock`: id and value of each setting, which `capstone` says the text's values were laid over; `left_out`: what the tested server leaves out of the packaged configuration.
    """

    study: str
    title: str
    at: str
    version: str
    machine: tuple[tuple[str, str], ...]
    programs: Mapping[str, str]
    stock: tuple[tuple[str, str], ...]
    capstone: bool
    left_out: tuple[str, ...]
    server_cpus: tuple[int, ...]
    generator_cpus: tuple[int, ...]
    runs: Mapping[str, tuple[BaselineRun, ...]]
    workloads: tuple[Workload, ...]
    rest_s: float


def baseline_markdown(baseline: Baseline) -> str:
    """The whole report as Markdown, ending with a newline."""
    blocks = [
        f"# Baseline: {plain(baseline.title or baseline.study)}",
        (
            f"Study `{baseline.study}`, {local_time_text(baseline.at)}, autotune {baseline.version}. "
            "Measured on stock: nothing was tuned, and the board was put back as it was."
        ),
        "## Machine",
        table(("", "is"), [(name, text) for name, text in baseline.machine]),
        "## Programs",
        *(
            f"### {name}\n\n```\n{printable(text).replace('```', '')}\n```"
            for name, text in baseline.programs.items()
        ),
        "## Stock configuration",
        table(("setting", "value on the board"), baseline.stock),
    ]
    if baseline.capstone:
        blocks.append(
            'The study measures against the text\'s stock (`stock = "capstone"`): its values were laid over these.'
        )
    if baseline.left_out:
        blocks.append("Not taken over into the tested server:\n\n" + bullets(baseline.left_out))
    blocks.append("## Workloads")
    for workload in baseline.workloads:
        blocks += _workload(baseline, workload)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _workload(baseline: Baseline, workload: Workload) -> list[str]:
    runs = baseline.runs.get(workload.name, ())
    good = [run.measurement for run in runs if run.measurement is not None]
    blocks = [
        f"### {plain(workload.name)}",
        (
            f"{plain(load_text(workload))}, {workload.threads} wrk threads, {workload.warmup_s:g} s of warm-up and "
            f"{baseline.rest_s:g} s of rest before each of {len(runs)} runs."
        ),
        table(_RUN_COLUMNS, [_run_row(str(number), run) for number, run in enumerate(runs, 1)]),
    ]
    failed = [f"run {number}: {run.reason}" for number, run in enumerate(runs, 1) if run.reason]
    doubts = dict.fromkeys(doubt.text for run in runs for doubt in run.doubts)
    blocks += [bullets(failed), bullets(doubts)]
    if not good:
        return blocks
    rates = [one.requests_per_s for one in good]
    blocks += [
        (
            f"Mean **{rate_text(fmean(rates))} requests/s**, range {100 * (max(rates) - min(rates)) / fmean(rates):.1f} % of it; "
            f"{_per_request(good)} of the server's CPU per request."
        ),
        "Each CPU, in per cent of the time (mean of the runs):",
        table(("CPU", "for", *_CPU_PARTS), _cpu_rows(good, baseline)),
        "Per second, over all CPUs (mean of the runs):",
        table(("", "per s"), [(name, f"{_rate(good, key):,.1f}") for name, key in _RATES]),
        "In all runs together:",
        table(("", "count"), [(name, f"{_sum(good, key):,.0f}") for name, key in _COUNTS]),
        table(("", "before the first run", "after the last run"), _level_rows(good)),
    ]
    return blocks


_RUN_COLUMNS = (
    "run", "requests/s", "MB/s", "mean", "p50", "p90", "p95", "p99", "p99.9", "max (ms)",
    "connect", "read", "write", "timeout", "status", "server CPU s", "wrk CPU s",
)  # fmt: skip


def _run_row(number: str, run: BaselineRun) -> tuple[str, ...]:
    one = run.measurement
    if one is None:
        return (number, "failed", *("" for _ in _RUN_COLUMNS[2:]))
    latencies = (
        one.latency_mean_s, one.latency_p50_s, one.latency_p90_s, one.latency_p95_s,
        one.latency_p99_s, one.latency_p999_s, one.latency_max_s,
    )  # fmt: skip
    errors = one.errors
    return (
        number,
        rate_text(one.requests_per_s),
        f"{one.bytes / one.duration_s / 1e6:,.1f}",
        *(f"{1000 * latency:,.2f}" for latency in latencies),
        *(str(count) for count in (errors.connect, errors.read, errors.write, errors.timeout, errors.status)),
        f"{one.server_cpu_s:.2f}",
        f"{one.client_cpu_s:.2f}",
    )


def _per_request(good: Sequence[Measurement]) -> str:
    return f"{1e6 * fmean(one.server_cpu_s / one.requests for one in good):,.1f} µs"


def _cpu_rows(good: Sequence[Measurement], baseline: Baseline) -> list[tuple[str, ...]]:
    cpus = {int(found[1]) for one in good for key in one.counters if (found := _CPU_COUNTER.fullmatch(key))}
    rows = []
    for cpu in sorted(cpus):
        spent = [fmean(one.counters.get(f"cpu{cpu}.{part}_s", 0.0) for one in good) for part in _CPU_PARTS]
        total = sum(spent) or 1.0
        role = [
            name
            for name, its in (("server", baseline.server_cpus), ("wrk", baseline.generator_cpus))
            if not its or cpu in its
        ]
        rows.append((str(cpu), " and ".join(role) or "-", *(f"{100 * part / total:.1f}" for part in spent)))
    return rows


def _level_rows(good: Sequence[Measurement]) -> list[tuple[str, str, str]]:
    first, last = good[0].counters, good[-1].counters
    names = [key.removeprefix("before.") for key in first if key.startswith("before.")]
    rows = []
    for name in names:
        show = _level_text(name)
        after = last.get(f"after.{name}")
        rows.append(
            (name.replace("_", " "), show(first[f"before.{name}"]), "-" if after is None else show(after))
        )
    return rows


def _level_text(name: str) -> Callable[[float], str]:
    if name.startswith("mem_"):
        return lambda value: f"{value / 2**20:,.0f} MiB"
    if name.startswith("khz_"):
        return lambda value: f"{value / 1000:,.0f} MHz"
    return lambda value: f"{value:,.2f}".rstrip("0").rstrip(".")


def _rate(good: Sequence[Measurement], key: str) -> float:
    return fmean(one.counters.get(key, 0.0) / one.duration_s for one in good)


def _sum(good: Sequence[Measurement], key: str) -> float:
    return sum(one.counters.get(key, 0.0) for one in good)
