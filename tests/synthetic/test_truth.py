"""The truth about the imagined Rock 5B+: published where something was published, and honest about what does nothing."""

from __future__ import annotations

import math

import pytest

import synthetic_night as night
from autotune.definitions.study_file import CAPSTONE_STOCK
from autotune.errors import BoardUnfit
from autotune.experiment.study import Study
from autotune.experiment.synthetic_boards import SYNTHETIC_BOARDS
from autotune.space.configuration import Configuration
from autotune.space.value import Value
from autotune.synthetic.boards import plain_board, synthetic_board
from autotune.synthetic.optimum import best_known
from autotune.synthetic.rock5b import CAPSTONE_RATES
from autotune.synthetic.rock5b_effects import PUBLISHED

BOARD = synthetic_board("rock5b")
LARGE = night.study_of("rock5b-static-100k")
SMALL = night.study_of("rock5b-static-1k")


def capstone(study: Study) -> Study:
    return study.model_copy(update={"stock": "capstone", "stock_overrides": CAPSTONE_STOCK})


def gain_of(study: Study, values: dict[str, Value], over: dict[str, Value] | None = None) -> float:
    """What these values add to ln(requests/s), on stock or on others laid over it."""
    before = BOARD.objective(Configuration.of(over or {}), study)
    return BOARD.objective(Configuration.of({**(over or {}), **values}), study) - before


def test_each_hand_tuned_step_gains_what_was_published() -> None:
    study = capstone(LARGE)
    steps = night.begun_on(BOARD, study).steps
    before = BOARD.objective(Configuration(), study)
    for step in steps:
        now = BOARD.objective(step.configuration, study)
        assert step.published is not None
        assert math.exp(now - before) == pytest.approx(step.published, abs=1e-9), step.name
        before = now
    assert [step.published for step in steps] == list(PUBLISHED)


def test_step_one_is_already_so_on_the_board_as_found() -> None:
    first, *others = night.begun_on(BOARD, LARGE).steps
    assert first.state == "already so"
    assert {step.state for step in others} == {"full"}


@pytest.mark.parametrize(("name", "place"), [("rock5b-static-1k", 0), ("rock5b-static-100k", 1)])
def test_the_texts_stock_serves_as_much_as_was_published(name: str, place: int) -> None:
    study = capstone(night.study_of(name))
    assert math.exp(BOARD.objective(Configuration(), study)) == pytest.approx(CAPSTONE_RATES[place])


def test_sendfile_helps_large_files_and_harms_small_ones() -> None:
    without: dict[str, Value] = {"nginx:sendfile": False}
    assert gain_of(LARGE, {"nginx:sendfile": True}, without) > 0.2
    assert math.exp(gain_of(SMALL, {"nginx:sendfile": True}, without)) == pytest.approx(0.88, abs=0.01)


@pytest.mark.parametrize(
    ("parent_off", "child"),
    [
        ({"nginx:sendfile": False}, {"nginx:sendfile_max_chunk": 65536}),
        ({"nginx:sendfile": False}, {"nginx:tcp_nopush": False}),
        ({"nginx:sendfile": True}, {"nginx:output_buffers.size": 262144}),
        ({"nginx:aio": "off"}, {"nginx:thread_pool.threads": 2}),
        ({"nginx:listen.reuseport": True}, {"nginx:accept_mutex": True}),
        ({"nginx:open_file_cache": "off"}, {"nginx:open_file_cache_valid": 10}),
        ({"net:nic.rps_cpus": "off"}, {"net:nic.rps_flow_cnt": 16384}),
        ({"cpufreq:policy4.governor": "performance"}, {"cpufreq:policy4.ondemand.up_threshold": 25}),
        ({"cpufreq:policy4.governor": "performance"}, {"cpufreq:policy4.schedutil.rate_limit_us": 10_000}),
        ({"devfreq:dmc.governor": "performance"}, {"devfreq:dmc.upthreshold": 20}),
        ({"thp:enabled": "never"}, {"thp:defrag": "always"}),
        ({"nginx:fastcgi_keep_conn": False}, {"nginx:upstream.keepalive": 8}),
    ],
)
def test_a_child_does_nothing_while_its_parent_is_off(
    parent_off: dict[str, Value], child: dict[str, Value]
) -> None:
    study = night.study_of("rock5b-mixed")
    assert gain_of(study, child, parent_off) == 0


@pytest.mark.parametrize(
    ("parent_on", "child"),
    [
        ({"nginx:sendfile": True}, {"nginx:sendfile_max_chunk": 65536}),
        ({"nginx:sendfile": False}, {"nginx:output_buffers.size": 262144}),
        ({"nginx:aio": "threads"}, {"nginx:thread_pool.threads": 2}),
        ({"cpufreq:policy4.governor": "ondemand"}, {"cpufreq:policy4.ondemand.up_threshold": 25}),
        ({"thp:enabled": "madvise"}, {"thp:defrag": "always"}),
    ],
)
def test_a_child_counts_while_its_parent_is_on(parent_on: dict[str, Value], child: dict[str, Value]) -> None:
    assert gain_of(LARGE, child, parent_on) != 0


