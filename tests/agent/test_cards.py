"""What a night sets of a network card, on real cards of a namespace: its queue, its offloads, its packet steering."""

from __future__ import annotations

import os
import signal

import pytest
from serving import begin, within

from autotune.board.records import Effect, Write
from conftest import BoardNamespace

pytestmark = pytest.mark.real

# card0 has no queue by default, one0 one, and many0 one for each of its own; card1 stands for the network.
_CARDS = """
mount -t sysfs sysfs /sys
ip link add card0 numrxqueues 2 numtxqueues 2 type veth peer name card1
ip tuntap add one0 mode tap
ip tuntap add many0 mode tap multi_queue
for card in card0 card1 one0 many0; do ip link set $card up; done
"""
_QUEUES = "/sys/class/net/card0/queues/"
_CHANGES = {
    "tc:card0/root": "pfifo_fast",
    "tc:one0/root": "pfifo_fast",
    "tc:many0/root": "pfifo_fast",
    "ethtool:card0/gro": "on",
    "ethtool:card0/gso": "off",
    "ethtool:card0/tso": "off",
    _QUEUES + "rx-0/rps_cpus": "1",
    _QUEUES + "rx-1/rps_cpus": "1",
    _QUEUES + "rx-0/rps_flow_cnt": "64",
    _QUEUES + "tx-0/xps_cpus": "1",
}
_WRITES = tuple(Write(path=path, text=text) for path, text in _CHANGES.items())


@pytest.fixture
def cards(board_namespace: BoardNamespace) -> BoardNamespace:
    made = board_namespace.run("sh", "-ec", _CARDS)
    if made.returncode:
        pytest.skip(f"no cards to be had here: {made.stderr}")
    return board_namespace


def seen(board: BoardNamespace) -> str:
    """The cards as the system's own programs and files show them, so that our own reader is not its own witness."""
    steering = board.run(
        "sh", "-c", f"cat {_QUEUES}rx-*/rps_cpus {_QUEUES}rx-*/rps_flow_cnt {_QUEUES}tx-*/xps_cpus"
    )
    qdiscs = sorted(board.run("tc", "qdisc", "show").stdout.replace(" refcnt 3", " refcnt 2").splitlines())
    return "\n".join((*qdiscs, steering.stdout))


def offloads(board: BoardNamespace) -> dict[str, str | None]:
    paths = tuple(path for path in _CHANGES if path.startswith("ethtool:"))
    return {path: one.text for path, one in board.connect().read(paths).items()}


def changed(effects: tuple[Effect, ...]) -> dict[str, str]:
    assert [one for one in effects if one.error] == []
    return {one.path: one.effective for one in effects}


def kill_both(board: BoardNamespace, agent: int) -> None:
    [guard] = [pid for pid, name, _ in board.processes() if name == "autotune-guard"]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        os.kill(agent, number)
        os.kill(guard, number)
    assert within(2.0, lambda: not [one for one in board.processes() if one[0] in (guard, agent)])


def test_cards_are_changed_and_given_back_by_the_next_switch_and_at_the_end(cards: BoardNamespace) -> None:
    before, offloads_before = seen(cards), offloads(cards)
    line = begin(cards).line
    assert [one.error for one in line.check(tuple(_CHANGES))] == [""] * len(_CHANGES)
    assert seen(cards) == before
    assert changed(line.switch(_WRITES, None).effects) == _CHANGES
    now = seen(cards)
    for card in ("card0", "one0"):
        assert f"qdisc pfifo_fast 7a03: dev {card} root" in now
    assert "qdisc mq 7a13: dev many0 root" in now
    assert offloads(cards) == {path: _CHANGES[path] for path in offloads_before}
    assert line.switch((), None).foreign == ()
    assert (seen(cards), offloads(cards)) == (before, offloads_before)
    line.switch(_WRITES, None)
    assert line.end().left == ()
    assert (seen(cards), offloads(cards)) == (before, offloads_before)


def test_a_killed_agents_cards_are_put_right_by_its_guardian(cards: BoardNamespace) -> None:
    before, offloads_before = seen(cards), offloads(cards)
    line = begin(cards).line
    assert changed(line.switch(_WRITES, None).effects) == _CHANGES
    os.kill(line.agent_pid, signal.SIGKILL)
    assert within(3.0, lambda: seen(cards) == before)
    assert within(3.0, lambda: cards.run("ls", "/run/autotune").stdout.split() == ["lock"])
    assert offloads(cards) == offloads_before


