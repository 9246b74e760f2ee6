"""Orders of measuring: balanced, drift-proof, and the same in every process."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter

from autotune.measurement.orders import latin_round, shuffled, turned


def test_every_square_has_each_arm_once_at_each_position() -> None:
    for square in range(20):
        rounds = [latin_round("abc", 3 * square + row, 7, 1, "finals") for row in range(3)]
        assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
        assert all(len({one[position] for one in rounds}) == 3 for position in range(3))


def test_all_six_orders_of_three_arms_occur_about_as_often() -> None:
    seen = Counter(latin_round("abc", round_, 7, 1, "finals") for round_ in range(600))
    assert set(seen) == set(itertools.permutations("abc"))
    assert min(seen.values()) > 60


def test_two_arms_take_turns_at_going_first() -> None:
    for square in range(10):
        first, second = (latin_round("ab", 2 * square + row, 3) for row in range(2))
        assert first == second[::-1]


def test_another_seed_or_night_is_another_order() -> None:
    orders = {
        tuple(latin_round("abc", round_, seed, night) for round_ in range(12))
        for seed in (1, 2)
        for night in (1, 2)
    }
    assert len(orders) == 4


def test_a_linear_drift_cancels_in_neighbouring_pairs() -> None:
    for start in range(4):
        when = {"a": 0, "b": 0}
        clock = 0
        for index in (start, start + 1):
            for one in turned(("a", "b"), index):
                when[one] += clock
                clock += 1
        assert when["a"] == when["b"]


def test_a_fresh_process_with_another_hash_seed_draws_the_same_order() -> None:
    code = "from autotune.measurement.orders import shuffled; print(shuffled(range(9), 42, 'series', 3))"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert drawn == {f"{shuffled(range(9), 42, 'series', 3)}\n"}
