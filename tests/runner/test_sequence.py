"""The hand-tuned sequence on a board: full, partial, already so, not available."""

from __future__ import annotations

from autotune.experiment.study import HandTunedSequence, HandTunedStep, HandTunedValue, UnsupportedItem
from autotune.runner.sequence import apply_sequence
from autotune.space.catalogue import CATALOGUE
from autotune.space.expression import Expression
from autotune.space.value import Value

STOCK: dict[str, Value] = {
    "nginx:sendfile": True,
    "nginx:tcp_nopush": False,
    "nginx:worker_processes": "auto",
}


def _value(id_: str, value: Value | Expression) -> HandTunedValue:
    return HandTunedValue(setting=CATALOGUE[id_], value=value)


def _step(
    number: int, *values: HandTunedValue, unsupported: tuple[UnsupportedItem, ...] = ()
) -> HandTunedStep:
    return HandTunedStep(
        number=number,
        name=f"step {number}",
        values=values,
        unsupported=unsupported,
        published=1.1,
        why="a test's",
    )


def _refusal(id_: str, _value: Value) -> str:
    return "" if id_ in STOCK else "not on this board"


def _apply(*steps: HandTunedStep, facts: dict[str, Value] | None = None) -> list[tuple[str, int, int]]:
    sequence = HandTunedSequence(title="a test's", source="a test", steps=steps)
    applied = apply_sequence(sequence, stock=STOCK, refusal=_refusal, facts=facts or {})
    return [(step.state, step.applied, step.of) for step in applied]


def test_a_step_whose_every_item_is_taken_is_full() -> None:
    assert _apply(_step(1, _value("nginx:tcp_nopush", True))) == [("full", 1, 1)]


def test_a_step_that_the_board_has_already_is_already_so() -> None:
    assert _apply(_step(1, _value("nginx:sendfile", True))) == [("already so", 1, 1)]


def test_a_step_with_an_item_the_board_lacks_is_partial() -> None:
    step = _step(1, _value("nginx:tcp_nopush", True), _value("thp:enabled", "always"))
    assert _apply(step) == [("partial", 1, 2)]


def test_a_step_with_nothing_to_be_had_is_not_available_and_says_why() -> None:
    step = _step(1, unsupported=(UnsupportedItem(id="nginx:build", reason="later"),))
    sequence = HandTunedSequence(title="a test's", source="a test", steps=(step,))
    (applied,) = apply_sequence(sequence, stock=STOCK, refusal=_refusal, facts={})
    assert (applied.state, applied.missing[0].reason) == ("not available", "later")


def test_steps_are_cumulative_and_hold_only_what_differs_from_stock() -> None:
    sequence = HandTunedSequence(
        title="a test's",
        source="a test",
        steps=(
            _step(1, _value("nginx:tcp_nopush", True), _value("nginx:sendfile", True)),
            _step(2, _value("nginx:worker_processes", 4)),
        ),
    )
    last = apply_sequence(sequence, stock=STOCK, refusal=_refusal, facts={})[-1]
    assert last.configuration.mapping == {"nginx:tcp_nopush": True, "nginx:worker_processes": 4}


def test_one_worker_per_core_is_a_rule_over_the_board() -> None:
    rule = Expression(text="board.server_cpus")
    sequence = HandTunedSequence(
        title="a test's", source="a test", steps=(_step(1, _value("nginx:worker_processes", rule)),)
    )
    (applied,) = apply_sequence(sequence, stock=STOCK, refusal=_refusal, facts={"board.server_cpus": 8})
    assert applied.configuration["nginx:worker_processes"] == 8


def test_a_rule_that_leaves_the_hard_limits_is_missing_with_the_limit() -> None:
    rule = Expression(text="board.server_cpus * 100000")
    sequence = HandTunedSequence(
        title="a test's", source="a test", steps=(_step(1, _value("nginx:worker_processes", rule)),)
    )
    (applied,) = apply_sequence(sequence, stock=STOCK, refusal=_refusal, facts={"board.server_cpus": 8})
    assert applied.state == "not available"
    assert "above the limit" in applied.missing[0].reason
