"""A governor's own tunables: searched under their governor only, unset elsewhere, and always something a board takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from search_examples import a_night, a_plan, a_study, go_on, proposals

from autotune.definitions.space_file import read_space
from autotune.experiment.events import Event
from autotune.space.search_space import SearchSpace
from autotune.space.value import Value

SPACE = """
title = "one cluster"
[parameter."cpufreq:policy4.governor"]
values = ["performance", "schedutil", "ondemand"]
why = "how soon the cluster runs at full speed"
[parameter."cpufreq:policy4.ondemand.up_threshold"]
low = 25
high = 95
special = "unset"
when = "cpufreq:policy4.governor == ondemand"
why = "how busy is busy"
[parameter."cpufreq:policy4.ondemand.io_is_busy"]
values = ["on", "off", "unset"]
when = "cpufreq:policy4.governor == ondemand"
why = "waiting for the disk as work"
[parameter."cpufreq:policy4.schedutil.rate_limit_us"]
low = "0us"
high = "10ms"
when = "cpufreq:policy4.governor == schedutil"
why = "the shortest time between two changes"
[parameter."irq:nic.affinity"]
values = ["as found", "one", "spread", "0xf0"]
why = "where the card interrupts"
[parameter."cpufreq:policy4.max_freq"]
values = ["1800000", "2256000"]
why = "the ceiling"
"""
STOCK: dict[str, Value] = {
    "cpufreq:policy4.governor": "ondemand",
    "cpufreq:policy4.ondemand.up_threshold": 80,
    "cpufreq:policy4.ondemand.io_is_busy": False,
    "cpufreq:policy4.schedutil.rate_limit_us": "unset",
    "irq:nic.affinity": "as found",
    "cpufreq:policy4.max_freq": "2256000",
}
ELSEWHERE: dict[str, Value] = {
    **STOCK,
    "cpufreq:policy4.governor": "mixed",
    "cpufreq:policy4.ondemand.up_threshold": "unset",
    "cpufreq:policy4.ondemand.io_is_busy": "unset",
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    path: Path = tmp_path_factory.mktemp("space") / "clusters.toml"
    path.write_text(SPACE)
    return read_space(path)


def performance_is_best(values: Mapping[str, Value]) -> float:
    threshold = values.get("cpufreq:policy4.ondemand.up_threshold")
    return 0.1 if values.get("cpufreq:policy4.governor") == "performance" else 0.05 * (threshold == 30)


@pytest.mark.parametrize("stock", [STOCK, ELSEWHERE], ids=["ondemand rules", "policies differ"])
def test_a_tunable_is_only_tried_under_its_governor(space: SearchSpace, stock: dict[str, Value]) -> None:
    study = a_study(space)
    log: list[Event] = [a_night(study, stock=stock), a_plan(40)]
    log = go_on(study, log, 40, truth=performance_is_best, noise=0.01)
    tried = [proposal.configuration.over(stock) for proposal in proposals(log)]
    chosen = [proposal.configuration.mapping for proposal in proposals(log)]
    assert {values["cpufreq:policy4.governor"] for values in tried} >= {
        "performance",
        "schedutil",
        "ondemand",
    }
    for values, configuration in zip(tried, chosen, strict=True):
        governor = values["cpufreq:policy4.governor"]
        named = {id_.split(".")[1] for id_ in configuration if id_.count(".") == 2}
        assert named <= {governor}
        for id_, value in configuration.items():
            if value != stock[id_]:
                assert space.parameter(id_).reason_outside(value) == ""
    assert any(values["cpufreq:policy4.ondemand.up_threshold"] not in (80, "unset") for values in tried)
    assert {values["irq:nic.affinity"] for values in tried} >= {"as found", "one", "spread", 0xF0}


def test_the_space_is_the_same_when_read_again(space: SearchSpace) -> None:
    assert SearchSpace.model_validate_json(space.model_dump_json()).fingerprint == space.fingerprint
