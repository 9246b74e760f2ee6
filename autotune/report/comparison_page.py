"""Stock, hand-tuned and automatic side by side: the morning's answer, with every reason to doubt it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from autotune.experiment.events import AppliedStep, Doubt, Event
from autotune.experiment.study import Study
from autotune.measurement.calibration import AARecord
from autotune.measurement.comparison import ArmSummary, Comparison, PairVerdict, StepGain
from autotune.measurement.verdicts import Verdict
from autotune.report.calibration_parts import calibration_paragraph
from autotune.report.changes import changes, changes_parts, last_night, settings_by_id, shown
from autotune.report.cost_parts import cost_table
from autotune.report.distillation_parts import (
    left_out_table,
    pare_down,
    pare_down_json,
    pare_down_lines,
)
from autotune.report.excluded_parts import lost_in, lost_json, lost_table
from autotune.report.limit_parts import limits_json, limits_table, violated_lines
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.words import (
    interval_text,
    objective_words,
    percent_text,
    rate_text,
    ratio_text,
    verdict_text,
)
from autotune.report.workload_parts import (
    figure_name,
    goals_json,
    goals_table,
    latency_tables,
    workload_tables,
    workloads_json,
)

_ARMS = ("stock", "hand-tuned", "automatic")


def comparison_page(
    study: Study, log: Sequence[Event], comparison: Comparison, record: AARecord | None = None
) -> Page:
    """The answer first, then the doubts, the arms, the pairs, the steps, the settings, and where to look next.

    `record`: the A/A stages of every study in the database.
    """
    begun = last_night(log, comparison.night)
    stock = begun.stock if begun else {}
    pared = pare_down(study, log, comparison.night, stock)
    parts: list[Part] = [
        Paragraph(lines=answer(study, comparison), tone="headline"),
        Paragraph(lines=stamps(study, comparison), tone="warning"),
        Paragraph(lines=pare_down_lines(pared)),
        Table(
            title="Reasons for doubt",
            columns=("doubt", "next"),
            rows=tuple((one.text, one.next or "-") for one in comparison.doubts),
        ),
        _arms_table(study, comparison),
        _pairs_table(study, comparison),
        *workload_tables(study, comparison),
        *latency_tables(comparison),
        cost_table(study, comparison),
        limits_table(comparison),
        goals_table(comparison),
        _steps_table(comparison),
    ]
    for arm in comparison.arms:
        if arm.name != "stock" and arm.n:
            parts += changes_parts(f"{arm.name} changes", changes(study, stock, arm.configuration))
    parts.append(left_out_table(pared))
    missing = _missing(begun.steps) if begun else ()
    parts += [
        Table(
            title="Hand-tuned settings that could not be had here",
            columns=("step", "setting", "why"),
            rows=missing,
        ),
        calibration_paragraph(comparison.calibration, None if study.is_synthetic else record),
        lost_table("Not counted", lost_in(comparison)),
        Paragraph(title="Next", lines=_next(study, comparison)),
    ]
    return Page(parts=tuple(parts))


def comparison_json(
    study: Study, log: Sequence[Event], comparison: Comparison, record: AARecord | None = None
) -> dict[str, Any]:
    """The same as data. `settings` holds texts, and only what differs from stock; for stock, the values it replaces."""
    begun = last_night(log, comparison.night)
    stock = begun.stock if begun else {}
    settings = settings_by_id(study)
    replaced = {
        change.id
        for arm in comparison.arms
        if arm.name != "stock"
        for change in changes(study, stock, arm.configuration)
    }
    missing = {step.number: step.missing for step in begun.steps} if begun else {}
    document: dict[str, Any] = {
        "study": study.name,
        "night": comparison.night,
        "purpose": comparison.purpose,
        "complete": comparison.complete,
        "figure": figure_name(study),
        "answer": " ".join(answer(study, comparison)),
    }
    for name in _ARMS:
        arm = comparison.arm(name)
        made = () if arm is None else changes(study, stock, arm.configuration)
        texts = {one.id: one.now for one in made}
        if name == "stock":
            texts = {id_: shown(settings, id_, stock[id_]) for id_ in sorted(replaced) if id_ in stock}
        document[_key(name)] = _arm_json(arm, texts, [one.id for one in made if one.changes_service])
    document["distilled"] = pare_down_json(pare_down(study, log, comparison.night, stock))
    document["pairs"] = [_pair_json(pair) for pair in comparison.pairs]
    document["workloads"] = workloads_json(comparison)
    document["limits"] = limits_json(comparison)
    document["goals"] = goals_json(comparison)
    document["steps"] = [
        {
            **_step_json(step),
            "missing": [one.model_dump() for one in missing.get(step.number, ())],
        }
        for step in comparison.steps
    ]
    document["all_steps"] = None if comparison.all_steps is None else _step_json(comparison.all_steps)
    document["calibration"] = _calibration_json(comparison)
    document["aa_record"] = None if record is None else dataclasses.asdict(record)
    document["excluded"] = lost_json(lost_in(comparison))
    document["doubts"] = [one.model_dump() for one in comparison.doubts]
    document["stamps"] = list(stamps(study, comparison))
    return document


def answer(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """The morning's answer: automatic against stock, then against the expert's sequence; first of all a violated limit."""
    if comparison.purpose == "baseline":
        return (
            (
                f"This night of {study.name} measured the hand-tuned steps alone; there is no automatic configuration"
                f" yet. Tune with: autotune run STUDY"
            ),
        )
    first = comparison.pair("automatic", "stock")
    if not comparison.night:
        return (
            f"No night of {study.name} has begun yet, so there is no answer yet. Begin one: autotune resume {study.name}",
        )
    if first is None or not first.n:
        return (
            f"{study.name} has no finals yet, so there is no answer yet. Go on with: autotune resume {study.name}",
        )
    second = comparison.pair("automatic", "hand-tuned")
    told = (
        (_sentence(study, first),)
        if second is None or not second.n
        else (_sentence(study, first), _sentence(study, second))
    )
    return (*violated_lines(comparison), *told)


def stamps(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """What must stand on every copy of this result."""
    found = []
    if study.accept_noise:
        calibration = comparison.calibration
        noise = "" if calibration is None else f" (pairs of tonight: {_share(calibration.paired_cv)})"
        found.append(f"ACCEPTED NOISE: this study measures even where the board is noisier than 5 %{noise}.")
    seen = comparison.calibration
    if seen is not None and seen.verdict == "biased":
        found.append(
            f"BIASED CALIBRATION: stock against itself came out at {interval_text(seen.ratio, seen.low or 0, seen.high or 0)}"
            f"{', twice' if seen.repeated else ''}: something else than the configuration moves the figures of this night."
        )
    if study.stock == "capstone":
        found.append(
            "STOCK = CAPSTONE: stock has sendfile off and 768 connections as in the text;"
            " a gain over that is not a gain over your board."
        )
    return tuple(found)


def _sentence(study: Study, pair: PairVerdict) -> str:
    words = objective_words(study)
    interval = f"95 % interval {percent_text(pair.low).removesuffix(' %')} to {percent_text(pair.high)}, n = {pair.n}"
    match pair.verdict:
        case Verdict.FASTER | Verdict.SLOWER:
            between = words.more if pair.verdict is Verdict.FASTER else words.less
            return f"{pair.a} {between.format(percent_text(pair.ratio).lstrip('+-'))} {pair.b} ({interval})."
        case Verdict.EQUIVALENT:
            return f"{pair.a} and {pair.b} are equivalent: within 1 % of each other ({interval})."
        case Verdict.SAME:
            return f"{pair.a} is the same configuration as {pair.b} (measured all the same: {interval})."
        case Verdict.UNDECIDED:
            return (
                f"No difference between {pair.a} and {pair.b} that this board could show tonight"
                f" ({interval}; about {_share(pair.smallest_visible_difference)} would have shown)."
            )


def _arms_table(study: Study, comparison: Comparison) -> Table:
    several = len(study.workloads) > 1
    numbers = (
        "mean requests/s" if several else "requests/s",
        "n",
        "worst run",
        "p10",
        "range",
        "p99 at full load",
        "per server CPU second",
    )
    return Table(
        title="Finals: fresh, interleaved samples (medians)",
        columns=("", *numbers),
        rows=tuple(
            (
                arm.name + (", unstable" if arm.unstable else ""),
                rate_text(arm.requests_per_s),
                str(arm.n),
                rate_text(arm.worst),
                rate_text(arm.p10),
                _share(arm.relative_range),
                f"{arm.latency_p99_s * 1000:.2f} ms",
                rate_text(arm.requests_per_server_cpu_s),
            )
            for arm in sorted(comparison.arms, key=lambda one: _ARMS.index(one.name))
            if arm.n
        ),
        right=frozenset(numbers),
        note=f"Mean: weighted geometric mean over {len(study.workloads)} workloads; latency and CPU likewise."
        if several and any(arm.n for arm in comparison.arms)
        else "",
    )


def _pairs_table(study: Study, comparison: Comparison) -> Table:
    return Table(
        title=f"Ratios of {objective_words(study).ratios}",
        columns=("pair", "ratio [interval]", "change", "n", "verdict"),
        rows=tuple(
            (
                f"{pair.a} / {pair.b}",
                ratio_interval(pair),
                percent_text(pair.ratio),
                str(pair.n),
                verdict_text(study, pair.verdict),
            )
            for pair in comparison.pairs
            if pair.n
        ),
        right=frozenset({"n", "change"}),
        note=f"Intervals hold at 95 % for all pairs together ({_corrected(study)}); a claim needs 1 % and the sign test's"
        " agreement."
        if comparison.pairs
        else "",
    )


def _corrected(study: Study) -> str:
    return "Holm; O'Brien-Fleming over four looks" if study.budget.looks else "Holm"


def ratio_interval(one: PairVerdict | StepGain) -> str:
    """1.041x [1.029, 1.054], or a dash when there is no interval."""
    if one.ratio is None or one.low is None or one.high is None:
        return "-"
    return interval_text(one.ratio, one.low, one.high)


def _steps_table(comparison: Comparison) -> Table:
    return Table(
        title="The hand-tuned sequence, each step over the one before",
        columns=("step", "name", "here", "measured [95 % interval]", "n", "published"),
        rows=tuple(
            (
                str(step.number),
                step.name,
                f"partial {step.applied} of {step.of}" if step.state == "partial" else step.state,
                ratio_interval(step),
                str(step.n) if step.n else "-",
                f"published: {percent_text(step.published)}" if step.published else "-",
            )
            for step in comparison.steps
        ),
        right=frozenset({"step", "n"}),
        note=_all_steps(comparison),
    )


def _all_steps(comparison: Comparison) -> str:
    found = comparison.all_steps
    if found is None or found.ratio is None:
        return ""
    interval = ratio_interval(found)
    return f"All steps together over stock, in this series: {interval if interval != '-' else ratio_text(found.ratio)}."


def _share(share: float) -> str:
    return f"{share * 100:.1f} %"


def _missing(steps: Sequence[AppliedStep]) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{step.number} {step.name}", one.id, one.reason) for step in steps for one in step.missing)


def _next(study: Study, comparison: Comparison) -> tuple[str, ...]:
    lines = (
        [] if comparison.purpose == "tune" else ["autotune run STUDY                    a night that tunes"]
    )
    lines += [
        f"autotune show {study.name}                    stages, best trials, failures, what was left out"
    ]
    if any(arm.name == "automatic" and arm.n for arm in comparison.arms):
        lines.append(
            f"autotune export {study.name} --to DIR         the files that keep the automatic configuration"
        )
    return tuple(lines)


def _key(arm: str) -> str:
    return arm.replace("-", "_")


def _arm_json(arm: ArmSummary | None, settings: dict[str, str], changes_service: list[str]) -> dict[str, Any]:
    if arm is None:
        return {"requests_per_s": None, "settings": settings, "n": 0, "changes_service": changes_service}
    return {
        "requests_per_s": arm.requests_per_s,
        "settings": settings,
        "n": arm.n,
        "changes_service": changes_service,
        "worst": arm.worst,
        "p10": arm.p10,
        "relative_range": arm.relative_range,
        "latency_p99_s": arm.latency_p99_s,
        "requests_per_server_cpu_s": arm.requests_per_server_cpu_s,
        "unstable": arm.unstable,
        "trial": arm.trial,
    }


def _pair_json(pair: PairVerdict) -> dict[str, Any]:
    return {
        "a": _key(pair.a),
        "b": _key(pair.b),
        "ratio": pair.ratio,
        "low": pair.low,
        "high": pair.high,
        "n": pair.n,
        "verdict": str(pair.verdict),
        "level": pair.level,
        "sign_low": pair.sign_low,
        "sign_high": pair.sign_high,
        "smallest_visible_difference": pair.smallest_visible_difference,
    }


def _step_json(step: StepGain) -> dict[str, Any]:
    return {
        "number": step.number,
        "name": step.name,
        "state": step.state,
        "applied": step.applied,
        "of": step.of,
        "ratio": step.ratio,
        "low": step.low,
        "high": step.high,
        "n": step.n,
        "published": step.published,
    }


def _calibration_json(comparison: Comparison) -> dict[str, Any] | None:
    return None if comparison.calibration is None else dataclasses.asdict(comparison.calibration)


def doubt_lines(doubts: Sequence[Doubt]) -> tuple[str, ...]:
    """Doubts with their next commands, one line each."""
    return tuple(f"{one.text} ({one.next})" if one.next else one.text for one in doubts)