def test_two_settings_can_be_worth_something_only_together() -> None:
    steering: dict[str, Value] = {
        "net:nic.rps_flow_cnt": 16384,
        "sysctl:net.core.rps_sock_flow_entries": 16384,
    }
    packets: dict[str, Value] = {"net:nic.rps_cpus": "big"}
    assert gain_of(SMALL, steering) == 0
    assert gain_of(SMALL, steering, packets) > 0


def test_nopush_and_bbr_are_worse_together_than_apart() -> None:
    bbr: dict[str, Value] = {"sysctl:net.ipv4.tcp_congestion_control": "bbr"}
    assert gain_of(LARGE, bbr) < 0 < gain_of(LARGE, bbr, {"nginx:tcp_nopush": False})


def test_workers_beyond_the_large_cores_are_slower_and_noisier() -> None:
    stock = BOARD.stock_of(LARGE)
    bound = {**stock, "nginx:worker_processes": 4, "nginx:worker_cpu_affinity": 0xF0}
    wide = {**stock, "nginx:worker_processes": 8, "nginx:worker_cpu_affinity": "auto"}
    (workload,) = LARGE.workloads
    four, eight, found = (BOARD.truth(values, LARGE, workload) for values in (bound, wide, stock))
    assert four.requests_per_s > eight.requests_per_s > found.requests_per_s
    assert four.spread < eight.spread < found.spread


def test_four_workers_tied_to_the_small_cores_are_a_trap() -> None:
    assert gain_of(LARGE, {"nginx:worker_processes": 4, "nginx:worker_cpu_affinity": "auto"}) < -0.3


def test_most_settings_of_the_space_do_next_to_nothing() -> None:
    begun = night.begun_on(BOARD, LARGE)
    best = best_known(BOARD, LARGE, begun)
    without = {
        id_: BOARD.objective(best.configuration, LARGE)
        - BOARD.objective(Configuration.of({**best.configuration.mapping, id_: begun.stock[id_]}), LARGE)
        for id_ in begun.space_ids
    }
    useless = [id_ for id_, loss in without.items() if loss < 0.002]
    assert len(useless) > len(without) / 2


def test_the_best_known_is_somewhat_beyond_the_hand_tuned() -> None:
    begun = night.begun_on(BOARD, LARGE)
    best = best_known(BOARD, LARGE, begun)
    stock = BOARD.objective(Configuration(), LARGE)
    assert math.log(best.ratio) == pytest.approx(BOARD.objective(best.configuration, LARGE) - stock)
    beyond = best.ratio / math.exp(BOARD.objective(begun.hand_tuned, LARGE) - stock)
    assert 1.05 < beyond < 1.25
    assert not LARGE.space.reasons_outside(best.configuration, begun.stock, begun.facts)
    assert BOARD.failing(best.configuration.over(begun.stock), LARGE) is None


def test_no_single_change_betters_the_best_known() -> None:
    begun = night.begun_on(BOARD, LARGE)
    best = best_known(BOARD, LARGE, begun)
    top = BOARD.objective(best.configuration, LARGE)
    for id_, words in begun.offered.items():
        for word in words if id_ in begun.space_ids else ():
            changed = Configuration.of({**best.configuration.mapping, id_: word})
            assert BOARD.objective(changed, LARGE) <= top + 1e-9


def test_on_the_null_board_nothing_makes_any_difference() -> None:
    board = synthetic_board("null")
    begun = night.begun_on(board, LARGE)
    assert board.objective(begun.hand_tuned, LARGE) == board.objective(Configuration(), LARGE)
    best = best_known(board, LARGE, begun)
    assert best.configuration == Configuration()
    assert best.ratio == 1


def test_a_plain_board_has_the_effects_that_were_asked_for() -> None:
    board = plain_board({"nginx:multi_accept": lambda value: 0.05 if value is True else 0.0})
    changed = board.objective(Configuration.of({"nginx:multi_accept": True}), LARGE)
    assert changed - board.objective(Configuration(), LARGE) == pytest.approx(0.05)


def test_the_board_has_every_setting_that_the_shipped_spaces_speak_of() -> None:
    for name in ("localhost", "quickstart", "mixed", "rock5b-mixed"):
        study = night.study_of(name)
        php = any(page.path.endswith(".php") for page in getattr(study.server, "files", ()))
        lacking = {one.id: BOARD.lacking(one.id, study) for one in study.space.parameters}
        lacking = {id_: reason for id_, reason in lacking.items() if reason}
        assert not lacking or (
            not php and set(lacking.values()) == {"no workload of this study fetches a PHP page"}
        )


def test_every_listed_board_is_there_and_another_is_refused_with_the_list() -> None:
    for name in SYNTHETIC_BOARDS:
        assert synthetic_board(name).name == synthetic_board(f"synthetic:{name}").name == name
    with pytest.raises(BoardUnfit) as raised:
        synthetic_board("pi9")
    assert all(name in raised.value.hint for name in SYNTHETIC_BOARDS)
