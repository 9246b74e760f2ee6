"""How well the board could see, and how often this program has cried wolf."""

from __future__ import annotations

from autotune.measurement.calibration import AARecord, Calibration
from autotune.report.page import Paragraph
from autotune.report.words import share_text


def calibration_paragraph(seen: Calibration | None, record: AARecord | None) -> Paragraph:
    """Stock against itself, in a few lines; empty before the stage."""
    if seen is None:
        return Paragraph(lines=())
    wanders = (
        f"; neighbouring runs are alike ({seen.autocorrelation:+.2f}), so runs far apart differ by more"
        if seen.wanders
        else ""
    )
    drift = (
        f"drift {seen.drift_per_hour * 100:+.1f} % per hour" if seen.drift_per_hour else "no drift to be seen"
    )
    repeated = ", once more because the first looked different" if seen.repeated else ""
    return Paragraph(
        title="How well this board could see",
        lines=(
            f"stock against itself, {seen.pairs} pairs{repeated}: {seen.verdict}",
            f"one run varies by {share_text(seen.sigma_run)}, {drift}{wanders}",
            f"smallest difference it could show: about {share_text(seen.smallest_visible_difference)}",
            *record_lines(record),
        ),
    )


def record_lines(record: AARecord | None) -> tuple[str, ...]:
    """How often stock against itself looked different, in one line; nothing before the first stage."""
    if record is None or not record.stages:
        return ()
    stages = f"{record.stages} such stage{'s' if record.stages > 1 else ''}"
    return (
        (
            f"false alarms in the {stages} of this database, each at a plain 95 %: {record.false_alarms}"
            " (1 in 20 is chance)"
        ),
    )
