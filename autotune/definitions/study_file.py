"""Reads a study: board, server, workloads, search space, hand-tuned sequence, goals and budget in one frozen record.

    name = "quickstart"                      # letters a-z, digits, dots, dashes, underscores; how the database knows it
    title = "..."
    board = "local"                          # or "ssh://user@host:port"; or "synthetic:rock5b", a board made of numbers
    load = "board"                           # where wrk runs: on the board; "local": here; "ssh://...": a third machine
    space = "loopback.toml"                  # beside this file, or one of the shipped files
    hand_tuned = "hand-tuned.toml"           # likewise
    seed = 1                                 # of everything random
    accept_noise = false                     # true: go on, stamped, where the board is too noisy for small differences
    stock = "as found"                       # or "capstone": sendfile off and 768 worker_connections, stamped
    placement = "pinned"                     # server and load on CPUs of their own, or "free"
    change_service = false                   # true: also try what changes the answers or the logs, not only the speed

    [server]
    kind = "managed"                         # an nginx of our own, on loopback; "own": yours (see own_server)
    base = "/etc/nginx/nginx.conf"           # the configuration it starts from
    port = 8088                              # 1024 to 65535
    address = "192.168.1.20"                 # the board's, for load from elsewhere; left out: the one on the way to the load
    [[server.file]]                          # what it serves; at least one
    path = "/test_1k.html"
    size = "1k"

    [workload]                               # or [[workload]] for several, measured one after the other in every sample
    name = "static 1 KB"
    path = "/test_1k.html"                   # one of the served files; one ending in .php is run by php-fpm
    connections = 32                         # a multiple of threads
    threads = 1
    warmup = "500ms"
    duration = "2s"                          # whole seconds: wrk counts no others
    weight = 1                               # share in the objective, a geometric mean of ratios
    # [[workload.url]]                       # instead of path: a mix, in shares
    # path = "/test_1k.html"                 # on your own nginx: url = "https://www.example.org/"
    # weight = 7

    [[goal]]                                 # a figure the comparison tells met, missed, or not shown
    workload = "static 1 KB"                 # may be left out where there is one
    metric = "requests_per_s"                # or "latency_p99_s", "server_cpu_s_per_request"
    at_least = 1.44                          # or at_most
    of = "stock"                             # left out: the figure itself
    source = "..."                           # who says so

    [[limit]]                                # what a configuration must keep: one that violates it can't win
    metric = "latency_p99_s"                 # p50, p95, p99, p999 or max; "errors", "requests_per_s", "cpu_busy" (0 to 1),
    at_most = 1.0                            #   "server_cpu_s_per_request", "power_w"; at_least for requests_per_s alone
    of = "stock"                             # left out: in the figure's own unit
    workload = "static 1 KB"                 # left out: each workload

    [latency]                                # latency is measured, in the finals, at a rate of its own for every arm alike:
    share = 0.75                             # this share of what stock serves at most; 0: not at all
    duration = "2s"                          # left out: as long as the workload's run

    [builds]                                 # where other builds of nginx come from
    source = "apt"                           # or a tarball's path, or its https URL with sha256
    [build.lean]                             # a recipe beside the built-in ones
    cflags = ["-O3"]                         # likewise ldflags, configure (arguments to add), without (to take away)

    [objective]
    metric = "requests_per_s"                # or "requests_per_server_cpu_s", where the line or the load is the limit

    [budget]
    calibration_pairs = 12                   # pairs of stock against stock
    candidates = 40                          # left out: as many as fit before the deadline
    reference_every = 4                      # stock again after so many candidates, sooner while its level wanders
    repeats = 4                              # samples of a promising candidate in the search at most; 1: one each
    finalists = 4                            # candidates that are measured again,
    finalist_pairs = 2                       # in so many pairs against stock
    distillation_pairs = 12                  # pairs of the winner against itself pared down; 0: it is shipped as it was found
    finals_rounds = 24                       # rounds of stock, hand-tuned, automatic: a multiple of 3, at least 12
    looks = false                            # true: the finals end at a quarter, half or three of them once all is decided
    series_rounds = 6                        # rounds of the hand-tuned steps, one on top of the other
    attribution_rounds = 6                   # and of each alone, and of all without it; left out: where time allows; 0: none
    hours = 8                                # when `--until` and `--hours` say nothing
    lease = "60s"                            # how long the board waits for a silent controller before it restores itself

    [fitness]                                # when the board is not fit to measure on: such a sample is taken again
    temperature_band = 5                     # so many degrees above where the calibration began a run may start
    cool_down = "300s"                       # how long the board may take to come back into the band; "0s": no waiting
    foreign_load = 0.1                       # other programs' CPU time, as a share of the CPUs that the server may use
    time_below = 0.05                        # share of a run below the highest clock, where the governor is to hold it
    slow_clock = 0.05                        # how far a CPU's real clock may be below the night's first

    [power]                                  # mean watts of each run; left out: what the board itself can tell, if it can
    source = "auto"                          # "none", "rapl", "hwmon:ina226", "hwmon:ina3221:2", "file:/run/meter/watts"
    # command = ["meter", "--watts"]         # instead of source: prints a number; run only where you allow it
    scale = 1                                # what was read, times this, is watts (a file in milliwatts: 0.001)

Required: name, space, hand_tuned, [server] with a file, [workload] with name, path, connections, threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeVar

from autotune.board.address import ACCEPTED, read_address
from autotune.definitions.aims import read_goals, read_latency, read_limits, read_objective
from autotune.definitions.build_tables import read_builds
from autotune.definitions.document import read_document
from autotune.definitions.fitness_tables import read_fitness, read_power
from autotune.definitions.mistakes import Mistakes
from autotune.definitions.nature import refuse_other
from autotune.definitions.own_server import read_own
from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.server_table import read_managed
from autotune.definitions.shipped import find_definition
from autotune.definitions.space_file import read_space
from autotune.definitions.table import Table
from autotune.definitions.workload_tables import read_workloads
from autotune.errors import DefinitionError, UsageError
from autotune.experiment.study import (
    LOAD_ON_BOARD,
    Budget,
    HandTunedSequence,
    ManagedNginx,
    OwnNginx,
    Placement,
    Study,
)
from autotune.experiment.synthetic_boards import PREFIX, SYNTHETIC_BOARDS
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace

STUDY_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CAPSTONE_STOCK: Final = Configuration.of({"nginx:sendfile": False, "nginx:worker_connections": 768})
SYNTHETIC: Final = tuple(f"{PREFIX}{name}" for name in SYNTHETIC_BOARDS)
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")

_KEYS = (
    "name", "title", "board", "load", "space", "hand_tuned", "seed", "accept_noise", "stock", "change_service", "placement",
    "server", "workload", "objective", "budget", "limit", "latency", "goal", "builds", "build", "fitness", "power",
)  # fmt: skip

Definition = TypeVar("Definition", SearchSpace, HandTunedSequence)


def read_study(path: Path) -> Study:
    """The study in this file, with the space and sequence it names. Raises DefinitionError with every mistake of all three."""
    mistakes = Mistakes(str(path))
    top = read_document(path, mistakes)
    refuse_other(top, "study")
    top.only(*_KEYS)
    name = top.text(
        "name",
        pattern=STUDY_NAME,
        accepted="1 to 64 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit",
    )
    title = top.text("title", default="")
    board = _board(top)
    load = _load(top, board)
    seed = top.whole("seed", 0, 2**31 - 1, default=0)
    accept_noise = top.flag("accept_noise", default=False)
    change_service = top.flag("change_service", default=False)
    stock: Literal["as found", "capstone"] = (
        "capstone"
        if top.word("stock", ("as found", "capstone"), default="as found") == "capstone"
        else "as found"
    )
    server = _server(top.table("server", needs="with at least one [[server.file]]"), load)
    if board.startswith(PREFIX) and isinstance(server, OwnNginx):
        top.refuse("board", "a board made of numbers has no nginx of yours", '[server] with kind = "managed"')
    workloads = read_workloads(top, server)
    goals = read_goals(top, workloads)
    latency = read_latency(top.table("latency"))
    power = read_power(top.table("power"))
    limits = read_limits(top, workloads, latency, power)
    builds = read_builds(top)
    placement = Placement(top.word("placement", tuple(Placement), default=Placement.PINNED))
    objective = read_objective(top.table("objective"))
    budget = _budget(top.table("budget"))
    fitness = read_fitness(top.table("fitness"))
    space = _named(top, "space", path, read_space)
    hand_tuned = _named(top, "hand_tuned", path, read_sequence)
    mistakes.raise_if_any()
    if space is None or hand_tuned is None:  # can't be: their absence has been noted
        raise AssertionError
    return Study(
        name=name,
        title=title,
        board=board,
        load=load,
        server=server,
        workloads=workloads,
        placement=placement,
        space=space,
        hand_tuned=hand_tuned,
        objective=objective,
        budget=budget,
        seed=seed,
        accept_noise=accept_noise,
        stock=stock,
        stock_overrides=CAPSTONE_STOCK if stock == "capstone" else Configuration(),
        change_service=change_service,
        goals=goals,
        limits=limits,
        latency=latency,
        builds=builds,
        fitness=fitness,
        power=power,
    )


def _board(top: Table) -> str:
    board = top.text("board", default="local")
    if board in SYNTHETIC:
        return board
    synthetic = f"; or a board made of numbers: {', '.join(SYNTHETIC)}"
    if board.startswith(PREFIX):
        top.refuse("board", f"there is no such board{top.suggestion(board, SYNTHETIC)}", ACCEPTED + synthetic)
        return "local"
    try:
        return read_address(board).text
    except UsageError as refused:
        top.refuse("board", refused.message.rpartition(": ")[2], ACCEPTED + synthetic)
        return "local"


def _named(top: Table, key: str, study: Path, read: Callable[[Path], Definition]) -> Definition | None:
    """The definition that the study names under `key`; its mistakes join the study's."""
    accepted = 'a file beside the study or below its directory, or a shipped one, such as "loopback.toml"'
    name = top.text(key, pattern=_FILE_NAME, accepted=accepted, longest=200)
    if not name:
        return None
    found = find_definition(name, beside=study)
    if found is None:
        top.refuse(key, "no such file, neither beside the study nor among the shipped ones", accepted)
        return None
    try:
        return read(found)
    except DefinitionError as error:
        top.mistakes.take(error.mistakes)
        return None


