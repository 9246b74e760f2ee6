"""Reads a study: board, server, workload, search space, hand-tuned sequence, objective and budget in one frozen record.

    name = "quickstart"                      # letters a-z, digits, dots, dashes, underscores; how the database knows it
    title = "..."
    board = "local"
    space = "loopback.toml"                  # beside this file, or one of the shipped files
    hand_tuned = "hand-tuned.toml"           # likewise
    seed = 1                                 # of everything random
    accept_noise = false                     # true: go on, stamped, where the board is too noisy for small differences
    stock = "as found"                       # or "capstone": sendfile off and 768 worker_connections, stamped
    placement = "pinned"                     # server and load on CPUs of their own, or "free"
    change_service = false                   # true: also try what changes the answers or the logs, not only the speed

    [server]
    kind = "managed"                         # an nginx of our own, on loopback
    base = "/etc/nginx/nginx.conf"           # the configuration it starts from
    port = 8088                              # 1024 to 65535
    [[server.file]]                          # what it serves; at least one
    path = "/test_1k.html"
    size = "1k"

    [workload]
    name = "static 1 KB"
    path = "/test_1k.html"                   # one of the served files
    connections = 32                         # a multiple of threads
    threads = 1
    warmup = "500ms"
    duration = "2s"                          # whole seconds: wrk counts no others

    [objective]
    metric = "requests_per_s"

    [budget]
    calibration_pairs = 12                   # pairs of stock against stock
    candidates = 40                          # left out: as many as fit before the deadline
    reference_every = 4                      # stock again after so many candidates
    finalists = 4                            # candidates that are measured again,
    finalist_pairs = 2                       # in so many pairs against stock
    finals_rounds = 24                       # rounds of stock, hand-tuned, automatic: a multiple of 3, at least 12
    series_rounds = 6                        # rounds of the hand-tuned steps
    hours = 8                                # when `--until` and `--hours` say nothing
    lease = "60s"                            # how long the board waits for a silent controller before it restores itself

Required: name, space, hand_tuned, [server] with a file, [workload] with name, path, connections, threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeVar

from autotune.definitions.document import read_document
from autotune.definitions.mistakes import Mistakes
from autotune.definitions.nature import refuse_other
from autotune.definitions.sequence_file import read_sequence
from autotune.definitions.shipped import find_definition
from autotune.definitions.space_file import read_space
from autotune.definitions.table import Table
from autotune.errors import DefinitionError
from autotune.experiment.study import (
    Budget,
    HandTunedSequence,
    ManagedNginx,
    Objective,
    Placement,
    ServedFile,
    Study,
    Url,
    Workload,
    workload_mistake,
)
from autotune.space.configuration import Configuration
from autotune.space.search_space import SearchSpace
from autotune.space.value import size_text

STUDY_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CAPSTONE_STOCK: Final = Configuration.of({"nginx:sendfile": False, "nginx:worker_connections": 768})
_URL_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_BASE: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_MOST_FILES: Final = 32
_MOST_BYTES: Final = 4 << 20  # all files travel to the agent in one line of its protocol
_MOST_CONNECTIONS: Final = 8_192  # three times as many local ports must be free
_MOST_THREADS: Final = 64
_NEEDS_FILE: Final = "with path and size"
_NEEDS_WORKLOAD: Final = "with name, path, connections and threads"

_KEYS = (
    "name", "title", "board", "space", "hand_tuned", "seed", "accept_noise", "stock", "change_service", "placement",
    "server", "workload", "objective", "budget",
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
    board = top.word("board", ("local",), default="local")
    seed = top.whole("seed", 0, 2**31 - 1, default=0)
    accept_noise = top.flag("accept_noise", default=False)
    change_service = top.flag("change_service", default=False)
    stock: Literal["as found", "capstone"] = (
        "capstone"
        if top.word("stock", ("as found", "capstone"), default="as found") == "capstone"
        else "as found"
    )
    server = _server(top.table("server", needs="with at least one [[server.file]]"))
    workload = _workload(top.table("workload", needs=_NEEDS_WORKLOAD), server)
    placement = Placement(top.word("placement", tuple(Placement), default=Placement.PINNED))
    objective = _objective(top.table("objective"))
    budget = _budget(top.table("budget"))
    space = _named(top, "space", path, read_space)
    hand_tuned = _named(top, "hand_tuned", path, read_sequence)
    mistakes.raise_if_any()
    if space is None or hand_tuned is None:  # can't be: their absence has been noted
        raise AssertionError
    return Study(
        name=name,
        title=title,
        board=board,
        server=server,
        workloads=(workload,),
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
    )


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


def _server(table: Table) -> ManagedNginx:
    table.only("kind", "base", "port", "file")
    table.word("kind", ("managed",), default="managed")
    base = table.text(
        "base",
        default="/etc/nginx/nginx.conf",
        pattern=_BASE,
        accepted="an absolute path of letters, digits, dots, dashes and underscores, no part beginning with a dot",
        longest=200,
    )
    port = table.whole("port", 1024, 65535, default=8088)
    tables = table.tables("file", needs=_NEEDS_FILE)
    if len(tables) > _MOST_FILES:
        table.refuse("file", f"{len(tables)} files", f"at most {_MOST_FILES}")
    files = tuple(_served_file(one) for one in tables[:_MOST_FILES])
    total = sum(file.size_bytes for file in files)
    if total > _MOST_BYTES:
        table.refuse(
            "file", f"{size_text(total)} together", f"files of at most {size_text(_MOST_BYTES)} together"
        )
    for one, file in zip(tables, files, strict=False):
        others = [other.path for other in files if other is not file]
        if file.path and file.path in others:
            one.refuse("path", "served twice", "a path of its own for each file")
        if file.path and any(other.startswith(file.path + "/") for other in others):
            one.refuse("path", "a directory of another file's path", "a path that no other begins with")
    return ManagedNginx(base=base, port=port, files=files)


def _served_file(table: Table) -> ServedFile:
    table.only("path", "size")
    return ServedFile(path=_url_path(table), size_bytes=table.size_bytes("size", 1, _MOST_BYTES))


def _url_path(table: Table) -> str:
    accepted = "a path such as /test_1k.html: letters, digits, dots, dashes, underscores, no part beginning with a dot"
    return table.text("path", pattern=_URL_PATH, accepted=accepted, longest=200)


def _workload(table: Table, server: ManagedNginx) -> Workload:
    table.only("name", "path", "connections", "threads", "warmup", "duration")
    path = _url_path(table)
    served = [file.path for file in server.files]
    if path and served and path not in served:
        accepted = "one of the [[server.file]] paths: " + ", ".join(served)
        table.refuse("path", f"not a served file{table.suggestion(path, served)}", accepted)
    before = len(table.mistakes)
    connections = table.whole("connections", 1, _MOST_CONNECTIONS)
    threads = table.whole("threads", 1, _MOST_THREADS)
    if len(table.mistakes) == before and (problem := workload_mistake(connections, threads)):
        table.refuse("connections", problem, "a multiple of threads")
    duration_s = table.seconds("duration", 1, 3600, default_s=15)
    if duration_s != int(duration_s):
        table.refuse("duration", "not whole seconds", "whole seconds such as 2s or 15s")
    return Workload(
        name=table.text(
            "name", pattern=_LABEL, accepted="up to 64 letters, digits, spaces, dots, dashes and underscores"
        ),
        urls=(Url(target=path),),
        connections=connections,
        threads=threads,
        warmup_s=table.seconds("warmup", 0.1, 600, default_s=5),
        duration_s=duration_s,
    )


def _objective(table: Table) -> Objective:
    table.only("metric")
    table.word("metric", ("requests_per_s",), default="requests_per_s")
    return Objective()


def _budget(table: Table) -> Budget:
    usual = Budget()
    table.only(
        "calibration_pairs", "candidates", "reference_every", "finalists", "finalist_pairs",
        "finals_rounds", "series_rounds", "hours", "lease",
    )  # fmt: skip
    finals_rounds = table.whole("finals_rounds", 12, 300, default=usual.finals_rounds)
    if finals_rounds % 3:
        table.refuse("finals_rounds", "not a multiple of 3", "a multiple of 3 from 12 to 300")
        finals_rounds = usual.finals_rounds
    return Budget(
        calibration_pairs=table.whole("calibration_pairs", 6, 200, default=usual.calibration_pairs),
        candidates=table.whole("candidates", 1, 10_000) if table.has("candidates") else None,
        reference_every=table.whole("reference_every", 2, 50, default=usual.reference_every),
        finalists=table.whole("finalists", 1, 20, default=usual.finalists),
        finalist_pairs=table.whole("finalist_pairs", 1, 50, default=usual.finalist_pairs),
        finals_rounds=finals_rounds,
        series_rounds=table.whole("series_rounds", 0, 100, default=usual.series_rounds),
        hours=table.number("hours", 0.05, 168, default=8) if table.has("hours") else None,
        # The canary waits 5 s for an answer, and the agent hears nothing meanwhile.
        lease_s=table.seconds("lease", 10, 600, default_s=usual.lease_s),
    )
