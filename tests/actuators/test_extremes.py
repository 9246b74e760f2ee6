"""Both extremes of every kernel setting of the catalogue: written on a real machine, read back, and put back.

First on a machine of the test's own (a network namespace with a card of its own), then, under its lock, on this one for
what belongs to the whole machine. What neither has is listed with the reason, never passed over in silence.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import pytest
from paper_board import STUDY

from autotune.actuators.discovery import Discovery, discover, is_of_site, paths_to_read
from autotune.actuators.switching import effects_of
from autotune.board.connection import Connection, connect
from autotune.board.records import Reading, Write
from autotune.errors import AutotuneError, BoardBusy
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.setting import Kind, Setting
from autotune.space.value import Value
from conftest import BoardNamespace

pytestmark = pytest.mark.real

KERNEL = tuple(setting for setting in CATALOGUE.values() if not is_of_site(setting.id))
OF_A_NAMESPACE = tuple(setting for setting in KERNEL if setting.id.startswith(("sysctl:net.", "net:")))
# What the kernel takes here and nowhere says so: the value goes in, another comes back.
ROUNDED = {
    "sysctl:net.core.netdev_budget_usecs",
    "sysctl:net.core.rps_sock_flow_entries",
    "net:nic.rps_flow_cnt",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the settings: both extremes in force, refused by this kernel, or not to be had here."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def extremes(setting: Setting, offered: Sequence[str]) -> list[Value]:
    """Both ends of what the catalogue allows, and every word."""
    words: list[Value] = list(dict.fromkeys([*(offered or setting.choices), *setting.specials]))
    if setting.kind is Kind.SWITCH:
        return [True, False]
    if setting.kind is Kind.CPU_MASK:
        return [1, *words]
    if setting.low is None or setting.high is None:
        return words
    ends = (int(setting.low), int(setting.high))
    if setting.kind is Kind.VECTOR:
        return [one for one in product(ends, repeat=setting.length) if _holds(setting, one)]
    return [*ends, *words]


def try_all(line: Connection, settings: Sequence[Setting], interface: str) -> Tried:
    """Every extreme alone, each after the other; the board is at stock in the end."""
    tried = Tried()
    paths = paths_to_read(settings, STUDY, interface)
    before = line.read(paths)
    found = discover(settings, before, line.facts, STUDY, interface)
    for setting in settings:
        pointless = setting.loopback and f"no use over loopback: {setting.loopback}" == found.missing.get(
            setting.id
        )
        if setting.id not in found.targets or (setting.id in found.missing and not pointless):
            tried.lacking[setting.id] = found.missing[setting.id]
        else:
            _try_one(line, setting, found, tried)
    line.switch((), None)
    if changed := _changed(before, line.read(paths), found):
        tried.wrong["after all"] = f"not as before: {changed}"
    return tried


def _try_one(line: Connection, setting: Setting, found: Discovery, tried: Tried) -> None:
    target = found.targets[setting.id]
    took = 0
    for value in extremes(setting, found.choices.get(setting.id, ())):
        shown = f"{setting.show(value)}"
        if reason := target.reason(value):
            tried.refused[f"{setting.id} = {shown}"] = reason
            continue
        writes = tuple(Write(path=path, text=text) for path, text in target.texts(value).items())
        try:
            switched = line.switch(writes, None)
        except AutotuneError as problem:
            tried.wrong[f"{setting.id} = {shown}"] = str(problem)
            return
        seen = effects_of(Configuration.of({setting.id: value}), _with(found, setting.id), switched.effects)
        if seen.refused or switched.step:
            tried.refused[f"{setting.id} = {shown}"] = seen.refused or switched.reason
        elif seen.doubts and setting.id not in ROUNDED:
            tried.refused[f"{setting.id} = {shown}"] = seen.doubts[0].text
        else:
            took += 1
    if took:
        tried.done.append(setting.id)
    else:
        tried.lacking[setting.id] = "this kernel refuses every value"


def _with(found: Discovery, id_: str) -> Discovery:
    """The discovery as it is when nothing speaks against a setting."""
    return replace(found, missing={one: why for one, why in found.missing.items() if one != id_})


def _changed(before: Mapping[str, Reading], after: Mapping[str, Reading], found: Discovery) -> list[str]:
    ours = {path for target in found.targets.values() for path in target.paths}
    return [path for path in sorted(ours) if path in before and before[path].text != after[path].text]


def _holds(setting: Setting, value: Value) -> bool:
    try:
        setting.check(value)
    except ValueError:
        return False
    return True


@pytest.fixture
def own_card(board_namespace: BoardNamespace) -> BoardNamespace:
    """A machine of the test's own with a pair of virtual cards, seen in its own /sys."""
    for line in (
        "ip link add card0 numtxqueues 2 numrxqueues 2 type veth peer name card1",
        "ip link set card0 up",
        "ip link set card1 up",
        "mount -t sysfs sysfs /sys",
    ):
        done = board_namespace.run(*line.split())
        if done.returncode:
            pytest.skip(f"{line}: {done.stderr.strip()}")
    return board_namespace


@pytest.fixture
def this_machine() -> Iterator[Connection]:
    """This machine, held; another test that holds it is waited for."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with connect("local") as line:
        until = time.monotonic() + 60
        while True:
            try:
                line.begin(study="a test's", night=1, holder="a test", lease_s=60)
                break
            except BoardBusy:
                if time.monotonic() > until:
                    pytest.skip("this machine is held by another tuner")
                time.sleep(0.5)
        yield line
        assert line.end().left == ()


def its_card(line: Connection) -> str:
    """The machine's first card with interrupts, "" for none."""
    names = (path.split("/")[4] for path in line.read(("/sys/class/net/*/operstate",)))
    return next((name for name in sorted(names) if name not in ("lo", "*")), "")


def told(tried: Tried, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(tried.done)} settings took their extremes: {' '.join(tried.done)}")
        for title, listed in (
            ("refused by this kernel", tried.refused),
            ("not to be had here", tried.lacking),
        ):
            print(f"{title}:", *(f"  {id_}: {why}" for id_, why in sorted(listed.items())), sep="\n")


def test_every_extreme_of_the_network_is_taken_or_listed(
    own_card: BoardNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    line = own_card.connect()
    line.begin(study="extremes", night=1, holder="test", lease_s=60)
    tried = try_all(line, OF_A_NAMESPACE, "card0")
    assert line.end().left == ()
    told(tried, capsys)
    assert tried.wrong == {}
    assert {*tried.done, *tried.lacking} == {setting.id for setting in OF_A_NAMESPACE}
    assert len(tried.done) >= 30


def test_every_extreme_of_the_whole_machine_is_taken_or_listed(
    this_machine: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = tuple(setting for setting in KERNEL if setting not in OF_A_NAMESPACE or _is_machine_wide(setting))
    tried = try_all(this_machine, rest, its_card(this_machine))
    told(tried, capsys)
    assert tried.wrong == {}
    assert {*tried.done, *tried.lacking} == {setting.id for setting in rest}
    assert len(tried.done) >= 15


def _is_machine_wide(setting: Setting) -> bool:
    """Whether a namespace of one's own has no such file: most of net.core."""
    return setting.id.startswith("sysctl:net.core.")
