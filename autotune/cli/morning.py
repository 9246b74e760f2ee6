"""What is left when a night is over: the summary as a Markdown file, and handed to the command that the user has set."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.cli.output import say
from autotune.cli.places import log_path
from autotune.errors import (
    AutotuneError,
    BoardLeftChanged,
    BoardUnreachable,
    Interrupted,
    StorageError,
    UsageError,
)
from autotune.experiment.synthetic_boards import LABEL

if TYPE_CHECKING:
    from autotune.experiment.events import Event
    from autotune.experiment.study import Study
    from autotune.measurement.calibration import AARecord
    from autotune.report.page import Page
    from autotune.report.summary_page import BoardState, Ending
    from autotune.runner.nights import NightResult
    from autotune.storage.store import Store

COMMAND_WITHIN_S = 60.0
_SECTION = "\n## "
_SAID_CAP, _SHOWN_CHARACTERS = 1 << 12, 300
_PIPE_HOLDS = 1 << 16
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the morning has to say. `file`: None where it could not be written. `has_begun`: whether the night did."""

    page: Page
    file: Path | None
    has_begun: bool


class Morning:
    """Sums one sitting up when it is over, whatever ended it."""

    def __init__(self, store: Store, study: Study, command: str) -> None:
        """Made before the sitting. `command`: a line of words, run without a shell; "" for none. Raises UsageError."""
        self._store = store
        self._study = study
        self._command = command_words(command)
        self._known = len(store.log(study.name))

    def is_anothers(self) -> bool:
        """Whether another process holds a night of the study now, and so will sum it up."""
        from autotune.runner.sittings import is_alive

        try:
            sitting = self._store.sitting(self._study.name)
        except StorageError:
            return False
        own = (socket.gethostname(), os.getpid())
        return sitting is not None and (sitting.host, sitting.pid) != own and is_alive(sitting)

    def of(self, result: NightResult, exit_code: int) -> Summary:
        """A sitting that came to its end."""
        from autotune.report.summary_page import Ending

        log = self._store.log(self._study.name)
        ending = Ending(
            night=self._night(log),
            outcome=result.outcome,
            reason=result.reason,
            board="restored",
            restored=len(result.restored),
        )
        return self._tell(log, ending, exit_code, self._store.aa_record())

    def of_failure(self, problem: Exception) -> Summary:
        """A sitting that an error or a signal ended."""
        from autotune.report.summary_page import Ending

        try:
            log: Sequence[Event] = self._store.log(self._study.name)
        except StorageError:
            log = ()
        known = problem if isinstance(problem, AutotuneError) else None
        ending = Ending(
            night=self._night(log),
            outcome="stopped" if isinstance(problem, Interrupted) else "failed",
            reason=known.message if known else f"a bug in autotune, {type(problem).__name__}: {problem}",
            board=_board_after(problem),
            hint=known.hint if known else "",
        )
        return self._tell(log, ending, known.exit_code if known else AutotuneError.exit_code)

    def _night(self, log: Sequence[Event]) -> int:
        """The sitting's night, by its number; the next one's where it could not begin."""
        from autotune.experiment.events import NightEnded
        from autotune.runner.nights import night_count, open_night

        ended = any(
            isinstance(event, NightEnded) and event.outcome != "abandoned" for event in log[self._known :]
        )
        return night_count(log) + (0 if ended or open_night(log) else 1)

    def _tell(
        self, log: Sequence[Event], ending: Ending, exit_code: int, record: AARecord | None = None
    ) -> Summary:
        from autotune.report.changes import last_night
        from autotune.report.markdown import page_markdown
        from autotune.report.page import Page, Paragraph
        from autotune.report.summary_page import headline, summary_page

        page = summary_page(self._study, log, ending, record)
        origin = f"{LABEL}. " if self._study.is_synthetic else ""
        text = page_markdown(f"{origin}{self._study.name}, night {ending.night}", page)
        file = summary_file(self._store, self._study.name, ending.night)
        said_before = _kept(file)
        unwritten = _write(file, text)
        if unwritten:
            self._say(unwritten)
        else:
            where = Paragraph(lines=(f"This summary is in {file}",), tone="quiet")
            page = Page(parts=(*page.parts, where))
        summary = Summary(
            page=page,
            file=None if unwritten else file,
            has_begun=last_night(log, ending.night) is not None,
        )
        # A service that fails for the same reason again and again has told it once.
        if self._command and _head(text) != _head(said_before):
            facts = {
                "STUDY": self._study.name,
                "NIGHT": str(ending.night),
                "OUTCOME": ending.outcome,
                "EXIT_CODE": str(exit_code),
                "ANSWER": origin + headline(self._study, log, ending),
                "SUMMARY": str(file),
            }
            named = {f"AUTOTUNE_{name}": value for name, value in facts.items()}
            if trouble := _hand_over(self._command, text, named):
                self._say(f"the summary's command {self._command[0]} {trouble}")
        return summary

    def _say(self, text: str) -> None:
        say(f"synthetic: {text}" if self._study.is_synthetic else text)


