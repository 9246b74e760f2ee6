"""Everything that can fail at three in the morning, asked in the evening."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.board.connection import Connection, connect
from autotune.board.facts import BoardFacts
from autotune.board.placement import placement_doubts
from autotune.board.records import Program, Write
from autotune.errors import BoardUnfit, BoardUnreachable, LoadGeneratorFailed
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import Doubt, Event, NightBegun
from autotune.experiment.study import ManagedNginx, Study
from autotune.runner import own_live
from autotune.runner.live_bench import now_text
from autotune.runner.sequence import apply_sequence
from autotune.runner.session import GUARDIAN_PATIENCE_S, Held, after_a_lost_line, refuse_kept, restore
from autotune.space.configuration import Configuration
from autotune.space.search_space import Dropped, SearchSpace
from autotune.space.setting import Kind
from autotune.space.value import value_text

# An access log line of a small file is about 100 bytes, at up to 200,000 requests a second.
_LOG_BYTES_PER_S = 20_000_000
# The trials before it are stock and hand-tuned, which nobody has to find.
_FIRST_FREE_TRIAL = 2
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


def needs(connection: Connection, study: Study) -> tuple[Need, ...]:
    """What a night of this study needs of the board. Changes nothing."""
    facts = connection.facts
    levels = connection.counters().levels
    log_bytes = int(3 * _LOG_BYTES_PER_S * study.busy_s)
    memory = levels.get("mem_available", 0.0)
    load1 = levels.get("load1", 0.0)
    return (
        _tool("nginx", facts.nginx),
        _tool("wrk", facts.wrk),
        *_php(facts, study),
        Need(
            what="root",
            ok=facts.uid == 0,
            detail="yes" if facts.uid == 0 else "no: kernel settings are left out, nginx directives remain",
            next="run as root, or allow passwordless sudo",
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
    )


def _php(facts: BoardFacts, study: Study) -> tuple[Need, ...]:
    if not isinstance(study.server, ManagedNginx) or not study.server.has_php:
        return ()
    found = facts.programs.get("php-fpm")
    return (_tool("php-fpm", found if found and found.path else None),)


def _tool(name: str, program: Program | None) -> Need:
    """A program that is there and runs: one for another machine, or without its libraries, tells no version."""
    if program is None:
        return Need(what=name, ok=False, detail="not found", next=f"apt-get install {name}")
    version = _first_line(program.version)
    runs = version != "" and not version.startswith("(")
    return Need(
        what=name,
        ok=runs,
        detail=version if runs else f"{program.path} does not run {version}".strip(),
        next=f"apt-get install --reinstall {name}",
    )


def require(found: Sequence[Need]) -> tuple[Doubt, ...]:
    """Those that blur the night's figures, as doubts. Raises LoadGeneratorFailed or BoardUnfit for the fatal ones."""
    lacking = [need for need in found if not need.ok and need.fatal]
    if lacking:
        text = "; ".join(f"{need.what}: {need.detail}" for need in lacking)
        error = LoadGeneratorFailed if lacking[0].what == "wrk" else BoardUnfit
        raise error(
            f"this board can't carry the night: {text}", hint="; ".join(need.next for need in lacking)
        )
    return tuple(
        Doubt(code=need.what, text=f"{need.what}: {need.detail}", next=need.next)
        for need in found
        if not need.ok and need.blurs
    )


def self_test(study: Study) -> Doubt | None:
    """Kills an agent with a harmless key changed and waits for its guardian to put the key back.

    None when it worked; a Doubt when no key can be changed here. Raises BoardUnfit when the guardian did not do it.
    """
    connection = connect(study.board)
    try:
        refuse_kept(connection)
        connection.begin(
            study=study.name,
            night=0,
            holder=f"self-test pid {os.getpid()}",
            lease_s=study.budget.lease_s,
            files=(),
        )
        changed = _one_higher(connection)
        if changed is None:
            connection.end()
            return Doubt(
                code="self-test", text="the guardian was not tried: no kernel setting can be changed here"
            )
        path, original = changed
        with contextlib.suppress(PermissionError):  # a root agent behind sudo: its line is cut below instead
            os.kill(connection.agent_pid, signal.SIGKILL)
    except BoardUnreachable as problem:
        connection.close()
        after_a_lost_line(study.board, problem)
        raise
    finally:
        connection.close()
    ended = restore(study.board, patience_s=GUARDIAN_PATIENCE_S)
    with connect(study.board) as fresh:
        now = int(fresh.read([path])[path].text or 0)
    if ended.restored or now != original:  # nothing is left to be put back where a guardian did it
        raise BoardUnfit(
            f"the guardian did not put {path} back: was {original}, is {now}",
            hint="see `dmesg` for what kills it; without it a dead tuner would leave the board changed",
        )
    return None


