"""The names of the boards that are made of numbers, for whoever reads or lists them; room synthetic has the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PREFIX: Final = "synthetic:"

SYNTHETIC_BOARDS: Mapping[str, str] = MappingProxyType(
    {
        "rock5b": "an imagined Rock 5B+: the published gains, and many settings that do nothing or harm",
        "null": "the same board on which no setting makes any difference",
    }
)

LABEL: Final = "synthetic: every number was computed, not measured"


def is_synthetic(board: str) -> bool:
    """Whether this board is made of numbers: then every output says so."""
    return board.startswith(PREFIX)
