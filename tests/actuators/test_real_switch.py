"""A real board: what is discovered there is planned, switched, read back, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from paper_board import STUDY

from autotune.actuators.discovery import Discovery, discover, paths_to_read
from autotune.actuators.switching import SwitchPlan, effects_of, plan_switch
from autotune.board.placement import CpuPlacement
from autotune.board.records import Begun, PutFile, ServerOrder, Switched, UrlTruth
from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.value import Value

if TYPE_CHECKING:
    from autotune.board.connection import Connection
    from conftest import BoardNamespace

pytestmark = pytest.mark.real

ADDRESS = "127.0.0.2"
URL = f"http://{ADDRESS}:8088/a"


class HeldBoard:
    """A real agent in a namespace, with its stock known."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.begun: Begun = connection.begin(
            study="real",
            night=1,
            holder="test",
            lease_s=60,
            files=(PutFile(name="a", content_base64="aGVsbG8="),),
        )
        settings = tuple(CATALOGUE.values())
        readings = connection.read(paths_to_read(settings, STUDY))
        self.found: Discovery = discover(settings, readings, connection.facts, STUDY)

    def plan(self, configuration: Configuration) -> SwitchPlan:
        return plan_switch(
            configuration,
            self.found,
            study=STUDY,
            address=ADDRESS,
            begun=self.begun,
            placement=CpuPlacement(),
        )

    def switch(self, configuration: Configuration) -> Switched:
        plan = self.plan(configuration)
        truth = UrlTruth(url=URL, address=ADDRESS, status=0, length=0, sha256="")
        order = ServerOrder(
            conf=plan.server.conf,
            workers=plan.server.workers,
            listen=plan.server.listen,
            cpus=(),
            urls=(truth,),
        )
        return self.connection.switch(plan.writes, order)


@pytest.fixture
def held_board(board_namespace: BoardNamespace, real_nginx: str) -> Iterator[HeldBoard]:
    board = HeldBoard(board_namespace.connect())
    yield board
    assert board.connection.end().left == ()


def test_stock_and_many_settings_at_once_are_switched_and_put_back(held_board: HeldBoard) -> None:
    stock = held_board.switch(Configuration())
    assert (stock.step, stock.reason) == ("", "")
    assert stock.urls[0].status == 200
    assert stock.effects == ()

    wanted: dict[str, Value] = {
        "nginx:worker_processes": 3,
        "nginx:sendfile": False,
        "nginx:listen.backlog": 4096,
        "nginx:listen.reuseport": True,
        "nginx:access_log.buffer": 65_536,
        "nginx:open_file_cache": 100,
        "nginx:worker_priority": 1,
        "nginx:output_buffers.size": 65_536,
        "sysctl:net.core.somaxconn": 8192,
        "sysctl:net.ipv4.tcp_rmem": (4096, 87_380, 67_108_864),
        "sysctl:net.ipv4.tcp_wmem": (4096, 65_536, 67_108_864),
        "sysctl:net.ipv4.tcp_fin_timeout": 15,
        "sysctl:net.ipv4.tcp_autocorking": False,
        "sysctl:net.ipv4.tcp_slow_start_after_idle": False,
        "sysctl:net.ipv4.tcp_notsent_lowat": 131_072,
    }
    chosen = Configuration.of(
        {id_: value for id_, value in wanted.items() if not held_board.found.value_reason(id_, value)}
    )
    assert len(chosen) >= 12
    tuned = held_board.switch(chosen)
    assert (tuned.step, tuned.reason) == ("", "")
    assert len(tuned.worker_pids) == 3
    effective = effects_of(chosen, held_board.found, tuned.effects)
    assert (effective.refused, effective.doubts) == ("", ())
    assert effective.configuration == chosen


def test_a_namespace_offers_no_keys_of_the_whole_machine(held_board: HeldBoard) -> None:
    missing = held_board.found.missing
    assert "no /proc/sys/net/core/netdev_max_backlog" in missing["sysctl:net.core.netdev_max_backlog"]
    assert "read-only even for root" in missing["sysctl:net.core.rmem_max"]
    assert "net.ipv4.tcp_rmem" in " ".join(held_board.found.kernel_paths.values())


def test_every_usable_key_takes_its_own_value(held_board: HeldBoard) -> None:
    effects = held_board.connection.check(tuple(held_board.found.kernel_paths))
    ids = {effect.path: held_board.found.kernel_paths[effect.path] for effect in effects}
    assert {ids[effect.path]: effect.error for effect in effects if effect.error} == {}
    assert {ids[one.path]: one for one in effects if one.effective != one.requested} == {}


def test_every_choice_of_congestion_control_is_taken(held_board: HeldBoard) -> None:
    id_ = "sysctl:net.ipv4.tcp_congestion_control"
    for word in held_board.found.choices[id_]:
        chosen = Configuration.of({id_: word})
        switched = held_board.switch(chosen)
        assert switched.step == "", (word, switched.reason)
        assert effects_of(chosen, held_board.found, switched.effects).refused == ""
