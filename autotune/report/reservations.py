"""Why the figures of several nights, studies or boards are no comparison: what was not the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotune.experiment.events import Event, NightBegun
from autotune.experiment.study import Study
from autotune.measurement.comparison import Comparison
from autotune.report.words import count_text, load_text, objective_words
from autotune.space.value import value_text

_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One night of one study among several. `begun` None: none has begun yet."""

    label: str
    study: Study
    log: tuple[Event, ...]
    begun: NightBegun | None
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Something that was not the same, or that one night alone can't say."""

    code: str
    text: str


def reservations(beside: Sequence[Beside]) -> tuple[Reservation, ...]:
    """All there are between the nights that have begun, the ones that weigh most first."""
    beside = [one for one in beside if one.begun is not None]
    found = (
        _apart(
            "synthetic",
            beside,
            lambda one: "computed" if one.study.is_synthetic else "measured",
            "some figures were computed and not measured",
        ),
        _apart("other boards", beside, board_words, "these are different boards, each against its own stock"),
        _apart("other loads", beside, _load, "their loads are different"),
        _apart(
            "other objectives",
            beside,
            _objective,
            "they maximise different figures, so their ratios are of different things",
        ),
        _apart("other stocks", beside, _stock_means, "stock does not mean the same"),
        _apart("accepted noise", beside, _noise, "some accepted any noise"),
        _apart(
            "other sequences",
            beside,
            _sequence,
            "hand-tuned does not mean the same sequence",
            key=_sequence_asks,
        ),
        *_of_one_board(beside),
    )
    return tuple(one for one in found if one is not None)


def board_words(one: Beside) -> str:
    """The board by its address and, where a night has asked it, by its name and model."""
    told = one.begun.board if one.begun else {}
    named = [told[key] for key in ("host", "model") if told.get(key) and told[key] != one.study.board]
    return f"{one.study.board} ({', '.join(named)})" if named else one.study.board


def _apart(
    code: str,
    beside: Sequence[Beside],
    said: Callable[[Beside], str],
    text: str,
    key: Callable[[Beside], str] | None = None,
) -> Reservation | None:
    """A reservation that names who is what, unless all are the same by `key` (None: by what is said)."""
    groups: dict[str, list[Beside]] = {}
    for one in beside:
        groups.setdefault((key or said)(one), []).append(one)
    if len(groups) < 2:
        return None
    told = "; ".join(
        f"{said(group[0])}: {', '.join(one.label for one in group)}" for group in groups.values()
    )
    return Reservation(code=code, text=f"{text} ({told})")


def _load(one: Beside) -> str:
    study = one.study
    loads = "; ".join(
        f"{load_text(load)}, {load.threads} threads, weight {load.weight:g}" for load in study.workloads
    )
    files = {file.path: file.size_bytes for file in getattr(study.server, "files", ())}
    sizes = ", ".join(f"{path} of {size:,} bytes" for path, size in files.items())
    return f"{loads}; {sizes or 'an own site'}; from {study.load}, {study.placement}"


def _objective(one: Beside) -> str:
    return objective_words(one.study).figure


def _stock_means(one: Beside) -> str:
    return "the text's (STOCK = CAPSTONE)" if one.study.stock == "capstone" else "the board as it was found"


def _noise(one: Beside) -> str:
    return "accepted" if one.study.accept_noise else "refused above 5 %"


def _sequence(one: Beside) -> str:
    steps = one.study.hand_tuned.steps
    return f"{one.study.hand_tuned.title}, {count_text(len(steps), 'step')}" if steps else "none"


def _sequence_asks(one: Beside) -> str:
    """What the steps ask for, without words that only explain."""
    asked = [
        (step.number, [(value.setting.id, str(value.value)) for value in step.values])
        for step in one.study.hand_tuned.steps
    ]
    return json.dumps(asked)


def _of_one_board(beside: Sequence[Beside]) -> tuple[Reservation | None, ...]:
    """What keeps nights of the same board and load apart all the same."""
    groups: dict[tuple[str, str], list[Beside]] = {}
    for one in beside:
        groups.setdefault((board_words(one), _load(one)), []).append(one)
    found: list[Reservation | None] = []
    for group in groups.values():
        if len(group) < 2:
            continue
        labels = ", ".join(one.label for one in group)
        found.append(
            Reservation(
                code="other nights",
                text="the same board and load on different nights: only the paired samples of one night make a verdict"
                f" ({labels})",
            )
        )
        found += [
            _apart("other software", group, _software, "the board's own software was not the same"),
            _stocks(group),
        ]
    return tuple(found)


def _software(one: Beside) -> str:
    told = one.begun.board if one.begun else {}
    return (
        ", ".join(f"{key} {told[key]}" for key in ("kernel", "nginx", "wrk") if told.get(key)) or "not known"
    )


def _stocks(group: Sequence[Beside]) -> Reservation | None:
    """Where stock's own values differ between nights that both know them."""
    stocks = [one.begun.stock for one in group if one.begun is not None]
    known = set.intersection(*(set(stock) for stock in stocks)) if stocks else set()
    differing = sorted(id_ for id_ in known if any(stock[id_] != stocks[0][id_] for stock in stocks[1:]))
    if not differing:
        return None
    told = [
        f"{id_} {' or '.join(dict.fromkeys(value_text(stock[id_]) for stock in stocks))}" for id_ in differing
    ]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return Reservation(
        code="stock changed", text=f"stock itself was not the same ({', '.join(told[:_NAMED])}{more})"
    )
