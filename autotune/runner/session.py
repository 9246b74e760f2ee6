"""A held board: the line to it, what it offers, and the bench that measures on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

from autotune.actuators.discovery import Discovery, discover, paths_to_read
from autotune.board.address import restore_command
from autotune.board.connection import Connection, connect
from autotune.board.facts import BoardFacts
from autotune.board.load_host import LoadHost, Way
from autotune.board.placement import CpuPlacement, generator_cpus, place_for
from autotune.board.records import Begun, BoardStatus, Ended, PutFile, UrlSeen
from autotune.errors import BoardBusy, BoardLeftChanged, BoardLost, BoardUnreachable, NotPermitted
from autotune.experiment.study import ManagedNginx, OwnNginx, ServedFile, Study
from autotune.runner.own_live import live_answers
from autotune.space.catalogue import CATALOGUE
from autotune.space.catalogue.builds import BUILD
from autotune.space.setting import Setting
from autotune.space.value import Value

# A guardian restores within a second; three tries of every key may take it longer.
GUARDIAN_PATIENCE_S = 20.0


def settings_of(study: Study) -> tuple[Setting, ...]:
    """Every setting the study could touch or speak of: its space, what it derives, its rules, the sequence, the stock."""
    settings = {one.id: one.setting for one in study.space.parameters}
    settings |= {one.id: one for one in study.space.context}
    settings |= {id_: CATALOGUE[id_] for id_ in study.stock_overrides if id_ in CATALOGUE}
    settings |= {one.setting.id: one.setting for one in study.space.derived}
    settings |= {value.setting.id: value.setting for step in study.hand_tuned.steps for value in step.values}
    return tuple(settings.values())


def services_to_stop(study: Study) -> tuple[str, ...]:
    """Services of the board that would undo what the study sets: irqbalance where it places interrupts."""
    return ("irqbalance",) if any(setting.id.startswith("irq:") for setting in settings_of(study)) else ()


def facts_for(facts: BoardFacts, placement: CpuPlacement, study: Study) -> dict[str, Value]:
    """The board and workload facts that conditions, rules and hand-tuned values may speak of."""
    return {
        "board.cpus": len(facts.cpus),
        "board.server_cpus": len(placement.server or facts.cpus),
        "board.big_cpus": len(facts.big_cpus(placement.server)),
        "board.memory_bytes": facts.memory_bytes,
        "board.open_files": facts.open_files_limit,
        "workload.connections": max(one.connections for one in study.workloads),
        "workload.threads": max(one.threads for one in study.workloads),
    }


def served_bytes(file: ServedFile) -> bytes:
    """The file's content, made from its path alone and so the same on every board.

    Incompressible (SHA-256 of path and block number); of a .php file the script, whose answer has `size_bytes`.
    """
    if file.is_php:
        return _php_script(file)
    blocks = range(-(-file.size_bytes // 32))
    stream = b"".join(hashlib.sha256(f"{file.path}:{block}".encode()).digest() for block in blocks)
    return stream[: file.size_bytes]


def _php_script(file: ServedFile) -> bytes:
    """A page as sites make them: rows put together, sorted, escaped, printed one by one; the same bytes every time.

    It says its length, for nginx would send chunks otherwise, and their number depends on how the pieces arrive.
    """
    name = file.path.replace("\\", "").replace("'", "")
    rows = max(20, file.size_bytes // 90)
    return f"""<?php
