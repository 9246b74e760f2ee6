"""How a night is asked to stop: signals, `autotune stop`, and what each of them means."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from autotune.errors import Interrupted
from autotune.runner.notices import Said, Watcher

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The night is asked to end here: `autotune stop`, or the deadline; the text says which."""


class StopRequest:
    """While entered: the first signal lets the current sample finish, the second one cuts it short.

    SIGHUP counts like SIGTERM unless it was ignored when we started (nohup). The first one sets a flag and says so;
    the second one raises `Interrupted` in the main thread, and whoever holds the board restores it on the way out.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._restoring = False
        self.signal_number = 0

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            previous = signal.getsignal(number)
            if number == signal.SIGHUP and previous is signal.SIG_IGN:
                continue
            self._previous[number] = previous
            signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def restoring(self) -> None:
        """From here on no signal may interrupt: the board is being put back."""
        self._restoring = True

    def working(self) -> None:
        """The board is put back and may be taken again: a second signal interrupts at once, as before."""
        self._restoring = False

    def raise_if_asked(self) -> None:
        """Raises Interrupted when a signal has arrived."""
        if self.signal_number:
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        name = signal.Signals(self.signal_number).name
        return Interrupted(
            f"stopped by {name}",
            signal_number=self.signal_number,
            hint="the same command again goes on where it stopped",
        )

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = bool(self.signal_number)
        self.signal_number = self.signal_number or number
        if self._restoring:
            return
        if again:
            raise self._interrupted()
        text = "stopping after this sample, then restoring; once more to stop at once"
        with contextlib.suppress(
            RuntimeError
        ):  # Python's refusal while the watcher is in the middle of a line
            self._watcher(Said(level="warning", text=text))
