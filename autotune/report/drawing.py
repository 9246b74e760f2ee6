"""Drawings for a page: matplotlib's figures as inline SVG whose colours are the page's own, light or dark.

The text in them stays text, so it is read aloud, found and printed; nothing in them needs a script.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from autotune.report.page import Table, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width: TypeAlias = Literal["wide", "narrow"]


class Ink(StrEnum):
    """What a colour means. The figure is drawn in these marks; the page's style sheet says what each looks like."""

    TEXT = "#010001"
    QUIET = "#010002"
    GRID = "#010003"
    PAPER = "#010004"
    STOCK = "#010005"
    HAND_TUNED = "#010006"
    AUTOMATIC = "#010007"
    TRIAL = "#010008"
    BAD = "#010009"
    BAND = "#01000a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing at two widths, and in words: a short title, one sentence or two of what is to be seen, the figures as a table."""

    key: str
    title: str
    description: str
    wide: str
    narrow: str
    table: Table | None = None


Draw: TypeAlias = "Callable[[Figure, Width], None]"
_INCHES: Final[dict[Width, float]] = {"wide": 7.6, "narrow": 4.2}
_FONT: Final[dict[Width, float]] = {"wide": 9.5, "narrow": 10.5}
_USED_ID: Final = re.compile(r'(?:xlink:href="#|url\(#)([\w.-]+)')
_ID: Final = re.compile(r' id="([\w.-]+)"')
_BETWEEN: Final = re.compile(r">\s+<")
_TAG: Final = re.compile(r"<[^<>]*>")
_DECIMALS: Final = re.compile(r"-?\d+\.\d{2,}")
_INK: Final = re.compile("|".join(Ink))
_PAGES_OWN: Final = {str(ink): f"var(--{ink.name.lower().replace('_', '-')})" for ink in Ink}
_FONT_STYLE: Final = re.compile(r"font: ((?:bold |600 )?)([\d.]+)px [^;\"]*")
_DOT: Final = re.compile(r"M ([\d.-]+ [\d.-]+) \nL \1 ?\n")


def picture(
    key: str,
    title: str,
    description: str,
    draw: Draw,
    *,
    heights: tuple[float, float],
    table: Table | None = None,
) -> Picture:
    """Draws it wide and narrow. `heights` in inches, in this order; `key` is unique on the page."""
    drawn = {
        width: _svg(draw, width, height, key=f"{key}-{width}", title=title, description=description)
        for width, height in zip(_INCHES, heights, strict=True)
    }
    return Picture(
        key=key,
        title=title,
        description=description,
        wide=drawn["wide"],
        narrow=drawn["narrow"],
        table=table,
    )


def _svg(draw: Draw, width: Width, height: float, *, key: str, title: str, description: str) -> str:
    matplotlib = _library()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style(width)), warnings.catch_warnings():
        # It measures with letters of its own; the page's reader has those that these lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(_INCHES[width], height), layout="constrained")
        draw(figure, width)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inline(written.getvalue(), key, title, description)


_NO_METADATA: Final = {"Date": None, "Creator": None, "Format": None, "Type": None}


@cache
def _library():  # type: ignore[no-untyped-def]  # noqa: ANN202 - the module itself
    import matplotlib as mpl

    mpl.use("svg")
    return mpl


def _style(width: Width) -> dict[str, object]:
    size = _FONT[width]
    quiet = {f"{axis}tick.{what}": Ink.QUIET for axis in "xy" for what in ("color", "labelcolor")}
    return {
        **quiet,
        "svg.fonttype": "none",
        "svg.hashsalt": "autotune",
        "path.simplify": False,
        "text.parse_math": False,  # a board's name may hold dollars
        "axes.formatter.use_mathtext": False,
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "legend.fontsize": size,
        "legend.frameon": False,
        "xtick.labelsize": size - 0.5,
        "ytick.labelsize": size - 0.5,
        "text.color": Ink.TEXT,
        "axes.labelcolor": Ink.QUIET,
        "axes.edgecolor": Ink.GRID,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": Ink.GRID,
        "grid.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
    }


