"""What signals do to a night."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from autotune.errors import Interrupted
from autotune.runner.notices import Notice, Said
from autotune.runner.stopping import StopRequest


def _nobody(_notice: Notice) -> None:
    return


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_waits_for_the_sample_and_carries_its_exit_code(number: signal.Signals) -> None:
    with StopRequest(_nobody) as stop:
        stop.raise_if_asked()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as stopped:
            stop.raise_if_asked()
    assert stopped.value.exit_code == 128 + number


def _two_signals() -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def test_the_second_signal_interrupts_at_once() -> None:
    with StopRequest(_nobody), pytest.raises(Interrupted):
        _two_signals()


def test_no_signal_interrupts_while_the_board_is_put_back() -> None:
    with StopRequest(_nobody) as stop:
        stop.restoring()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            stop.raise_if_asked()


def test_a_hangup_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest(_nobody) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.raise_if_asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest(_nobody):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_in_the_middle_of_a_watchers_line_is_no_error() -> None:
    read, write = os.pipe()

    def drain_later() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        while os.read(read, 1 << 16):
            pass

    drain = threading.Thread(target=drain_later)
    with os.fdopen(write, "w") as line:

        def say(notice: Notice) -> None:
            print(notice, file=line, flush=True)

        with StopRequest(say) as stop:
            drain.start()
            say(
                Said(level="info", text="x" * 500_000)
            )  # more than a pipe holds: the signal comes while it waits
    assert stop.signal_number == signal.SIGINT
    drain.join()
    os.close(read)
