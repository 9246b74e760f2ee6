"""One load: wrk warming up, then wrk measured, or the open-loop generator, with this machine's counters around it.

The server is this machine's own, or on another one: then an agent there watches meanwhile (run_watch.py).
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import random
import signal
import socket
import tempfile
import time
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

from autotune.agent import mounts, processes, sockets
from autotune.agent.faults import Fault
from autotune.agent.generator import NOT_RUN, Generator, looks
from autotune.agent.line import Line
from autotune.agent.nginx import Server
from autotune.agent.open_loop import PROGRAM, OpenLoop, write_open_loop
from autotune.agent.orders import Load, is_address
from autotune.agent.places import Places, remove_tree, write_text
from autotune.agent.protocol import LoadReply, Program, Run
from autotune.agent.run_watch import Elsewhere, Watch
from autotune.agent.wrk_report import REPORT_LUA

_LOOKS, _BETWEEN_LOOKS_S = 10, 0.005
_ANSWER_EXTRA_S, _END_EXTRA_S = 5, 15
# So long that a thread's place in it is its own, and short enough for every thread to read it in no time.
_LIST_LENGTH = 1000
_NAME_CACHE = "/run/nscd"
_DIRECTORY = "autotune-load-"


def write_scripts(run_dir: str) -> None:
    """Puts the generators' scripts where `run_load` expects them."""
    write_text(f"{run_dir}/report.lua", REPORT_LUA)
    write_open_loop(run_dir)


def request_list(targets: Sequence[Tuple[str, int]], seed: int) -> List[str]:
    """Targets in the order they are asked for: shuffled blocks, each of which holds every target by its exact share."""
    block = [target for target, share in targets for _ in range(share)]
    order = random.Random(seed)
    found: List[str] = []
    while len(found) < _LIST_LENGTH:
        order.shuffle(block)
        found += block
    return found


def host_names(order: Load, run_dir: str) -> Callable[[], None]:
    """What wrk's child does for a host that is a name: it looks names up itself, and is to find `address`.

    Raises Fault when the name leads elsewhere and we may not change what wrk sees.
    """
    if is_address(order.host):
        return lambda: None
    if os.geteuid() != 0:
        if _leads_to(order.host) == {order.address}:
            return lambda: None
        raise Fault(
            "not permitted", f"only root can make {order.host} lead to {order.address}", "run as root"
        )
    shown = []
    for name, text in (
        ("hosts", f"{order.address} {order.host}\n"),  # and nothing else: localhost may be the host itself
        ("nsswitch.conf", "hosts: files\n"),
    ):
        if os.path.exists("/etc/" + name):
            write_text(f"{run_dir}/{name}", text)
            shown.append((f"{run_dir}/{name}", "/etc/" + name))
    if os.path.isdir(_NAME_CACHE):  # nscd is asked before any file
        os.makedirs(run_dir + "/nobody", exist_ok=True)
        shown.append((run_dir + "/nobody", _NAME_CACHE))
    return mounts.private(shown)


def _leads_to(host: str) -> Set[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(one[4][0]) for one in found}


def run_load(
    program: str,
    run_dir: str,
    order: Load,
    server: Union[Server, Elsewhere],
    line: Line,
    record: Callable[[int, int], None],
) -> LoadReply:
    """Both runs. Raises Leave when the controller goes or a signal comes; no generator outlives that."""
    targets = request_list(order.targets, order.seed) if len(order.targets) > 1 else [order.targets[0][0]]
    write_text(f"{run_dir}/requests", "\n".join(targets) + "\n")
    generator = (OpenLoop if order.rate_per_s else _Wrk)(program, run_dir, order, line, record)
    watch = Watch(server)
    try:
        warmup = generator.warm_up()
        held: List[int] = []
        watch.begin_run((order.address, order.port), order.power)
        measured = generator.measure(
            lambda pid: held.append(_sockets_held(pid, order.connections)), watch.each_second
        )
        return {
            "warmup": warmup,
            "measured": measured,
            "connections_held": held[0] if held else 0,
            **watch.end_run(measured["cpu_s"]),
        }
    finally:
        watch.close()


