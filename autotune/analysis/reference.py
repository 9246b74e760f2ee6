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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.analysis.dataset import Values
from autotune.experiment.events import NightBegun
from autotune.experiment.study import Study
from autotune.space.parameter import Parameter, Scale, Span
from autotune.space.search_space import SearchSpace
from autotune.space.setting import NUMERIC, Kind
from autotune.space.value import Value

DRAWS = 1000
"""A share worked out from so many is known to about a twentieth of itself, from 256 to a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`values`: in force, of the space's parameters alone. Two draws of everything, whether it counts or not, are behind it.

    `beside`: by parameter, those whose conditions speak of it, or of one that does; itself first.
    """

    space: SearchSpace
    stock: Values
    facts: Values
    beside: Mapping[str, tuple[str, ...]]
    values: tuple[Values, ...]
    _drawn: tuple[Values, ...]
    _other: tuple[Values, ...]

    def touched(self, ids: Iterable[str]) -> tuple[str, ...]:
        """What may be in force otherwise when these are drawn anew, in the order of the space."""
        found = {one for id_ in ids for one in self.beside[id_]}
        return tuple(id_ for id_ in self.space.ids if id_ in found)

    def anew(self, ids: Sequence[str]) -> tuple[Values, ...]:
        """The same, with these parameters drawn anew and all others as they were drawn."""
        several = (
            {**drawn, **{id_: other[id_] for id_ in ids}}
            for drawn, other in zip(self._drawn, self._other, strict=True)
        )
        return self._again(ids, several)

    def with_value(self, id_: str, value: Value) -> tuple[Values, ...]:
        """The same, with this parameter at this value wherever it counts."""
        return self._again((id_,), ({**drawn, id_: value} for drawn in self._drawn))

    def _again(self, ids: Sequence[str], several: Iterable[Values]) -> tuple[Values, ...]:
        touched = set(self.touched(ids))
        parameters = [one for one in self.space.parameters if one.id in touched]
        return tuple(
            _in_force(self, parameters, before, drawn)
            for before, drawn in zip(self.values, several, strict=True)
        )


def reference_of(study: Study, begun: NightBegun, ids: Collection[str], seed: int) -> Reference:
    """Of these parameters, as far as they can be tuned in this night; all else is at stock. The same for the same seed."""
    usable = {id_ for id_ in begun.space_ids if id_ in begun.stock and id_ in ids}
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
    bare = Reference(
        space=space,
        stock=begun.stock,
        facts=begun.facts,
        beside=_beside(space),
        values=(),
        _drawn=drawn,
        _other=other,
    )
    return replace(bare, values=tuple(_in_force(bare, space.parameters, {}, one) for one in drawn))


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


def _beside(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one in space.parameters:  # parents stand before their children
        for several in found.values():
            if one.when is not None and set(one.when.ids) & set(several):
                several.append(one.id)
        found[one.id] = [one.id]
    return {id_: tuple(several) for id_, several in found.items()}


def _in_force(reference: Reference, parameters: Sequence[Parameter], before: Values, drawn: Values) -> Values:
    """What is in force when these parameters are as drawn, where they count, and the others as `before`."""
    found = dict(before)
    for one in parameters:
        counts = one.when is None or reference.space.is_active(
            one, {**reference.facts, **reference.stock, **found}
        )
        found[one.id] = drawn[one.id] if counts else reference.stock[one.id]
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
