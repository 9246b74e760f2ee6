"""The night as a final report in Markdown: summary, before and after, each step, method, learnings, in the capstone text's order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from autotune import __version__
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.by_workload import AtRate, WorkloadArm
from autotune.measurement.comparison import StepGain
from autotune.report.changes import differences_parts
from autotune.report.comparison_page import answer, changing_arms, stamps
from autotune.report.distillation_parts import pare_down, pare_down_lines
from autotune.report.excluded_parts import lost_in, lost_table
from autotune.report.finals_parts import ratio_interval
from autotune.report.learned_parts import Learned, learned_parts
from autotune.report.limit_parts import limits_table
from autotune.report.markdown import bullets, plain, table
from autotune.report.night_report import NightReport, board_text
from autotune.report.page import Paragraph, Part
from autotune.report.words import (
    count_text,
    duration_text,
    interval_text,
    load_text,
    local_time_text,
    percent_text,
    rate_text,
)
from autotune.report.workload_parts import goals_table


def report_markdown(told: NightReport, learned: Learned) -> str:
    """The whole report, ending with a newline."""
    blocks = [f"# {plain(told.study.title or told.study.name)}", *_stamps(told)]
    blocks += _section("Executive Summary", _summary(told))
    blocks += _section("Project Overview", [bullets(_overview(told))])
    blocks += _section("Baseline Performance", [bullets(_performance(told, "stock"))])
    blocks += _section("Final Performance", [bullets(_performance(told, "automatic"))])
    blocks += _section("Hand-Tuned Performance", [bullets(_performance(told, "hand-tuned"))])
    blocks += _section(
        "Targets", [*_part(goals_table(told.comparison)), *_part(limits_table(told.comparison))]
    )
    blocks += _section("Optimizations Implemented", _steps(told))
    blocks += _section("Automatic Configuration", _automatic(told))
    blocks += _section("Methodology", [_numbered(_method(told))])
    blocks += _section("Key Learnings", _learnings(told, learned))
    blocks += _section("Tools Used", [bullets(_tools(told))])
    blocks += _section("Performance Characteristics", [bullets(_characteristics(told))])
    blocks += _section("Future Optimizations", [bullets(_next(told))])
    blocks += _section("Conclusion", [plain(" ".join(answer(told.study, told.comparison)))])
    blocks += ["---", plain(_provenance(told))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _section(title: str, blocks: Iterable[str]) -> list[str]:
    said = [block for block in blocks if block]
    return [f"## {title}", *said] if said else []


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {plain(line)}" for number, line in enumerate(lines, 1))


def _stamps(told: NightReport) -> list[str]:
    found = ((LABEL,) if told.study.is_synthetic else ()) + stamps(told.study, told.comparison)
    return [f"**{plain(one)}**" for one in found]


def _summary(told: NightReport) -> list[str]:
    comparison = told.comparison
    pared = pare_down(told.study, told.log, told.night, told.begun.stock)
    lines = [f"**{plain(one)}**" for one in answer(told.study, comparison)]
    lines += [plain(one) for one in pare_down_lines(pared)]
    if comparison.doubts:
        doubts = [f"{one.text}. Next: {one.next}" if one.next else one.text for one in comparison.doubts]
        lines += ["Reasons for doubt:", bullets(doubts)]
    return lines


def _overview(told: NightReport) -> list[str]:
    board = board_text(told)
    ended = told.ended
    outcome = (
        "not ended yet"
        if ended is None
        else f"{ended.outcome}" + (f": {ended.reason}" if ended.reason else "")
    )
    return [
        f"Platform: {told.study.board}" + (f" ({board})" if board else ""),
        *(f"Workload: {load_text(one)}" for one in told.study.workloads),
        f"Duration: night {told.night} of {told.nights}, began {local_time_text(told.begun.at)}, {duration_text(told.clock.took_s)}, {outcome}",
        (
            f"Approach: {count_text(len(told.begun.space_ids), 'parameter')} searched, beside"
            f" {told.study.hand_tuned.title} ({told.study.hand_tuned.source})"
        ),
    ]


def _performance(told: NightReport, name: str) -> list[str]:
    """Throughput, latency, CPU and power of one arm in the finals, each beside stock's."""
    arm, stock = told.comparison.arm(name), told.comparison.arm("stock")
    if arm is None or not arm.n or stock is None:
        return []
    lines = []
    if len(told.comparison.workloads) > 1:
        lines.append(
            f"All workloads (weighted geometric mean): {rate_text(arm.requests_per_s)} requests/second"
        )
    for workload in told.comparison.workloads:
        mine = _of(workload.arms, name)
        base = None if name == "stock" else _of(workload.arms, "stock")
        if mine is not None:
            head = "" if len(told.comparison.workloads) == 1 else f"{workload.name}: "
            lines += [head + one for one in _figures(mine, base)]
    pair = told.comparison.pair(name, "stock")
    if pair is not None and pair.n:
        lines.append(
            f"Over stock: {interval_text(pair.ratio, pair.low, pair.high)}, n = {pair.n}, {pair.verdict}"
        )
    lines.append(f"Worst run {rate_text(arm.worst)}, range {100 * arm.relative_range:.1f} %, n = {arm.n}")
    return lines


def _of(arms: Sequence[WorkloadArm], name: str) -> WorkloadArm | None:
    return next((one for one in arms if one.name == name), None)


