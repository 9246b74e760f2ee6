"""How a night begins: all of the board that later decisions need, so that they need no board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autotune.errors import BoardUnfit
from autotune.experiment.bench import AskSampler
from autotune.experiment.events import Doubt, Event, NightBegun
from autotune.experiment.study import Study
from autotune.runner.night_board import Beginning
from autotune.runner.sequence import apply_sequence
from autotune.space.configuration import Configuration
from autotune.space.search_space import Dropped, SearchSpace
from autotune.space.setting import Kind
from autotune.space.value import Value, value_text

# The trials before it are stock and hand-tuned, which nobody has to find.
_FIRST_FREE_TRIAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a board has to give to a study.

    `stock`: every usable setting's value now. `missing`: those that can't be set here, with the reason. `choices`: the
    words that it takes, where they depend on the board. `refusal` says why it can't take a value, or "".
    `board`: the board in a few words. `line_mbit_per_s`: as in NightBegun.
    """

    stock: Mapping[str, Value]
    missing: Mapping[str, str]
    choices: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, Value]
    refusal: Callable[[str, Value], str]
    board: Mapping[str, str]
    line_mbit_per_s: int | None = None
    doubts: tuple[Doubt, ...] = ()


def night_begun(study: Study, offer: Offer, beginning: Beginning, at: str) -> NightBegun:
    """The night's first event. Raises BoardUnfit when the frozen space isn't to be had, or nothing of it is."""
    stock = {id_: value for id_, value in offer.stock.items() if id_ not in offer.missing}
    left_out = left_out_of(study, offer.choices, offer.missing)
    space = study.space.offering(offer.choices).without(left_out)
    if beginning.first is not None:
        _require_same_space(beginning.first, space.ids, left_out)
    if not space.parameters:
        raise BoardUnfit(
            "nothing of this space can be tuned here", hint="see why: `autotune doctor STUDY.toml`"
        )
    steps = apply_sequence(study.hand_tuned, stock=stock, refusal=offer.refusal, facts=offer.facts)
    hand_tuned = steps[-1].configuration if steps else Configuration()
    return NightBegun(
        night=beginning.night,
        at=at,
        purpose=beginning.purpose,
        deadline=beginning.deadline,
        stock=stock,
        facts=dict(offer.facts),
        space_ids=space.ids,
        offered={id_: words for id_, words in offer.choices.items() if id_ in space.ids},
        dropped=tuple(Dropped(id=id_, reason=reason) for id_, reason in sorted(left_out.items())),
        steps=steps,
        hand_tuned=hand_tuned,
        hand_tuned_outside=space.reasons_outside(hand_tuned, stock, offer.facts),
        board=dict(offer.board),
        line_mbit_per_s=offer.line_mbit_per_s,
        doubts=(*beginning.doubts, *offer.doubts),
    )


def left_out_of(
    study: Study, choices: Mapping[str, tuple[str, ...]], missing: Mapping[str, str]
) -> dict[str, str]:
    """The parameters that can't be tuned on a board, with the reason: what serves something else, has no choice, is missing."""
    return {**_service_changers(study), **_without_choice(study.space.offering(choices)), **missing}


def require_candidates(study: Study, log: Sequence[Event], night: NightBegun) -> None:
    """Raises DefinitionError when the rules leave nothing but stock to try: said now, not after the calibration.

    `night` is about to begin: what this board lacks is already out of its space.
    """
    from autotune.search.searcher import propose

    propose(study, [*log, night], AskSampler(night=night.night, number=_FIRST_FREE_TRIAL), at=night.at)


def stock_changes(begun: NightBegun, now: Mapping[str, Value]) -> str:
    """How the board's stock differs from what the night began with; empty when it doesn't."""
    changed = [
        f"{id_} was {value}, is {now.get(id_, 'gone')}"
        for id_, value in begun.stock.items()
        if now.get(id_) != value
    ]
    return "; ".join(changed)


def _service_changers(study: Study) -> dict[str, str]:
    """Parameters that would win by serving something else."""
    if study.change_service:
        return {}
    return {
        one.id: "changes what is served, and the study does not say change_service = true"
        for one in study.space.parameters
        if one.setting.changes_service
    }


def _without_choice(space: SearchSpace) -> dict[str, str]:
    """Parameters of which this board offers one word at most."""
    return {
        one.id: f"this board offers only {value_text(one.values[0]) if one.values else 'other words'}"
        for one in space.parameters
        if one.setting.kind is Kind.CHOICE and len(one.values) < 2
    }


def _require_same_space(first: NightBegun, ids: Sequence[str], left_out: Mapping[str, str]) -> None:
    gone = [id_ for id_ in first.space_ids if id_ not in ids]
    if gone:
        text = "; ".join(f"{id_}: {left_out.get(id_, 'not offered any more')}" for id_ in gone)
        raise BoardUnfit(
            f"the board no longer offers what this study's first night tuned: {text}",
            hint="put it back, or give the study a new name",
        )
