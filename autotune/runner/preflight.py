"""Everything that can fail at three in the morning, asked in the evening."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.board.address import LocalBoard, SshBoard
from autotune.board.clock import NEXT
from autotune.board.connection import Connection, connect
from autotune.board.facts import BoardFacts
from autotune.board.load_host import LoadHost
from autotune.board.reading import is_count
from autotune.board.records import Program, Write
from autotune.errors import BoardUnfit, BoardUnreachable, LoadGeneratorFailed
from autotune.experiment.events import Doubt
from autotune.experiment.study import ManagedNginx, Study
from autotune.runner.line import line_mbit_per_s, line_text
from autotune.runner.meters import not_allowed, problem_of
from autotune.runner.session import GUARDIAN_PATIENCE_S, after_a_lost_line, refuse_kept, restore

# An access log line of a small file is about 100 bytes, at up to 200,000 requests a second.
_LOG_BYTES_PER_S = 20_000_000
WAY, PORTS = "way from the load host", "ports of the load host"
OF_THE_LOAD = ("wrk", "luajit", WAY, PORTS)
# As short as the agent takes: over ssh the test lasts as long as this.
SELF_TEST_LEASE_S = 10.0
# Any of these may be one higher for a second without anyone noticing.
_HARMLESS = (
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_syn_backlog",
    "vm.stat_interval",
    "net.core.somaxconn",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing a night needs: whether it is there, what was found, and the next command when it isn't.

    `fatal`: without it no night can begin. `blurs`: with it missing, the night's figures are less sure.
    """

    what: str
    ok: bool
    detail: str
    next: str = ""
    fatal: bool = True
    blurs: bool = False


def needs(
    connection: Connection, study: Study, interface: str = "", load_host: LoadHost | None = None
) -> tuple[Need, ...]:
    """What a night of this study needs of the board, and of the generator. Changes nothing.

    `interface`: the network card that the load comes over, "" for loopback; `load_host`: where from, None for the board.
    """
    facts = connection.facts
    levels = connection.counters().levels
    log_bytes = int(3 * _LOG_BYTES_PER_S * study.busy_s)
    memory = levels.get("mem_available", 0.0)
    load1 = levels.get("load1", 0.0)
    return (
        _tool("nginx", facts.nginx),
        _generator("wrk", facts, load_host),
        *_fixed_rate(facts, study, load_host),
        *_php(facts, study),
        *_meter(connection, study),
        Need(
            what="root",
            ok=facts.uid == 0,
            detail="yes" if facts.uid == 0 else _not_root(connection.why_not_root),
            next="run as root, or allow passwordless sudo"
            if isinstance(connection.board, LocalBoard)
            else f"autotune board install {connection.board.text}",
            fatal=False,
        ),
        Need(
            what="/run in memory",
            ok=facts.run_is_tmpfs,
            detail=facts.run_dir
            if facts.run_is_tmpfs
            else f"{facts.run_dir} is on a disk: a journal outlives a reboot",
            next="nothing to do: a journal of another boot is recognised by its boot id and never replayed",
            fatal=False,
        ),
        Need(
            what="disk for logs",
            ok=facts.state_free_bytes >= log_bytes,
            detail=f"{facts.state_free_bytes >> 20} MiB free at {facts.state_dir}, {log_bytes >> 20} MiB wanted",
            next=f"free some space below {facts.state_dir}",
        ),
        Need(
            what="memory",
            ok=memory >= max(0.05 * facts.memory_bytes, 200e6),
            detail=f"{memory / 1e6:.0f} MB available of {facts.memory_bytes / 1e6:.0f}",
            next="end what uses it (`ps aux --sort=-rss | head`)",
        ),
        Need(
            what="a quiet machine",
            ok=load1 < 0.5 * len(facts.cpus),
            detail=f"load {load1:.2f} on {len(facts.cpus)} CPUs",
            next="see what runs with `top`, and stop it",
            fatal=False,
            blurs=True,
        ),
        Need(
            what="the load's line",
            ok=True,
            detail=line_text(study, interface, line_mbit_per_s(connection, interface)),
            fatal=False,
        ),
        *clock(connection),
    )


def _not_root(why: str) -> str:
    said = f" ({why})" if why else ""
    return f"no{said}: kernel settings are left out, nginx directives remain"


def clock(connection: Connection) -> tuple[Need, ...]:
    """Of another machine: whether its clock agrees with this one's, so that its own logs can be read beside the night's."""
    if not isinstance(connection.board, SshBoard):
        return ()
    seen = connection.clock()
    return (
        Need(
            what="the same time",
            ok=not seen.is_off,
            detail=f"{connection.board.text}'s clock is {seen.text}",
            next=NEXT,
            fatal=False,
            blurs=True,
        ),
    )


def _generator(name: str, facts: BoardFacts, load_host: LoadHost | None) -> Need:
    """A program that pushes, on the machine where it is to run."""
    if load_host is None:
        return _tool(name, facts.found(name))
    need = _tool(name, load_host.facts.found(name))
    return replace(need, detail=f"{need.detail} on {load_host.host}", next=load_host.by_hand(need.next))


def _fixed_rate(facts: BoardFacts, study: Study, load_host: LoadHost | None) -> tuple[Need, ...]:
    """What runs at a fixed rate need. Without it a night has all but those, unless a limit is judged by them."""
    if not study.latency.share:
        return ()
    need = _generator("luajit", facts, load_host)
    fatal = any(limit.at_fixed_rate for limit in study.limits)
    lost = "a limit of this study is judged by it" if fatal else "the finals have no latency at a fixed rate"
    detail = need.detail if need.ok else f"{need.detail}, so {lost}"
    return (replace(need, detail=detail, fatal=fatal, blurs=True),)


