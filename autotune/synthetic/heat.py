"""How warm the board is, and what that costs: a heat sink that follows slowly, and a chip that follows at once.

Seen on a real Rock 5B+: the clock falls 1.8 % from 42 to 78 degrees without any throttling; above 85 degrees the vendor's
table takes the large cores from 2,400 to 2,208 MHz, with a hysteresis of 5 degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

IDLE_W: Final = 3.0
_USUAL_C: Final = 75.0
_LOSS_PER_C: Final = 0.018 / 36
_THROTTLED_LOSS: Final = 0.085  # ln(2400 / 2208)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A board's thermal behaviour. Degrees Celsius, watts, seconds; `sink_c_per_w` and `chip_c_per_w` add up."""

    ambient_c: float = 26.0
    daily_c: float = 2.0
    sink_c_per_w: float = 3.2
    chip_c_per_w: float = 1.0
    sink_s: float = 150.0
    trip_c: float = 85.0
    band_c: float = 5.0

    def surroundings_c(self, now_s: float) -> float:
        """The air around the board: warmest at 16:00 UTC, coolest at 4:00."""
        hour = now_s % 86400 / 3600
        return self.ambient_c + self.daily_c * math.cos((hour - 16) / 12 * math.pi)

    def idle_c(self, now_s: float) -> float:
        """The heat sink of a board that has had nothing to do for long."""
        return self.surroundings_c(now_s) + self.sink_c_per_w * IDLE_W

    def later_c(self, sink_c: float, power_w: float, seconds: float, now_s: float) -> float:
        """The heat sink after so long at this power."""
        goal_c = self.surroundings_c(now_s) + self.sink_c_per_w * power_w
        return goal_c + (sink_c - goal_c) * math.exp(-seconds / self.sink_s)

    def chip_c(self, sink_c: float, power_w: float) -> float:
        """What the board's sensor says at this power."""
        return sink_c + self.chip_c_per_w * power_w

    def throttled(self, chip_c: float) -> float:
        """How much of the throttling is in force: 0 below the trip point, 1 from `band_c` above it on."""
        return min(1.0, max(0.0, (chip_c - self.trip_c) / self.band_c))

    def loss(self, chip_c: float) -> float:
        """What this temperature takes from ln(requests/s), against a chip of 75 degrees."""
        warm = _LOSS_PER_C * (min(chip_c, self.trip_c) - _USUAL_C)
        return warm + _THROTTLED_LOSS * self.throttled(chip_c)
