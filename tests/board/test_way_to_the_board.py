"""Which of a board's addresses its load host is to push at: pure, from what both machines say of their ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from test_board_facts import board as board_of

from autotune.board.connection import Connection
from autotune.board.load_host import LoadHost, Way
from autotune.board.placement import CpuPlacement, generator_cpus, place_for
from autotune.board.records import Route, Routes
from autotune.errors import (
    BoardMisunderstood,
    BoardUnfit,
    BoardUnreachable,
    LoadGeneratorFailed,
    LoadHostMisunderstood,
    LoadHostUnreachable,
    NotPermitted,
)
from autotune.experiment.study import Placement
from night_example import a_study


@dataclass
class Machine:
    """What a machine says of its own addresses, and of its way (source, interface) to those of others."""

    addresses: tuple[str, ...]
    ways: Mapping[str, tuple[str, str]]

    def routes(self, to: Sequence[str], *, port: int = 0) -> Routes:
        del port
        found = [(one, *self.ways.get(one, ("", ""))) for one in to]
        return Routes(
            addresses=self.addresses,
            routes=tuple(
                Route(
                    to=one, source=source, interface=card, problem="" if source else "Network is unreachable"
                )
                for one, source, card in found
            ),
        )


def way(board: Machine, load: Machine, address: str = "") -> Way:
    host = LoadHost("ssh://load", cast("Connection", load))
    return host.way_to(cast("Connection", board), address)


def test_a_bridge_that_both_have_for_themselves_is_no_way() -> None:
    board = Machine(
        ("172.17.0.1", "192.168.1.10"),
        {"192.168.1.20": ("192.168.1.10", "end0"), "172.17.0.1": ("172.17.0.1", "lo")},
    )
    load = Machine(("172.17.0.1", "192.168.1.20"), {"192.168.1.10": ("192.168.1.20", "eth0")})
    assert way(board, load) == Way(address="192.168.1.10", interface="end0", source="192.168.1.20")


def test_an_address_behind_the_board_is_no_way_though_a_default_route_leads_there() -> None:
    board = Machine(("10.9.0.1", "192.168.1.10"), {"192.168.1.20": ("192.168.1.10", "end0")})
    load = Machine(
        ("192.168.1.20",),
        {"10.9.0.1": ("192.168.1.20", "eth0"), "192.168.1.10": ("192.168.1.20", "eth0")},
    )
    assert way(board, load).address == "192.168.1.10"


def test_of_two_cards_in_one_network_it_is_the_one_that_the_board_itself_would_use() -> None:
    board = Machine(("192.168.1.11", "192.168.1.10"), {"192.168.1.20": ("192.168.1.10", "end0")})
    load = Machine(
        ("192.168.1.20",),
        {"192.168.1.11": ("192.168.1.20", "eth0"), "192.168.1.10": ("192.168.1.20", "eth0")},
    )
    assert way(board, load).interface == "end0"


def test_a_study_s_own_address_is_taken_though_something_in_between_translates() -> None:
    board = Machine(("192.168.1.10",), {"10.0.0.5": ("192.168.1.10", "end0")})
    load = Machine(("10.0.0.5",), {"203.0.113.4": ("10.0.0.5", "eth0")})
    assert way(board, load, "203.0.113.4") == Way(address="203.0.113.4", interface="end0", source="10.0.0.5")


def test_without_a_way_the_next_thing_to_do_is_said() -> None:
    board = Machine(("192.168.1.10",), {})
    load = Machine(("10.0.0.5",), {})
    with pytest.raises(LoadGeneratorFailed, match=r"192\.168\.1\.10") as caught:
        way(board, load)
    assert "ip route get" in caught.value.hint
    assert not isinstance(caught.value, LoadHostUnreachable)


def test_a_board_under_another_login_is_no_load_host() -> None:
    board = Machine(("192.168.1.10",), {})
    with pytest.raises(LoadGeneratorFailed, match="the board itself by another name") as caught:
        way(board, board)
    assert 'load = "board"' in caught.value.hint


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (BoardUnreachable("gone"), LoadHostUnreachable),
        (BoardMisunderstood("noise"), LoadHostMisunderstood),
        (NotPermitted("no key"), NotPermitted),
        (BoardUnfit("no wrk"), LoadGeneratorFailed),
    ],
)
def test_what_is_wrong_with_a_load_host_is_not_said_of_the_board(
    problem: Exception, told: type[Exception]
) -> None:
    class Broken:
        def keepalive(self) -> None:
            raise problem

    with pytest.raises(told, match=r"^the load host ssh://load: "):
        LoadHost("ssh://load", cast("Connection", Broken())).keepalive()


def test_a_load_host_that_can_not_be_reached_has_the_line_s_own_next_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_another_version(_host: str) -> Connection:
        raise BoardUnreachable("another version", hint="autotune board install ssh://load")

    monkeypatch.setattr("autotune.board.load_host.connect", of_another_version)
    with pytest.raises(LoadHostUnreachable) as told:
        LoadHost.reach("ssh://load")
    assert told.value.hint == "autotune board install ssh://load"


def test_with_the_load_elsewhere_every_cpu_is_the_server_s() -> None:
    rock = board_of(
        cpus=tuple(range(8)), capacity=dict.fromkeys(range(4), 500) | dict.fromkeys(range(4, 8), 1024)
    )
    study = a_study(placement=Placement.PINNED)
    assert place_for(rock, study) == CpuPlacement(server=(4, 5, 6, 7), generator=(0, 1, 2, 3))
    assert place_for(rock, study.model_copy(update={"load": "ssh://load"})) == CpuPlacement()


def test_a_generator_alone_on_its_machine_stays_on_the_fastest_kind_of_cpu() -> None:
    laptop = board_of(cpus=(0, 1, 2, 3), capacity={0: 1024, 1: 1024, 2: 600, 3: 600})
    assert generator_cpus(laptop, Placement.PINNED) == (0, 1)
    assert generator_cpus(laptop, Placement.FREE) == ()