def _one_higher(connection: Connection) -> tuple[str, int] | None:
    """Puts the first harmless key that can be changed one higher: its path and what it was. None: none can be."""
    paths = [f"/proc/sys/{key.replace('.', '/')}" for key in _HARMLESS]
    for path, reading in connection.read(paths).items():
        if not reading.writable or reading.text is None:
            continue
        original = int(reading.text)
        if not connection.switch((Write(path=path, text=str(original + 1)),), None).step:
            return path, original
    return None


def begin_night(
    held: Held, *, night: int, first: NightBegun | None, deadline: str | None, doubts: Sequence[Doubt]
) -> NightBegun:
    """All of the board that the night's decisions need. `first` is the study's first night, whose space is frozen.

    Writes every usable kernel key back with its own value. Raises BoardUnfit when the frozen space isn't to be had.
    """
    study, stock = held.study, dict(held.discovery.stock)
    unwritable = _unwritable(held)
    missing = {**held.discovery.missing, **unwritable}
    offered = study.space.offering(held.discovery.choices)
    left_out = {**service_changers(study), **without_choice(offered), **missing}
    stock = {id_: value for id_, value in stock.items() if id_ not in missing}
    space = offered.without(left_out)
    if first is not None:
        _require_same_space(first, space.ids, left_out)
    if not space.parameters:
        raise BoardUnfit(
            "nothing of this space can be tuned here", hint="see why: `autotune doctor STUDY.toml`"
        )
    steps = apply_sequence(
        study.hand_tuned,
        stock=stock,
        refusal=lambda id_, value: unwritable.get(id_) or held.discovery.value_reason(id_, value),
        facts=held.facts,
    )
    hand_tuned = steps[-1].configuration if steps else Configuration()
    facts = held.connection.facts
    return NightBegun(
        night=night,
        at=now_text(),
        deadline=deadline,
        stock=stock,
        facts=dict(held.facts),
        space_ids=space.ids,
        offered={id_: words for id_, words in held.discovery.choices.items() if id_ in space.ids},
        dropped=tuple(Dropped(id=id_, reason=reason) for id_, reason in sorted(left_out.items())),
        steps=steps,
        hand_tuned=hand_tuned,
        hand_tuned_outside=space.reasons_outside(hand_tuned, stock, held.facts),
        board=describe(facts),
        doubts=(*doubts, *placement_doubts(facts, study.placement), *own_live.doubts_of(study, held.live)),
    )


def require_candidates(study: Study, log: Sequence[Event], night: NightBegun) -> None:
    """Raises DefinitionError when the rules leave nothing but stock to try: said now, not after the calibration.

    `night` is about to begin: what this board lacks is already out of its space.
    """
    from autotune.search.searcher import propose

    propose(study, [*log, night], AskSampler(night=night.night, number=_FIRST_FREE_TRIAL), at=night.at)


def service_changers(study: Study) -> dict[str, str]:
    """Parameters that would win by serving something else, with the reason why they are left out."""
    if study.change_service:
        return {}
    return {
        one.id: "changes what is served, and the study does not say change_service = true"
        for one in study.space.parameters
        if one.setting.changes_service
    }


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
        "boot": facts.boot_id,
    }


def stock_changes(begun: NightBegun, held: Held) -> str:
    """How the board's stock differs from what the night began with; empty when it doesn't."""
    now = held.discovery.stock
    changed = [
        f"{id_} was {value}, is {now.get(id_, 'gone')}"
        for id_, value in begun.stock.items()
        if now.get(id_) != value
    ]
    return "; ".join(changed)


def without_choice(space: SearchSpace) -> dict[str, str]:
    """Parameters of which this board offers one word at most, with the reason why they are left out."""
    return {
        one.id: f"this board offers only {value_text(one.values[0]) if one.values else 'other words'}"
        for one in space.parameters
        if one.setting.kind is Kind.CHOICE and len(one.values) < 2
    }


def _unwritable(held: Held) -> dict[str, str]:
    """Keys that don't come back as they were when their own value is written."""
    by_path: Mapping[str, str] = held.discovery.kernel_paths
    effects = held.connection.check(tuple(by_path))
    return {
        by_path[effect.path]: f"its own value can't be written back: {effect.error or effect.effective}"
        for effect in effects
        if effect.error or effect.effective != effect.requested
    }


def _require_same_space(first: NightBegun, ids: Sequence[str], left_out: Mapping[str, str]) -> None:
    gone = [id_ for id_ in first.space_ids if id_ not in ids]
    if gone:
        text = "; ".join(f"{id_}: {left_out.get(id_, 'not offered any more')}" for id_ in gone)
        raise BoardUnfit(
            f"the board no longer offers what this study's first night tuned: {text}",
            hint="put it back, or give the study a new name",
        )


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
