"""What only the machine's own network namespace shows. Changes a setting of this machine for a moment, under its lock."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.board.connection import Connection, connect
from autotune.board.records import Write
from autotune.errors import BoardBusy

IPV4 = Path("/proc/sys/net/ipv4")
CHOSEN, ALLOWED, AVAILABLE = (
    IPV4 / name
    for name in (
        "tcp_congestion_control",
        "tcp_allowed_congestion_control",
        "tcp_available_congestion_control",
    )
)


@pytest.fixture
def machine() -> Iterator[Connection]:
    """This machine, held; another test that holds it is waited for."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with connect("local") as line:
        until = time.monotonic() + 60
        while True:
            try:
                line.begin(study="a test's", night=1, holder="a test", lease_s=30)
                break
            except BoardBusy:
                if time.monotonic() > until:
                    pytest.skip("this machine is held by another tuner")
                time.sleep(0.5)
        yield line
        line.end()


def test_a_congestion_control_that_was_tried_is_not_left_free_for_everyone(machine: Connection) -> None:
    before = (CHOSEN.read_text(), ALLOWED.read_text())
    others = sorted(set(AVAILABLE.read_text().split()) - set(ALLOWED.read_text().split()))
    if not others:
        pytest.skip("every congestion control of this machine is free for everyone already")
    switched = machine.switch((Write(path=str(CHOSEN), text=others[0]),), None)
    assert switched.effects[0].effective == others[0]
    assert others[0] in ALLOWED.read_text().split()
    machine.end()
    assert (CHOSEN.read_text(), ALLOWED.read_text()) == before


def test_a_card_gets_its_own_queue_back_when_the_default_has_changed_meanwhile(machine: Connection) -> None:
    """net.core.default_qdisc is only there in the machine's own namespace, where the card has to be, too."""
    default, card, stranger = Path("/proc/sys/net/core/default_qdisc"), "tc:autotest0/root", "pfifo"
    before = default.read_text()

    def run(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    run("ip", "tuntap", "add", "autotest0", "mode", "tap")
    try:
        run("ip", "link", "set", "autotest0", "up")
        own = run("tc", "qdisc", "show", "dev", "autotest0")
        [effect] = machine.switch((Write(path=card, text="pfifo_fast"),), None).effects
        assert (effect.effective, effect.error) == ("pfifo_fast", "")
        default.write_text(stranger)
        assert machine.switch((), None).reason == ""
        assert run("tc", "qdisc", "show", "dev", "autotest0") == own
        assert default.read_text().strip() == stranger
        assert machine.end().left == ()
        assert default.read_text() == before
        assert run("tc", "qdisc", "show", "dev", "autotest0") == own
    finally:
        default.write_text(before)
        run("ip", "link", "del", "autotest0")
