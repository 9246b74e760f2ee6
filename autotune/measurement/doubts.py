"""Reasons not to believe a night fully, gathered from everything its log holds."""

from __future__ import annotations

from collections import Counter

from autotune.experiment.events import Doubt, Stage
from autotune.experiment.study import Study
from autotune.measurement.calibration import NOISE_LIMIT, calibration_of
from autotune.measurement.finals import rounds_asked
from autotune.measurement.line import line_doubts
from autotune.measurement.logbook import Logbook
from autotune.measurement.planning import FEWEST_FINALS
from autotune.measurement.references import steps_of
from autotune.measurement.stages import final_arms

QUIET = "Quieten the machine: pin the server, stop other work, make the runs longer"


def comparison_doubts(
    study: Study, book: Logbook, night: int, *, unstable: tuple[str, ...]
) -> tuple[Doubt, ...]:
    """Every doubt about this night's comparison, the ones that weigh most first. `unstable` names such arms."""
    return (
        *_how_it_was_asked(study),
        *_how_far_it_came(study, book, night),
        *line_doubts(study, book, night),
        *_noise(book, night),
        *(
            Doubt(
                code="unstable",
                text=f"the runs of {name} in the finals differ by more than three times what stock's did",
                next="Look at its worst run before installing it",
            )
            for name in unstable
        ),
        *_steps(book, night),
        *_gaps(book, night),
        *book.begun[night].doubts,
        *_from_samples(book, night),
    )


def _how_it_was_asked(study: Study) -> list[Doubt]:
    doubts = []
    if study.accept_noise:
        doubts.append(
            Doubt(
                code="accept noise",
                text="the study accepts any noise: nothing stopped this night for being too loud",
                next="For a result to rely on, take accept_noise out of the study and run it overnight",
            )
        )
    if study.stock == "capstone":
        doubts.append(
            Doubt(
                code="stock is the text's",
                text="stock here is the capstone text's (sendfile off, worker_connections 768), not this board's own",
                next='A gain over it is not your gain: compare with stock = "as found"',
            )
        )
    if study.change_service:
        doubts.append(
            Doubt(
                code="service changed",
                text="the study lets settings change what is served or logged, not only how fast",
                next="Read the exported directives before installing them",
            )
        )
    return doubts


def _how_far_it_came(study: Study, book: Logbook, night: int) -> list[Doubt]:
    doubts = []
    ended = book.ended.get(night)
    again = (
        "The same autotune run goes on where it stopped"
        if ended is None
        else "The same autotune run holds another night"
    )
    if ended is None:
        doubts.append(Doubt(code="unfinished", text=f"night {night} is not over yet", next=again))
    elif ended.outcome != "complete":
        why = f": {ended.reason}" if ended.reason else ""
        doubts.append(Doubt(code=ended.outcome, text=f"night {night} was not completed{why}", next=again))
    if book.begun[night].purpose == "baseline":
        doubts.append(
            Doubt(
                code="baseline",
                text=f"night {night} measured the hand-tuned steps alone, so it has no headline",
                next="autotune run holds a night that tunes",
            )
        )
        return doubts
    places = {
        place: slot for place, slot in book.slots.items() if place[0] == night and place[1] is Stage.FINALS
    }
    if not places:
        doubts.append(Doubt(code="no finals", text="there are no finals yet, so no headline", next=again))
        return doubts
    if not any(one.night <= night for one in book.proposals.values()):
        doubts.append(
            Doubt(
                code="no candidates",
                text="no candidate was tried: the night's deadline left no time for a search, so automatic is stock",
                next="autotune run with --new-night and more hours",
            )
        )
    tried = [one for one in book.proposals.values() if one.night <= night and len(one.configuration)]
    if tried and all(book.is_barred(one.configuration, night) for one in tried):
        doubts.append(
            Doubt(
                code="all failed",
                text=f"every candidate that was tried ({len(tried)}) failed by its own fault, so automatic is stock",
                next="autotune show lists what failed and why",
            )
        )
    arms = final_arms(book, night)
    per_round = Counter(place[2] for place, slot in places.items() if slot.sample is not None)
    whole = sum(count == len(arms) for count in per_round.values())
    planned = rounds_asked(study, book, night) if night in book.plans else 0
    if ended is not None and whole < planned:
        doubts.append(
            Doubt(
                code="incomplete rounds",
                text=f"{planned - whole} of {planned} rounds of the finals lack a member and are left out of its pairs",
                next="autotune show lists what failed and why",
            )
        )
    if whole < FEWEST_FINALS:
        look = "A look at them ended the night: take looks out of the study"
        over = look if whole >= planned else "Another night may have more: autotune run with --new-night"
        doubts.append(
            Doubt(
                code="few rounds",
                text=f"only {whole} complete rounds of finals; intervals are reliable from {FEWEST_FINALS} on",
                next=over if ended is not None and ended.outcome == "complete" else again,
            )
        )
    doubts += [
        Doubt(
            code="arm failed",
            text=f"the {who.arm.text} configuration failed by its own fault and was not measured again",
            next="autotune show lists what failed and why",
        )
        for who in arms
        if book.is_barred(who.configuration, night)
    ]
    return doubts