def test_with_both_killed_the_next_end_puts_the_cards_right(cards: BoardNamespace) -> None:
    before, offloads_before = seen(cards), offloads(cards)
    line = begin(cards).line
    line.switch(_WRITES, None)
    kill_both(cards, line.agent_pid)
    assert seen(cards) != before
    told = {one.path: (one.original, one.now) for one in cards.connect().status().changed}
    assert told["tc:many0/root"] == ("default mq pfifo_fast", "pfifo_fast")
    assert told["ethtool:card0/tso"] == ("on", "off")
    ended = cards.connect().end()
    assert ended.left == ()
    assert set(_CHANGES) <= set(ended.restored)
    assert (seen(cards), offloads(cards)) == (before, offloads_before)


def test_what_this_kernel_lacks_is_told_and_changes_nothing(
    cards: BoardNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = seen(cards)
    line = begin(cards).line
    lacking = []
    for kind in ("fq", "fq_codel", "pfifo_fast"):
        for card in ("card0", "one0", "many0"):
            [effect] = line.switch((Write(path=f"tc:{card}/root", text=kind),), None).effects
            if effect.error:
                lacking.append(f"{effect.path} {kind}: {effect.error}")
                assert f"this kernel has no {kind}" in effect.error
                assert seen(cards) == before
            else:
                assert effect.effective == kind
    assert line.end().left == ()
    assert seen(cards) == before
    with capsys.disabled():
        print("", "not to be had on this kernel:", *lacking, sep="\n  ")


def test_what_someone_configured_is_left_alone(cards: BoardNamespace) -> None:
    for card, words in (("card0", "pfifo limit 7"), ("one0", "pfifo_fast")):
        assert cards.run("tc", "qdisc", "replace", "dev", card, "root", *words.split()).returncode == 0
    assert cards.run("tc", "qdisc", "replace", "dev", "many0", "root", "handle", "5:", "mq").returncode == 0
    before = seen(cards)
    line = begin(cards).line
    paths = ("tc:card0/root", "tc:one0/root", "tc:many0/root")
    assert {path: one.text for path, one in line.read(paths).items()} == {
        "tc:card0/root": "custom pfifo",
        "tc:one0/root": "custom pfifo_fast",
        "tc:many0/root": "custom mq",
    }
    effects = line.check(paths)
    effects += line.switch(tuple(Write(path=path, text="pfifo_fast") for path in paths), None).effects
    assert len(effects) == 6
    assert all("someone configured it" in one.error for one in effects)
    assert line.end().left == ()
    assert seen(cards) == before


def test_what_someone_put_in_its_place_meanwhile_is_foreign_and_gone_at_the_end(
    cards: BoardNamespace,
) -> None:
    before = seen(cards)
    line = begin(cards).line
    line.switch(_WRITES, None)
    cards.run("tc", "qdisc", "replace", "dev", "card0", "root", "pfifo", "limit", "7")
    assert line.switch((), None).foreign == ("tc:card0/root",)
    assert "limit 7p" in seen(cards)
    assert line.end().left == ()
    assert seen(cards) == before


def test_what_a_card_cannot_do_is_an_error_of_reading(cards: BoardNamespace) -> None:
    read = cards.connect().read(
        ("ethtool:card0/rx-usecs", "ethtool:none0/gro", "tc:none0/root", "ethtool:lo/gro", "tc:lo/root")
    )
    assert read["ethtool:card0/rx-usecs"].error == "Operation not supported"
    assert {read["ethtool:none0/gro"].error, read["tc:none0/root"].error} == {"No such device"}
    assert "not on the agent's list" in read["tc:lo/root"].error
    assert "not on the agent's list" in read["ethtool:lo/gro"].error
    assert all(one.text is None for one in read.values())


def test_without_a_right_to_it_nothing_is_offered_as_writable(cards: BoardNamespace) -> None:
    [one] = cards.connect(uid=65534).read(("tc:one0/root",)).values()
    assert (one.text, one.writable) == ("default pfifo_fast", False)
