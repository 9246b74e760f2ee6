"""A board that is held, and one switch of it, timed."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switch_values import PHP_PAGE

from autotune.actuators.discovery import Discovery, discover, paths_to_read
from autotune.actuators.switching import SwitchPlan, plan_switch
from autotune.board.connection import Connection, connect
from autotune.board.placement import CpuPlacement, place
from autotune.board.records import Begun, PutFile, ServerOrder, UrlTruth
from autotune.errors import BoardUnfit, NotPermitted
from autotune.experiment.study import ManagedNginx, ServedFile, Study, Url
from autotune.runner.session import served_bytes
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

# What a namespace needs before nginx can run in it; then the command that keeps it.
NAMESPACE: Final = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
ip link set lo up
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A held board, what it offers, and the two configurations to go back and forth between."""

    connection: Connection
    study: Study
    begun: Begun
    discovery: Discovery
    placement: CpuPlacement
    sides: tuple[Configuration, Configuration]
    hashes: dict[str, str]  # of the served files, by path; "" for a page of PHP

    def plan(self, side: int, address: str, begun: Begun) -> SwitchPlan:
        return plan_switch(
            self.sides[side],
            self.discovery,
            study=self.study,
            address=address,
            begun=begun,
            placement=self.placement,
        )


def in_namespace(*argv: str) -> list[str]:
    return ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", NAMESPACE, "sh", *argv]


@contextmanager
def kept_namespace() -> Iterator[tuple[str, ...]]:
    """A namespace of its own; the words to put before a command that is to run in it."""
    keeper = subprocess.Popen(
        in_namespace("sh", "-c", "echo ready; exec sleep 100000"), stdout=subprocess.PIPE, text=True
    )
    try:
        if keeper.stdout is None or keeper.stdout.readline() != "ready\n":
            raise NotPermitted(
                "no mount and network namespace to be had", hint="Run it as root on the machine itself."
            )
        yield ("nsenter", "-t", str(keeper.pid), "-m", "-n", f"--wd={Path.cwd()}", "--")
    finally:
        keeper.kill()
        keeper.wait()


def files_of(study: Study) -> tuple[ServedFile, ...]:
    """Raises BoardUnfit for a study of the user's own nginx."""
    if not isinstance(study.server, ManagedNginx):
        raise BoardUnfit("the bench needs an nginx of our own")
    return study.server.files


def port_of(study: Study) -> int:
    return study.server.port if isinstance(study.server, ManagedNginx) else 0


def with_php(study: Study) -> Study:
    """The same with a page of PHP beside its files."""
    return study.model_copy(
        update={"server": study.server.model_copy(update={"files": (*files_of(study), PHP_PAGE)})}
    )


@contextmanager
def prepared(
    prefix: tuple[str, ...], study: Study, values: dict[str, tuple[Value, Value]], parameters: int
) -> Iterator[Prepared]:
    """The board behind `prefix`, held and read. It is restored at the end, whatever happens."""
    settings = [CATALOGUE[id_] for id_ in values]
    with connect(study.board, prefix=prefix) as connection:
        files = tuple(
            PutFile(name=file.path.lstrip("/"), content_base64=base64.b64encode(served_bytes(file)).decode())
            for file in files_of(study)
        )
        begun = connection.begin(
            study="bench-switch", night=1, holder="bench-switch", lease_s=60.0, files=files
        )
        try:
            readings = connection.read(paths_to_read(settings, study))
            discovery = discover(settings, readings, connection.facts, study)
            usable = [id_ for id_ in values if id_ not in discovery.missing][:parameters]
            yield Prepared(
                connection=connection,
                study=study,
                begun=begun,
                discovery=discovery,
                placement=place(connection.facts, study.placement),
                sides=(
                    Configuration.of({id_: values[id_][0] for id_ in usable}),
                    Configuration.of({id_: values[id_][1] for id_ in usable}),
                ),
                hashes={
                    file.path: "" if file.is_php else hashlib.sha256(served_bytes(file)).hexdigest()
                    for file in files_of(study)
                },
            )
        finally:
            connection.end()


def switch_ms(board: Prepared, side: int, turn: int) -> float:
    """One switch of ours, from the choice of values to the canary's last answer."""
    began = time.perf_counter()
    site = board.discovery.site
    if site is None:
        raise BoardUnfit(board.discovery.site_problem)
    address = site.addresses[turn % len(site.addresses)]
    plan = board.plan(side, address, board.begun)
    urls = tuple(
        UrlTruth(
            url=site.load_url(Url(target=file.path), address).url,
            address=address,
            status=200,
            length=file.size_bytes,
            sha256=board.hashes[file.path],
        )
        for file in files_of(board.study)
    )
    order = ServerOrder(
        conf=plan.server.conf,
        workers=plan.server.workers,
        listen=plan.server.listen,
        cpus=board.placement.server,
        urls=urls,
        php=plan.server.php,
    )
    switched = board.connection.switch(plan.writes, order)
    took_ms = 1_000 * (time.perf_counter() - began)
    if switched.step:
        raise BoardUnfit(f"the switch stopped at {switched.step}: {switched.reason}")
    if refused := [f"{effect.path}: {effect.error}" for effect in switched.effects if effect.error]:
        raise BoardUnfit(f"the kernel refused {'; '.join(refused)}")
    return took_ms
