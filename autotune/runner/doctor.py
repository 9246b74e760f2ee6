"""`autotune doctor`: what this board is, what can be tuned on it and what not and why, and what a night lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.actuators.discovery import Discovery
from autotune.board.address import restore_command
from autotune.board.connection import Connection, connect
from autotune.board.load_host import LoadHost, Way
from autotune.board.placement import doubts_for, generator_cpus, place_for
from autotune.board.records import BoardStatus
from autotune.errors import BoardUnfit
from autotune.experiment.study import OwnNginx, Study
from autotune.runner.beginning import left_out_of
from autotune.runner.load_needs import describe_load, night_needs
from autotune.runner.own_live import doubts_of, live_answers
from autotune.runner.preflight import Need, describe
from autotune.runner.session import kept_text, read_board, served_at, settings_of, wanted_address
from autotune.space.setting import Setting
from autotune.space.value import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterState:
    """Whether one setting can be tuned here; `reason` says why not, `stock` is its value now as a person reads it."""

    id: str
    available: bool
    reason: str
    stock: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What `doctor` found. Nothing was changed."""

    board: tuple[tuple[str, str], ...]
    parameters: tuple[ParameterState, ...]
    needs: tuple[Need, ...]


def examine(study: Study) -> Examination:
    """Looks at the study's board without taking its lock and without writing anything.

    Raises BoardUnreachable when there is no agent to be had there, BoardUnfit for a synthetic board that there isn't.
    """
    if study.is_synthetic:
        return _examine_synthetic(study)
    with contextlib.ExitStack() as lines:
        connection = lines.enter_context(connect(study.board))
        load_host = None if study.load_is_on_board else LoadHost.reach(study.load)
        way: Way | None = None
        if load_host is not None:
            lines.callback(load_host.close)
            way = load_host.way_to(connection, wanted_address(study))
            study = served_at(study, way.address)
        status = connection.status()
        discovery = read_board(connection, study, "" if way is None else way.interface)
        found = (
            *night_needs(connection, study, load_host, way),
            *_of_site(connection, study, discovery),
            *_of_status(status, restore_command(study.board)),
            *_of_placement(connection, study),
        )
        board = _board(connection, study, load_host, way)
    left_out = left_out_of(study, discovery.choices, discovery.missing)
    return Examination(
        board=board,
        parameters=tuple(_state(setting, discovery.stock, left_out) for setting in settings_of(study)),
        needs=found,
    )


def _examine_synthetic(study: Study) -> Examination:
    """What a board made of numbers offers; it needs nothing of this machine."""
    from autotune.runner.synthetic_night import offer_of
    from autotune.synthetic.boards import synthetic_board

    offer = offer_of(synthetic_board(study.board), study)
    left_out = left_out_of(study, offer.choices, offer.missing)
    return Examination(
        board=tuple(offer.board.items()),
        parameters=tuple(_state(setting, offer.stock, left_out) for setting in settings_of(study)),
        needs=(Need(what="a board", ok=True, detail=f"{study.board} needs nothing of this machine"),),
    )


def _state(setting: Setting, stocks: Mapping[str, Value], left_out: Mapping[str, str]) -> ParameterState:
    stock = stocks.get(setting.id)
    return ParameterState(
        id=setting.id,
        available=setting.id not in left_out,
        reason=left_out.get(setting.id, ""),
        stock="" if stock is None else setting.show(stock),
    )


def _board(
    connection: Connection, study: Study, load_host: LoadHost | None, way: Way | None
) -> tuple[tuple[str, str], ...]:
    facts = connection.facts
    placement = place_for(facts, study)
    pushing = placement.generator if load_host is None else generator_cpus(load_host.facts, study.placement)
    readings = connection.read(("/sys/kernel/mm/transparent_hugepage/enabled",))
    thp = next(iter(readings.values())).text
    lines = describe(facts)
    lines["transparent huge pages"] = (thp or "not on this kernel").strip()
    lines["run directory"] = f"{facts.run_dir} ({'memory' if facts.run_is_tmpfs else 'disk'})"
    lines["server CPUs"] = _cpus(placement.server)
    lines["load generator CPUs"] = _cpus(pushing)
    lines |= describe_load(load_host, way)
    lines["agent runs as"] = "root" if facts.uid == 0 else f"user {facts.uid}"
    return tuple(lines.items())


def _cpus(cpus: tuple[int, ...]) -> str:
    return ", ".join(str(cpu) for cpu in cpus) or "all"


def _of_site(connection: Connection, study: Study, discovery: Discovery) -> tuple[Need, ...]:
    """Whether the configuration can be run, and of the user's own nginx whether it serves the study's URLs now."""
    what = "a site to serve"
    if discovery.site_problem:
        return (
            Need(
                what=what,
                ok=False,
                detail=discovery.site_problem,
                next=f"see `nginx -t -c {study.server.main_file}`",
            ),
        )
    if not isinstance(study.server, OwnNginx):
        return ()
    try:
        live = live_answers(connection, study, discovery.site)
    except BoardUnfit as problem:
        return (Need(what=what, ok=False, detail=problem.message, next=problem.hint),)
    doubts = doubts_of(study, live)
    return (
        Need(
            what=what,
            ok=not doubts,
            detail=doubts[0].text if doubts else "your nginx answers every URL of the study with 200",
            next=doubts[0].next if doubts else "",
            fatal=False,
        ),
    )


def _of_status(status: BoardStatus, undo: str) -> tuple[Need, ...]:
    kept = kept_text(status)
    left = status.journal in ("open", "torn", "other boot") and not status.held_by and not kept
    return (
        Need(
            what="no other tuner",
            ok=not status.held_by and not kept,
            detail=kept or status.held_by or "free",
            next=undo if kept else "wait for it, or `autotune stop NAME` where it was started",
        ),
        Need(
            what="nothing left changed",
            ok=not left,
            detail="; ".join(f"{one.path} was {one.original}" for one in status.changed)
            or (f"journal: {status.journal}" if left else "clean"),
            next=undo,
            fatal=False,
        ),
    )


def _of_placement(connection: Connection, study: Study) -> tuple[Need, ...]:
    return tuple(
        Need(what=doubt.code, ok=False, detail=doubt.text, next=doubt.next, fatal=False)
        for doubt in doubts_for(connection.facts, study)
    )
