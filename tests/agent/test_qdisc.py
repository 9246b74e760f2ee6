"""The queue before a card, on a kernel made of a list: which one is whose, and how the default comes back."""

from __future__ import annotations

import errno
import os

import pytest

from autotune.agent import ethtool, qdisc
from autotune.agent.kernel_files import by_hand, captured_before

ROOT = 0xFFFFFFFF
Seen = tuple[str, int, int]


class Kernel:
    """One card with `queues` queues (1: no mq before it) and the default for cards to come."""

    def __init__(self, default: str, queues: int = 1) -> None:
        self.default, self.queues = default, queues
        self.defaults_seen = [default]
        self.attach()

    def attach(self) -> None:
        self.found: list[Seen] = [(self.default, 0, ROOT)]
        if self.queues > 1:
            self.found = [("mq", 0, ROOT), *((self.default, 0, one) for one in range(1, self.queues + 1))]

    def set_default(self, kind: str) -> None:
        self.default = kind
        self.defaults_seen.append(kind)

    def replace(self, index: int, parent: int, handle: int, kind: str) -> None:
        del index
        if kind == "fq":
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if parent != ROOT:
            self.found = [(kind, 0x80010000, one[2]) if one[2] == parent else one for one in self.found]
            return
        self.found = [(kind, handle, ROOT)]
        if kind == "mq":
            self.found += [(self.default, 0, handle + one) for one in range(1, self.queues + 1)]

    def delete(self, index: int) -> None:
        del index
        assert self.found[0][1], "its own can't be deleted"
        self.attach()


def on(kernel: Kernel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(qdisc, "_index", lambda device: 7 if device == "card0" else None)
    patch.setattr(qdisc, "_of", lambda _: [qdisc._Qdisc(*one) for one in kernel.found])
    patch.setattr(qdisc, "_replace", kernel.replace)
    patch.setattr(qdisc, "_delete", kernel.delete)
    patch.setattr(qdisc, "_read_default", lambda: kernel.default)
    patch.setattr(qdisc, "_write_default", kernel.set_default)


@pytest.mark.parametrize(("queues", "original"), [(1, "default pfifo_fast"), (4, "default mq pfifo_fast")])
@pytest.mark.parametrize("default_by_then", ["pfifo_fast", "fq_codel"])
def test_the_kernels_own_comes_back_whatever_is_the_default_by_then(
    queues: int, original: str, default_by_then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel("pfifo_fast", queues)
    on(kernel, monkeypatch)
    before = list(kernel.found)
    assert qdisc.read("card0") == original
    qdisc.write("card0", "fq_codel")
    assert qdisc.read("card0") == "fq_codel"
    kernel.default = default_by_then
    qdisc.write("card0", original)
    assert kernel.found == before
    assert kernel.default == default_by_then


def test_another_default_than_the_right_one_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel("fq_codel")
    on(kernel, monkeypatch)
    qdisc.write("card0", "default pfifo_fast")
    assert qdisc.read("card0") == "default pfifo_fast"
    assert kernel.defaults_seen == ["fq_codel", "pfifo_fast", "fq_codel"]


@pytest.mark.parametrize("queues", [1, 4])
def test_a_kind_that_the_kernel_lacks_leaves_the_card_as_it_was(
    queues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel("pfifo_fast", queues)
    on(kernel, monkeypatch)
    before = list(kernel.found)
    with pytest.raises(OSError, match=r"this kernel has no fq \(module sch_fq\)"):
        qdisc.write("card0", "fq")
    assert kernel.found == before


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([("fq", 0x80010000, ROOT)], "custom fq"),
        ([("htb", 0x10000, ROOT), ("fq", 0x80010000, 0x10001)], "custom htb"),
        ([("mq", 0, ROOT), ("pfifo_fast", 0, 1), ("fq", 0, 2)], "custom mq"),
        ([("mq", 0, ROOT), ("fq", 0x80010000, 1), ("fq", 0, 2)], "custom mq"),
        ([("mq", 0x80010000, ROOT), ("fq", 0, 0x80010001)], "custom mq"),
        ([("fq", 0, ROOT), ("ingress", 0xFFFF0000, 0xFFFFFFF1)], "default fq"),
    ],
)
def test_whose_it_is(found: list[Seen], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel("fq")
    kernel.found = found
    on(kernel, monkeypatch)
    assert qdisc.read("card0") == text
    if text.startswith("custom"):
        for wanted in ("pfifo_fast", text):
            with pytest.raises(OSError, match="someone configured it"):
                qdisc.write("card0", wanted)
        assert kernel.found == found


@pytest.mark.parametrize("text", ["htb", "noqueue", "", "default", "default x;y", "FQ"])
def test_other_words_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on(Kernel("fq"), monkeypatch)
    with pytest.raises(OSError, match="is none of fq, fq_codel, pfifo_fast"):
        qdisc.write("card0", text)


def test_a_card_that_is_down_or_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel("fq")
    kernel.found = []
    on(kernel, monkeypatch)
    with pytest.raises(OSError, match="while the interface is down"):
        qdisc.read("card0")
    assert qdisc.read("card1") is None
    with pytest.raises(OSError, match="No such device"):
        qdisc.write("card1", "fq")


def test_the_default_for_cards_to_come_is_journaled_with_a_cards_own() -> None:
    assert captured_before("tc:card0/root") == ("/proc/sys/net/core/default_qdisc",)
    assert captured_before("ethtool:card0/gro") == ()


@pytest.mark.parametrize(
    ("path", "original", "command"),
    [
        ("tc:card0/root", "default mq fq", "tc qdisc del dev card0 root"),
        ("tc:card0/root", "fq", "tc qdisc replace dev card0 root handle 7a01: fq"),
        ("ethtool:card0/rx-usecs", "30", "ethtool -C card0 rx-usecs 30"),
        ("ethtool:card0/gro", "on", "ethtool -K card0 rx-gro on"),
        ("ethtool:card0/tso", "off", "ethtool -K card0 tx-tcp-segmentation off tx-tcp6-segmentation off"),
    ],
)
def test_what_to_do_by_hand(path: str, original: str, command: str) -> None:
    assert by_hand(path, original) == command


class Card:
    """What the ioctl hands over: the words of the coalescing."""

    def __init__(self, **changed: int) -> None:
        self.words = list(range(100, 123))
        self.words[10], self.words[11] = changed.get("adaptive_rx", 0), 0
        self.asked: list[int] = []

    def ask(self, device: str, words: list[int]) -> None:
        del device
        self.asked.append(words[0])
        if words[0] == 0x0E:
            for at in range(1, 23):
                words[at] = self.words[at]
        else:
            self.words = list(words)


def test_only_the_one_time_is_changed_and_only_when_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card()
    monkeypatch.setattr(ethtool, "_ask", card.ask)
    before = list(card.words)
    assert card.words[5] == ethtool._coalescing("card0", "tx-usecs")[5]
    ethtool.write("card0", "rx-usecs", str(card.words[1]))
    assert 0x0F not in card.asked
    ethtool.write("card0", "rx-usecs", "9")
    assert card.words[1:] == [9, *before[2:]]
    ethtool.write("card0", "tx-usecs", "8")
    assert card.words[1:] == [9, *before[2:5], 8, *before[6:]]


def test_a_time_that_the_card_adapts_itself_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ethtool, "_ask", Card(adaptive_rx=1).ask)
    with pytest.raises(OSError, match="adaptive-rx on"):
        ethtool.write("card0", "rx-usecs", "9")
    ethtool.write("card0", "tx-usecs", "9")
