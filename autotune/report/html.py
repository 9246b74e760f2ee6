"""The report as one HTML file: it opens without a network, on a phone and on paper, light and dark, and reads without a script."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Iterable
from dataclasses import dataclass

from autotune import __version__
from autotune.experiment.events import Doubt
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.comparison import PairVerdict
from autotune.measurement.verdicts import Verdict
from autotune.report.calibration_parts import calibration_paragraph
from autotune.report.changes import differences_parts
from autotune.report.comparison_page import (
    answer,
    changing_arms,
    finals_told,
    missing_table,
    stamps,
    steps_told,
)
from autotune.report.distillation_parts import left_out_table, pare_down, pare_down_lines
from autotune.report.drawing import Picture
from autotune.report.excluded_parts import lost_in, lost_table
from autotune.report.gate_parts import gates_table, steps_table
from autotune.report.heat_picture import heat_picture
from autotune.report.learned_parts import Learned, model_tables, model_words
from autotune.report.learned_pictures import attribution_picture, dependence_picture, importance_picture
from autotune.report.night_parts import nights_table
from autotune.report.night_report import NightReport, board_text
from autotune.report.page import Paragraph, Part, Table, printable
from autotune.report.pictures import finals_picture, history_picture, hours_picture, steps_picture
from autotune.report.sample_rows import PACKED, SampleRow, packets, rows_html, sample_columns, sample_rows
from autotune.report.words import (
    count_text,
    duration_text,
    load_text,
    local_time_text,
    percent_text,
    verdict_text,
)

_UNIT = re.compile(r"(?<=\d) (?=%|ms\b|s\b)|(?<=\bn) (?==)|(?<=\bn =) (?=\d)")
_TOGETHER = "\N{NO-BREAK SPACE}"
_TEXTS = frozenset({"time", "stage", "arm", "gates", "counts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One pair of arms, as large as it deserves."""

    arm: str
    title: str
    figure: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page under its own heading: `parts` before its pictures, `after` behind them, `folded` to be opened."""

    key: str
    title: str
    answer: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    parts: tuple[Part, ...] = ()
    pictures: tuple[Picture, ...] = ()
    after: tuple[Part, ...] = ()
    folded: tuple[Part, ...] = ()
    folded_title: str = ""

    @property
    def says_something(self) -> bool:
        told = (*self.parts, *self.after, *self.folded)
        return bool(self.answer or self.doubts or self.pictures) or any(_has_words(part) for part in told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What the template fills in."""

    title: str
    under_title: tuple[str, ...]
    stamps: tuple[str, ...]
    sections: tuple[Section, ...]
    columns: tuple[str, ...]
    texts: frozenset[str]
    rows: tuple[SampleRow, ...]
    rows_html: str
    packed: int
    packets: Iterable[str]
    samples_words: str
    footer: tuple[str, ...]


def report_html(told: NightReport, learned: Learned) -> str:
    """The whole file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("autotune.report"),
        autoescape=True,
        finalize=lambda value: _UNIT.sub(_TOGETHER, printable(value)) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _file("report.js")
    written = environment.get_template("report.html.jinja").render(
        page=_page(told, learned),
        policy=_policy(script),
        script=script,
        style=_file("report.css"),
        version=__version__,
    )
    return written.lstrip().replace(_TOGETHER, "&nbsp;")


def _policy(script: str) -> str:
    """Nothing may be loaded, sent or run but the page's own script, word for word."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _file(name: str) -> str:
    return (importlib.resources.files("autotune.report") / "templates" / name).read_text(encoding="utf-8")


def _page(told: NightReport, learned: Learned) -> _Page:
    rows, columns = tuple(sample_rows(told)), sample_columns(told)
    return _Page(
        title=f"{told.study.name}, night {told.night}",
        under_title=_under_title(told),
        stamps=((LABEL,) if told.study.is_synthetic else ()) + stamps(told.study, told.comparison),
        sections=tuple(one for one in _sections(told, learned) if one.says_something),
        columns=columns,
        texts=_TEXTS,
        rows=rows,
        rows_html=rows_html(rows, {at for at, title in enumerate(columns) if title in _TEXTS}),
        packed=PACKED,
        packets=packets(told),
        samples_words=_samples_words(told, rows),
        footer=_footer(told),
    )


def _under_title(told: NightReport) -> tuple[str, ...]:
    night = f"{local_time_text(told.begun.at)}, {duration_text(told.clock.took_s)}"
    board = board_text(told)
    return tuple(
        line
        for line in (
            told.study.title,
            f"{night}; {_outcome(told)}",
            f"Board {told.study.board}" + (f": {board}" if board else ""),
            *(load_text(one) for one in told.study.workloads),
        )
        if line
    )