def _noise(book: Logbook, night: int) -> list[Doubt]:
    seen = calibration_of(book, night)
    if seen is None:
        return [Doubt(code="no calibration", text="this night has no A/A stage, so its noise is not known")]
    doubts = []
    if seen.paired_cv > NOISE_LIMIT:
        doubts.append(
            Doubt(
                code="noisy",
                text=f"two runs of the same configuration differ by {seen.paired_cv:.1%} (standard deviation of "
                f"{seen.pairs} pairs); the limit is {NOISE_LIMIT:.0%}",
                next=QUIET,
            )
        )
    if seen.verdict == "biased":
        doubts.append(
            Doubt(
                code="biased calibration",
                text=f"stock against itself shows a difference (ratio {seen.ratio:.3f})"
                + (", twice" if seen.repeated else "")
                + ": something other than the configuration moves the figures",
                next=QUIET,
            )
        )
    return doubts


def _steps(book: Logbook, night: int) -> list[Doubt]:
    return [
        Doubt(
            code="step in stock",
            text=f"stock changed by {step.change:+.1%} at {step.at} in the search; "
            f"{len(step.suspects)} trials around it are suspect",
            next="The finals are not touched by this; the choice of finalists may be",
        )
        for step in steps_of(book, night)
    ]


def _gaps(book: Logbook, night: int) -> list[Doubt]:
    seconds = [gap.seconds for _, gap in book.gaps if gap.night == night]
    if not seconds:
        return []
    times = "once" if len(seconds) == 1 else f"{len(seconds)} times"
    return [
        Doubt(
            code="gaps",
            text=f"the night was interrupted {times}, {sum(seconds):.0f} s in all; stock was measured anew after each",
        )
    ]


def _from_samples(book: Logbook, night: int) -> list[Doubt]:
    """What the samples' own doubts come to: each code once, with the number of samples that have it.

    The finals' samples speak first; a doubt of other stages' samples is told only when the finals don't have it.
    """
    texts: dict[str, Doubt] = {}
    finals: Counter[str] = Counter()
    others: Counter[str] = Counter()
    of_finals = of_others = 0
    for place, slot in sorted(book.slots.items()):
        if place[0] != night or slot.sample is None:
            continue
        of_finals += place[1] is Stage.FINALS
        of_others += place[1] is not Stage.FINALS
        for doubt in {one.code: one for one in slot.sample.doubts}.values():
            texts.setdefault(doubt.code, doubt)
            (finals if place[1] is Stage.FINALS else others)[doubt.code] += 1
    doubts = []
    for code, doubt in texts.items():
        share = (
            f"in {finals[code]} of {of_finals} samples of the finals"
            if finals[code]
            else f"in {others[code]} of {of_others} samples before the finals"
        )
        doubts.append(Doubt(code=code, text=f"{doubt.text} ({share})", next=doubt.next))
    return doubts
