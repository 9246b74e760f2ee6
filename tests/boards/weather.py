"""The weather on a lab's client cable: packets delayed and lost, by the kernel's netem or, without it, by a relay of our own.

The relay is a stand-in: the cable becomes two TAP devices, and this file, run as a program, carries each frame from one to
the other, late or never. `python weather.py SWITCH_PID CLIENT_PID`: a line "DELAY_S JITTER_S LOSS" on its standard input is
the weather from then on; it ends with its input.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lab import CLIENT_IP, Lab

PORT: Final = "port1"
"""The switch's port for the client's cable (lab.py)."""
# linux/if_tun.h, linux/sched.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_CLONE_NEWNET: Final = 0x40000000
_FRAME: Final = 1 << 16
_ROOM: Final = 1000
"""Packets on their way in one direction; more are lost, as netem's `limit` loses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What happens to each packet, in either direction: late by `delay_s`, give or take `jitter_s`; lost with chance `loss`."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0

    @property
    def is_fair(self) -> bool:
        return self == FAIR

    @property
    def kind(self) -> str:
        words = (("late", self.delay_s), ("lossy", self.loss))
        return " and ".join(word for word, value in words if value) or "fair"

    @property
    def text(self) -> str:
        if self.is_fair:
            return "fair"
        return f"{1000 * self.delay_s:.0f} ms late, {100 * self.loss:.0f} % lost"


FAIR: Final = Forecast()


@dataclass
class Road:
    """One direction of the cable: packets go in now and come out when their time has come, or never."""

    chance: random.Random
    forecast: Forecast = FAIR
    _under_way: list[tuple[float, int, bytes]] = field(default_factory=list)
    _count: int = 0

    def enter(self, packet: bytes, now_s: float) -> None:
        """Those that are under way keep the weather in which they set out."""
        if self.chance.random() < self.forecast.loss or len(self._under_way) >= _ROOM:
            return
        late_s = self.forecast.delay_s + self.chance.uniform(-1.0, 1.0) * self.forecast.jitter_s
        self._count += 1
        heapq.heappush(self._under_way, (now_s + max(0.0, late_s), self._count, packet))

    def arrived(self, now_s: float) -> Iterator[bytes]:
        """The packets that have come out by now, in the order of their arrival."""
        while self._under_way and self._under_way[0][0] <= now_s:
            yield heapq.heappop(self._under_way)[2]

    @property
    def next_s(self) -> float | None:
        """When the next one comes out; None when none is under way."""
        return self._under_way[0][0] if self._under_way else None


# -- making weather -----------------------------------------------------------------------------------------------------


class Weather(Protocol):
    """Whatever makes the weather. `name` for a report."""

    name: str

    def become(self, forecast: Forecast) -> None: ...

    def close(self) -> None:
        """Ends it: the weather is fair, or the cable gone."""
        ...


def weather_of(lab: Lab) -> Weather | None:
    """Weather for the lab's client cable; None where this machine has neither netem nor TAP devices."""
    if _run(lab.switch_pid, *netem_argv(PORT, FAIR)) == 0:
        return Netem(lab)
    return Relay(lab) if Path("/dev/net/tun").exists() else None


def netem_argv(device: str, forecast: Forecast) -> tuple[str, ...]:
    """The command that gives a device's outgoing packets this weather (tc-netem(8))."""
    late = (f"{1e6 * forecast.delay_s:.0f}us", f"{1e6 * forecast.jitter_s:.0f}us")
    return (
        *("tc", "qdisc", "replace", "dev", device, "root", "netem", "limit", str(_ROOM)),
        *("delay", *late, "loss", f"{100 * forecast.loss:.2f}%"),
    )


class Netem:
    """The kernel's own, at both ends of the cable."""

    name = "netem"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def become(self, forecast: Forecast) -> None:
        for machine, device in ((self._lab.switch_pid, PORT), (self._lab.client_pid, "eth0")):
            if _run(machine, *netem_argv(device, forecast)) != 0:
                raise OSError(f"no netem on {device}")

    def close(self) -> None:
        self.become(FAIR)


class Relay:
    """The stand-in. Its process ends with ours, and the cable with it."""

    name = "a relay of our own (this kernel has no netem)"

    def __init__(self, lab: Lab) -> None:
        _must(lab.switch_pid, "ip", "link", "delete", PORT)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(lab.switch_pid), str(lab.client_pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise OSError("the relay did not start")
        _must(lab.switch_pid, "ip", "link", "set", PORT, "master", "switch", "up")
        _must(lab.client_pid, "ip", "address", "add", f"{CLIENT_IP}/24", "dev", "eth0")
        _must(lab.client_pid, "ip", "link", "set", "eth0", "up")

    @property
    def pid(self) -> int:
        return self._process.pid

    def become(self, forecast: Forecast) -> None:
        assert self._process.stdin is not None
        line = f"{forecast.delay_s} {forecast.jitter_s} {forecast.loss}\n"
        self._process.stdin.write(line.encode("ascii"))
        self._process.stdin.flush()

    def close(self) -> None:
        with self._process:
            pass


def _run(machine: int, *argv: str) -> int:
    inside = ("nsenter", "-t", str(machine), "-n", "--")
    return subprocess.run([*inside, *argv], stderr=subprocess.DEVNULL, check=False).returncode


def _must(machine: int, *argv: str) -> None:
    if code := _run(machine, *argv):
        raise OSError(f"{' '.join(argv)}: exit code {code}")


# -- the relay's own process --------------------------------------------------------------------------------------------


def tap(machine: int, name: str) -> int:
    """A new TAP device of this name in that process's network namespace, which this process stays in."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{machine}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to the network of {machine}")
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode("ascii"), _IFF_TAP | _IFF_NO_PI))
    return handle


def relay(switch: int, client: int) -> None:
    """Carries frames until the standard input ends."""
    ends = (tap(switch, PORT), tap(client, "eth0"))
    roads = (Road(random.Random("to the client")), Road(random.Random("to the board")))
    os.set_blocking(0, False)
    print("ready", flush=True)
    told = b""
    while True:
        times = [road.next_s for road in roads if road.next_s is not None]
        wait_s = max(0.0, min(times) - time.monotonic()) if times else None
        ready, _, _ = select.select([0, *ends], [], [], wait_s)
        if 0 in ready:
            said = os.read(0, 4096)
            if not said:
                return
            *lines, told = (told + said).split(b"\n")
            for line in lines:
                delay_s, jitter_s, loss = map(float, line.split())
                for road in roads:
                    road.forecast = Forecast(delay_s=delay_s, jitter_s=jitter_s, loss=loss)
        for source, target, road in ((ends[0], ends[1], roads[0]), (ends[1], ends[0], roads[1])):
            if source in ready:
                with contextlib.suppress(OSError):  # the device is down: nothing comes from there
                    road.enter(os.read(source, _FRAME), time.monotonic())
            for packet in road.arrived(time.monotonic()):
                with contextlib.suppress(OSError):  # the device is down: nothing gets there
                    os.write(target, packet)


if __name__ == "__main__":
    relay(int(sys.argv[1]), int(sys.argv[2]))
