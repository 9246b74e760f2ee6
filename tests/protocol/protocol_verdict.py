"""What the figures must be, whether they are, and how all of it is told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocol_distilled import DistilledSeen
from protocol_finals import FinalsSeen
from protocol_naive import BothSeen
from protocol_null import NullSeen
from protocol_real import RealSeen

ROOM_SIGMAS = 2.5
"""By so many standard errors the short form, with its few seeds, may miss a bound before it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that was seen, by part. `short`: bounds are widened by what chance does to so few seeds."""

    null: Mapping[str, Sequence[NullSeen]]
    coverage: Mapping[str, Sequence[FinalsSeen]]
    power: Mapping[str, Sequence[FinalsSeen]]
    naive: Mapping[str, Sequence[BothSeen]]
    distilled: Sequence[DistilledSeen]
    real: Sequence[RealSeen]
    short: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A share that must lie between two bounds. `n`: what it was counted over."""

    what: str
    share: float
    n: int
    low: float
    high: float

    @property
    def kept(self) -> bool:
        return self.low <= self.share <= self.high

    def __str__(self) -> str:
        if self.low <= 0:
            bound = f"at most {self.high:.1%}"
        elif self.high >= 1:
            bound = f"at least {self.low:.1%}"
        else:
            bound = f"{self.low:.1%} to {self.high:.1%}"
        return (
            f"{'ok    ' if self.kept else 'FAILED'} {self.what:<46} {self.share:>6.1%} of {self.n:<5} {bound}"
        )


def share_of(several: Sequence[bool]) -> float:
    return sum(several) / len(several) if several else 0.0


def demands(seen: Seen) -> list[Demand]:
    """Everything that must hold."""
    found: list[Demand] = []

    def demand(what: str, several: Sequence[bool], *, low: float = 0.0, high: float = 1.0) -> None:
        n = len(several)
        room = ROOM_SIGMAS / math.sqrt(n) if seen.short and n else 0.0
        found.append(
            Demand(
                what=what,
                share=share_of(several),
                n=n,
                low=low - room * math.sqrt(low * (1 - low)),
                high=high + room * math.sqrt(high * (1 - high)),
            )
        )

    for part, nights in seen.null.items():
        demand(f"{part}: nights that claim a difference", [one.claimed for one in nights], high=0.07)
    alone = [one.erred for nights in seen.null.values() for one in nights]
    demand("null: a single uncorrected interval errs", alone, low=0.03, high=0.07)
    for part, finals in seen.coverage.items():
        demand(f"{part}: the interval holds the truth", [one.plain for one in finals], low=0.93)
    for part, finals in seen.power.items():
        demand(f"{part}: the promised difference is seen", [one.seen for one in finals], low=0.75, high=0.90)
    lost = [one.loss > one.margin for one in seen.distilled]
    demand("distilled: it loses more than its margin", lost, high=0.10)
    if seen.real:
        demand("real: studies that claim a difference", [bool(one.claims) for one in seen.real], high=0.10)
    return found


def mean(several: Sequence[float]) -> float:
    return statistics.fmean(several) if several else math.nan


def _last(part: str) -> str:
    """ "null 0.01" -> "0.01"."""
    return part.rpartition(" ")[2]


