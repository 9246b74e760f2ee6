"""What controller and agent say to each other: one JSON object per line, over the agent's stdin and stdout.

    -> {"id": 7, "verb": "switch", "body": {...}}
    <- {"id": 7, "ok": true, "body": {...}}
    <- {"id": 7, "ok": false, "error": {"kind": "refused", "message": "...", "hint": "..."}}

The agent answers requests in order; `keepalive` is also answered while a load runs. A line is at most MAX_LINE bytes.
EOF on the agent's stdin means: restore, then exit. Python 3.9, standard library only: this file also runs on the board.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict

PROTOCOL = 3
MAX_LINE = 8 * 1024 * 1024

VERBS = (
    "hello", "read", "begin", "switch", "check", "load", "watch", "route", "counters", "keepalive", "end", "status",
    "builds",
)  # fmt: skip

ErrorKind = Literal[
    "refused",  # the agent's own lists say no: path, value or program (a mistake of the controller)
    "not permitted",  # the kernel says no: EPERM, EACCES
    "busy",  # another tuner holds the lock
    "guardian",  # no live guardian, so nothing was written
    "journal",  # the journal can't be read or written
    "left changed",  # restore could not put something back; `left` lists it
    "protocol",  # a request that can't be understood
    "failed",  # anything else, in words
]


class ErrorBody(TypedDict):
    kind: ErrorKind
    message: str
    hint: str


class Program(TypedDict):
    """A program found on the machine: absolute path and the first lines of its version text ("" when absent)."""

    path: str
    version: str


class HelloRequest(TypedDict):
    protocol: int
    controller: str  # host, pid: for messages


class HelloReply(TypedDict):
    protocol: int
    python: str
    uid: int
    hostname: str
    kernel: str
    machine: str
    boot_id: str
    netns: str  # inode of the network namespace
    cpus: List[int]  # online CPUs the agent may use
    capacity: Dict[str, int]  # by CPU number: the kernel's cpu_capacity; empty where it doesn't tell
    cores: List[List[int]]  # those CPUs by the core that they are threads of
    memory_bytes: int
    open_files_limit: int  # the highest limit of open files that a process started here may set
    run_dir: str  # where lock and journal live
    run_is_tmpfs: bool
    state_dir: str  # where the tested nginx's site and logs live (on disk)
    state_free_bytes: int
    programs: Dict[str, Program]  # nginx, wrk, luajit, php-fpm
    model: str  # /proc/device-tree/model, or the CPU's name


class KeepaliveReply(TypedDict):
    clock_s: float  # the machine's, since the epoch


class ReadRequest(TypedDict):
    paths: List[str]  # a * in any part stands for every name there; each file found is checked by itself
    nginx_conf: str  # "" or a main configuration file: it and all it includes, as `nginx -T` sees them


class FileReading(TypedDict):
    text: Optional[str]  # None when it can't be read
    error: str
    writable: bool


class ReadReply(TypedDict):
    files: Dict[str, FileReading]
    nginx_files: Dict[str, FileReading]  # of nginx_conf by real path, the main file first
    nginx_names: Dict[str, str]  # the real path of each by the name nginx opened it under
    nginx_problem: str  # why nginx would not say, in its own words; "" when it did


class PutFile(TypedDict):
    name: str  # relative, below the state directory's www/
    content_base64: str


class BeginRequest(TypedDict):
    study: str
    night: int
    holder: str
    lease_s: float
    files: List[PutFile]
    services: List[str]  # stopped until the end of the night if they run: irqbalance
    kept: bool  # `end` may leave everything in place (autotune apply)


class LeftOver(TypedDict):
    path: str
    original: str
    now: str
    command: str  # how to put it back by hand


class BeginReply(TypedDict):
    token: str
    conf_path: str  # where switch puts the nginx configuration text
    www_dir: str
    log_dir: str  # access and error log, temp paths
    undone: List[str]  # paths and processes that a crashed night had left and that were put right now


class Write(TypedDict):
    path: str
    text: str


class UrlTruth(TypedDict):
    """What a GET must answer. `status` 0: take this answer as the truth (only for stock).

    The host of `url` is the Host header and TLS's server name; the connection is made to `address`.
    """

    url: str
    address: str
    status: int
    length: int
    sha256: str  # "": any body of that length
    loose: bool  # a body that differs each time: a length within a fifth of `length` will do


class EditedFile(TypedDict):
    """A file of the user's own configuration (its real path) as this night's nginx is to see it."""

    path: str
    text: str


class Listener(TypedDict):
    address: str  # as nginx binds it: 127.0.0.5, 0.0.0.0, ::
    port: int


class PhpOrder(TypedDict):
    """The php-fpm of this switch: its whole configuration text, where it must accept, and its CPUs."""

    conf: str
    listen: str  # an absolute socket path in the night's run directory, or 127.0.0.x:port
    cpus: List[int]


class ServerOrder(TypedDict):
    """The nginx of this switch; workers are counted after the start.

    Managed: `conf` is the whole configuration text. The user's own: `conf` is "", `conf_path` the user's main file, and
    `edits` are seen in place of the user's files by this nginx alone.
    """

    conf: str
    conf_path: str
    edits: List[EditedFile]
    build: str  # key of a build in the cache; "" for the distribution's nginx
    workers: int
    listen: List[Listener]  # every one must be ours alone
    cpus: List[int]  # CPUs the server may use; [] for all
    urls: List[UrlTruth]
    php: Optional[PhpOrder]


class SwitchRequest(TypedDict):
    writes: List[Write]  # every journaled path not named here goes back to its original
    server: Optional[ServerOrder]  # None: no server runs after the switch


class Effect(TypedDict):
    path: str
    requested: str
    effective: str  # normalised read-back
    error: str  # the kernel's refusal, "" when accepted


class UrlSeen(TypedDict):
    url: str
    status: int
    length: int  # of the body
    wire_bytes: int  # status line + headers + body
    sha256: str


class SwitchReply(TypedDict):
    effects: List[Effect]
    foreign: List[str]  # paths that someone else changed since we wrote them
    step: str  # "" when all is well, else where it stopped: write, read-back, nginx, canary
    reason: str
    blame: Literal["", "configuration", "environment"]
    urls: List[UrlSeen]
    master_pid: int
    worker_pids: List[int]
    error_log: str  # new lines at warn or above
    timings_ms: Dict[str, float]  # journal, writes, read_back, stop, start, canary
    guardian_restarted: bool


class CheckRequest(TypedDict):
    paths: List[str]  # each is written back with its own value and read again
    urls: List[UrlTruth]  # each is fetched from whatever serves it now, `status` 0


class CheckReply(TypedDict):
    effects: List[Effect]
    urls: List[UrlSeen]


class LoadUrl(TypedDict):
    url: str
    weight: float


class LoadRequest(TypedDict):
    """One warm-up and one measured run of wrk, or one run at a fixed rate of luajit. The agent builds argv itself; nothing
    here reaches a shell.

    An agent that holds its board loads the server of the last switch and tells all of both. One that holds nothing is on a
    load host: the server is on another machine, so all that concerns it is empty, and `power` is not looked at.

    Several URLs are one load: a list of requests in these shares, shuffled with `seed`. They have one scheme, host and
    port; a host that is a name stands for `address`. At a fixed rate the warm-up is the beginning of the one run.
    """

    urls: List[LoadUrl]
    address: str
    seed: int
    threads: int
    connections: int
    warmup_s: float
    duration_s: float
    marker: str  # the report script prints its JSON line behind this
    cpus: List[int]  # CPUs the generator may use; [] for all
    rate_per_s: float  # 0: as fast as the server answers
    power: str  # the board's meter: "" for none, auto, rapl, hwmon:NAME, hwmon:NAME:CHANNEL


class Run(TypedDict):
    exit_code: int  # negative: killed by that signal
    stdout: str
    stderr: str
    wall_s: float
    cpu_s: float
    timed_out: bool


class Watched(TypedDict):
    """What is seen of the machine around a measured run, and of its server, if it has one."""

    counters: Dict[str, float]  # differences over the measured run, and cpu.PROGRAM_s
    before: Dict[str, float]  # levels before it: load1, mem_available, free_ports, temp_*_c, khz_cpu*, …
    after: Dict[str, float]  # likewise, and spin_cpu*: the real clock of one CPU of each kind
    peaks: Dict[str, float]  # highest temp_*_c and cooling_* of one look a second
    server_cpu_s: float
    workers_before: List[int]
    workers_after: List[int]
    error_log: str
    busiest: List[str]  # other programs that ran meanwhile, in words
    strangers: str  # who else takes the server's requests after the run, in words
    kernel_log: Optional[List[str]]  # its messages since before the warm-up; None: it can't be read
    power_w: Optional[float]  # mean over the measured run; None without a meter
    power_source: str


class LoadReply(Watched):
    warmup: Run
    measured: Run
    connections_held: int  # sockets the generator has open, half-way through the measured run


class WatchRequest(TypedDict):
    """Watches the board while another machine loads it. Only with a server of a switch.

    warm-up: before the load's warm-up. run: before the measured run, and its counters begin. end: after it, and they end.
    """

    step: Literal["warm-up", "run", "end"]
    power: str  # as in a load


class WatchReply(TypedDict):
    seen: Optional[Watched]  # of end


class RouteRequest(TypedDict):
    to: List[str]  # IPv4 addresses
    port: int  # a connection to it is tried; 0: none


class Route(TypedDict):
    to: str
    source: str  # our own address on the way there; "" when there is none
    interface: str
    problem: str  # why there is no way, or why no connection comes about; "" where one does, or is refused


class RouteReply(TypedDict):
    addresses: List[str]  # our own IPv4 addresses, without loopback
    routes: List[Route]


class BuildsRequest(TypedDict):
    """`action` list: all builds. make: the one described, unless the cache has it. remove: the one of `key`.

    The key is SHA-256 of source, arguments and compiler; the agent works it out itself and tells it.
    """

    action: Literal["list", "make", "remove"]
    key: str  # remove
    name: str  # make, and all below
    source: str  # "apt", an absolute path, an https URL
    sha256: str
    cflags: List[str]
    ldflags: List[str]
    configure: List[str]
    without: List[str]


class Built(TypedDict):
    key: str
    name: str
    asked: str  # the request's source, and its words below
    cflags: List[str]
    ldflags: List[str]
    configure: List[str]
    without: List[str]
    source: str  # as found: package version, or file name and hash
    compiler: str
    version: str  # nginx -V, in full
    made: str  # ISO-8601
    size_bytes: int
    seconds: float


class BuildsReply(TypedDict):
    builds: List[Built]
    problem: str  # why the build failed: the step and the compiler's last lines; "" when it did not


class EndRequest(TypedDict):
    keep: bool  # leave the configuration of the last switch in place until the next `end`
    earlier_boots: bool  # without a begin: look for what nights of earlier boots left on the disk, too


class CountersReply(TypedDict):
    counters: Dict[str, float]
    levels: Dict[str, float]


class EndReply(TypedDict):
    restored: List[str]
    left: List[LeftOver]


# kept: `end` left the configuration in place, until the next one
JournalState = Literal["none", "clean", "open", "kept", "other boot", "torn"]


class StatusReply(TypedDict):
    held_by: str  # who holds the lock, "" when free
    journal: JournalState
    begun: Dict[str, Any]  # the BEGIN entry
    changed: List[LeftOver]  # journaled paths whose value now differs from the original