def _inline(svg: str, key: str, title: str, description: str) -> str:
    """The drawing as a part of a page: no header, no style of its own, ids that are the page's only ones, our colours."""
    svg = svg[svg.index("<svg") :]
    head, _, body = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    used = set(_USED_ID.findall(body))

    def tag(found: re.Match[str]) -> str:
        """One tag made ours. What stands between tags is text, maybe the user's, and stays as it is."""
        told = _ID.sub(lambda one: f' id="{key}-{one[1]}"' if one[1] in used else "", found[0])
        told = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{key}-", told).replace("xlink:href", "href")
        told = _DECIMALS.sub(lambda one: f"{float(one[0]):.1f}".removesuffix(".0"), told)
        told = _FONT_STYLE.sub(_font, told)
        told = _DOT.sub(r"M\1h0", told)
        return _INK.sub(lambda one: _PAGES_OWN[one[0]], told)

    body = _TAG.sub(tag, body)
    size = "narrow" if key.endswith("narrow") else "wide"
    opening = (
        f'<svg class="{size}" role="img" aria-labelledby="{key}-t {key}-d" {box[0] if box else ""}'
        ' stroke-linejoin="round">'
    )
    named = (
        f'<title id="{key}-t">{escape(printable(title))}</title>'
        f'<desc id="{key}-d">{escape(printable(description))}</desc>'
    )
    return opening + named + _BETWEEN.sub("><", body)


def _font(found: re.Match[str]) -> str:
    """The page's own letters at this size."""
    return f"font-size: {found[2]}px" + ("; font-weight: 600" if found[1] else "")


def label(text: str, room: int = 30) -> str:
    """A text as it may stand in a drawing: nothing in it but letters; where there is no room for all, its middle is left out."""
    shown = printable(text)
    if len(shown) <= room:
        return shown
    head = room // 2 - 1
    return f"{shown[:head]}…{shown[len(shown) - (room - head - 1) :]}"


# -- what several pictures draw alike -----------------------------------------------------------------------------------------


def dots(
    axes: Axes, places: Sequence[tuple[float, float]], ink: Ink, *, size: float, label: str = ""
) -> None:
    """So many dots that each must cost few bytes: one path of lines without length, with round ends."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not places:
        return
    corners = [place for place in places for _ in range(2)]
    codes = [Path.MOVETO, Path.LINETO] * len(places)
    axes.add_artist(
        PathPatch(
            Path(corners, codes), facecolor="none", edgecolor=ink, linewidth=size, capstyle="round", alpha=0.7
        )
    )
    axes.plot([], [], "o", color=ink, markersize=size, label=label)  # the legend's own
    axes.update_datalim(places)
    axes.autoscale_view()


def ticks(axes: Axes, places: Sequence[float], y: float, ink: Ink) -> None:
    """Short upright lines at these places along x, as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if places:
        ends = [(x, y + half) for x in places for half in (-0.22, 0.22)]
        codes = [Path.MOVETO, Path.LINETO] * len(places)
        axes.add_artist(PathPatch(Path(ends, codes), facecolor="none", edgecolor=ink, linewidth=0.5))


def reach(
    axes: Axes, at: tuple[float, float], low: float | None, high: float | None, ink: Ink, **how: object
) -> None:
    """A point with its interval along x."""
    x, y = at
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=ink, linewidth=2.2, solid_capstyle="butt")
    axes.plot([x], [y], **{"marker": "o", "color": ink, "linestyle": "none", **how})  # type: ignore[arg-type]


def legend_below(figure: Figure, axes: Axes, *, columns: int) -> None:
    """The legend under the drawing, where it covers nothing."""
    marks, names = axes.get_legend_handles_labels()
    if marks:
        figure.legend(
            marks, names, loc="outside lower left", ncols=columns, handlelength=1.4, columnspacing=1.4
        )
