"""Several studies, boards or nights beside each other: every ratio within its own night, and why no other is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotune.experiment.events import Event, Sample, Stage
from autotune.experiment.study import Study
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.by_workload import WorkloadArm
from autotune.measurement.comparison import compare
from autotune.report.changes import AS_STOCK, SettingRow, last_night, setting_tables, settings_by_id, shown
from autotune.report.comparison_page import answer, comparison_json, stamps
from autotune.report.finals_parts import ratio_interval
from autotune.report.night_parts import nights_of
from autotune.report.page import Page, Paragraph, Part, Table
from autotune.report.reservations import Beside, board_words, reservations
from autotune.report.step_parts import published_whole
from autotune.report.words import (
    cpu_text,
    load_text,
    local_time_text,
    percent_text,
    rate_text,
    verdict_text,
)
from autotune.report.workload_parts import goals_table
from autotune.space.setting import Setting
from autotune.space.value import Value

NOT_TUNED = "not tuned"


def beside_each_other(studies: Sequence[tuple[Study, Sequence[Event]]]) -> tuple[Beside, ...]:
    """One entry per study and night: each night that has finals, or the study's last one where none has."""
    return tuple(
        Beside(
            label=f"{study.name} (night {night})" if len(nights) > 1 else study.name,
            study=study,
            log=tuple(log),
            begun=last_night(log, night) if night else None,
            comparison=compare(study, log, night),
        )
        for study, log in studies
        for nights in (_nights(log),)
        for night in nights
    )


def _nights(log: Sequence[Event]) -> list[int]:
    with_finals = {
        event.key.night for event in log if isinstance(event, Sample) and event.key.stage is Stage.FINALS
    }
    begun = [event.night for event in nights_of(log)]
    return sorted(with_finals) or begun[-1:] or [0]


def side_by_side_page(beside: Sequence[Beside]) -> Page:
    """The answers first, then what must stand on them, then who was asked what, the ratios, the figures, the settings."""
    computed = [one.label for one in beside if one.study.is_synthetic]
    parts: list[Part] = [
        Paragraph(lines=(f"{LABEL}: {'; '.join(computed)}",) if computed else (), tone="warning"),
        Paragraph(
            lines=tuple(f"{one.label}: {' '.join(answer(one.study, one.comparison))}" for one in beside),
            tone="headline",
        ),
        Paragraph(
            lines=tuple(
                f"{one.label}: {line}" for one in beside for line in stamps(one.study, one.comparison)
            ),
            tone="warning",
        ),
        Paragraph(
            title="They stand beside each other; held against each other they would mislead, because",
            lines=tuple(one.text for one in reservations(beside)),
        ),
        _asked_table(beside),
        _ratios_table(beside),
        _figures_table(beside),
        _goals_table(beside),
        _steps_table(beside),
        *setting_tables(
            "What automatic changes", tuple(one.label for one in _shipping(beside)), _setting_rows(beside)
        ),
        Paragraph(
            title="Next",
            lines=tuple(
                f"autotune compare {name}" for name in dict.fromkeys(one.study.name for one in beside)
            ),
        ),
    ]
    return Page(parts=tuple(parts))


def side_by_side_json(beside: Sequence[Beside]) -> dict[str, Any]:
    """The same as data. `studies`: each as `compare` gives it alone, with its label and its board."""
    return {
        "synthetic": any(one.study.is_synthetic for one in beside),
        "studies": [
            {
                "label": one.label,
                "synthetic": one.study.is_synthetic,
                "board": one.study.board,
                "board_facts": dict(one.begun.board) if one.begun else {},
                "loads": [load_text(load) for load in one.study.workloads],
                **comparison_json(one.study, one.log, one.comparison),
            }
            for one in beside
        ],
        "settings": [
            {
                "id": row.id,
                "changes_service": row.changes_service,
                "automatic": {
                    one.label: cell for one, cell in zip(_shipping(beside), row.cells, strict=True)
                },
            }
            for row in _setting_rows(beside)
        ],
        "reservations": [{"code": one.code, "text": one.text} for one in reservations(beside)],
    }


def _asked_table(beside: Sequence[Beside]) -> Table:
    return Table(
        title="Who was asked what",
        columns=("study", "board", "load", "began", "ended"),
        rows=tuple(
            (
                one.label,
                board_words(one),
                "; ".join(map(load_text, one.study.workloads)),
                local_time_text(one.begun.at) if one.begun else "-",
                one.comparison.how_far.outcome or ("not over" if one.begun else "not begun"),
            )
            for one in beside
        ),
    )


