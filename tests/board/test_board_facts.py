"""A board's facts, and which CPUs each side gets on it."""

from __future__ import annotations

import pytest

from autotune.board import replies
from autotune.board.agent_start import shipment
from autotune.board.facts import BoardFacts
from autotune.board.placement import CpuPlacement, place, placement_doubts
from autotune.board.records import Program
from autotune.errors import BoardUnreachable
from autotune.experiment.study import Placement


def board(
    *,
    cpus: tuple[int, ...] = (0, 1),
    nginx: str = "nginx version: nginx/1.22.1",
    capacity: dict[int, int] | None = None,
    cores: tuple[tuple[int, ...], ...] = (),
) -> BoardFacts:
    return BoardFacts(
        protocol=1,
        python="3.11.2",
        uid=0,
        hostname="rock",
        kernel="6.1.0",
        machine="aarch64",
        boot_id="b",
        netns="1",
        cpus=cpus,
        capacity=capacity or {},
        memory_bytes=1 << 30,
        open_files_limit=1 << 20,
        run_dir="/run/autotune",
        run_is_tmpfs=True,
        state_dir="/var/lib/autotune",
        state_free_bytes=1 << 30,
        programs={"nginx": Program(path="/usr/sbin/nginx" if nginx else "", version=nginx)},
        model="Rock 5B+",
        cores=cores,
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nginx version: nginx/1.22.1\nbuilt with", (1, 22, 1)),
        ("nginx version: nginx/1.18.0 (Ubuntu)", (1, 18, 0)),
        ("nginx version: openresty", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_nginxs_version_is_read_from_its_own_words(text: str, version: tuple[int, int, int]) -> None:
    assert board(nginx=text).nginx_version == version


def test_a_program_that_is_not_there_is_none() -> None:
    assert board(nginx="").nginx is None
    assert board().wrk is None


@pytest.mark.parametrize(
    ("cpus", "server", "generator"),
    [
        ((0, 1), (1,), (0,)),
        ((0, 1, 2, 3), (1, 2, 3), (0,)),
        (tuple(range(8)), (3, 4, 5, 6, 7), (0, 1, 2)),
        ((5, 2), (5,), (2,)),
    ],
)
def test_pinned_sides_share_no_cpu(
    cpus: tuple[int, ...], server: tuple[int, ...], generator: tuple[int, ...]
) -> None:
    assert place(board(cpus=cpus), Placement.PINNED) == CpuPlacement(server=server, generator=generator)
    assert placement_doubts(board(cpus=cpus), Placement.PINNED) == ()


@pytest.mark.parametrize(
    ("cores", "server", "generator"),
    [
        (((0, 4), (1, 5), (2, 6), (3, 7)), (1, 2, 3, 5, 6, 7), (0, 4)),
        (((0, 1), (2, 3)), (2, 3), (0, 1)),
        (((6, 7), (0, 1), (2, 3), (4, 5)), (2, 3, 4, 5, 6, 7), (0, 1)),
        (((0, 64), (1, 65)), (1,), (0,)),  # siblings that we may not use
    ],
)
def test_no_core_is_shared_by_both_sides(
    cores: tuple[tuple[int, ...], ...], server: tuple[int, ...], generator: tuple[int, ...]
) -> None:
    threads = board(cpus=tuple(sorted(cpu for core in cores for cpu in core if cpu < 64)), cores=cores)
    assert place(threads, Placement.PINNED) == CpuPlacement(server=server, generator=generator)
    assert placement_doubts(threads, Placement.PINNED) == ()


def test_the_threads_of_a_single_core_are_shared_out_and_that_is_said() -> None:
    single = board(cpus=(0, 1), cores=((0, 1),))
    assert place(single, Placement.PINNED) == CpuPlacement(server=(1,), generator=(0,))
    assert [doubt.code for doubt in placement_doubts(single, Placement.PINNED)] == ["one core"]
    assert placement_doubts(single, Placement.FREE) == ()


def test_the_server_gets_the_fast_cluster_where_cores_differ() -> None:
    rock = board(
        cpus=tuple(range(8)), capacity={**dict.fromkeys(range(4), 530), **dict.fromkeys(range(4, 8), 1024)}
    )
    assert rock.big_cpus() == (4, 5, 6, 7)
    assert place(rock, Placement.PINNED) == CpuPlacement(server=(4, 5, 6, 7), generator=(0, 1, 2, 3))


def test_one_cpu_cannot_be_shared_out_and_that_is_said() -> None:
    assert place(board(cpus=(0,)), Placement.PINNED) == CpuPlacement()
    [doubt] = placement_doubts(board(cpus=(0,)), Placement.PINNED)
    assert "one CPU" in doubt.text
    assert placement_doubts(board(cpus=(0,)), Placement.FREE) == ()


def test_free_sides_have_everything() -> None:
    assert place(board(cpus=(0, 1, 2)), Placement.FREE) == CpuPlacement()


def test_a_reply_that_lacks_a_field_is_no_agent_of_ours() -> None:
    with pytest.raises(BoardUnreachable, match="can't be understood"):
        replies.begun({"token": "x"})
    with pytest.raises(BoardUnreachable, match="can't be understood"):
        replies.switched({"effects": [{"path": "x"}]}, [])


def test_the_agent_is_packed_the_same_every_time_and_small() -> None:
    first = shipment()
    shipment.cache_clear()
    assert shipment() == first
    assert len(first.data) < 400_000
