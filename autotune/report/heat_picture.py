"""How warm the board was, how fast its clocks ran and what it drew, sample by sample over the night."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotune.board.fitness import hottest
from autotune.experiment.events import Sample
from autotune.report.drawing import Ink, Picture, Width, dots, picture
from autotune.report.page import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from autotune.report.night_report import NightReport

_INKS = (Ink.AUTOMATIC, Ink.HAND_TUNED, Ink.STOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One figure over the night, with places of (time, value)."""

    name: str
    places: tuple[tuple[float, float], ...]

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.places]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """Lines in one unit."""

    title: str
    unit: str
    lines: tuple[_Line, ...]


def temperature_c(sample: Sample) -> float | None:
    """The hottest zone at its end (before the first run, where that is all there is); None: the board can't tell."""
    return _hottest(sample, "after.") or _hottest(sample, "before.")


def heat_picture(told: NightReport) -> Picture | None:
    """Temperature, clocks and power, as far as this board tells them; None where it tells nothing."""
    panels = [one for one in (_temperatures(told), _clocks(told), _power(told)) if one.lines]
    if not panels:
        return None

    def draw(figure: Figure, width: Width) -> None:
        several = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(several, panels, strict=True):
            for line, ink in zip(panel.lines, _INKS, strict=False):
                dots(axes, line.places, ink, size=2.6, label=line.name)
            axes.set_title(panel.title)
            axes.set_ylabel(panel.unit)
            if len(panel.lines) > 1:
                axes.legend(loc="best", handlelength=1, ncols=len(panel.lines) if width == "wide" else 1)
        several[-1].set_xlabel(told.clock.words)
        several[-1].set_xlim(*told.clock.whole)

    rows = tuple(
        (
            panel.title,
            line.name,
            *(
                f"{value:.4g} {panel.unit}"
                for value in (min(line.values), _median(line.values), max(line.values))
            ),
            f"{len(line.values):,}",
        )
        for panel in panels
        for line in panel.lines
    )
    return picture(
        "heat",
        "Temperature, clock and power over the night",
        ". ".join(f"{row[0]}, {row[1]}: {row[2]} to {row[4]}, median {row[3]}" for row in rows) + ".",
        draw,
        heights=(1.5 * len(panels) + 0.5, 1.7 * len(panels) + 0.5),
        table=Table(
            title="Temperature, clock and power",
            columns=("of", "what", "lowest", "median", "highest", "samples"),
            rows=rows,
            right=frozenset({"lowest", "median", "highest", "samples"}),
        ),
    )


def _temperatures(told: NightReport) -> _Panel:
    return _Panel(
        title="Temperature, hottest zone",
        unit="°C",
        lines=_lines(
            told,
            {
                "before a run": lambda one: _hottest(one, "before."),
                "after it": lambda one: _hottest(one, "after."),
            },
        ),
    )


def _clocks(told: NightReport) -> _Panel:
    """Work per second of one CPU of each kind, to the night's first samples: what its clock really was."""
    names = sorted(
        {name for one in told.samples for name in one.main.counters if name.startswith("after.spin_")}
    )
    lines = []
    for line in _lines(told, {name: _counter(name) for name in names}):
        first = _median(line.values[:4])
        if first > 0:
            places = tuple((time, 100 * value / first) for time, value in line.places)
            lines.append(_Line(name=line.name.removeprefix("after.spin_"), places=places))
    return _Panel(
        title="Clock that a CPU really ran at, to the night's first samples", unit="%", lines=tuple(lines)
    )


def _power(told: NightReport) -> _Panel:
    return _Panel(
        title="Power", unit="W", lines=_lines(told, {"mean of a run": lambda one: one.main.power_w})
    )


def _lines(told: NightReport, figures: dict[str, Callable[[Sample], float | None]]) -> tuple[_Line, ...]:
    times = {event.key: told.clock.place(at_s) for event, at_s in told.attempts}
    found = []
    for name, figure in figures.items():
        places = [(times[one.key], value) for one in told.samples if (value := figure(one)) is not None]
        if places:
            found.append(_Line(name=name, places=tuple(places)))
    return tuple(found)


def _counter(name: str) -> Callable[[Sample], float | None]:
    return lambda one: one.main.counters.get(name)


def _hottest(sample: Sample, when: str) -> float | None:
    return hottest(
        {
            name.removeprefix(when): value
            for name, value in sample.main.counters.items()
            if name.startswith(when)
        }
    )


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
