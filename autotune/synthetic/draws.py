"""Random numbers that depend on nothing but a seed and a name: the same in every process, whatever was drawn before."""

from __future__ import annotations

import hashlib
import math
import struct
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()


def uniforms(seed: int, name: str) -> tuple[float, ...]:
    """Eight independent numbers between 0 and 1, both left out."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=64).digest()
    return tuple(((word >> 12) + 0.5) * 2.0**-52 for word in struct.unpack("<8Q", digest))


def normal(uniform: float) -> float:
    """The standard normal number at this probability."""
    return _NORMAL.inv_cdf(uniform)


def exponential(uniform: float) -> float:
    """The exponential number with mean 1 at this probability."""
    return -math.log(uniform)
