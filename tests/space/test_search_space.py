"""A search space completes a choice, keeps its rules, and says what lies outside."""

from __future__ import annotations

from autotune.space.catalogue import CATALOGUE
from autotune.space.configuration import Configuration
from autotune.space.expression import Expression
from autotune.space.parameter import Derived, Parameter, Rule, Span
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

SPACE = SearchSpace(
    title="a small one",
    parameters=(
        Parameter(setting=CATALOGUE["nginx:sendfile"], why="t"),
        Parameter(
            setting=CATALOGUE["nginx:sendfile_max_chunk"],
            span=Span(low=65_536, high=4 << 20),
            when=Expression(text="nginx:sendfile == on"),
            why="t",
        ),
        Parameter(setting=CATALOGUE["nginx:worker_connections"], span=Span(low=512, high=65_536), why="t"),
        Parameter(
            setting=CATALOGUE["nginx:timer_resolution"],
            span=Span(low=10, high=1000),
            specials=("unset",),
            why="t",
        ),
        Parameter(
            setting=CATALOGUE["sysctl:net.ipv4.tcp_wmem"],
            spans=(Span(low=4096, high=4096), Span(low=8192, high=1 << 19), Span(low=1 << 20, high=1 << 24)),
            why="t",
        ),
        Parameter(setting=CATALOGUE["nginx:listen.backlog"], values=(511, 4096, 65_535), why="t"),
    ),
    rules=(Rule(expression=Expression(text="nginx:listen.backlog <= sysctl:net.core.somaxconn"), why="t"),),
    derived=(
        Derived(
            setting=CATALOGUE["nginx:worker_rlimit_nofile"],
            expression=Expression(text="100 * nginx:worker_connections"),
            why="t",
        ),
    ),
)
STOCK: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:worker_connections": 768,
    "nginx:listen.backlog": 511,
    "sysctl:net.core.somaxconn": 4096,
}


def test_an_inactive_value_is_left_out() -> None:
    chosen: dict[str, Value] = {"nginx:sendfile": False, "nginx:sendfile_max_chunk": 65_536}
    assert "nginx:sendfile_max_chunk" not in SPACE.complete(chosen, STOCK, {})
    assert "nginx:sendfile_max_chunk" in SPACE.complete({**chosen, "nginx:sendfile": True}, STOCK, {})


def test_a_condition_looks_at_stock_when_its_parent_is_not_chosen() -> None:
    assert "nginx:sendfile_max_chunk" in SPACE.complete({"nginx:sendfile_max_chunk": 65_536}, STOCK, {})


def test_a_derived_value_is_computed_and_kept_within_its_limits() -> None:
    assert SPACE.complete({}, STOCK, {})["nginx:worker_rlimit_nofile"] == 76_800
    assert (
        SPACE.complete({"nginx:worker_connections": 65_536}, STOCK, {})["nginx:worker_rlimit_nofile"]
        == 1_048_576
    )


def test_a_derived_value_without_its_numbers_is_left_out() -> None:
    assert "nginx:worker_rlimit_nofile" not in SPACE.complete({}, {}, {})


def test_a_broken_rule_is_told_with_its_distance() -> None:
    configuration = Configuration.of({"nginx:listen.backlog": 65_535})
    (broken,) = SPACE.broken_rules(configuration, STOCK, {})
    assert broken.excess > 0.5
    assert not SPACE.broken_rules(Configuration(), STOCK, {})


def test_a_rule_about_something_absent_is_not_broken() -> None:
    configuration = Configuration.of({"nginx:listen.backlog": 65_535})
    assert not SPACE.broken_rules(configuration, {"nginx:listen.backlog": 511}, {})


def test_what_lies_outside_is_told_with_the_reason() -> None:
    configuration = Configuration.of(
        {
            "nginx:worker_connections": 100,
            "nginx:listen.backlog": 65_535,
            "nginx:timer_resolution": "unset",
            "sysctl:net.ipv4.tcp_wmem": (4096, 4096, 1 << 20),
            "nginx:postpone_output": 0,
            "nginx:worker_rlimit_nofile": 512,
        }
    )
    reasons = {one.id: one.reason for one in SPACE.reasons_outside(configuration, STOCK, {})}
    assert reasons == {
        "nginx:worker_connections": "outside the range",
        "sysctl:net.ipv4.tcp_wmem": "outside the range",
        "nginx:postpone_output": "not a parameter of this space",
        "nginx:listen.backlog <= sysctl:net.core.somaxconn": "rule broken",
    }


def test_a_switch_takes_no_number_and_a_list_no_other_value() -> None:
    assert SPACE.parameter("nginx:sendfile").reason_outside(1)
    assert not SPACE.parameter("nginx:sendfile").reason_outside(False)
    assert SPACE.parameter("nginx:listen.backlog").reason_outside(512)


def test_a_space_without_a_setting_keeps_the_others() -> None:
    left = SPACE.without({"nginx:sendfile": "gone", "nginx:worker_rlimit_nofile": "gone"})
    assert left.ids == tuple(id_ for id_ in SPACE.ids if id_ != "nginx:sendfile")
    assert not left.derived
    assert left.fingerprint != SPACE.fingerprint
