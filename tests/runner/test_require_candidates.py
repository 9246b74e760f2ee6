"""A space whose rules leave nothing to try is refused before the night begins, not after its calibration."""

from __future__ import annotations

import pytest

from autotune.errors import DefinitionError
from autotune.experiment.events import NightBegun
from autotune.runner.beginning import require_candidates
from autotune.space.expression import Expression
from autotune.space.parameter import Rule
from night_example import a_night, a_study

STUDY = a_study()
NIGHT = next(one for one in a_night(STUDY) if isinstance(one, NightBegun))


def test_rules_that_contradict_each_other_are_said_in_the_evening() -> None:
    backlog, somaxconn = "nginx:listen.backlog", "sysctl:net.core.somaxconn"
    rules = tuple(
        Rule(expression=Expression(text=text), why="both can't be")
        for text in (f"{backlog} <= {somaxconn}", f"{backlog} > {somaxconn}")
    )
    study = STUDY.model_copy(update={"space": STUDY.space.model_copy(update={"rules": rules})})
    with pytest.raises(DefinitionError, match="no configuration but stock") as refused:
        require_candidates(study, [], NIGHT)
    assert "loosen the rules" in refused.value.hint


def test_a_space_with_something_in_it_is_let_through_in_every_night() -> None:
    require_candidates(STUDY, [], NIGHT)
    require_candidates(STUDY, a_night(STUDY), NIGHT.model_copy(update={"night": 2}))
