"""Stock, hand-tuned and automatic side by side: the morning's answer, with every reason to doubt it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from autotune.experiment.events import AppliedStep, Doubt, Event
from autotune.experiment.study import Study
from autotune.measurement.calibration import AARecord
from autotune.measurement.comparison import ArmSummary, Comparison, PairVerdict
from autotune.measurement.verdicts import Verdict
from autotune.report.attribution_parts import attribution_json, attribution_parts
from autotune.report.calibration_parts import calibration_paragraph
from autotune.report.changes import changes, differences_parts, last_night, settings_by_id, shown
from autotune.report.cost_parts import cost_table
from autotune.report.distillation_parts import (
    left_out_table,
    pare_down,
    pare_down_json,
    pare_down_lines,
)
from autotune.report.excluded_parts import lost_in, lost_json, lost_table
from autotune.report.finals_parts import ARMS, arms_table, in_order, pairs_table
from autotune.report.limit_parts import limits_json, limits_table, violated_lines
from autotune.report.night_parts import nights_json, nights_table
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.step_parts import published_json, steps_table
from autotune.report.words import count_text, interval_text, objective_words, percent_text, share_text
from autotune.report.workload_parts import (
    figure_name,
    goals_json,
    goals_table,
    latency_tables,
    workload_tables,
    workloads_json,
)
from autotune.space.configuration import Configuration


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
        nights_table(study, log, comparison.night),
        Table(
            title="Reasons for doubt",
            columns=("doubt", "next"),
            rows=tuple((one.text, one.next or "-") for one in comparison.doubts),
        ),
        *finals_told(study, comparison),
        *steps_told(study, comparison),
        *differences_parts(study, stock, changing_arms(comparison)),
        left_out_table(pared),
        missing_table(begun.steps if begun else ()),
        calibration_paragraph(comparison.calibration, None if study.is_synthetic else record),
        lost_table("Not counted", lost_in(comparison)),
        Paragraph(title="Next", lines=_next(study, comparison)),
    ]
    return Page(parts=tuple(parts))


def finals_told(study: Study, comparison: Comparison) -> tuple[Part, ...]:
    """All that the finals' samples say: arms, pairs, workloads, latencies, costs, limits, goals."""
    return (
        arms_table(study, comparison),
        pairs_table(study, comparison),
        *workload_tables(study, comparison),
        *latency_tables(comparison),
        cost_table(study, comparison),
        limits_table(comparison),
        goals_table(comparison),
    )


def steps_told(study: Study, comparison: Comparison) -> tuple[Part, ...]:
    """The hand-tuned sequence: on top of each other, then each by itself."""
    return (steps_table(study, comparison), *attribution_parts(comparison.attribution))


def changing_arms(comparison: Comparison) -> dict[str, Configuration]:
    """By name, those of the finals beside stock."""
    return {arm.name: arm.configuration for arm in in_order(comparison) if arm.name != "stock" and arm.n}


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
        "nights": nights_json(log),
        "complete": comparison.complete,
        "outcome": comparison.how_far.outcome or None,
        "figure": figure_name(study),
        "answer": " ".join(answer(study, comparison)),
    }
    for name in ARMS:
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
            **dataclasses.asdict(step),
            "missing": [one.model_dump() for one in missing.get(step.number, ())],
        }
        for step in comparison.steps
    ]
    document["all_steps"] = None if comparison.all_steps is None else dataclasses.asdict(comparison.all_steps)
    document["published"] = published_json(study)
    document["attribution"] = attribution_json(comparison.attribution)
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
        return _no_answer(study, comparison)
    second = comparison.pair("automatic", "hand-tuned")
    arm, how_far = comparison.arm("automatic"), comparison.how_far
    so_far = not how_far.outcome and how_far.rounds < how_far.planned_rounds
    return (
        *(
            (f"So far, after {how_far.rounds} of {how_far.planned_rounds} rounds of the finals:",)
            if so_far
            else ()
        ),
        *violated_lines(comparison),
        _sentence(study, first),
        *((_sentence(study, second),) if second is not None and second.n else ()),
        *((_stock_won(comparison),) if arm is not None and arm.trial is None and how_far.tried else ()),
    )


def _no_answer(study: Study, comparison: Comparison) -> tuple[str, ...]:
    name, how_far = study.name, comparison.how_far
    measured = any(arm.n for arm in comparison.arms)
    if how_far.outcome:
        came = "its finals came to too little" if measured else "it ended before its finals"
        return (
            (
                f"Night {comparison.night} of {name} has no answer: {came} ({how_far.outcome}). Another night:"
                f" autotune resume {name}"
            ),
        )
    state = f"the finals of {name} have only begun" if measured else f"{name} has no finals yet"
    return (
        f"{state[0].upper() if measured else state[0]}{state[1:]}, so there is no answer yet. Go on with: autotune resume {name}",
    )


def _stock_won(comparison: Comparison) -> str:
    how_far = comparison.how_far
    failed = f" ({how_far.failed} failed by their own fault)" if how_far.failed else ""
    return f"None of {count_text(how_far.tried, 'candidate')} was shown to be better than stock{failed}, so automatic is stock."


def stamps(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """What must stand on every copy of this result."""
    found = []
    if study.accept_noise:
        calibration = comparison.calibration
        noise = "" if calibration is None else f" (pairs of tonight: {share_text(calibration.paired_cv)})"
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
        case Verdict.UNDECIDED if pair.low <= 1 <= pair.high:
            return (
                f"No difference between {pair.a} and {pair.b} that this board could show tonight"
                f" ({interval}; about {share_text(pair.smallest_visible_difference)} would have shown)."
            )
        case Verdict.UNDECIDED:
            return f"Between {pair.a} and {pair.b} it is undecided ({interval}): {_why_undecided(pair)}."


def _why_undecided(pair: PairVerdict) -> str:
    """Of an interval that lies on one side of no difference."""
    if pair.sign_low is None or pair.sign_high is None:
        return "the sign test, which must agree, needs 6 rounds"
    if pair.sign_low <= 1 <= pair.sign_high:
        return "the sign test, which must agree, does not"
    return "a difference of less than 1 % is not claimed"


def missing_table(steps: Sequence[AppliedStep]) -> Table:
    """What of the sequence this board has not."""
    return Table(
        title="Hand-tuned settings that could not be had here",
        columns=("step", "setting", "why"),
        rows=tuple(
            (f"{step.number} {step.name}", one.id, one.reason) for step in steps for one in step.missing
        ),
    )


def _next(study: Study, comparison: Comparison) -> tuple[str, ...]:
    name = study.name
    todo = {f"autotune show {name}": "stages, best trials, failures, what was left out"}
    if comparison.purpose == "baseline":
        todo = {"autotune run STUDY": "a night that tunes", **todo}
    elif not comparison.complete:
        todo = {f"autotune resume {name}": "goes on, or holds another night where this one is over", **todo}
    if any(arm.name == "automatic" and arm.n for arm in comparison.arms):
        todo[f"autotune export {name} --to DIR"] = "the files that keep the automatic configuration"
    width = max(map(len, todo))
    return tuple(f"{command:{width}}    {what}" for command, what in todo.items())


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


def _calibration_json(comparison: Comparison) -> dict[str, Any] | None:
    return None if comparison.calibration is None else dataclasses.asdict(comparison.calibration)


def doubt_lines(doubts: Sequence[Doubt]) -> tuple[str, ...]:
    """Doubts with their next commands, one line each."""
    return tuple(f"{one.text} ({one.next})" if one.next else one.text for one in doubts)