def summary_file(store: Store, study: str, night: int) -> Path:
    """Where a night's summary is: beside its log."""
    return log_path(store, study).with_name(f"{study}.night-{night}.md")


def last_summary(store: Store, study: str) -> int:
    """The number of the last night that has one; 0 without any."""
    beside = log_path(store, study).parent
    numbers = [file.stem.rpartition("-")[2] for file in beside.glob(f"{study}.night-*.md")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def command_words(command: str) -> list[str]:
    """The words of a summary's command. Raises UsageError for a line that is none."""
    try:
        return shlex.split(command)
    except ValueError as problem:
        raise UsageError(
            f"the summary's command {command!r} can't be read: {problem}",
            hint="""Quote it as a shell wants it, such as "mail -s 'last night' me@example.org".""",
        ) from None


def _board_after(problem: Exception) -> BoardState:
    """What an error says of the board: whatever else ends a sitting comes after the board was put back, and proven."""
    if isinstance(problem, BoardLeftChanged):
        return "left changed"
    away = isinstance(problem, BoardUnreachable) or (isinstance(problem, Interrupted) and problem.away)
    return "not proven" if away else "restored"


def _kept(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _write(file: Path, text: str) -> str:
    """Why it could not be written; "" when it was."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        return f"the summary {file} can't be written: {problem.strerror}"
    return ""


def _head(text: str) -> str:
    """The answer, how it ended, and the board: all before the first table."""
    return text.split(_SECTION, 1)[0]


def _hand_over(command: list[str], text: str, facts: dict[str, str]) -> str:
    """Runs the command with the summary on its standard input, and a minute's time. What went wrong with it, or "".

    The night waits for the command alone, not for what that leaves running with its standard error.
    """
    until = time.monotonic() + COMMAND_WITHIN_S
    try:
        with tempfile.TemporaryFile() as summary:
            summary.write(text.encode("utf-8"))
            summary.seek(0)
            process = subprocess.Popen(
                command,
                stdin=summary,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **facts},
                start_new_session=True,
            )
    except OSError as problem:
        return f"can't be run: {problem.strerror}"
    if process.stderr is None:
        raise AssertionError
    said = b""
    with process.stderr as complaints:
        os.set_blocking(complaints.fileno(), False)
        while True:
            code = process.poll()
            piece = complaints.read(_PIPE_HOLDS) or b""
            said = (said + piece)[-_SAID_CAP:]
            if code is not None:
                break
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"was ended after {COMMAND_WITHIN_S:.0f} s"
            if not piece:
                time.sleep(_LOOK_EVERY_S)
    if not code:
        return ""
    words = said.decode("utf-8", "replace").strip().splitlines()
    return f"failed with exit code {code}" + (f": {words[-1][-_SHOWN_CHARACTERS:]}" if words else "")
