"""In which order things are measured: ABBA pairs, cyclic Latin squares, shuffled rounds.

Random orders come from a hash of the study's seed and the place, so that every process on every machine and every
Python draws the same one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def shuffled(items: Sequence[T], *place: int | str) -> tuple[T, ...]:
    """The items in a random order that depends on nothing but `place` and how many there are."""
    order = _order("/".join(str(part) for part in place), len(items))
    return tuple(items[index] for index in order)


@functools.lru_cache(maxsize=4096)
def _order(text: str, size: int) -> tuple[int, ...]:
    """A random order of so many. Kept, for a night asks for the orders of all its rounds again before each sample."""

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{text}/{index}".encode()).digest()

    return tuple(sorted(range(size), key=rank))


def turned(pair: tuple[T, T], index: int) -> tuple[T, T]:
    """AB for even pairs and BA for odd ones: two neighbours are ABBA, and a linear drift cancels in them."""
    return pair if index % 2 == 0 else (pair[1], pair[0])


def latin_round(arms: Sequence[T], round_: int, *place: int | str) -> tuple[T, ...]:
    """The order of one round: every square of len(arms) rounds has each arm once at each position.

    Squares are random cyclic ones: a random order of the arms, its rotations in random order.
    """
    size = len(arms)
    square, row = divmod(round_, size)
    order = shuffled(arms, *place, "arms", square)
    turn = shuffled(range(size), *place, "rows", square)[row]
    return (*order[turn:], *order[:turn])
