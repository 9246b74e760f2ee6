"""What wrk is asked to do, and what it can't hold."""

from __future__ import annotations

import pytest

from autotune.board.placement import CpuPlacement
from autotune.board.records import LoadUrl
from autotune.experiment.study import Url, Workload, workload_mistake
from autotune.load.wrk import load_order, new_marker


def test_an_order_carries_the_workload_and_the_generators_cpus() -> None:
    workload = Workload(
        name="small",
        urls=(Url(target="/1k.bin"),),
        connections=64,
        threads=4,
        warmup_s=0.5,
        duration_s=2,
    )
    urls = (LoadUrl(url="http://127.0.0.3:8088/1k.bin"),)
    placement = CpuPlacement(server=(1,), generator=(0,))
    order = load_order(workload, urls, "127.0.0.3", placement, "m1", seed=7)
    assert (order.urls, order.address, order.seed, order.marker) == (urls, "127.0.0.3", 7, "m1")
    assert (order.threads, order.connections) == (4, 64)
    assert (order.warmup_s, order.duration_s) == (0.5, 2)
    assert order.cpus == (0,)


@pytest.mark.parametrize(
    ("connections", "threads", "says"),
    [
        (100, 8, "silently open 96"),
        (100, 3, "silently open 99"),
        (2, 4, "at least one connection"),
        (5, 0, "1 thread"),
    ],
)
def test_a_load_that_wrk_would_quietly_shrink_is_a_mistake(connections: int, threads: int, says: str) -> None:
    assert says in workload_mistake(connections, threads)


@pytest.mark.parametrize(("connections", "threads"), [(100, 4), (1, 1), (96, 8)])
def test_a_load_that_wrk_can_hold_is_none(connections: int, threads: int) -> None:
    assert workload_mistake(connections, threads) == ""


def test_markers_differ_and_hold_only_letters_and_digits() -> None:
    markers = {new_marker() for _ in range(100)}
    assert len(markers) == 100
    assert all(marker.isascii() and marker.isalnum() for marker in markers)