def _meter(connection: Connection, study: Study) -> tuple[Need, ...]:
    """A meter that the study names, or that a limit is judged by. What the board may have besides is taken as it is."""
    meter = study.power
    fatal = any(limit.metric == "power_w" for limit in study.limits)
    if meter.source == "none" or (meter.source == "auto" and not fatal):
        return ()
    if refused := consent(study):
        return refused
    problem = problem_of(meter, connection.read)
    told = meter.source if meter.source != "hwmon" else f"hwmon {meter.name}"
    return (
        Need(
            what="power meter",
            ok=not problem,
            detail=problem or f"{told} says a number",
            next="see [power] in the study: without it the night goes on, but knows no watts",
            fatal=fatal,
            blurs=True,
        ),
    )


def consent(study: Study) -> tuple[Need, ...]:
    """The study's command for its watts, where this sitting's environment doesn't allow it; nothing else."""
    line = not_allowed(study.power)
    if not line:
        return ()
    return (
        Need(
            what="power meter",
            ok=False,
            detail=f"the study asks to run {shlex.join(study.power.command)}, which you have not allowed",
            next=f"if you trust it: {line} autotune ..., and take [power] out of the study if you don't",
        ),
    )


def _php(facts: BoardFacts, study: Study) -> tuple[Need, ...]:
    if not isinstance(study.server, ManagedNginx) or not study.server.has_php:
        return ()
    found = facts.programs.get("php-fpm")
    return (_tool("php-fpm", found if found and found.path else None),)


def _tool(name: str, program: Program | None) -> Need:
    """A program that is there and runs."""
    if program is None:
        return Need(what=name, ok=False, detail="not found", next=f"apt-get install {name}")
    version = _first_line(program.version)
    return Need(
        what=name,
        ok=program.runs,
        detail=version if program.runs else f"{program.path} does not run {version}".strip(),
        next=f"apt-get install --reinstall {name}",
    )


def require(found: Sequence[Need]) -> tuple[Doubt, ...]:
    """Those that blur the night's figures, as doubts. Raises LoadGeneratorFailed or BoardUnfit for the fatal ones."""
    lacking = [need for need in found if not need.ok and need.fatal]
    if lacking:
        text = "; ".join(f"{need.what}: {need.detail}" for need in lacking)
        error = LoadGeneratorFailed if lacking[0].what in OF_THE_LOAD else BoardUnfit
        raise error(
            f"this board can't carry the night: {text}", hint="; ".join(need.next for need in lacking)
        )
    return tuple(
        Doubt(code=need.what, text=f"{need.what}: {need.detail}", next=need.next)
        for need in found
        if not need.ok and need.blurs
    )


def self_test(study: Study) -> Doubt | None:
    """Kills an agent with a harmless key changed, or cuts the line to it, and waits for its guardian to put the key back.

    None when it worked; a Doubt when no key can be changed here. Raises BoardUnfit when the guardian did not do it.
    """
    lease_s = min(SELF_TEST_LEASE_S, study.budget.lease_s)
    connection = connect(study.board)
    try:
        refuse_kept(connection)
        connection.begin(
            study=study.name,
            night=0,
            holder=f"self-test pid {os.getpid()}",
            lease_s=lease_s,
            files=(),
        )
        changed = _one_higher(connection)
        if changed is None:
            connection.end()
            return Doubt(
                code="self-test", text="the guardian was not tried: no kernel setting can be changed here"
            )
        path, original = changed
        try:
            connection.fall_silent()
        except PermissionError:  # a root agent behind sudo: its line is cut instead
            connection.close()
        ended = restore(study.board, patience_s=lease_s + GUARDIAN_PATIENCE_S)
    except BoardUnreachable as problem:
        connection.close()
        after_a_lost_line(study.board, problem)
        raise
    finally:
        connection.close()
    with connect(study.board) as fresh:
        now = (fresh.read([path])[path].text or "").strip()
    if ended.restored or now != str(original):  # nothing is left to be put back where a guardian did it
        raise BoardUnfit(
            f"the guardian did not put {path} back: was {original}, is {now}",
            hint="see `dmesg` for what kills it; without it a dead tuner would leave the board changed",
        )
    return None


def _one_higher(connection: Connection) -> tuple[str, int] | None:
    """Puts the first harmless key that can be changed one higher: its path and what it was. None: none can be."""
    paths = [f"/proc/sys/{key.replace('.', '/')}" for key in _HARMLESS]
    for path, reading in connection.read(paths).items():
        text = (reading.text or "").strip()
        if not reading.writable or not is_count(text):
            continue
        original = int(text)
        if not connection.switch((Write(path=path, text=str(original + 1)),), None).step:
            return path, original
    return None


def describe(facts: BoardFacts) -> dict[str, str]:
    """The board in a few words, kept with the night."""
    return {
        "host": facts.hostname,
        "model": facts.model,
        "kernel": facts.kernel,
        "machine": facts.machine,
        "cpus": str(len(facts.cpus)),
        "memory": f"{facts.memory_bytes / 2**30:.1f} GiB",
        "nginx": _first_line(facts.nginx.version) if facts.nginx else "",
        "wrk": _first_line(facts.wrk.version) if facts.wrk else "",
        "luajit": _first_line(facts.luajit.version) if facts.luajit else "",
        "boot": facts.boot_id,
    }


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
