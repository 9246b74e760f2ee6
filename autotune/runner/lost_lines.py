"""Configurations that take the line to the board, or to its load host, along with them: each time one is measured, the line is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from autotune.errors import BoardBusy, NotPermitted
from autotune.experiment.bench import Measure, Outcome
from autotune.experiment.events import Failure, Stage
from autotune.runner.clocks import now_text
from autotune.runner.lost_board import LOST, machine_of

MOST_LOSSES: Final = 3


class LostLines:
    """How often the line was lost at each place of the night, over all of its connections.

    The board restores itself each time and is taken again, so without it a night would try such a configuration until its
    deadline. A cable that is pulled now and then is no configuration's fault: the place is given up as the environment's
    doing. Stock is never given up.
    """

    def __init__(self) -> None:
        self._lost: Counter[tuple[int, Stage, int, int]] = Counter()
        self._which, self._why = "board", ""

    def measured(self, order: Measure, measure: Callable[[], Outcome]) -> Outcome:
        """What `measure` gives, or a Failure in its place after MOST_LOSSES."""
        key = order.key
        place = (key.night, key.stage, key.block, key.position)
        if self._lost[place] >= MOST_LOSSES and order.arm.kind != "stock":
            return Outcome(
                event=Failure(
                    key=key,
                    at=now_text(),
                    arm=order.arm,
                    configuration=order.configuration,
                    stage="agent",
                    reason=f"the line to the {self._which} was lost {self._lost[place]} times while this was measured"
                    f" (the last time: {self._why})",
                    blame="environment",
                )
            )
        try:
            return measure()
        except (BoardBusy, NotPermitted):
            raise
        except LOST as problem:
            self._lost[place] += 1
            self._which, self._why = machine_of(problem), problem.message
            raise
