"""`autotune apply`: a measured configuration left in place, until `autotune restore` or a reboot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.board.address import restore_command
from autotune.errors import BoardUnfit, UsageError
from autotune.experiment.events import Doubt, Event, NightBegun, Proposal
from autotune.experiment.study import Study
from autotune.measurement.comparison import compare
from autotune.runner.beginning import stock_changes
from autotune.runner.live_bench import LiveBench, NotInForce
from autotune.runner.session import Held
from autotune.space.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A configuration of a study by the word a person has for it, and the night it comes from."""

    arm: str
    configuration: Configuration
    night: NightBegun


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is in place now. `urls`: where the canary found it serving."""

    chosen: Chosen
    effective: Configuration
    urls: tuple[str, ...]
    doubts: tuple[Doubt, ...]


def choose(study: Study, log: Sequence[Event], which: str) -> Chosen:
    """The configuration that `which` (auto, hand or a trial's number) stands for. Raises UsageError."""
    if which == "stock":
        raise UsageError(
            "stock needs no applying: it is what the board has by itself", hint=restore_command(study.board)
        )
    nights = [event for event in log if isinstance(event, NightBegun)]
    if not nights:
        raise UsageError(
            f"{study.name} has measured nothing yet", hint=f"Hold its night: autotune resume {study.name}"
        )
    if which in ("auto", "automatic"):
        return _automatic(study, log, nights)
    if which in ("hand", "hand-tuned"):
        return Chosen(arm="hand-tuned", configuration=nights[-1].hand_tuned, night=nights[-1])
    return _trial(study, log, nights, which)


def _automatic(study: Study, log: Sequence[Event], nights: Sequence[NightBegun]) -> Chosen:
    comparison = compare(study, log)
    arm = comparison.arm("automatic")
    if arm is None or not arm.n:
        raise UsageError(
            f"{study.name} has no automatic configuration yet: its finals have no samples",
            hint=f"Go on with: autotune resume {study.name}",
        )
    return Chosen(arm="automatic", configuration=arm.configuration, night=_night(nights, comparison.night))


def _trial(study: Study, log: Sequence[Event], nights: Sequence[NightBegun], which: str) -> Chosen:
    trials = {event.number: event for event in log if isinstance(event, Proposal)}
    proposal = trials.get(int(which)) if which.isascii() and which.isdigit() else None
    if proposal is None:
        known = f"or a trial from {min(trials)} to {max(trials)}" if trials else "(it has no trials yet)"
        raise UsageError(
            f"{study.name} has no configuration {which!r}",
            hint=f"Say auto, hand {known}: autotune show {study.name}",
        )
    return Chosen(
        arm=f"trial {proposal.number}",
        configuration=proposal.configuration,
        night=_night(nights, proposal.night),
    )


def _night(nights: Sequence[NightBegun], number: int) -> NightBegun:
    return next(night for night in reversed(nights) if night.night == number)


def apply(study: Study, chosen: Chosen) -> Kept:
    """Puts the configuration in force on the study's board, proves it by its canary, and leaves it there.

    Nothing stays when anything of it fails. Raises BoardBusy (also while something is kept already), BoardUnfit when the
    board's stock is no longer what the night saw, or when the configuration does not pass; BoardLeftChanged.
    """
    held = Held.take(study, chosen.night.night, kept=True)
    try:
        kept = _put(held, study, chosen)
        held.keep()
    except BaseException:
        held.give_back()
        raise
    return kept


def _put(held: Held, study: Study, chosen: Chosen) -> Kept:
    if changes := stock_changes(chosen.night, held.discovery.stock):
        raise BoardUnfit(
            f"the board's stock is not what the study measured against: {changes}",
            hint=f"put it back, or measure anew: autotune resume {study.name} --new-night",
        )
    bench = LiveBench(held)
    bench.learn_truth()
    there = bench.put_in_force(chosen.configuration)
    if isinstance(there, NotInForce):
        raise BoardUnfit(
            f"the {chosen.arm} configuration does not pass ({there.stage}): {there.reason}",
            hint="nothing was left in place; see `autotune doctor`",
        )
    return Kept(
        chosen=chosen,
        effective=there.effective.configuration.against(held.discovery.stock),
        urls=tuple(seen.url for seen in there.switched.urls),
        doubts=there.effective.doubts,
    )