class LoadHost:
    """This machine pushing against a server on another one. It needs no lock, and no more than a directory for its scripts."""

    def __init__(self, line: Line, places: Places) -> None:
        self._line = line
        self._beside = os.path.dirname(places.run_dir)  # in memory, where there is such a place
        self._run_dir: Optional[str] = None

    def load(self, order: Load, programs: Dict[str, Program]) -> LoadReply:
        """Both runs. Raises Fault without the generator, Leave as `run_load` does."""
        name = program_of(order)
        program = programs[name]["path"]
        if not program:
            raise Fault("failed", f"{name} is not installed here", f"apt-get install {name}")
        if self._run_dir is None:
            _remove_leftovers(self._beside)
            self._run_dir = tempfile.mkdtemp(prefix=f"{_DIRECTORY}{os.getpid()}-", dir=self._beside)
            write_scripts(self._run_dir)
        # The board's own meter is its agent's.
        return run_load(
            program, self._run_dir, order._replace(power=""), Elsewhere(), self._line, _ends_with_us
        )

    def close(self) -> None:
        if self._run_dir is not None:
            remove_tree(self._run_dir)
            self._run_dir = None


def program_of(order: Load) -> str:
    """The generator that runs this load."""
    return PROGRAM if order.rate_per_s else "wrk"


def _ends_with_us(pid: int, start: int) -> None:
    """There is no journal and no guardian here, and the kernel ends it if we are killed (generator.py)."""


def _remove_leftovers(beside: str) -> None:
    """Directories of agents of this user that were killed."""
    for path in glob.glob(f"{beside}/{_DIRECTORY}*"):
        number = os.path.basename(path)[len(_DIRECTORY) :].partition("-")[0]
        if number.isdigit() and processes.read_stat(int(number)) is None:
            with contextlib.suppress(OSError):
                if os.lstat(path).st_uid == os.geteuid():
                    remove_tree(path)


def _nothing() -> None:
    """What is to be done each second of a warm-up."""


def _nothing_of(_: int) -> None:
    """What is to be done half-way through it."""


def _sockets_held(pid: int, wanted: int) -> int:
    """The generator's open sockets, its children's too, the most of a few looks.

    One whose server has just hung up counts, one that wrk gave up for good doesn't. Counting established connections
    instead takes a server that closes often (keepalive_requests) for a load that died. Between closing a socket and
    opening the next wrk can lose its CPU for some milliseconds, so the looks are spread.
    """
    most = 0
    for _ in range(_LOOKS):
        generator = (pid, *processes.children(pid))
        most = max(most, sum(len(sockets.owned_inodes(one)) for one in generator))
        if most >= wanted:
            break
        time.sleep(_BETWEEN_LOOKS_S)
    return most


class _Wrk:
    """wrk as this load wants it, run once to warm up and once to measure."""

    def __init__(
        self, program: str, run_dir: str, order: Load, line: Line, record: Callable[[int, int], None]
    ) -> None:
        self._program = program
        self._run_dir = run_dir
        self._order = order
        self._generator = Generator(order.cpus, line, record, host_names(order, run_dir))

    def warm_up(self) -> Run:
        return self._run(self._order.warmup_s, _nothing_of, _nothing) if self._order.warmup_s else NOT_RUN

    def measure(self, at_half: Callable[[int], None], each_second: Callable[[], None]) -> Run:
        """`at_half` is handed its pid half-way."""
        return self._run(self._order.duration_s, at_half, each_second)

    def _run(self, seconds: float, at_half: Callable[[int], None], each_second: Callable[[], None]) -> Run:
        """It counts in whole seconds, so a fraction is ended by SIGINT, on which it reports as usual."""
        moments = looks(seconds, seconds / 2, at_half, each_second)
        if seconds != int(seconds):
            moments.append((seconds, lambda wrk: wrk.signal_group(signal.SIGINT)))
        longest_s = math.ceil(seconds) * 2 + _ANSWER_EXTRA_S + _END_EXTRA_S
        return self._generator.run(self._argv(math.ceil(seconds)), longest_s, moments)

    def _argv(self, whole_s: int) -> Sequence[str]:
        order = self._order
        return (
            self._program,
            f"-t{order.threads}",
            f"-c{order.connections}",
            f"-d{whole_s}s",
            "--timeout",
            f"{whole_s + _ANSWER_EXTRA_S}s",
            "--latency",
            "-s",
            f"{self._run_dir}/report.lua",
            order.url,
            "--",
            order.marker,
            *((f"{self._run_dir}/requests", str(order.threads)) if len(order.targets) > 1 else ()),
        )
