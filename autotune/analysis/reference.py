"""Sets of values drawn evenly over a space: what a model is asked about, whatever the search concentrated on.

A choice is as likely as any other of its list; a number is even over its range, by its logarithm where the range is
logarithmic; a word beside numbers is as likely as "some number". All of them are drawn independently, and what doesn't count
(its condition isn't met) is at stock. Rules are left aside: they cut corners off the space, and no parameter could be drawn
anew by itself.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autotune.analysis.dataset import Values
from autotune.experiment.events import NightBegun
from autotune.experiment.study import Study
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value

DRAWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`values`: in force, of the space's parameters alone. Two draws of everything, whether it counts or not, are behind it."""

    space: SearchSpace
    stock: Values
    facts: Values
    values: tuple[Values, ...]
    _drawn: tuple[Values, ...]
    _other: tuple[Values, ...]

    def anew(self, ids: Iterable[str]) -> tuple[Values, ...]:
        """The same, with these parameters drawn anew and all others as they were drawn."""
        mine = set(ids)
        return tuple(
            self._in_force({**drawn, **{id_: other[id_] for id_ in mine}})
            for drawn, other in zip(self._drawn, self._other, strict=True)
        )

    def with_value(self, id_: str, value: Value) -> tuple[Values, ...]:
        """The same, with this parameter at this value wherever it counts."""
        return tuple(self._in_force({**drawn, id_: value}) for drawn in self._drawn)

    def _in_force(self, drawn: Values) -> Values:
        return _in_force(self.space, self.stock, self.facts, drawn)


def reference_of(study: Study, begun: NightBegun, seed: int) -> Reference:
    """Of what can be tuned in this night. The same for the same seed."""
    usable = {id_ for id_ in begun.space_ids if id_ in begun.stock}
    offered = study.space.offering(begun.offered)
    space = offered.model_copy(
        update={"parameters": tuple(one for one in offered.parameters if one.id in usable), "derived": ()}
    )
    chance = random.Random(f"reference {seed}")  # noqa: S311 - no secret
    drawn, other = (
        tuple(
            {one.id: _any_value(one, begun.stock[one.id], chance) for one in space.parameters}
            for _ in range(DRAWS)
        )
        for _ in range(2)
    )
    return Reference(
        space=space,
        stock=begun.stock,
        facts=begun.facts,
        values=tuple(_in_force(space, begun.stock, begun.facts, one) for one in drawn),
        _drawn=drawn,
        _other=other,
    )


def families(space: SearchSpace) -> tuple[tuple[str, ...], ...]:
    """Parents with the parameters that count only beside them, children of children too; everything else by itself."""
    head: dict[str, str] = {}
    for one in space.parameters:  # parents stand before their children
        parents = [head[id_] for id_ in one.when.ids if id_ in head] if one.when is not None else []
        head[one.id] = parents[0] if parents else one.id
    found: dict[str, list[str]] = {}
    for id_, first in head.items():
        found.setdefault(first, []).append(id_)
    return tuple(tuple(members) for members in found.values())


def _in_force(space: SearchSpace, stock: Values, facts: Values, drawn: Values) -> Values:
    known = {**facts, **stock}
    found: dict[str, Value] = {}
    for one in space.parameters:
        counts = one.when is None or space.is_active(one, known)
        found[one.id] = known[one.id] = drawn[one.id] if counts else stock[one.id]
    return found


def _any_value(parameter: Parameter, stock: Value, chance: random.Random) -> Value:
    words, numbers = _words(parameter), _numbers(parameter)
    if words and (not _has_numbers(parameter) or chance.random() < len(words) / (len(words) + 1)):
        return chance.choice(words)
    if numbers:
        return chance.choice(numbers)
    if parameter.setting.kind is Kind.VECTOR and parameter.spans:
        elements = (round(_along(span, chance)) for span in parameter.spans)
        return tuple(itertools.accumulate(elements, max))
    if parameter.span is None:
        return stock
    number = _along(parameter.span, chance)
    return number if parameter.setting.kind is Kind.FLOAT else round(number)


def _words(parameter: Parameter) -> Sequence[Value]:
    """The values that are no numbers: all of a list of choices, words beside numbers."""
    kind = parameter.setting.kind
    listed: Sequence[Value] = parameter.choices or (parameter.setting.choices if kind is Kind.CHOICE else ())
    if kind in NUMERIC | {Kind.VECTOR}:
        return tuple(dict.fromkeys((*(one for one in listed if isinstance(one, str)), *parameter.specials)))
    return (*listed, *(one for one in parameter.specials if one not in listed))


def _numbers(parameter: Parameter) -> Sequence[Value]:
    if parameter.setting.kind not in NUMERIC | {Kind.VECTOR}:
        return ()
    return tuple(one for one in parameter.choices if not isinstance(one, str))


def _has_numbers(parameter: Parameter) -> bool:
    return bool(_numbers(parameter) or parameter.span is not None or parameter.spans)


def _along(span: Span, chance: random.Random) -> float:
    share = chance.random()
    if span.scale is Scale.LOG and span.low > 0:
        return math.exp(math.log(span.low) + share * math.log(span.high / span.low))
    return span.low + share * (span.high - span.low)
