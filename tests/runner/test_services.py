"""Which services a night stops on the board."""

from __future__ import annotations

from typing import Any

from autotune.experiment.study import Study
from autotune.runner.session import services_to_stop
from autotune.space.catalogue import CATALOGUE
from autotune.space.parameter import Parameter
from night_example import a_study


def with_parameter(id_: str, **changes: Any) -> Study:
    study = a_study()
    parameter = Parameter(setting=CATALOGUE[id_], why="x", **changes)
    return study.model_copy(update={"space": study.space.model_copy(update={"parameters": (parameter,)})})


def test_irqbalance_is_stopped_only_where_interrupts_are_placed() -> None:
    assert services_to_stop(a_study()) == ()
    assert services_to_stop(with_parameter("irq:nic.affinity", specials=("as found", "one"))) == (
        "irqbalance",
    )
