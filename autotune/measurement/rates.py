"""At which rate the open-loop runs of a night go: one for each workload, the same for every arm."""

from __future__ import annotations

import statistics

from autotune.experiment.events import Sample, Stage
from autotune.experiment.study import Study
from autotune.measurement.limits import need_rates
from autotune.measurement.logbook import Logbook

DIGITS = 3
"""Significant digits of a rate: finer than any night can tell its throughput."""


def has_rates(study: Study, stage: Stage) -> bool:
    """Whether the samples of this stage have open-loop runs: the finals', and where a limit is judged at that rate those
    that it decides over.
    """
    return study.latency.share > 0 and (
        stage is Stage.FINALS or (stage in (Stage.FINALISTS, Stage.DISTILLATION) and need_rates(study))
    )


def rates_for(study: Study, book: Logbook, stage: Stage) -> dict[str, float]:
    """Requests/s by workload for the samples of this stage; {}: no open-loop runs there.

    A share of the median of the calibration's samples of stock, those that were declared void later too: so it stays the
    same all night.
    """
    share = study.latency.share
    if not has_rates(study, stage):
        return {}
    samples = [
        slot.last for slot in book.of_stage(book.night, Stage.CALIBRATION) if isinstance(slot.last, Sample)
    ]
    seen = {
        workload.name: [
            sample.measurements[workload.name].requests_per_s
            for sample in samples
            if workload.name in sample.measurements
        ]
        for workload in study.workloads
    }
    return {
        name: float(f"{max(share * statistics.median(rates), 1.0):.{DIGITS}g}")
        for name, rates in seen.items()
        if rates
    }