def document(seen: Seen, *, code: str) -> dict[str, object]:
    """The figures as one JSON object. Differences are natural logs of ratios."""
    beside = [one for several in seen.naive.values() for one in several]
    useless = sum(one.useless for one in seen.distilled)
    return {
        "null_claims": {
            _last(part): share_of([one.claimed for one in nights]) for part, nights in seen.null.items()
        },
        "single_interval_errs": share_of([one.erred for nights in seen.null.values() for one in nights]),
        "coverage": {
            _last(part): share_of([one.plain for one in each]) for part, each in seen.coverage.items()
        },
        "coverage_as_told": {
            _last(part): share_of([one.told for one in each]) for part, each in seen.coverage.items()
        },
        "coverage_of_all_pairs": {
            _last(part): share_of([one.told_all for one in each]) for part, each in seen.coverage.items()
        },
        "power": {_last(part): share_of([one.seen for one in each]) for part, each in seen.power.items()},
        "headline_bias": {
            "ours": mean([one.ours.bias for one in beside]),
            "naive": mean([one.naive.bias for one in beside]),
        },
        "regret": {
            "ours": mean([one.ours.regret for one in beside]),
            "naive": mean([one.naive.regret for one in beside]),
        },
        "by_noise": {
            _last(part): {
                "headline_bias": {
                    "ours": mean([one.ours.bias for one in several]),
                    "naive": mean([one.naive.bias for one in several]),
                },
                "regret": {
                    "ours": mean([one.ours.regret for one in several]),
                    "naive": mean([one.naive.regret for one in several]),
                },
                "samples": mean([one.samples for one in several]),
            }
            for part, several in seen.naive.items()
        },
        "distilled": {
            "loses_more_than_margin": share_of([one.loss > one.margin for one in seen.distilled]),
            "useless_dropped": sum(one.dropped for one in seen.distilled) / useless if useless else 0.0,
            "pared_down": share_of([one.subset for one in seen.distilled]),
            "changes": mean([one.changes for one in seen.distilled]),
            "kept": mean([one.kept for one in seen.distilled]),
            "loss": mean([one.loss for one in seen.distilled]),
            "margin": mean([one.margin for one in seen.distilled]),
        },
        "real": [one.model_dump(mode="json") for one in seen.real],
        "seeds": {
            **{part: len(nights) for part, nights in seen.null.items()},
            **{part: len(each) for part, each in seen.coverage.items()},
            **{part: len(each) for part, each in seen.power.items()},
            **{part: len(several) for part, several in seen.naive.items()},
            "distilled": len(seen.distilled),
            "real": len(seen.real),
        },
        "failed": [one.what for one in demands(seen) if not one.kept],
        "short": seen.short,
        "code": code,
    }


def table(seen: Seen) -> str:
    """The same for people."""
    lines = ["what must hold (seeds 0, 1, ... of each)"]
    lines += [f"  {one}" for one in demands(seen)]
    lines.append("as it is told, at Holm's level                  automatic/stock   all three at once")
    for part, each in seen.coverage.items():
        told, all_ = share_of([one.told for one in each]), share_of([one.told_all for one in each])
        lines.append(f"  {part:<46} {told:>14.1%} {all_:>19.1%}")
    lines.append(
        "beside the naive night, same samples        headline overstated        regret of what is shipped"
    )
    lines.append("  noise of one run   seeds   samples         ours     naive              ours     naive")
    for part, several in seen.naive.items():
        ours = [one.ours for one in several]
        theirs = [one.naive for one in several]
        lines.append(
            f"  {float(_last(part)):>8.0%} {len(several):>14} {mean([one.samples for one in several]):>9.0f}"
            f" {mean([one.bias for one in ours]):>12.1%} {mean([one.bias for one in theirs]):>9.1%}"
            f" {mean([one.regret for one in ours]):>17.1%} {mean([one.regret for one in theirs]):>9.1%}"
        )
    if seen.distilled:
        useless = sum(one.useless for one in seen.distilled)
        dropped = sum(one.dropped for one in seen.distilled) / useless if useless else 0.0
        lines.append(
            f"distilled: {mean([one.changes for one in seen.distilled]):.1f} changes of the winner,"
            f" {mean([one.kept for one in seen.distilled]):.1f} shipped; of those that do nothing or harm"
            f" {dropped:.0%} dropped; true loss {mean([one.loss for one in seen.distilled]):+.2%} on average,"
            f" margin {mean([one.margin for one in seen.distilled]):.2%}"
        )
    for one in seen.real:
        lines.append(
            f"real: automatic/stock {one.ratio:.3f} ({one.low:.3f} to {one.high:.3f}), noise of one run"
            f" {one.sigma_run:.1%}, {one.samples} samples in {one.seconds:.0f} s:"
            f" {', '.join(one.claims) or 'no difference claimed'}"
        )
    return "\n".join(lines)
