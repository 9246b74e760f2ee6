"""A study that came in a bundle: who may go on with it, and where its configurations may be put."""

from __future__ import annotations

from typing import Literal

from autotune.board.address import is_address
from autotune.errors import UsageError
from autotune.experiment.study import LOAD_ON_BOARD, Study
from autotune.storage.origins import Origin

Wanted = Literal["run", "resume", "apply"]


def require_measured_here(study: Study, origin: Origin | None, wanted: Wanted) -> None:
    """Raises UsageError where a carried study would be mixed with another board, or its definition would be taken unread.

    A board made of numbers is the same everywhere. One over ssh is where its address says, for whoever has the study's own
    file: what a bundle says of it was never read as a definition.
    """
    if origin is None or study.is_synthetic:
        return
    came = f"{study.name} came in a bundle"
    look = f"It can be looked at: autotune compare {study.name}, autotune export {study.name} --to DIR."
    if wanted == "apply":
        raise UsageError(
            f"{came}: its configurations are another board's, and are not put in place here", hint=look
        )
    if origin.redacted:
        raise UsageError(
            f"{came} without names, so nobody knows which board it is of: it can't go on here",
            hint=f"{look} A study of your own needs another name.",
        )
    if not is_address(study.board) or not (study.load == LOAD_ON_BOARD or is_address(study.load)):
        raise UsageError(
            f"{came}: its board is the machine that it was measured on, not this one: it can't go on here",
            hint=f"{look} A study of your own needs another name.",
        )
    if wanted == "resume":
        raise UsageError(
            f"{came}: it goes on with the study's own file",
            hint="autotune run STUDY.toml, the same file as there",
        )