def _outcome(told: NightReport) -> str:
    if told.ended is None:
        return "the night has not ended"
    return f"it ended: {told.ended.outcome}" + (f" ({told.ended.reason})" if told.ended.reason else "")


def _sections(told: NightReport, learned: Learned) -> tuple[Section, ...]:
    study, comparison = told.study, told.comparison
    pared = pare_down(study, told.log, told.night, told.begun.stock)
    return (
        Section(
            key="answer",
            title="The answer",
            answer=answer(study, comparison),
            cards=tuple(_card(told, pair) for pair in comparison.pairs if pair.n),
            parts=(Paragraph(lines=pare_down_lines(pared)),),
        ),
        Section(
            key="doubts",
            title="Reasons for doubt",
            doubts=comparison.doubts,
            after=(
                calibration_paragraph(comparison.calibration, None if study.is_synthetic else told.record),
            ),
        ),
        Section(
            key="the-finals",
            title="The finals",
            pictures=_drawn(finals_picture(told)),
            after=(
                *finals_told(study, comparison),
                lost_table("Not counted", lost_in(comparison)),
                nights_table(study, told.log, told.night),
            ),
        ),
        Section(
            key="the-steps",
            title="The hand-tuned sequence",
            pictures=_drawn(steps_picture(told), attribution_picture(learned.attribution)),
            after=(*steps_told(study, comparison), missing_table(told.begun.steps)),
        ),
        Section(
            key="what-mattered",
            title="What mattered",
            parts=(model_words(learned.importance),),
            pictures=_drawn(
                importance_picture(learned.importance), dependence_picture(study, learned.importance)
            ),
            after=model_tables(learned),
        ),
        Section(
            key="the-changes",
            title="What is changed",
            parts=differences_parts(study, told.begun.stock, changing_arms(comparison)),
            after=(left_out_table(pared),),
        ),
        Section(
            key="the-night",
            title="The night",
            pictures=_drawn(history_picture(told), hours_picture(told), heat_picture(told)),
            after=(gates_table(told.log, told.night), steps_table(told.log, told.night)),
            folded=_board_parts(told),
            folded_title="The board, and what it could not do",
        ),
    )


def _drawn(*several: Picture | None) -> tuple[Picture, ...]:
    return tuple(one for one in several if one is not None)


def _card(told: NightReport, pair: PairVerdict) -> Card:
    seen = pair.verdict in (Verdict.FASTER, Verdict.SLOWER)
    interval = f"95 % interval {percent_text(pair.low)} to {percent_text(pair.high)}, n = {pair.n}"
    verdict = verdict_text(told.study, pair.verdict)
    return Card(
        arm=pair.a,
        title=f"{pair.a} over {pair.b}",
        figure=percent_text(pair.ratio) if seen else verdict,
        words=f"{verdict}; {interval}" if seen else interval,
    )


def _board_parts(told: NightReport) -> tuple[Part, ...]:
    return (
        Table(title="The board", columns=("", "is"), rows=tuple(told.begun.board.items())),
        Table(
            title=f"Left out on this board: {count_text(len(told.begun.dropped), 'parameter')}",
            columns=("parameter", "why"),
            rows=tuple((one.id, one.reason) for one in told.begun.dropped),
        ),
    )


def _samples_words(told: NightReport, rows: tuple[SampleRow, ...]) -> str:
    states = [row.state for row in rows]
    return (
        f"{count_text(len(rows), 'attempt')}: {states.count('counted'):,} counted, {states.count('void'):,} void,"
        f" {states.count('failed'):,} failed. A row's number opens its gates, its doubts and the load generator's own output"
        f" (this needs the browser's scripts). For a spreadsheet: autotune report {told.study.name} --format csv"
    )


def _footer(told: NightReport) -> tuple[str, ...]:
    more = (
        f" Night {told.night} of {told.nights}; another one: autotune report {told.study.name} --night N."
        if told.nights > 1
        else ""
    )
    return (
        f"autotune {__version__}, study {told.study.name}, fingerprint {told.study.fingerprint}.{more}",
        (
            "The answer comes from the finals alone: stock, hand-tuned and automatic in turns, after the search, each sample a full"
            " restart; 20 % trimmed means of log ratios with Yuen's interval, checked by the sign test, corrected by Holm for the"
            " number of pairs. Published figures are their authors', measured on another board."
        ),
    )


def _has_words(part: Part) -> bool:
    return bool(part.rows or part.note) if isinstance(part, Table) else bool(part.lines)