$name = '{name}';
$size = {file.size_bytes};
$items = [];
for ($i = 0; $i < {rows}; $i++) {{
    $hash = md5("$name:$i");
    $items[] = ['code' => $hash, 'title' => ucfirst(strtr(substr($hash, 0, 12), '0123456789', 'aeioulnrst')) . ' & Co.',
        'price' => hexdec(substr($hash, 0, 5)) / 100];
}}
usort($items, fn ($a, $b) => $a['price'] <=> $b['price'] ?: strcmp($a['code'], $b['code']));
$pieces = ["<!DOCTYPE html>\n<title>$name</title>\n<table>\n"];
foreach ($items as $item) {{
    $pieces[] = sprintf("<tr><td>%s</td><td>%s</td><td>%.2f</td></tr>\n",
        $item['code'], htmlspecialchars($item['title']), $item['price']);
}}
$pieces[] = "</table>\n";
$left = $size;
header("Content-Length: $size");
foreach ($pieces as $piece) {{
    $piece = substr($piece, 0, $left);
    $left -= strlen($piece);
    echo $piece;
}}
echo str_repeat(' ', $left);
""".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A board under our lock, with its stock known.

    `live`: what the user's own running server answered to each of the site's URLs before it was stopped, twice or more;
    () where there is none. `load_host` and `way`: where the load comes from and how it gets to the board, None while the
    generator is on the board. The study's server has the address at which the load reaches it.
    """

    connection: Connection
    study: Study
    begun: Begun
    placement: CpuPlacement
    discovery: Discovery
    live: tuple[tuple[UrlSeen, ...], ...] = ()
    load_host: LoadHost | None = None
    way: Way | None = None

    @classmethod
    def take(cls, study: Study, night: int, *, kept: bool = False) -> Self:
        """Connects, takes the lock, undoes what a crashed night left, and reads the board.

        `kept`: the last switch may be left in place (`keep`).

        Raises BoardUnreachable, BoardLost, BoardBusy, NotPermitted; LoadHostUnreachable; BoardUnfit when nginx's packaged configuration
        can't be read. The caller calls `give_back`, whatever happens.
        """
        connection = connect(study.board)
        load_host: LoadHost | None = None
        begun: Begun | None = None
        try:
            load_host = None if study.load_is_on_board else LoadHost.reach(study.load)
            way = None if load_host is None else load_host.way_to(connection, wanted_address(study))
            study = study if way is None else served_at(study, way.address)
            refuse_kept(connection)
            begun = connection.begin(
                study=study.name,
                night=night,
                holder=f"{socket.gethostname()} pid {os.getpid()}",
                lease_s=study.budget.lease_s,
                services=services_to_stop(study),
                kept=kept,
                files=tuple(
                    PutFile(
                        name=file.path.lstrip("/"),
                        content_base64=base64.b64encode(served_bytes(file)).decode("ascii"),
                    )
                    for file in (study.server.files if isinstance(study.server, ManagedNginx) else ())
                ),
            )
            with _proven_when_it_fails(connection):
                placement = place_for(connection.facts, study)
                if load_host is not None:
                    placement = replace(placement, generator=generator_cpus(load_host.facts, study.placement))
                discovery = read_board(connection, study, "" if way is None else way.interface)
                live = live_answers(connection, study, discovery.site)
        except BaseException as problem:
            if load_host is not None:
                load_host.close()
            connection.close()
            after_a_lost_line(study.board, problem)
            if begun is not None and type(problem) is BoardUnreachable:
                raise BoardLost(problem.message, hint=problem.hint) from problem
            raise
        return cls(
            connection=connection,
            study=study,
            begun=begun,
            placement=placement,
            discovery=discovery,
            live=live,
            load_host=load_host,
            way=way,
        )

    @property
    def interface(self) -> str:
        """The network card that the load comes over; "" for loopback."""
        return "" if self.way is None else self.way.interface

    def keepalive(self) -> None:
        """Both machines learn that we still live. Raises BoardUnreachable, LoadHostUnreachable."""
        self.connection.keepalive()
        if self.load_host is not None:
            self.load_host.keepalive()

    @property
    def facts(self) -> Mapping[str, Value]:
        return facts_for(self.connection.facts, self.placement, self.study)

    def keep(self) -> None:
        """Leaves the configuration of the last switch in place, and the board. Raises as `Connection.end` does."""
        self.connection.end(keep=True)
        self.connection.close()
        if self.load_host is not None:
            self.load_host.close()

    def give_back(self) -> Ended:
        """Restores the board and proves it; when the line is broken, over a fresh one.

        Raises BoardLeftChanged with each path and the command that puts it back by hand.
        """
        if self.load_host is not None:
            self.load_host.close()  # first, so that nothing is pushed any more
        try:
            ended = self.connection.end()
            self.connection.close()
        except Exception:  # noqa: BLE001 - whatever is wrong with this line, a fresh one must have its chance
            self.connection.close()
            # Behind a cable that was cut, the agent of the old line lives on until its lease is over.
            ended = restore(self.study.board, patience_s=self.study.budget.lease_s + GUARDIAN_PATIENCE_S)
        return proven(ended)


