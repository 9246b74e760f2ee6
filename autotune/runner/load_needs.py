"""What a night needs of the machine that its load comes from, asked in the evening; nothing of it is changed."""

from __future__ import annotations

from autotune.actuators.own_listen import port_of
from autotune.board.connection import Connection
from autotune.board.load_host import LoadHost, Way
from autotune.experiment.study import ManagedNginx, Study
from autotune.load.gates import TUPLES_PER_CONNECTION
from autotune.runner.preflight import PORTS, WAY, Need, needs


def night_needs(
    connection: Connection, study: Study, load_host: LoadHost | None, way: Way | None
) -> tuple[Need, ...]:
    """What a night of this study needs of its board, and of its load host if it has one."""
    if load_host is None or way is None:
        return needs(connection, study)
    return (
        *needs(connection, study, way.interface, load_host),
        *_load_host(load_host, way, study),
    )


def describe_load(load_host: LoadHost | None, way: Way | None) -> dict[str, str]:
    """The load host in a few words, kept with the night; {} when the load is on the board."""
    if load_host is None or way is None:
        return {}
    facts = load_host.facts
    return {
        "load from": f"{load_host.host} ({facts.hostname}, {len(facts.cpus)} CPUs, {facts.kernel})",
        "load's way": f"{way.source} to {way.address}, {way.interface} on the board",
    }


def _load_host(host: LoadHost, way: Way, study: Study) -> tuple[Need, ...]:
    facts, levels = host.facts, host.levels()
    port = _port(study)
    problem = host.connection_problem(way, port)
    free = host.free_ports()
    wanted = TUPLES_PER_CONNECTION * max(one.connections for one in study.workloads)
    clock = host.clock()
    load1 = levels.get("load1", 0.0)
    return (
        Need(
            what=WAY,
            ok=not problem,
            detail=f"{host.host} reaches {way.address}, port {port}"
            if not problem
            else f"{host.host} does not reach {way.address}, port {port}: {problem}",
            next=f"open port {port} of the board for {way.source}, or name another address under [server]",
        ),
        Need(
            what=PORTS,
            ok=free is None or free >= wanted,
            detail="it can't say" if free is None else f"{free} free, {wanted} wanted",
            next="wait a minute, or widen net.ipv4.ip_local_port_range there",
        ),
        Need(
            what="clock of the load host",
            ok=not clock.is_off,
            detail=clock.text,
            next="there, as root: timedatectl set-ntp true",
            fatal=False,
        ),
        Need(
            what="a quiet load host",
            ok=load1 < 0.5 * len(facts.cpus),
            detail=f"load {load1:.2f} on {len(facts.cpus)} CPUs",
            next="see what runs there with `top`, and stop it",
            fatal=False,
            blurs=True,
        ),
    )


def _port(study: Study) -> int:
    if isinstance(study.server, ManagedNginx):
        return study.server.port
    return port_of(study.workloads[0].urls[0].target)
