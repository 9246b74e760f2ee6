"""Limits that single samples of the search already show broken: such a trial is out before it costs a pair.

What is judged at the fixed rate waits for the pairs: the search has no such runs. Everything else is there in every sample, beside
stock's own samples of the same night, which say how much such a figure scatters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.experiment.events import Sample, Stage
from autotune.experiment.study import Limit, Study
from autotune.measurement.limits import METRICS, asked, error_count
from autotune.measurement.logbook import Logbook

SURE = 2.0
"""How many standard errors beyond what is allowed a trial's mean must lie: the limit's own interval comes with the pairs."""
FEWEST_STOCK = 6


def search_excesses(study: Study, book: Logbook) -> dict[int, float]:
    """By how much each trial that breaks limits does so (natural log, added up; errors by count); trials that don't: none."""
    limits = [one for one in asked(study) if not one[0].at_fixed_rate]
    found: dict[int, float] = {}
    for night in book.begun if limits else ():
        stock: list[Sample] = []
        trials: dict[int, list[Sample]] = {}
        for stage in (Stage.CALIBRATION, Stage.SEARCH):
            for slot in book.of_stage(night, stage):
                if slot.sample is not None and slot.trial == 0:
                    stock.append(slot.sample)
                elif slot.sample is not None:
                    trials.setdefault(slot.trial, []).append(slot.sample)
        for limit, workload in limits:
            for number, excess in _excesses(limit, workload, stock, trials).items():
                found[number] = found.get(number, 0.0) + excess
    return found


def _excesses(
    limit: Limit, workload: str, stock: Sequence[Sample], trials: dict[int, list[Sample]]
) -> dict[int, float]:
    if limit.metric == "errors":
        return {
            number: worst - limit.value
            for number, samples in trials.items()
            if limit.bound == "at most"
            and (worst := max(error_count(one, workload) for one in samples)) > limit.value
        }
    usual = _logs(limit, workload, stock)
    if len(usual) < FEWEST_STOCK or limit.value <= 0:
        return {}
    level = math.fsum(usual) / len(usual)
    scatter = math.sqrt(math.fsum((one - level) ** 2 for one in usual) / (len(usual) - 1))
    allowed = math.log(limit.value) + (level if limit.of_stock else 0.0)
    sign = 1.0 if limit.bound == "at most" else -1.0
    found: dict[int, float] = {}
    for number, samples in trials.items():
        logs = _logs(limit, workload, samples)
        if not logs:
            continue
        excess = sign * (math.fsum(logs) / len(logs) - allowed)
        if excess > SURE * scatter * math.sqrt(1 / len(logs) + (1 / len(usual) if limit.of_stock else 0.0)):
            found[number] = excess
    return {number: excess for number, excess in found.items() if excess > 0}


def _logs(limit: Limit, workload: str, samples: Sequence[Sample]) -> list[float]:
    metric = METRICS[limit.metric]
    return [math.log(figure) for one in samples if (figure := metric(one, workload)) > 0]
