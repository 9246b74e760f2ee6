"""Watching a night: a live panel on a terminal, plain lines elsewhere, and the log file in either case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from autotune.cli.output import console, say
from autotune.errors import AutotuneError, StorageError
from autotune.experiment.synthetic_boards import is_synthetic
from autotune.report.page import printable
from autotune.report.words import duration_text, ratio_pm_text
from autotune.runner.notices import Alive, Notice, Progress, Said, Watcher
from autotune.runner.service_manager import service_manager

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


def progress_line(progress: Progress) -> str:
    """One notice as one line: where the night stands, the ratios to stock, failures, and the time left."""
    parts = [f"{progress.stage} {progress.sample}/{progress.samples}"]
    if progress.current is not None:
        parts.append(f"now {ratio_pm_text(progress.current, progress.current_pm)}")
    if progress.best is not None:
        parts.append(f"best {ratio_pm_text(progress.best, progress.best_pm)}")
    if progress.failures:
        parts.append(f"{progress.failures} failed")
    if progress.time_left_s is not None:
        parts.append(f"{duration_text(progress.time_left_s)} left")
    if progress.last:
        parts.append(progress.last)
    return printable("  ".join(parts)).replace("\n", " ")


class NightLog:
    """The study's log file: one line per notice, with the local time."""

    def __init__(self, file: TextIO, board: str) -> None:
        self._file = file
        self._board = board

    def __call__(self, notice: Notice) -> None:
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        for line in _lines(notice, self._board):
            self._file.write(f"{now} {line}\n")
        self._file.flush()


class PlainLines:
    """Notices as lines on stderr."""

    def __init__(self, board: str) -> None:
        self._board = board

    def __call__(self, notice: Notice) -> None:
        for line in _lines(notice, self._board):
            say(line)


class LivePanel:
    """A panel that stays at the bottom of the terminal while sentences scroll by above it."""

    def __init__(self, live: Live, board: str) -> None:
        self._live = live
        self._board = board

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, Progress):
            self._live.update(_panel(notice, self._board))
        if not isinstance(notice, Said):
            return
        from rich.text import Text

        style = {"info": "", "warning": "yellow", "error": "red"}[notice.level]
        self._live.console.print(Text(printable(notice.text), style=style))


def _lines(notice: Notice, board: str) -> list[str]:
    if isinstance(notice, Alive):
        return []
    origin = "synthetic: " if is_synthetic(board) else ""
    if isinstance(notice, Progress):
        return [origin + progress_line(notice)]
    mark = "" if notice.level == "info" else f"{notice.level}: "
    return [origin + mark + line for line in printable(notice.text).splitlines()]


def _panel(progress: Progress, board: str) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("stage", f"{progress.stage}, sample {progress.sample} of {progress.samples}")
    facts.add_row("now", _against_stock(progress.current, progress.current_pm))
    facts.add_row("best so far", _against_stock(progress.best, progress.best_pm))
    facts.add_row("failures", Text(str(progress.failures), style="yellow" if progress.failures else ""))
    left = "not known yet" if progress.time_left_s is None else duration_text(progress.time_left_s)
    facts.add_row("time left", left)
    bar = ProgressBar(total=max(progress.samples, 1), completed=progress.sample)
    last = Text(printable(progress.last).replace("\n", " "), style="dim", overflow="ellipsis", no_wrap=True)
    title = f"{'synthetic ' if is_synthetic(board) else ''}night of {progress.study}"
    return Panel(Group(facts, bar, last), title=title, title_align="left")


def _against_stock(ratio: float | None, pm: float | None) -> str:
    return "not known yet" if ratio is None else f"{ratio_pm_text(ratio, pm)} of stock"


Screen: TypeAlias = Literal["panel", "lines", "nothing"]


@contextmanager
def watching(log: Path, screen: Screen, board: str) -> Iterator[Watcher]:
    """A watcher that writes the log file and the screen, until the block is left; each says when `board` is synthetic.
    A service manager that wants to know (systemd) hears of it, too.

    Screen: a panel on stdout (a terminal), plain lines on stderr, or nothing (a detached night). Raises StorageError
    when the log file can't be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("a", encoding="utf-8")
    except OSError as problem:
        raise StorageError(
            f"the log file {log} can't be written: {problem.strerror}",
            hint="choose another place with --storage sqlite:////path/to/autotune.db",
        ) from None
    with _kept(file):
        keep = _both(_undisturbing(NightLog(file, board)), _undisturbing(service_manager()))
        if screen == "nothing":
            yield keep
            return
        try:
            with _shown(screen, board) as show:
                yield _both(keep, _undisturbing(show))
        except AutotuneError as error:
            # The screen hears of it at the edge; a detached night's stderr is the log itself.
            keep(Said(level="error", text=error.message))
            raise


@contextmanager
def _kept(file: TextIO) -> Iterator[None]:
    """Closes the log; lines that a full disk didn't take are gone."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _undisturbing(watcher: Watcher) -> Watcher:
    """A full disk under the log, a terminal or a pipe that is gone: no reason to end a night."""

    def watch(notice: Notice) -> None:
        with contextlib.suppress(OSError):
            watcher(notice)

    return watch


@contextmanager
def _shown(screen: Screen, board: str) -> Iterator[Watcher]:
    if screen != "panel":
        yield PlainLines(board)
        return
    from rich.live import Live
    from rich.text import Text

    panel = Live(Text("starting"), console=console(), refresh_per_second=4, transient=True)
    with contextlib.suppress(OSError):
        panel.start()
    try:
        yield LivePanel(panel, board)
    finally:
        # A terminal that is gone must not take the place of what ended the night.
        with contextlib.suppress(OSError):
            panel.stop()


def _both(first: Watcher, second: Watcher) -> Watcher:
    def watch(notice: Notice) -> None:
        first(notice)
        second(notice)

    return watch
