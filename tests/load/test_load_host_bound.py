"""Whether a load host is the limit: by its own CPUs, never by the board's."""

from __future__ import annotations

from dataclasses import fields, replace

from test_gates import ORDER, judged, seen_with

from autotune.board.records import FarLoadSeen, LoadSeen, Watched
from autotune.load.client_bound import client_bound, load_host_figures

HOST = Watched(
    counters={f"cpu{cpu}.{what}_s": 0.0 for cpu in range(4) for what in ("user", "idle")},
    before={},
    after={"load1": 0.5},
    server_cpu_s=0.0,
    workers_before=(),
    workers_after=(),
    error_log="",
)


def far(*, busy_s: float, wrk_s: float = 0.5, busiest: tuple[str, ...] = ()) -> FarLoadSeen:
    """A run of two seconds from a host of four CPUs, each of them busy for `busy_s`; the board has hardly any CPU idle."""
    times = {f"cpu{cpu}.user_s": busy_s for cpu in range(4)} | {
        f"cpu{cpu}.idle_s": 2 - busy_s for cpu in range(4)
    }
    seen = seen_with(counters={"cpu0.user_s": 2.0, "cpu0.idle_s": 0.0})
    seen = replace(seen, measured=replace(seen.measured, cpu_s=wrk_s))
    host = replace(HOST, counters=times, busiest=busiest)
    return FarLoadSeen(**{one.name: getattr(seen, one.name) for one in fields(LoadSeen)}, load_host=host)


def test_a_busy_board_does_not_make_its_load_host_the_limit() -> None:
    assert client_bound(far(busy_s=0.3), ORDER) == ()


def test_threads_that_never_rest_are_the_limit() -> None:
    [doubt] = client_bound(far(busy_s=1.0, wrk_s=3.9), ORDER)
    assert doubt.code == "client-bound"
    assert "load host" in doubt.text


def test_others_that_take_the_load_host_s_cpus_are_named() -> None:
    [doubt] = client_bound(far(busy_s=1.95, busiest=("ffmpeg (pid 7) 6.10 s",)), ORDER)
    assert doubt.code == "client-bound"
    assert "ffmpeg (pid 7)" in doubt.text


def test_only_the_cpus_that_the_generator_has_are_looked_at() -> None:
    seen = far(busy_s=0.1)
    counters = {**seen.load_host.counters, "cpu3.user_s": 2.0, "cpu3.idle_s": 0.0}
    seen = replace(seen, load_host=replace(seen.load_host, counters=counters))
    assert client_bound(seen, replace(ORDER, cpus=(0, 1))) == ()
    assert client_bound(seen, replace(ORDER, cpus=(3,))) != ()


def test_every_gate_of_a_load_on_the_board_is_asked_of_one_from_elsewhere() -> None:
    sound, lost = far(busy_s=0.3), replace(far(busy_s=0.3), connections_held=3)
    assert judged(sound).gate == ""
    assert judged(lost).gate == "load died"
    assert judged(replace(sound, workers_after=(101,))).gate == "workers died"


def test_a_few_figures_of_the_load_host_are_kept() -> None:
    figures = load_host_figures(far(busy_s=0.5))
    assert figures == {"load_host.cpu_busy": 0.25, "load_host.load1": 0.5}
    assert load_host_figures(seen_with()) == {}
