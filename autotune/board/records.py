"""What crosses the line to a board, as frozen records: the protocol's bodies with the same field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program found on the board: its absolute path and the first lines of its version text."""

    path: str
    version: str

    @property
    def runs(self) -> bool:
        """One for another machine, or without its libraries, tells no version."""
        return self.version != "" and not self.version.startswith("(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A file on the board. `text` None: it can't be read, and `error` says why."""

    text: str | None
    error: str
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxFiles:
    """The user's nginx configuration: its files by real path in the order nginx opened them, the main file first.

    `names`: real paths by the names they were opened under. `problem`: why nginx would not say, "" when it did.
    """

    files: Mapping[str, Reading]
    names: Mapping[str, str]
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFile:
    """A file to be served. `name` is relative, below the state directory's www/."""

    name: str
    content_base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The board is held: where this night's files are, and what a crashed night had left that was put right now."""

    token: str
    conf_path: str
    www_dir: str
    log_dir: str
    undone: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOver:
    """A path whose value differs from its original, and the command that puts it back by hand."""

    path: str
    original: str
    now: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A kernel file and the text to write into it."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlTruth:
    """What a GET must answer. `status` 0: take this answer as the truth; `sha256` "": any body of that length.

    The host of `url` is the Host header and TLS's server name; the connection is made to `address`. `loose`: a body
    that differs each time, so a length within a fifth will do.
    """

    url: str
    address: str
    status: int = 0
    length: int = 0
    sha256: str = ""
    loose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedFile:
    """A file of the user's own nginx configuration, by its real path, as the night's nginx is to see it."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address as nginx binds it (127.0.0.5, 0.0.0.0, ::) and a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhpOrder:
    """The php-fpm of a switch: its configuration text, its socket's path or address:port, and its CPUs (() for all)."""

    conf: str
    listen: str
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrder:
    """The nginx of a switch, and what the canary proves about it.

    Managed: `conf` is its whole configuration text. The user's own: `conf` "", `conf_path` the user's main file, `edits`
    what stands in place of the user's files. `build`: key of a build in the board's cache, "" for the distribution's.
    """

    conf: str
    conf_path: str = ""
    edits: tuple[EditedFile, ...] = ()
    build: str = ""
    workers: int
    listen: tuple[Listener, ...]
    cpus: tuple[int, ...]
    urls: tuple[UrlTruth, ...]
    php: PhpOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What became of a write: the normalised read-back, and the kernel's refusal ("" when accepted)."""

    path: str
    requested: str
    effective: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSeen:
    """What a GET answered. `wire_bytes` counts status line, headers and body, as wrk does."""

    url: str
    status: int
    length: int
    wire_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A whole configuration in place, or (`step` not "") where that stopped, why, and who is to blame."""

    effects: tuple[Effect, ...]
    foreign: tuple[str, ...]
    step: Literal["", "write", "read-back", "nginx", "canary"]
    reason: str
    blame: Literal["", "configuration", "environment"]
    urls: tuple[UrlSeen, ...]
    master_pid: int
    worker_pids: tuple[int, ...]
    error_log: str
    timings_ms: Mapping[str, float]
    guardian_restarted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadUrl:
    """A URL of a load and its share among the others."""

    url: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """One warm-up and one measured run of wrk over one or more URLs of one scheme, host and port.

    A host that is a name stands for `address`. `seed` shuffles the list of requests. `rate_per_s` not 0: one run of the
    open-loop generator instead, whose beginning, `warmup_s` long, doesn't count. `power`: the
    board's own meter, "" for none.
    """

    urls: tuple[LoadUrl, ...]
    address: str
    seed: int
    threads: int
    connections: int
    warmup_s: float
    duration_s: float
    marker: str
    cpus: tuple[int, ...]
    rate_per_s: float = 0.0
    power: str = ""

    @property
    def generator(self) -> str:
        """The program that runs this load."""
        return "luajit" if self.rate_per_s else "wrk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the load generator. A negative `exit_code` is the signal that killed it."""

    exit_code: int
    stdout: str
    stderr: str
    wall_s: float
    cpu_s: float
    timed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was seen of a machine around a measured run, and of its server, if it has one.

    `peaks`: highest temperatures and cooling states of one look a second. `busiest`: other programs that ran, in words;
    `strangers`: who else took requests. `kernel_log` None: it can't be read here.
    """

    counters: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]
    server_cpu_s: float
    workers_before: tuple[int, ...]
    workers_after: tuple[int, ...]
    error_log: str
    peaks: Mapping[str, float] = field(default_factory=dict)
    busiest: tuple[str, ...] = ()
    strangers: str = ""
    kernel_log: tuple[str, ...] | None = None
    power_w: float | None = None
    power_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSeen(Watched):
    """All that was seen of a load: both runs, and the generator's machine around the measured one."""

    warmup: Run
    measured: Run
    connections_held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FarLoadSeen(LoadSeen):
    """A load from another machine, `load_host`, as that was around the measured run; everything else is of the board.

    Only the levels of `free_ports` are those of the machine that the load came from.
    """

    load_host: Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way to an address: our own address and network card on it. `source` "": there is none, `problem` says why.

    `problem` also says why a connection does not come about, where one was tried.
    """

    to: str
    source: str
    interface: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """A machine's own IPv4 addresses, without loopback, and its way to each address it was asked for."""

    addresses: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The board's counters since boot, and its levels now."""

    counters: Mapping[str, float]
    levels: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """A build of nginx to be made. `source`: "apt", an absolute path or an https URL of a tarball, with its `sha256`."""

    name: str
    source: str
    sha256: str
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...]
    configure: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A build of nginx in the board's cache. `version` is all of `nginx -V`; `asked` is the source it was ordered from."""

    key: str
    name: str
    asked: str
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...]
    configure: tuple[str, ...]
    without: tuple[str, ...]
    source: str
    compiler: str
    version: str
    made: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The board is restored; `left` lists what could not be put back."""

    restored: tuple[str, ...]
    left: tuple[LeftOver, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardStatus:
    """Who holds the board, what its journal says, and which paths now differ from their originals."""

    held_by: str
    journal: Literal["none", "clean", "open", "kept", "other boot", "torn"]
    begun: Mapping[str, object]
    changed: tuple[LeftOver, ...]
