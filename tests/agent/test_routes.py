"""How a machine says that it reaches others: the kernel's own answer, and a connection tried."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from autotune.agent import orders
from autotune.agent.faults import Fault
from conftest import BoardNamespace


def test_a_machine_with_no_network_has_no_way(board_namespace: BoardNamespace) -> None:
    found = board_namespace.connect().routes(("192.0.2.1", "127.0.0.1"), port=0)
    assert found.addresses == ()
    assert [one.source for one in found.routes] == ["", ""]
    assert found.routes[0].problem == "Network is unreachable"
    assert "this machine itself" in found.routes[1].problem


def test_a_neighbour_is_reached_from_our_address_there(board_namespace: BoardNamespace) -> None:
    for argv in (
        ("ip", "link", "add", "end0", "type", "veth", "peer", "name", "end1"),
        ("ip", "address", "add", "192.0.2.7/24", "dev", "end0"),
        ("ip", "link", "set", "end0", "up"),
        ("ip", "link", "set", "end1", "up"),
    ):
        assert board_namespace.run(*argv).returncode == 0
    found = board_namespace.connect().routes(("192.0.2.1", "192.0.2.7"), port=0)
    assert found.addresses == ("192.0.2.7",)
    near, itself = found.routes
    assert (near.source, near.interface, near.problem) == ("192.0.2.7", "end0", "")
    assert itself.source == "", "that is no other machine"


def test_an_agent_whose_controller_is_never_heard_again_leaves() -> None:
    """A load host behind a cut cable has nobody to tell it, and no guardian."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = (
            "from autotune.agent import serve\n"
            "serve._SILENCE_MOST_S = 1.0\n"
            "import sys; sys.exit(serve.main())"
        )
        began = time.monotonic()
        agent = subprocess.Popen(
            (sys.executable, "-c", code), stdin=theirs.fileno(), stdout=subprocess.DEVNULL
        )
        time.sleep(0.6)
        ours.sendall(b'{"id":1,"verb":"keepalive","body":{}}\n')
        assert agent.wait(10) == 0
        assert time.monotonic() - began > 1.5, "it had been heard in between"


@pytest.mark.parametrize(
    "body",
    [
        {"to": ["board"], "port": 0},
        {"to": ["::1"], "port": 0},
        {"to": ["192.0.2.1"] * 65, "port": 0},
        {"to": ["192.0.2.1"], "port": 70_000},
        {"to": [7], "port": 0},
    ],
)
def test_a_way_to_no_address_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Fault):
        orders.ways(body)


@pytest.mark.parametrize(
    "body", [{"step": "again", "power": ""}, {"step": "run", "power": "file:/etc/shadow"}]
)
def test_a_watch_that_makes_no_sense_is_refused(body: dict[str, object]) -> None:
    orders.watch({"step": "run", "power": "rapl"})
    with pytest.raises(Fault):
        orders.watch(body)
