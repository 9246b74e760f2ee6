"""What systemd hears of a night that it started: that it has begun, that its loop goes round, and where it stands.

The protocol is sd_notify(3)'s: lines of text, a datagram each, to the socket that $NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket

from autotune.report.words import duration_text
from autotune.runner.clocks import Pace
from autotune.runner.notices import Alive, Notice, Progress, Watcher

SOCKET = "NOTIFY_SOCKET"
# A synthetic night goes round hundreds of times a second; the watchdog's patience is minutes.
_EVERY_S = 1.0


class ServiceManager:
    """A watcher that tells it. A night is READY when its loop begins: whatever refuses it in the evening comes before.

    Raises OSError while nobody receives.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_ready = False
        self._beats = Pace(_EVERY_S)
        self._states = Pace(_EVERY_S)

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, Alive):
            if not self._is_ready:
                self.ready()
            elif self._beats.is_due():
                self._tell("WATCHDOG=1")
        elif isinstance(notice, Progress) and self._states.is_due():
            left = "" if notice.time_left_s is None else f", {duration_text(notice.time_left_s)} left"
            self._tell(f"STATUS={notice.study}: {notice.stage} {notice.sample}/{notice.samples}{left}")

    def ready(self) -> None:
        """The night goes on, or there is none to hold: what ends from here on has not failed to start."""
        self._tell("READY=1\nWATCHDOG=1")
        self._is_ready = True

    def _tell(self, text: str) -> None:
        # "@" stands for the byte with which an abstract address begins (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(_EVERY_S)
            line.sendto(text.encode("utf-8"), address)


def service_manager() -> Watcher:
    """The one that started this process, or nobody."""
    address = os.environ.get(SOCKET, "")
    return ServiceManager(address) if address.startswith(("/", "@")) else _nobody


def tell_ready() -> None:
    """Says that all is well before a night that there is no need to hold."""
    watcher = service_manager()
    if isinstance(watcher, ServiceManager):
        watcher.ready()


def _nobody(_notice: Notice) -> None:
    pass