def wanted_address(study: Study) -> str:
    """The board's address for load from elsewhere that the study itself names; "" when it names none."""
    if isinstance(study.server, OwnNginx) and ipaddress.ip_address(study.server.address).is_loopback:
        return ""
    return study.server.address


def served_at(study: Study, address: str) -> Study:
    """The study with its server at this address of the board."""
    return study.model_copy(update={"server": study.server.model_copy(update={"address": address})})


def read_board(connection: Connection, study: Study, interface: str = "") -> Discovery:
    """What this board offers of the study's settings, and each one's value now. Reads only.

    `interface`: the network card that the load comes over, "" for loopback.
    """
    settings = settings_of(study)
    readings = connection.read(paths_to_read(settings, study, interface))
    server = study.server
    own = connection.read_nginx(server.config) if isinstance(server, OwnNginx) else None
    cached = connection.builds() if any(one.id == BUILD for one in settings) else ()
    return discover(settings, readings, connection.facts, study, interface=interface, own=own, cached=cached)


def kept_text(status: BoardStatus) -> str:
    """What is kept on the board by `autotune apply`, in words; empty when nothing is."""
    if status.journal != "kept":
        return ""
    return f"a configuration of study {status.begun.get('study', '?')} is in place, put there by `autotune apply`"


def refuse_kept(connection: Connection) -> None:
    """Raises BoardBusy while a configuration is kept: nothing may be measured on top of it, or undo it unasked."""
    if kept := kept_text(connection.status()):
        raise BoardBusy(f"the board is not as it was: {kept}", hint=restore_command(connection.board.text))


def restore(board: str, *, patience_s: float = 0.0) -> Ended:
    """Puts back whatever a tuner left on the board, without any database.

    Raises BoardBusy when another one still holds the board after `patience_s` (a guardian at work needs a second).
    """
    until = time.monotonic() + patience_s
    with connect(board) as connection:
        while True:
            try:
                return connection.end()
            except BoardBusy:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.05)


@contextlib.contextmanager
def _proven_when_it_fails(connection: Connection) -> Iterator[None]:
    """A board in hand that can't be used goes back, proven, like one whose night is over. Raises BoardLeftChanged.

    A line that is lost meanwhile is whoever called's to see to.
    """
    try:
        yield
    except BoardUnreachable:
        raise
    except BaseException:
        proven(connection.end())
        raise


def after_a_lost_line(board: str, problem: BaseException) -> None:
    """Puts the board back when the line was lost while it was being taken: its guardian may be dead, too.

    Raises BoardLeftChanged for what can't be put back. A board that can't be reached at all is left to its guardian.
    """
    if isinstance(problem, BoardUnreachable) and not isinstance(problem, (BoardBusy, NotPermitted)):
        with contextlib.suppress(BoardUnreachable):
            proven(restore(board, patience_s=GUARDIAN_PATIENCE_S))


def proven(ended: Ended) -> Ended:
    """The same, when nothing is left changed; raises BoardLeftChanged otherwise."""
    if ended.left:
        lines = [f"  {left.path}: was {left.original!r}, is {left.now!r}" for left in ended.left]
        raise BoardLeftChanged(
            "these could not be put back:\n" + "\n".join(lines),
            hint="as root: " + "; ".join(left.command for left in ended.left),
        )
    return ended