def _figures(mine: WorkloadArm, base: WorkloadArm | None) -> list[str]:
    """`base`: what each figure's change is told against; None: nothing."""
    was = mine if base is None else base  # against itself nothing is told

    lines = [
        f"Throughput: {rate_text(mine.requests_per_s)} requests/second"
        + _change(mine.requests_per_s, was.requests_per_s)
    ]
    rated: AtRate | None = mine.at_rate
    if rated is not None:
        before = base.at_rate.latency_p99_s if base is not None and base.at_rate is not None else None
        lines.append(
            f"Latency (p99 at a fixed {rate_text(rated.rate_per_s)} requests/s): {rated.latency_p99_s * 1000:.2f} ms"
            + _change(rated.latency_p99_s, before)
        )
    lines.append(
        f"Latency (p99 at full load): {mine.latency_p99_s * 1000:.2f} ms"
        + _change(mine.latency_p99_s, was.latency_p99_s)
    )
    if math.isfinite(mine.server_cpu_s_per_request):
        lines.append(
            f"CPU per request: {mine.server_cpu_s_per_request * 1e6:,.1f} us"
            + _change(mine.server_cpu_s_per_request, was.server_cpu_s_per_request)
        )
    if mine.cpu_busy is not None:
        lines.append(f"CPU utilization: {100 * mine.cpu_busy:.0f} %" + _change(mine.cpu_busy, was.cpu_busy))
    if mine.power_w is not None:
        lines.append(f"Power: {mine.power_w:.2f} W" + _change(mine.power_w, was.power_w))
    return lines


def _change(now: float, before: float | None) -> str:
    if before is None or not math.isfinite(before) or before <= 0 or now == before:
        return ""
    return f" ({percent_text(now / before)})"


def _steps(told: NightReport) -> list[str]:
    blocks = []
    why = {one.number: one.why for one in told.study.hand_tuned.steps}
    values = {one.number: one.values for one in told.study.hand_tuned.steps}
    for step in told.comparison.steps:
        gain = f" ({percent_text(step.ratio)} here)" if step.ratio is not None else ""
        blocks.append(f"### {step.number}. {plain(step.name)}{gain}")
        sets = ", ".join(one.setting.id for one in values.get(step.number, ()))
        lines = [why.get(step.number, ""), f"Sets: {sets}" if sets else "", f"Impact here: {_impact(step)}"]
        if step.published:
            lines.append(f"Published, on another board: {percent_text(step.published)}")
        blocks.append(bullets([line for line in lines if line]))
    every = told.comparison.all_steps
    if every is not None and every.ratio is not None:
        blocks.append(plain(f"All steps together over stock, in this series: {ratio_interval(every)}."))
    return blocks


def _impact(step: StepGain) -> str:
    match step.state:
        case "already so":
            return "none: this board has it already"
        case "not available":
            return "not available on this board"
        case "full" | "partial":
            part = "" if step.state == "full" else f" ({step.applied} of {step.of} items could be had)"
            if step.ratio is None:
                return f"not measured{part}"
            return f"{ratio_interval(step)} over the step before, n = {step.n}{part}"


def _automatic(told: NightReport) -> list[str]:
    arms = changing_arms(told.comparison)
    if "automatic" not in arms:
        return []
    return [block for part in differences_parts(told.study, told.begun.stock, arms) for block in _part(part)]


def _part(part: Part) -> list[str]:
    if isinstance(part, Paragraph):
        return [plain(line) for line in part.lines]
    if not part.rows and not part.note:
        return []
    return [f"**{plain(part.title)}**", table(part.columns, part.rows, part.right), plain(part.note)]


def _method(told: NightReport) -> list[str]:
    lines = [
        "Calibration: stock against itself, in pairs, through the full switch",
        "Search: one setting of everything at a time, stock measured again between them, drift removed from every score",
        "Finalists: the best few again, in fresh pairs with stock",
        "Distillation: nested subsets of the winner's changes, against the winner",
        "Finals: stock, hand-tuned and automatic in turns (Latin squares); these samples alone make the headline",
        "Series: the hand-tuned steps, one on top of the other, in rounds of random order",
        "Attribution: each hand-tuned step alone, and all of them without it, in rounds of random order",
    ]
    stages = {str(event.key.stage) for event, _ in told.attempts}
    counts = {stage: sum(str(event.key.stage) == stage for event, _ in told.attempts) for stage in stages}
    return [
        f"{line} ({count_text(counts[stage], 'attempt')})"
        for line in lines
        if (stage := line.partition(":")[0].lower()) in stages
    ]


def _learnings(told: NightReport, learned: Learned) -> list[str]:
    blocks = []
    for part in learned_parts(learned):
        blocks += _part(part)
    return blocks + _part(lost_table("Not counted", lost_in(told.comparison)))


def _tools(told: NightReport) -> list[str]:
    board = told.begun.board
    known = [f"{name}: {value}" for name, value in board.items() if name in ("nginx", "wrk", "kernel", "php")]
    return [f"autotune {__version__}", *known]


def _characteristics(told: NightReport) -> list[str]:
    seen = told.comparison.calibration
    if seen is None:
        return []
    lines = [
        f"One run's noise: {100 * seen.sigma_run:.1f} %, a pair's: {100 * seen.paired_cv:.1f} % ({seen.pairs} pairs of stock with itself)",
        f"The smallest difference it could show: {100 * seen.smallest_visible_difference:.1f} %",
    ]
    if seen.drift_per_hour:
        lines.append(f"Drift of stock: {100 * seen.drift_per_hour:+.1f} % an hour")
    if seen.wanders:
        lines.append("Stock's level wanders: runs far apart differ by more than neighbours do")
    return lines


def _next(told: NightReport) -> list[str]:
    doubts = [one.next for one in told.comparison.doubts if one.next]
    return [*dict.fromkeys(doubts), f"Look at everything: autotune report {told.study.name}"]


def _provenance(told: NightReport) -> str:
    return f"Made by autotune {__version__} from study {told.study.name} (fingerprint {told.study.fingerprint}), night {told.night}; board {told.study.board}."
