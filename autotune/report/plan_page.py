"""What a night would do, and what it could show, before anything is started."""

from __future__ import annotations

from typing import Any

from autotune.experiment.study import Study
from autotune.measurement.planning import PlanSummary, estimated_sample_s, plan_summary
from autotune.report.page import Page, Paragraph, Table
from autotune.report.words import duration_text

_MEANING = {
    "calibration": "stock against itself: how noisy is this board tonight",
    "search": "one candidate after the other, with stock again every few samples",
    "finalists": "the best candidates again, in fresh pairs with stock",
    "distillation": "the winner against itself with fewer changes: what it does not need is left out",
    "finals": "stock, hand-tuned and automatic in turns: these alone make the answer",
    "series": "the hand-tuned steps, one on top of the other",
    "attribution": "each step alone, and all steps without it: what each is worth, whatever its place",
}


def plan_of(study: Study, left_s: float | None) -> PlanSummary:
    """The plan of a night with so much time; None: as long as it takes."""
    return plan_summary(study, sample_s=estimated_sample_s(study), left_s=left_s)


def plan_page(study: Study, summary: PlanSummary, *, asked: str) -> Page:
    """Stages with samples and time, then the smallest difference. `asked`: what the user calls the study's file."""
    samples = sum(share.samples for share in summary.stages)
    return Page(
        parts=(
            Paragraph(
                lines=(
                    (
                        f"A night of {study.name} takes about {duration_text(summary.total_s)}:"
                        f" {samples:,} samples of {summary.sample_s:.1f} s, {summary.candidates:,} candidates."
                    ),
                    *(
                        ()
                        if len(study.workloads) == 1
                        else (
                            (
                                f"Each sample runs {len(study.workloads)} workloads:"
                                f" {', '.join(one.name for one in study.workloads)}."
                            ),
                        )
                    ),
                ),
                tone="headline",
            ),
            Table(
                title="Stages",
                columns=("stage", "samples", "each", "time", "what for"),
                rows=tuple(
                    (
                        str(share.stage),
                        f"{share.samples:,}",
                        f"{share.sample_s:.1f} s",
                        duration_text(share.seconds),
                        _MEANING[str(share.stage)],
                    )
                    for share in summary.stages
                ),
                right=frozenset({"samples", "each", "time"}),
                note=summary.plan.reason,
            ),
            Paragraph(
                title="What it could show",
                lines=(
                    (
                        f"A difference from about {summary.smallest_visible_difference:.1%} on, in four nights of five,"
                        f" if one run varies by {summary.sigma_run:.0%} here. Calibration will tell tonight's own figure."
                    ),
                    *_pared_down(summary),
                ),
            ),
            Paragraph(title="Next", lines=(f"autotune doctor {asked}", f"autotune run {asked}")),
        )
    )


def _pared_down(summary: PlanSummary) -> tuple[str, ...]:
    """What leaving out changes may cost, where the plan has time for it."""
    if not summary.plan.distillation_pairs:
        return ()
    return (
        (
            "Of the winner's changes, those are left out that together cost less than this (at least 1 %), as far as"
            f" {summary.plan.distillation_pairs} pairs can say: the samples of distillation are the most it may take."
        ),
    )


def plan_json(study: Study, summary: PlanSummary) -> dict[str, Any]:
    """The same as data."""
    return {
        "study": study.name,
        "stages": [
            {
                "stage": str(share.stage),
                "samples": share.samples,
                "sample_s": share.sample_s,
                "seconds": share.seconds,
            }
            for share in summary.stages
        ],
        "samples": sum(share.samples for share in summary.stages),
        "candidates": summary.candidates,
        "sample_s": summary.sample_s,
        "workloads": [one.name for one in study.workloads],
        "total_s": summary.total_s,
        "sigma_run": summary.sigma_run,
        "smallest_visible_difference": summary.smallest_visible_difference,
        "reason": summary.plan.reason,
    }
