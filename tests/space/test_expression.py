"""Conditions, rules and derived values: what can be written, what it means, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autotune.space.expression import Expression, Unanswerable
from autotune.space.value import Value

VALUES: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:aio": "threads",
    "nginx:accept_mutex": False,
    "nginx:worker_processes": "auto",
    "nginx:listen.backlog": 511,
    "nginx:worker_connections": 768,
    "sysctl:net.core.somaxconn": 4096,
    "sysctl:net.ipv4.tcp_rmem": (4096, 131_072, 6_291_456),
    "sysctl:vm.page-cluster": 3,
    "thp:defrag": "defer+madvise",
    "board.memory_bytes": 8 << 30,
    "board.server_cpus": 4,
    "workload.connections": 64,
}


def an_expression(text: str) -> Expression:
    return Expression(text=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx:sendfile == on", True),
        ("nginx:sendfile != on", False),
        ("nginx:sendfile", True),
        ("nginx:accept_mutex", False),
        ("not nginx:accept_mutex", True),
        ("nginx:sendfile and nginx:accept_mutex", False),
        ("nginx:accept_mutex or nginx:sendfile", True),
        ("nginx:aio == threads", True),
        ('nginx:aio == "threads"', True),
        ("thp:defrag == 'defer+madvise'", True),
        ("nginx:listen.backlog <= sysctl:net.core.somaxconn", True),
        ("nginx:worker_connections * board.server_cpus >= 1.2 * workload.connections", True),
        ("sysctl:net.ipv4.tcp_rmem[2] <= 0.05 * board.memory_bytes", True),
        ("sysctl:net.ipv4.tcp_rmem[1] == 128k", True),
        ("1 < board.server_cpus < 4", False),
        ("sysctl:vm.page-cluster == 3", True),
        ("nginx:worker_processes == auto", True),
    ],
)
def test_a_condition_is_answered(text: str, *, expected: bool) -> None:
    assert an_expression(text).holds(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 * nginx:worker_connections + 64", 1600),
        ("min(board.server_cpus, 8) * 1k", 4096),
        ("max(1, 2, board.server_cpus // 3)", 2),
        ("-board.server_cpus / 8", -0.5),
    ],
)
def test_a_number_is_computed(text: str, expected: float) -> None:
    assert an_expression(text).number(VALUES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "nginx:unknown == on",
        "nginx:worker_processes >= 4",
        "nginx:worker_processes * 2 > 1",
        "nginx:aio",
        "not nginx:aio",
        "sysctl:net.ipv4.tcp_rmem <= 5",
        "sysctl:net.ipv4.tcp_rmem",
        "sysctl:net.ipv4.tcp_rmem[3] > 1",
        "nginx:listen.backlog[0] > 1",
        "1 / (board.server_cpus - 4) > 1",
    ],
)
def test_what_lacks_a_number_here_is_unanswerable(text: str) -> None:
    with pytest.raises(Unanswerable):
        an_expression(text).holds(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "nginx:aio",
        "sysctl:net.ipv4.tcp_rmem",
        "9" * 240 + "*" + "9" * 240,
        "9" * 240 + "*" + "9" * 240 + "/ 3",
    ],
)
def test_what_is_no_number_is_unanswerable(text: str) -> None:
    with pytest.raises(Unanswerable):
        an_expression(text).number(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx:sendfile ==",
        "nginx:sendfile == on off",
        "nginx:sendfile = on",
        "min",
        "min()",
        "max(1)",
        "min(1, key=2)",
        "abs(1)",
        "min(*board.cpus)",
        "2 ** 64",
        "1 if nginx:sendfile else 2",
        "[1, 2]",
        "lambda: 1",
        "().__class__",
        "__import__('os')",
        "`ls`",
        "(1).real",
        "sysctl:net.ipv4.tcp_rmem[-1]",
        "sysctl:net.ipv4.tcp_rmem[0:1]",
        "a in b",
        "a is b",
        "f'{1}'",
        "1; 2",
        "1\n2",
        "x" * 501,
        "(" * 300 + "1" + ")" * 300,
        "-" * 300 + "1",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        an_expression(text)


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    try:
        expression = an_expression(text)
        expression.holds(VALUES)
        expression.number(VALUES)
    except (ValidationError, Unanswerable):
        pass


@given(
    st.lists(
        st.sampled_from(
            [*VALUES, "on", "1", "2k", "<", "==", "*", "/", "-", "(", ")", "not", "and", "min", ",", "[0]"]
        ),
        max_size=9,
    )
)
def test_any_row_of_words_is_an_expression_or_a_value_error(words: list[str]) -> None:
    try:
        expression = an_expression(" ".join(words))
        assert expression.excess(VALUES) >= 0
        expression.number(VALUES)
    except (ValidationError, Unanswerable):
        pass


def test_excess_is_zero_when_it_holds_and_grows_with_the_distance() -> None:
    rule = an_expression("nginx:listen.backlog <= sysctl:net.core.somaxconn")
    near = rule.excess({**VALUES, "nginx:listen.backlog": 4097})
    far = rule.excess({**VALUES, "nginx:listen.backlog": 65_535})
    assert rule.excess(VALUES) == 0
    assert 0 < near < far <= 1


def test_an_expression_names_its_settings_and_facts_once_and_in_order() -> None:
    expression = an_expression("nginx:b * board.cpus >= nginx:a + nginx:b - workload.threads")
    assert expression.ids == ("nginx:b", "nginx:a")
    assert expression.facts == ("board.cpus", "workload.threads")


def test_an_expression_survives_json() -> None:
    expression = an_expression('thp:defrag == "defer+madvise"')
    again = Expression.model_validate_json(expression.model_dump_json())
    assert again == expression
    assert again.holds(VALUES)
