"""The lab of a torture: it stands on the board itself, and has the controller, its ssh and the cable at the other end."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import Final

import lab as labs
from torture_machine import LAB_PIDS, NoMachine, processes
from weather import FAIR, Forecast, Relay, weather_of

_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000


class FarBoard:
    """A lab that is up, and this process on its board: /run, /proc/sys/net, listeners and processes are the board's."""

    address: Final = labs.ADDRESS

    def __init__(self, directory: Path) -> None:
        if why := labs.why_no_lab():
            raise NoMachine(f"a lab {why}")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        self._lab = labs.up(directory)
        self._weather = weather_of(self._lab)
        _enter(self._lab.board_pid)
        lab = self._lab
        own = [lab.board_pid, lab.client_pid, lab.load_pid, lab.switch_pid, lab.sshd_pid, lab.load_sshd_pid]
        own += [self._weather.pid] if isinstance(self._weather, Relay) else []
        LAB_PIDS.write_text(" ".join(map(str, own)))

    @property
    def on_client(self) -> tuple[str, ...]:
        return self._lab.on_client

    @property
    def weather_maker(self) -> str:
        return "none: no netem and no TAP devices" if self._weather is None else self._weather.name

    def become(self, forecast: Forecast) -> None:
        if self._weather is not None:
            self._weather.become(forecast)

    def cut(self) -> None:
        self._lab.cable("down")

    def mend(self) -> None:
        self._lab.cable("up")
        self.become(FAIR)


def line_ends() -> list[str]:
    """What still lives of any ssh between the two, in words."""
    return [f"process {one.pid}: {one.line[:80]}" for one in processes() if one.role in ("ssh", "sshd")]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, kind in (("net", _CLONE_NEWNET), ("mnt", _CLONE_NEWNS)):
        handle = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(handle, kind) != 0:
            raise NoMachine(f"the board's namespaces can't be entered: {os.strerror(ctypes.get_errno())}")
        os.close(handle)