def _ratios_table(beside: Sequence[Beside]) -> Table:
    rows = tuple(
        (
            one.label,
            f"{pair.a} / {pair.b}",
            ratio_interval(pair),
            percent_text(pair.ratio),
            str(pair.n),
            verdict_text(one.study, pair.verdict),
        )
        for one in beside
        for pair in one.comparison.pairs
        if pair.n
    )
    return Table(
        title="Ratios, each from the paired samples of its own night",
        columns=("study", "pair", "ratio [interval]", "change", "n", "verdict"),
        rows=rows,
        right=frozenset({"change", "n"}),
        note="Intervals hold at 95 % for all pairs of one night together." if rows else "",
    )


def _figures_table(beside: Sequence[Beside]) -> Table:
    numbers = (
        "requests/s",
        "worst run",
        "p99 at the fixed rate",
        "CPU per request",
        "requests per joule",
        "n",
    )
    rows = tuple(
        (
            one.label,
            workload.name,
            arm.name,
            rate_text(arm.requests_per_s),
            "-" if arm.worst is None else rate_text(arm.worst),
            _paced_text(arm),
            cpu_text(arm.server_cpu_s_per_request),
            "-" if arm.requests_per_joule is None else rate_text(arm.requests_per_joule),
            str(arm.n),
        )
        for one in beside
        for workload in one.comparison.workloads
        for arm in workload.arms
    )
    return Table(
        title="Figures (medians of the finals)",
        columns=("study", "workload", "arm", *numbers),
        rows=rows,
        right=frozenset(numbers),
        note="No ratio is drawn between figures of different nights or boards. Requests per joule: requests/s per watt."
        if rows
        else "",
    )


def _paced_text(arm: WorkloadArm) -> str:
    return "-" if arm.at_rate is None else f"{arm.at_rate.latency_p99_s * 1000:.2f} ms"


def _goals_table(beside: Sequence[Beside]) -> Table:
    tables = [(one.label, goals_table(one.comparison)) for one in beside]
    return Table(
        title="Goals",
        columns=("study", *tables[0][1].columns) if tables else (),
        rows=tuple((label, *row) for label, table in tables for row in table.rows),
        note=next((table.note for _, table in tables if table.note), ""),
    )


def _steps_table(beside: Sequence[Beside]) -> Table:
    """The steps by number and name: two sequences that share one share its row."""
    steps = {(step.number, step.name): step.published for one in beside for step in one.comparison.steps}
    measured = {
        (one.label, step.number, step.name): ratio_interval(step) if step.ratio is not None else step.state
        for one in beside
        for step in one.comparison.steps
    }
    return Table(
        title="The hand-tuned sequence, each step over the one before [95 % interval]",
        columns=("step", "name", "published", *(one.label for one in beside)),
        rows=tuple(
            (
                str(number),
                name,
                f"published: {percent_text(published)}" if published else "-",
                *(measured.get((one.label, number, name), "-") for one in beside),
            )
            for (number, name), published in sorted(steps.items(), key=lambda item: item[0])
        ),
        right=frozenset({"step"}),
        note=" ".join(
            f"Published: {percent_text(whole)} for all steps, by {source}; never measured here."
            for source, whole in _published(beside).items()
        ),
    )


def _published(beside: Sequence[Beside]) -> Mapping[str, float]:
    found = {
        one.study.hand_tuned.source: published_whole(one.study) for one in beside if one.comparison.steps
    }
    return {source: whole for source, whole in found.items() if whole is not None}


def _shipping(beside: Sequence[Beside]) -> tuple[Beside, ...]:
    """Those that have come to an automatic configuration."""
    return tuple(one for one in beside if (arm := one.comparison.arm("automatic")) is not None and arm.n)


def _setting_rows(beside: Sequence[Beside]) -> tuple[SettingRow, ...]:
    """Whatever one automatic changes: its value there, stock's where it is left, or that it was not tuned."""
    columns = [(one, settings_by_id(one.study), _automatic(one)) for one in _shipping(beside)]
    return tuple(
        SettingRow(
            id=id_,
            changes_service=any(
                id_ in settings and settings[id_].changes_service for _, settings, _ in columns
            ),
            cells=tuple(_cell(one, settings, made, id_) for one, settings, made in columns),
        )
        for id_ in sorted({id_ for _, _, made in columns for id_ in made})
    )


def _automatic(one: Beside) -> Mapping[str, Value]:
    arm = one.comparison.arm("automatic")
    return arm.configuration.against(one.begun.stock if one.begun else {}).mapping if arm is not None else {}


def _cell(one: Beside, settings: Mapping[str, Setting], made: Mapping[str, Value], id_: str) -> str:
    if id_ in made:
        return shown(settings, id_, made[id_])
    if one.begun is None or id_ not in one.begun.space_ids:
        return NOT_TUNED
    stock = one.begun.stock
    return f"{AS_STOCK} ({shown(settings, id_, stock[id_])})" if id_ in stock else AS_STOCK