def _load(top: Table, board: str) -> str:
    load = top.text("load", default=LOAD_ON_BOARD)
    accepted = f'"{LOAD_ON_BOARD}", {ACCEPTED}'
    if load == LOAD_ON_BOARD:
        return load
    if board.startswith(PREFIX):
        top.refuse("load", "a board made of numbers has no load but its own", f'"{LOAD_ON_BOARD}"')
        return LOAD_ON_BOARD
    try:
        load = read_address(load).text
    except UsageError as refused:
        top.refuse("load", refused.message.rpartition(": ")[2], accepted)
        return LOAD_ON_BOARD
    if load == board:
        top.refuse("load", "that is the board itself", f'"{LOAD_ON_BOARD}", or another machine')
        return LOAD_ON_BOARD
    return load


def _server(table: Table, load: str) -> ManagedNginx | OwnNginx:
    if table.word("kind", ("managed", "own"), default="managed") == "own":
        return read_own(table)
    server = read_managed(table)
    if server.address and load == LOAD_ON_BOARD:
        table.refuse(
            "address", "the load is on the board, and goes over loopback", 'load = "ssh://..." beside it'
        )
    return server


def _budget(table: Table) -> Budget:
    usual = Budget()
    table.only(
        "calibration_pairs", "candidates", "reference_every", "repeats", "finalists", "finalist_pairs",
        "distillation_pairs", "finals_rounds", "looks", "series_rounds", "attribution_rounds", "hours", "lease",
    )  # fmt: skip
    finals_rounds = table.whole("finals_rounds", 12, 300, default=usual.finals_rounds)
    if finals_rounds % 3:
        table.refuse("finals_rounds", "not a multiple of 3", "a multiple of 3 from 12 to 300")
        finals_rounds = usual.finals_rounds
    return Budget(
        calibration_pairs=table.whole("calibration_pairs", 6, 200, default=usual.calibration_pairs),
        candidates=table.whole("candidates", 1, 10_000) if table.has("candidates") else None,
        reference_every=table.whole("reference_every", 2, 50, default=usual.reference_every),
        repeats=table.whole("repeats", 1, 20, default=usual.repeats),
        finalists=table.whole("finalists", 1, 20, default=usual.finalists),
        finalist_pairs=table.whole("finalist_pairs", 1, 50, default=usual.finalist_pairs),
        distillation_pairs=table.whole("distillation_pairs", 0, 200, default=usual.distillation_pairs),
        finals_rounds=finals_rounds,
        looks=table.flag("looks", default=usual.looks),
        series_rounds=table.whole("series_rounds", 0, 100, default=usual.series_rounds),
        hours=table.number("hours", 0.05, 168, default=8) if table.has("hours") else None,
        attribution_rounds=table.whole("attribution_rounds", 0, 100)
        if table.has("attribution_rounds")
        else None,
        # The canary waits 5 s for an answer, and the agent hears nothing meanwhile.
        lease_s=table.seconds("lease", 5, 600, default_s=usual.lease_s),
    )
