"""Listeners and connections, as the kernel tells them in two ways."""

from __future__ import annotations

import os
import socket

import pytest

from autotune.agent import sockets


def test_both_ways_of_asking_find_the_same_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as line, socket.create_server(("127.0.0.2", 0)) as other:
        port, elsewhere = line.getsockname()[1], other.getsockname()[1]
        quick = sockets.listeners("127.0.0.1", port)
        monkeypatch.setattr(sockets, "_diagnosis_costs_nothing", lambda: False)
        assert sockets.listeners("127.0.0.1", port) == quick
        assert [one.address for one in quick] == ["127.0.0.1"]
        assert quick[0].inode in sockets.owned_inodes(os.getpid())
        assert sockets.listeners("127.0.0.1", elsewhere) == []


@pytest.mark.parametrize("quickly", [True, False])
def test_a_listener_on_all_addresses_counts_for_each(
    monkeypatch: pytest.MonkeyPatch, *, quickly: bool
) -> None:
    if not quickly:
        monkeypatch.setattr(sockets, "_diagnosis_costs_nothing", lambda: False)
    with socket.create_server(("0.0.0.0", 0)) as line:
        assert [one.address for one in sockets.listeners("127.0.0.9", line.getsockname()[1])] == ["0.0.0.0"]
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as line:
        assert [one.address for one in sockets.listeners("127.0.0.9", line.getsockname()[1])] == ["::"]


def test_connections_are_counted_on_the_clients_side_only() -> None:
    with socket.create_server(("127.0.0.3", 0)) as line:
        where = line.getsockname()
        assert sockets.connections_to(*where) == 0
        with socket.create_connection(where), socket.create_connection(where):
            assert sockets.connections_to(*where) == 2
            assert sockets.connections_to(*where, any_state=True) == 2
            assert sockets.connections_to("127.0.0.1", where[1]) == 0


def test_the_owner_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as line:
        taken = sockets.listeners("127.0.0.1", line.getsockname()[1])
        assert f"(pid {os.getpid()})" in sockets.owner_text(taken)
